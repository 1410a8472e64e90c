//! Getting connected and staying so: refusals of every class, silence in every phase, and every way a connection ends.

use std::time::Duration;

use moorline_core::{FailureClass, RetryPolicy};

use super::{Played, SECOND, Scenario};
use crate::conformance::Mount;
use crate::conformance::stage::{Harm, Phase, Silence};
use crate::conformance::theatre::{FIRST, LATE, NOTICED, SOON, Theatre};

/// The longest deadline of one call or handshake, with what is left of a back-off at its cap.
const DEADLINE_AND_CAP: Duration = Duration::from_secs(60 + 60);

/// Until a refusal is shown for what it is: a session that cannot be had again is a matter for a person after two minutes.
const SHOWN: Duration = Duration::from_secs(30 * 60);

/// Twice as long as the longest outage of a night.
const LONG_OUTAGE: Duration = Duration::from_secs(17 * 3_600);

/// The same where time is real: long enough for the back-off to reach its cap.
const LONG_OUTAGE_QUICK: Duration = Duration::from_secs(4);

/// What one user says at once: no more than every platform lets us answer.
const AT_ONCE: usize = 8;

/// How often a connection that flaps is opened before it is left alone.
const FLAPS: u64 = 6;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut scenarios = vec![Scenario::new("connect", |t| Box::pin(connect(t)))];
    for class in FailureClass::ALL {
        scenarios.push(Scenario::new(format!("refused: {class}"), move |t| Box::pin(refused(t, class))));
    }
    for phase in Phase::ALL {
        let name = format!("hang: {}", phase.as_str());
        scenarios.push(Scenario::new(name, move |t| Box::pin(hang(t, phase))));
    }
    scenarios.extend([
        Scenario::new("half-open", |t| Box::pin(half_open(t))),
        Scenario::new("ended in every way", |t| Box::pin(ended(t))),
        Scenario::new("flap", |t| Box::pin(flap(t))),
        Scenario::new("session expired", |t| Box::pin(session_expired(t))),
        Scenario::new("credentials revoked and restored", |t| Box::pin(revoked(t))),
        Scenario::new("unreachable: refused", |t| Box::pin(unreachable(t, Silence::Refused))),
        Scenario::new("unreachable: silent", |t| Box::pin(unreachable(t, Silence::Silent))),
        Scenario::new("ready after a long outage", |t| Box::pin(long_outage(t))),
    ]);
    scenarios
}

/// Everybody is ready, and what is said at once is answered at once, in order.
async fn connect(t: &mut Theatre) -> Played {
    for n in 0..AT_ONCE {
        t.say(FIRST, "alice", &format!("{n}"));
    }
    t.all_answered(6 * SOON).await;
    let seen = t.stage.visible(FIRST, "alice");
    assert_eq!(seen, (0..AT_ONCE).map(|n| n.to_string()).collect::<Vec<_>>(), "in order of receipt (G3)");
    Ok(())
}

/// A refusal is shown for what it is; when it is over, the account is ready within the longest wait of its class.
async fn refused(t: &mut Theatre, class: FailureClass) -> Played {
    t.harm(Harm::Refuse(class)).await?;
    t.until("refused", SHOWN, async |t| t.has_struck() && shown_as(t, class).await).await;
    t.say(FIRST, "alice", "while refused");
    if !is_for_an_operator(class) {
        let before = t.blows();
        t.until("tried again", DEADLINE_AND_CAP, async |t| t.blows() > before).await;
    }
    t.heal();
    if t.mount() == Mount::Sockets && is_for_an_operator(class) {
        // Ten minutes are too long to wait here; whoever has put it right may say so.
        t.house.hurry(&t.id(FIRST)).await;
    }
    t.recovered(longest_wait(class) + SECOND).await;
    Ok(())
}

async fn shown_as(t: &Theatre, class: FailureClass) -> bool {
    let cause = t.cause(FIRST).await;
    let fits = match class {
        // What cannot be read may also be taken for a platform that is busy.
        FailureClass::Protocol => {
            matches!(cause, Some(FailureClass::Protocol | FailureClass::Transient))
        }
        class => cause == Some(class),
    };
    let state = if is_for_an_operator(class) { "blocked" } else { "reconnecting" };
    fits && t.state(FIRST).await == state
}

const fn is_for_an_operator(class: FailureClass) -> bool {
    moorline_core::BlockReason::of(class).is_some()
}

fn longest_wait(class: FailureClass) -> Duration {
    let policy = RetryPolicy::STANDARD;
    match class {
        FailureClass::Conflict => policy.conflict_max,
        class if is_for_an_operator(class) => policy.operator,
        _ => policy.transient.max,
    }
}

