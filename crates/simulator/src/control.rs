//! The calls of the control interface that are about Feishu. They are listed in the documentation of
//! [`crate::server`].

use http::Method;
use moorline_core::{ChatId, MessageId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::feishu::{
    Activity, AppId, ChatType, ConnectionLimit, Cut, Fault, Person, Push, Rates, Resource, ResourceKind,
    Times, UnknownApp,
};
use crate::mount::{Control, Refusal, read};
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

impl From<UnknownApp> for Refusal {
    fn from(error: UnknownApp) -> Self {
        Self::Unknown(error.to_string())
    }
}

impl Control for Simulator {
    fn control(&self, method: &Method, path: &[&str], body: &[u8]) -> Result<Value, Refusal> {
        match (method, path) {
            (&Method::GET, ["state"]) => Ok(serde_json::to_value(self.state())?),
            (&Method::POST, ["apps"]) => Ok(serde_json::to_value(self.add_app(read(body)?))?),
            (&Method::POST, ["apps", app, deed]) => act_on(self, &AppId::new(*app), deed, body),
            (&Method::POST, ["push"]) => {
                let body: PushBody = read(body)?;
                Ok(serde_json::to_value(self.push_to(&body.apps, body.push)?)?)
            }
            (&Method::POST, ["people"]) => {
                let person: Person = read(body)?;
                self.add_person(person);
                Ok(json!({}))
            }
            (&Method::POST, ["resources"]) => {
                let ResourceBody { kind, name, text } = read(body)?;
                Ok(json!({ "key": self.add_resource(Resource { kind, name, bytes: text.into() }) }))
            }
            (&Method::POST, ["rates"]) => {
                self.set_rates(serde_json::from_slice::<Option<Rates>>(body)?);
                Ok(json!({}))
            }
            (&Method::POST, ["retain"]) => {
                let body: RetainBody = read(body)?;
                self.set_retain(body.retain);
                Ok(json!({}))
            }
            (&Method::POST, ["redelivery"]) => {
                self.set_redelivery(read(body)?);
                Ok(json!({}))
            }
            _ => Err(Refusal::NotFound),
        }
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
