//! The control interface under `/_simulator/`: JSON, for people and for tests in other processes. The calls are
//! listed in the documentation of [`super`].

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::Full;
use moorline_core::{ChatId, MessageId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::connection::Context;
use crate::feishu::{
    Activity, AppId, ChatType, ConnectionLimit, Cut, Fault, Person, Push, Rates, Reach, Resource,
    ResourceKind, Times, UnknownApp,
};
use crate::simulator::Simulator;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultsBody {
    #[serde(default)]
    clear: bool,
    fault: Option<Fault>,
    times: Option<Times>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DropBody {
    code: Option<u16>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatBody {
    chat_id: ChatId,
    #[serde(default)]
    chat_type: ChatType,
    /// Takes the bot out instead.
    #[serde(default)]
    leave: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PushBody {
    apps: Vec<AppId>,
    push: Push,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgainBody {
    message_id: MessageId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceBody {
    kind: ResourceKind,
    name: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetainBody {
    retain: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformBody {
    refuse: Option<bool>,
    reach: Option<Reach>,
    for_ms: Option<u64>,
}

/// Why a control call was not carried out.
enum Refusal {
    NotFound,
    Forbidden,
    Body(serde_json::Error),
    UnknownApp(UnknownApp),
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::Body(error)
    }
}

impl From<UnknownApp> for Refusal {
    fn from(error: UnknownApp) -> Self {
        Self::UnknownApp(error)
    }
}

/// Answers a control call.
pub(super) async fn answer(context: &Context, parts: &Parts, body: &Bytes) -> hyper::Response<Full<Bytes>> {
    let (status, value) = match act(context, parts, body).await {
        Ok(value) => (StatusCode::OK, value),
        Err(refusal) => {
            let (status, message) = match refusal {
                Refusal::NotFound => (StatusCode::NOT_FOUND, "there is no such control call".to_owned()),
                Refusal::Forbidden => (StatusCode::FORBIDDEN, "not for web pages".to_owned()),
                Refusal::Body(error) => {
                    (StatusCode::BAD_REQUEST, format!("the body is not as expected: {error}"))
                }
                Refusal::UnknownApp(error) => (StatusCode::NOT_FOUND, error.to_string()),
            };
            (status, json!({ "error": message }))
        }
    };
    let mut answer = hyper::Response::new(Full::from(value.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

async fn act(context: &Context, parts: &Parts, body: &[u8]) -> Result<Value, Refusal> {
    if !is_local(parts) {
        return Err(Refusal::Forbidden);
    }
    let simulator = &context.simulator;
    let path: Vec<&str> = parts.uri.path().trim_start_matches("/_simulator/").split('/').collect();
    match (&parts.method, path.as_slice()) {
        (&Method::GET, ["state"]) => Ok(serde_json::to_value(simulator.state())?),
        (&Method::POST, ["apps"]) => Ok(serde_json::to_value(simulator.add_app(read(body)?))?),
        (&Method::POST, ["apps", app, deed]) => act_on(simulator, &AppId::new(*app), deed, body),
        (&Method::POST, ["push"]) => {
            let body: PushBody = read(body)?;
            Ok(serde_json::to_value(simulator.push_to(&body.apps, body.push)?)?)
        }
        (&Method::POST, ["people"]) => {
            let person: Person = read(body)?;
            simulator.add_person(person);
            Ok(json!({}))
        }
        (&Method::POST, ["resources"]) => {
            let ResourceBody { kind, name, text } = read(body)?;
            Ok(json!({ "key": simulator.add_resource(Resource { kind, name, bytes: text.into() }) }))
        }
        (&Method::POST, ["rates"]) => {
            simulator.set_rates(serde_json::from_slice::<Option<Rates>>(body)?);
            Ok(json!({}))
        }
        (&Method::POST, ["retain"]) => {
            let body: RetainBody = read(body)?;
            simulator.set_retain(body.retain);
            Ok(json!({}))
        }
        (&Method::POST, ["platform"]) => {
            let body: PlatformBody = read(body)?;
            let refused = body.refuse.map(|refuse| if refuse { Reach::Refused } else { Reach::Open });
            simulator.set_reach(body.reach.or(refused).unwrap_or_default());
            if let Some(millis) = body.for_ms {
                // Full only when sixteen recoveries are being taken up at once; then this one waits its turn.
                let _ = context.recoveries.send(Duration::from_millis(millis)).await;
            }
            Ok(json!({ "reach": simulator.reach() }))
        }
        (&Method::POST, ["redelivery"]) => {
            simulator.set_redelivery(read(body)?);
            Ok(json!({}))
        }
        _ => Err(Refusal::NotFound),
    }
}

fn act_on(simulator: &Simulator, app: &AppId, deed: &str, body: &[u8]) -> Result<Value, Refusal> {
    let dropped = |cut: &Cut| Ok(json!({ "connections": simulator.drop_connections(app, cut)? }));
    match deed {
        "push" => Ok(serde_json::to_value(simulator.push(app, read(body)?)?)?),
        "push_raw" => Ok(json!({ "event_id": simulator.push_raw(app, body)? })),
        "push_again" => {
            let body: AgainBody = read(body)?;
            Ok(json!({ "event_id": simulator.push_again(app, &body.message_id)? }))
        }
        "report" => {
            let activity: Activity = read(body)?;
            Ok(json!({ "event_id": simulator.report(app, activity)? }))
        }
        "connection_limit" => {
            let limit: ConnectionLimit = read(body)?;
            simulator.set_connection_limit(app, limit)?;
            Ok(json!({}))
        }
        "chats" => {
            let chat: ChatBody = read(body)?;
            if chat.leave {
                simulator.remove_chat(app, &chat.chat_id)?;
            } else {
                simulator.add_chat(app, chat.chat_id, chat.chat_type)?;
            }
            Ok(json!({}))
        }
        "faults" => {
            let faults: FaultsBody = read(body)?;
            if faults.clear {
                simulator.clear_faults(app)?;
            }
            if let Some(fault) = faults.fault {
                simulator.set_fault(app, fault, faults.times.unwrap_or(Times::Count(1)))?;
            }
            Ok(json!({}))
        }
        "drop" => {
            let body: DropBody = read(body)?;
            let reason = body.reason;
            dropped(&body.code.map_or(Cut::Fin, |code| Cut::Close { code, reason }))
        }
        "reset" => dropped(&Cut::Reset),
        "black_hole" => dropped(&Cut::BlackHole),
        "inject" => Ok(json!({ "connections": simulator.inject(app, read(body)?)? })),
        "revoke" => {
            simulator.revoke_tokens(app)?;
            Ok(json!({}))
        }
        _ => Err(Refusal::NotFound),
    }
}

/// A body; none is `{}`.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(if body.is_empty() { b"{}" } else { body })
}

/// Web pages, and names that were made to point here, are kept out (F-091).
fn is_local(parts: &Parts) -> bool {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let loopback = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    loopback && !parts.headers.contains_key(header::ORIGIN)
}
