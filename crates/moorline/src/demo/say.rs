//! `moorline demo say`: a user of the simulated platform writes to a bot, and sees its reply.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use http::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::cli::Place;
use crate::client::{Client, running};
use crate::exit::{Code, Failed};
use crate::output::{self, span};

/// The data directory of a demo, as `config/demo.toml` has it.
pub(super) const DATA_DIR: &str = "data/demo";

/// How long to wait for the reply: an account that is being tortured needs up to a minute to come back.
const PATIENCE: Duration = Duration::from_secs(90);

/// A reply of this many bytes may be the first part of a longer one,
const LONG: usize = 1_000;

/// which is whole when no further part has come for so long: the parts are sent in a row.
const NO_MORE: Duration = Duration::from_secs(2);

/// Before whoever waits is told why it may take long.
const TELL_AFTER: Duration = Duration::from_secs(2);

/// Writes `text` to `account` and prints what comes back.
///
/// # Errors
/// When no demo runs, there is no such account, or no reply comes in time.
pub async fn say(place: &Place, account: &str, text: &str, as_json: bool) -> Result<Code> {
    if text.trim().is_empty() {
        return Err(Failed::new(Code::Usage, "there is nothing to say: a bot answers text only").into());
    }
    let dir = place.data_dir.as_deref().unwrap_or(Path::new(DATA_DIR));
    let run = running(dir)
        .map_err(|_| Failed::new(Code::Unreachable, "no demo is running: start one with `moorline demo`"))?;
    let control = run.simulator.ok_or_else(|| Failed::new(Code::Unreachable, "what runs here is no demo"))?;
    let simulator = Client::open(control);
    let name = account.trim_start_matches("feishu:");
    let app = app_of(&simulator, name).await?;
    // A chat of its own: the reply cannot be taken for that of somebody who says the same at the same time.
    let chat = format!("oc_you_{:08x}", fastrand::u32(..));
    let push = json!({ "chat_id": chat, "user": "ou_you", "text": text });
    let began = Instant::now();
    simulator.expect(Method::POST, &format!("/_simulator/apps/{app}/push"), Some(&push)).await?;
    let parts = reply_in(&simulator, &chat, name, dir, began).await?;
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if as_json {
        let reply = parts.join("\n");
        output::json(
            &json!({ "account": account, "said": text, "reply": reply, "parts": parts, "after_ms": took }),
        )?;
    } else {
        output::line(&format!("you  -> {name}: {text}"))?;
        let (last, before) = parts.split_last().map_or(("", &[][..]), |(last, before)| (&**last, before));
        for part in before {
            output::line(&format!("{name} -> you: {part}"))?;
        }
        output::line(&format!("{name} -> you: {last}   ({})", span(took)))?;
    }
    Ok(Code::Ok)
}

async fn app_of(simulator: &Client, name: &str) -> Result<String> {
    let state = simulator.expect(Method::GET, "/_simulator/state", None).await?;
    let apps = state["apps"].as_object().cloned().unwrap_or_default();
    let wanted = format!("{name} bot");
    let found = apps.iter().find(|(_, view)| view["bot_name"] == json!(wanted));
    let known = || {
        let names = apps.values().filter_map(|view| view["bot_name"].as_str());
        names.map(|name| name.trim_end_matches(" bot")).collect::<Vec<_>>().join(", ")
    };
    match found {
        Some((app, _)) => Ok(app.clone()),
        None => {
            Err(Failed::new(Code::Usage, format!("the demo has no bot `{name}`, only {}", known())).into())
        }
    }
}

/// What the bot says in the chat: a long reply has several parts, which come one after the other.
async fn reply_in(
    simulator: &Client,
    chat: &str,
    name: &str,
    dir: &Path,
    began: Instant,
) -> Result<Vec<String>> {
    let mut told = false;
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let state = simulator.expect(Method::GET, "/_simulator/state", None).await?;
        let visible = state["visible"].as_array().into_iter().flatten();
        let parts: Vec<String> = visible
            .filter(|message| message["chat"] == json!(chat))
            .filter_map(|message| Some(message["text"].as_str()?.to_owned()))
            .collect();
        if parts.len() != seen {
            (seen, since) = (parts.len(), Instant::now());
        }
        // A short reply is whole; of a long one the rest is on its way.
        let whole = parts.last().is_some_and(|last| parts.len() == 1 && last.len() < LONG);
        if whole || seen > 0 && since.elapsed() > NO_MORE {
            return Ok(parts);
        }
        if !told && seen == 0 && began.elapsed() > TELL_AFTER {
            told = true;
            output::note(&format!(
                "{name} has not answered yet: it may be stopped or reconnecting, `moorline --data-dir {} status` says",
                dir.display()
            ));
        }
        if began.elapsed() > PATIENCE {
            let message = format!("no reply within {} s", PATIENCE.as_secs());
            return Err(Failed::new(Code::NotHealthy, message).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
