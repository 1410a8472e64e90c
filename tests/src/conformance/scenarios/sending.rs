//! What we write: refused in every class, its answer lost, too long for one message, or while nothing can be received.

use std::time::Duration;

use moorline_core::FailureClass;

use super::{Played, SECOND, Scenario, needs};
use crate::conformance::Mount;
use crate::conformance::stage::{Harm, Silence};
use crate::conformance::theatre::{FIRST, LATE, NOTICED, SOON, Theatre};

/// What readers see as one character, and programs as several.
const ASTRONAUT: &str = "👩🏽‍🚀";

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for class in FailureClass::ALL {
        let name = format!("send refused: {class}");
        scenarios.push(Scenario::new(name, move |t| Box::pin(refused(t, class))));
    }
    scenarios.extend([
        Scenario::new("send, answer lost by a reset", |t| Box::pin(answer_lost(t, Silence::Refused))),
        Scenario::new("send, answer lost by silence", |t| Box::pin(answer_lost(t, Silence::Silent))),
        Scenario::new("send while nothing is received", |t| Box::pin(deaf(t))),
        Scenario::new("long text", |t| Box::pin(long_text(t))),
        Scenario::new("unicode at the split", |t| Box::pin(unicode(t))),
    ]);
    scenarios
}

/// What may pass is tried until it does; what never will is a dead letter; what needs its user waits for them.
async fn refused(t: &mut Theatre, class: FailureClass) -> Played {
    t.harm(Harm::RefuseSends(class)).await?;
    let said = t.say(FIRST, "alice", "its answer is refused");
    t.until("refused", SOON, async |t| t.has_struck()).await;
    assert_eq!(t.state(FIRST).await, "ready", "receiving does not depend on it (G10)");
    if class == FailureClass::Rejected {
        t.until("dead", SOON, async |t| t.count(FIRST, "dead").await == 1).await;
        t.refused(said);
    } else {
        t.until("waits", SOON, async |t| waits(&t.row(said).await)).await;
    }
    t.heal();
    if class == FailureClass::AwaitsUser {
        let next = t.say(FIRST, "alice", "and now?");
        t.answered(next, SOON).await;
    } else if t.mount() == Mount::Sockets {
        t.house.hurry(&t.id(FIRST)).await;
    }
    t.all_answered(Duration::from_secs(11 * 60)).await;
    t.recovered(SOON).await;
    Ok(())
}

fn waits(row: &serde_json::Value) -> bool {
    !row["last_error"].is_null() && row["state"] != "sending" && row["state"] != "dead"
}

/// A send that took effect and was never answered is repeated: once visible where the platform knows keys, else at
/// least once, and marked when more.
async fn answer_lost(t: &mut Theatre, silence: Silence) -> Played {
    t.harm(Harm::LoseAnswers(silence)).await?;
    let said = t.say(FIRST, "alice", "its answer arrives, and nobody says so");
    t.until("visible", SOON, async |t| t.copies(said) > 0).await;
    t.until("struck", SOON, async |t| t.has_struck()).await;
    assert!(t.count(FIRST, "outbox").await == 1, "nothing less than a confirmation counts (F-059)");
    t.heal();
    t.until("settled", 180 * SECOND, async |t| t.count(FIRST, "outbox").await == 0).await;
    t.recovered(SOON).await;
    Ok(())
}

/// Sending does not depend on receiving (G10).
async fn deaf(t: &mut Theatre) -> Played {
    t.harm(Harm::Refuse(FailureClass::Transient)).await?;
    t.until("deaf", NOTICED, async |t| t.has_struck() && t.state(FIRST).await != "ready").await;
    let said = t.write("early", "written while deaf").await;
    t.answered(said, SOON).await;
    assert_ne!(t.state(FIRST).await, "ready");
    t.heal();
    t.recovered(61 * SECOND).await;
    Ok(())
}

/// Longer than one message may be: in parts, in order, each once.
async fn long_text(t: &mut Theatre) -> Played {
    let limit = t.capabilities().text_limit;
    needs(limit.max < 1_000_000, "no limit to speak of")?;
    let mut text = String::new();
    let mut line = 0;
    while limit.unit.measure(&text) < limit.max * 5 / 2 {
        text += &format!("line {line:>6} with an ü, a 消息 and a {ASTRONAUT}\n");
        line += 1;
    }
    let text = text.trim_end().to_owned();
    let said = t.say(FIRST, "alice", &text);
    t.answered(said, LATE).await;
    let parts = t.stage.visible(FIRST, "alice");
    assert_eq!(parts.concat(), text, "whole and in order");
    assert!(parts.len() >= 3 && parts.iter().all(|part| limit.unit.measure(part) <= limit.max));
    assert!(parts.iter().all(|part| part.starts_with("line")), "cut at lines");
    Ok(())
}

/// The limit falls into every place of what is one character to a reader; it is never cut in two.
async fn unicode(t: &mut Theatre) -> Played {
    let limit = t.capabilities().text_limit;
    let size = limit.unit.measure(ASTRONAUT);
    for shift in 0..=size {
        let user = format!("alice{shift}");
        let text = format!("{}{ASTRONAUT} and more", "x".repeat(limit.max - shift));
        let said = t.say(FIRST, &user, &text);
        t.answered(said, LATE).await;
        let parts = t.stage.visible(FIRST, &user);
        assert_eq!(parts.concat(), text, "{shift}");
        let whole = parts.iter().filter(|part| part.contains(ASTRONAUT)).count();
        assert!(parts.len() == 2 && whole == 1, "{shift}: cut in two");
    }
    Ok(())
}
