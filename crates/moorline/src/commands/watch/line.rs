//! Events as lines for people, in the words of the log.

use serde_json::Value;

use super::super::text;
use crate::output::{cut, span};

/// The longest reason on a line, in characters.
const REASON: usize = 160;

/// One line for an event, one for each part of a snapshot.
pub(super) fn lines(event: &Value) -> Vec<String> {
    if let Some(missed) = event["lagged"].as_u64() {
        return vec![format!("… {missed} events were missed: they came faster than they could be shown")];
    }
    let time = time(&event["at"]);
    let line = |whose: &str, what: String| match whose {
        "" => format!("{time} {what}"),
        whose => format!("{time} [{whose}] {what}"),
    };
    match event["kind"].as_str().unwrap_or_default() {
        "snapshot" => snapshot(event).into_iter().map(|(whose, what)| line(&whose, what)).collect(),
        kind => vec![line(&whose(kind, event), sentence(kind, event))],
    }
}

/// Whom it concerns: the account, the actor, or the part of the process.
fn whose(kind: &str, event: &Value) -> String {
    match kind {
        "actor_exited" | "actor_restarting" | "actor_parked" | "actor_started" => text(&event["path"]),
        "reload_applied" | "reload_failed" => "config".to_owned(),
        "store" => "store".to_owned(),
        "agent" => format!("agent {}", text(&event["agent"])),
        _ => event["account"].as_str().unwrap_or_default().to_owned(),
    }
}