/// Silence ends at a deadline, and is not for ever.
async fn hang(t: &mut Theatre, phase: Phase) -> Played {
    match phase {
        Phase::Prelude | Phase::Opening | Phase::SignOfLife => {
            t.harm(Harm::Hang(phase)).await?;
            t.until("not ready", NOTICED, async |t| t.has_struck() && t.state(FIRST).await != "ready").await;
            t.say(FIRST, "alice", "while nothing is answered");
            t.heal();
            t.recovered(DEADLINE_AND_CAP).await;
        }
        Phase::Credentials | Phase::Send => {
            t.harm(Harm::Hang(phase)).await?;
            let said = t.say(FIRST, "alice", "while nothing is answered");
            t.until("stuck", SOON, async |t| t.has_struck() && t.count(FIRST, "outbox").await == 1).await;
            assert_eq!(t.state(FIRST).await, "ready", "receiving does not depend on it (G10)");
            assert_eq!(t.copies(said), 0);
            t.heal();
            t.answered(said, DEADLINE_AND_CAP).await;
        }
        Phase::Identity => {
            t.harm(Harm::Hang(phase)).await?;
            t.house.hurry(&t.id(FIRST)).await;
            t.until("asked", SOON, async |t| t.has_struck()).await;
            let said = t.say(FIRST, "alice", "while nobody says who we are");
            t.answered(said, SOON).await;
            assert_eq!(t.state(FIRST).await, "ready", "it is another fact");
            t.heal();
            t.until("known", DEADLINE_AND_CAP, async |t| {
                let account = t.account(FIRST).await;
                account["identity"]["state"] == "verified" && account["identity"]["attempt"] == 0
            })
            .await;
        }
    }
    Ok(())
}

/// A connection that is open and dead is found out by its silence.
async fn half_open(t: &mut Theatre) -> Played {
    t.harm(Harm::HalfOpen).await?;
    t.say(FIRST, "alice", "into a dead connection");
    t.noticed(NOTICED).await;
    t.heal();
    t.recovered(NOTICED).await;
    Ok(())
}

/// Every way in which this platform ends connections is followed by the next one.
async fn ended(t: &mut Theatre) -> Played {
    for way in 0..5 {
        t.harm(Harm::Cut(way)).await?;
        t.say(FIRST, "alice", &format!("around end {way}"));
        t.noticed(NOTICED).await;
        t.heal();
        let took = t.until("back", DEADLINE_AND_CAP, async |t| t.state(FIRST).await == "ready").await;
        t.recovered(SOON).await;
        if t.mount() == Mount::Memory {
            assert!(took <= SOON, "way {way}: not ready for {took:?}");
            // A healthy minute, so that each is the first failure again.
            t.pass(61 * SECOND).await;
        }
    }
    Ok(())
}

/// Connections that end as soon as they are open are slowed down, and never given up.
async fn flap(t: &mut Theatre) -> Played {
    t.harm(Harm::Flap).await?;
    t.say(FIRST, "alice", "while it flaps");
    t.until("flaps", LATE, async |t| t.blows() >= FLAPS).await;
    t.heal();
    t.recovered(DEADLINE_AND_CAP).await;
    Ok(())
}

/// What calls are authenticated with ends: it is replaced at once, and nobody notices.
async fn session_expired(t: &mut Theatre) -> Played {
    t.harm(Harm::SessionExpired).await?;
    let said = t.say(FIRST, "alice", "after it ended");
    t.answered(said, SOON).await;
    t.heal();
    t.recovered(SOON).await;
    Ok(())
}

/// Credentials that are no good are shown so, and taken up again when they are.
async fn revoked(t: &mut Theatre) -> Played {
    t.harm(Harm::Revoked).await?;
    t.until("shown", SHOWN, async |t| t.state(FIRST).await == "blocked").await;
    let cause = t.cause(FIRST).await;
    let person = [FailureClass::Credentials, FailureClass::NeedsLogin];
    assert!(cause.is_some_and(|cause| person.contains(&cause)), "{cause:?}");
    t.say(FIRST, "alice", "while revoked");
    t.heal();
    if t.mount() == Mount::Sockets {
        t.house.hurry(&t.id(FIRST)).await;
    }
    t.recovered(RetryPolicy::STANDARD.operator + SECOND).await;
    Ok(())
}

async fn unreachable(t: &mut Theatre, silence: Silence) -> Played {
    t.harm(Harm::Unreachable(silence)).await?;
    t.until("not ready", NOTICED, async |t| t.state(FIRST).await == "reconnecting").await;
    let span = if t.mount() == Mount::Memory { 60 * SECOND } else { SECOND };
    t.pass(span).await;
    t.heal();
    t.recovered(DEADLINE_AND_CAP).await;
    t.say(FIRST, "alice", "when it is back");
    Ok(())
}

/// However long it lasts, it is over within the longest back-off of its end.
async fn long_outage(t: &mut Theatre) -> Played {
    t.harm(Harm::Unreachable(Silence::Refused)).await?;
    let said = t.write("early", "written by an operator during the outage").await;
    let span = if t.mount() == Mount::Memory { LONG_OUTAGE } else { LONG_OUTAGE_QUICK };
    t.pass(span).await;
    assert_eq!(t.copies(said), 0, "it could not be reached");
    t.heal();
    let began = t.ran();
    t.recovered(DEADLINE_AND_CAP).await;
    let took = t.ran() - began;
    if t.mount() == Mount::Memory {
        assert!(took <= RetryPolicy::STANDARD.transient.max + SECOND, "ready {took:?} after its end");
    }
    t.answered(said, DEADLINE_AND_CAP).await;
    Ok(())
}