fn sentence(kind: &str, event: &Value) -> String {
    let said = |key: &str| text(&event[key]);
    let reason = |value: &Value| cut(&text(value), REASON);
    let next = next(event);
    match kind {
        "account" => connection(event),
        "account_added" => "added to the configuration".to_owned(),
        "account_removed" => "removed from the configuration".to_owned(),
        "identity" => match said("to").as_str() {
            "verified" => format!("identity verified: {} ({})", said("name"), said("id")),
            "cached" if event["error"].is_null() => {
                format!("identity known from before: {} ({})", said("name"), said("id"))
            }
            _ if event["error"].is_null() => "identity unknown".to_owned(),
            _ => format!("identity not verified: {}{next}", reason(&event["error"])),
        },
        "token" => match said("to").as_str() {
            "valid" if event["error"].is_null() => "there is an access token".to_owned(),
            "unused" => "there is no access token yet".to_owned(),
            _ => format!("token not fetched: {}{next}", reason(&event["error"])),
        },
        "gap" => format!(
            "messages from {} to {} may be missing: {}",
            said("from"),
            said("to"),
            reason(&event["why"])
        ),
        "suspect" if event["why"].is_null() => "nothing speaks for a deaf connection any more".to_owned(),
        "suspect" => format!("the connection may be deaf: {}", reason(&event["why"])),
        "actor_exited" => {
            let exit = &event["reason"];
            let lived = span(event["ran_for_ms"].as_u64().unwrap_or(0));
            let why = exit["message"].as_str().map(|why| format!(": {}", cut(why, REASON)));
            format!("ended by a fault after {lived}: {}{}", text(&exit["kind"]), why.unwrap_or_default())
        }
        "actor_restarting" => format!("waits for its next life{next}"),
        "actor_parked" => format!("parked: it failed too often{next}"),
        "actor_started" => format!("begins life {}", event["generation"]),
        "reload_applied" => applied(&event["applied"]),
        "reload_failed" => {
            let problems = event["problems"].as_array().map_or(&[][..], Vec::as_slice);
            let first = problems.first().map(reason).unwrap_or_default();
            let more = problems.len().saturating_sub(1);
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            format!("not applied, the old configuration stays in use: {first}{more}")
        }
        "store" if event["to"] == "ok" => "takes commits again".to_owned(),
        "store" => format!("{}: {}", said("to"), reason(&event["message"])),
        "agent" if event["to"] == "ok" => "takes calls again".to_owned(),
        "agent" => format!("not available, turns wait for it: {}{next}", reason(&event["error"])),
        "turns_interrupted" => format!("turns interrupted{}", within(event)),
        "turn_resumed" => format!("interrupted turn {} resumed{}", event["turn"], within(event)),
        "turn_parked" => {
            format!(
                "turn {} parked: it was interrupted {} times{}",
                event["turn"],
                event["attempts"],
                within(event)
            )
        }
        "dead_letter" => {
            format!(
                "message {} will never be sent: {}{}",
                event["outbox"],
                reason(&event["error"]),
                within(event)
            )
        }
        "draining" if event["restart"] == true => "being replaced by a fresh process".to_owned(),
        "draining" => "shutting down".to_owned(),
        "message_received" | "message_judged" => {
            let what = if kind == "message_received" { "received" } else { "judged" };
            let why = event["reason"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
            format!("message {} {what}: {}{why}{}", event["inbox"], said("verdict"), within(event))
        }
        "turn_started" => format!("turn {} begins{}", event["turn"], within(event)),
        "turn_finished" => format!("turn {} ended: {}{}", event["turn"], said("outcome"), within(event)),
        "send_failed" => format!("message {} not sent: {}{next}", event["outbox"], reason(&event["error"])),
        "send_held" => {
            format!("message {} is held until its user writes: {}", event["outbox"], reason(&event["error"]))
        }
        "message_sent" => {
            let doubt = if event["delivery_doubted"] == true { ", and may be shown to nobody" } else { "" };
            let tries = attempts(&event["attempts"]);
            format!("message {} sent{doubt} ({tries}){}", event["outbox"], within(event))
        }
        // A newer endpoint may know more than we do.
        other => format!("{other} {event}"),
    }
}

/// What became of a connection, in the words of the log.
fn connection(event: &Value) -> String {
    let (from, to) = (text(&event["from"]), text(&event["to"]));
    let why = event["cause"]["message"].as_str().map(|why| format!(": {}", cut(why, REASON)));
    let (why, next) = (why.unwrap_or_default(), next(event));
    match to.as_str() {
        "ready" => {
            let word = if from == "connecting" { "ready" } else { "reconnected" };
            let after = span(event["after_ms"].as_u64().unwrap_or(0));
            format!("{word} after {after} ({})", attempts(&event["attempts"]))
        }
        "reconnecting" if from == "ready" => format!("disconnected{why}{next}"),
        // Its connection's next life has begun.
        "reconnecting" if why.is_empty() && next.is_empty() => "reconnecting".to_owned(),
        "reconnecting" => format!("not connected{why}{next}"),
        "blocked" => format!("blocked ({}), an operator has to act{why}{next}", text(&event["blocked"])),
        "parked" => format!("parked{why}{next}"),
        other => other.to_owned(),
    }
}

fn applied(applied: &Value) -> String {
    let parts = [
        ("added", "added"),
        ("removed", "removed"),
        ("reconnected", "connecting anew"),
        ("updated", "updated"),
        ("needs_restart", "for the next start"),
    ];
    let named = parts.iter().filter_map(|(key, word)| {
        let names: Vec<String> = applied[key].as_array()?.iter().map(text).collect();
        (!names.is_empty()).then(|| format!("{word} {}", names.join(" ")))
    });
    let named: Vec<String> = named.collect();
    let named = if named.is_empty() { String::new() } else { format!("{}, ", named.join(", ")) };
    format!("configuration applied: {named}{} accounts untouched", applied["untouched"])
}

/// What is so at the beginning: the process, then whatever is not as it should be, and each account.
fn snapshot(event: &Value) -> Vec<(String, String)> {
    let word = if event["ready"] == true { "ready" } else { "NOT READY" };
    let mut said = vec![(
        String::new(),
        format!("watching moorline {} (pid {}): {word}", text(&event["version"]), event["pid"]),
    )];
    if event["store"]["state"] != "ok" {
        said.push(("store".to_owned(), cut(&text(&event["store"]["message"]), REASON)));
    }
    for problem in event["config"]["problems"].as_array().into_iter().flatten() {
        said.push(("config".to_owned(), format!("not applied: {}", cut(&text(problem), REASON))));
    }
    for (name, agent) in event["agents"].as_object().into_iter().flatten() {
        if agent["state"] != "ok" {
            let why = cut(&text(&agent["last_error"]), REASON);
            said.push((format!("agent {name}"), format!("not available: {why}")));
        }
    }
    for account in event["accounts"].as_array().into_iter().flatten() {
        let why = account["cause"]["message"].as_str().map(|why| format!(": {}", cut(why, REASON)));
        let since = text(&account["since"]);
        let what = format!("{} since {since}{}", text(&account["state"]), why.unwrap_or_default());
        said.push((text(&account["id"]), what));
    }
    said
}

fn attempts(count: &Value) -> String {
    format!("{count} attempt{}", if *count == 1 { "" } else { "s" })
}

fn within(event: &Value) -> String {
    event["conversation"].as_str().map(|id| format!(" conversation={}", cut(id, REASON))).unwrap_or_default()
}

/// The wait that the event announces: between two of its own times, so that it is right whenever it is read.
fn next(event: &Value) -> String {
    let moment = super::super::moment;
    match (moment(&event["at"]), moment(&event["next_attempt_at"])) {
        (Some(at), Some(next)) => {
            format!(", next attempt in {}", span(moorline_core::millis(next.since(at))))
        }
        _ => String::new(),
    }
}

/// The time of day, as the log shows it.
fn time(at: &Value) -> String {
    at.as_str().and_then(|at| at.get(11..23)).unwrap_or("--:--:--.---").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(mut event: Value) -> Value {
        event["at"] = json!("2026-11-20T12:00:20.131Z");
        event
    }

    #[test]
    fn an_event_reads_as_the_log_does() {
        let cause = json!({ "class": "transient", "code": null, "message": "no sign of life for 10 s" });
        let rows = [
            (
                json!({ "kind": "account", "account": "feishu:main", "from": "reconnecting", "to": "ready",
                    "after_ms": 4210, "attempts": 5 }),
                "12:00:20.131 [feishu:main] reconnected after 4.2 s (5 attempts)",
            ),
            (
                json!({ "kind": "account", "account": "feishu:main", "from": "connecting", "to": "ready",
                    "after_ms": 40, "attempts": 1 }),
                "12:00:20.131 [feishu:main] ready after 40 ms (1 attempt)",
            ),
            (
                json!({ "kind": "account", "account": "feishu:main", "from": "ready", "to": "reconnecting",
                    "cause": cause, "next_attempt_at": "2026-11-20T12:00:20.943Z" }),
                "12:00:20.131 [feishu:main] disconnected: no sign of life for 10 s, next attempt in 812 ms",
            ),
            (
                json!({ "kind": "store", "from": "ok", "to": "full", "message": "the disk is full" }),
                "12:00:20.131 [store] full: the disk is full",
            ),
            (
                json!({ "kind": "draining", "restart": true }),
                "12:00:20.131 being replaced by a fresh process",
            ),
            (
                json!({ "kind": "message_received", "account": "feishu:main", "conversation": "oc_1\u{1b}[2J",
                    "inbox": 7, "verdict": "dropped", "reason": "not_mentioned" }),
                "12:00:20.131 [feishu:main] message 7 received: dropped (not_mentioned) conversation=oc_1·[2J",
            ),
            (
                json!({ "kind": "message_sent", "account": "weixin:main", "conversation": "u", "outbox": 3,
                    "attempts": 1, "delivery_doubted": true }),
                "12:00:20.131 [weixin:main] message 3 sent, and may be shown to nobody (1 attempt) conversation=u",
            ),
        ];
        for (event, line) in rows {
            assert_eq!(lines(&at(event)), [line]);
        }
        assert!(lines(&json!({ "lagged": 7 }))[0].contains("7 events were missed"));
    }

    /// The kinds that this program knows are those that it can tell.
    #[test]
    fn every_kind_has_a_sentence() {
        for kind in moorline_runtime::What::KINDS {
            let line = lines(&at(json!({ "kind": kind }))).remove(0);
            assert!(!line.contains("\"kind\""), "{kind} is told as it came: {line}");
        }
    }
}
