//! What users write, however it arrives: in bursts, twice, in another order, unreadable, too long, or not at all.

use std::time::Duration;

use moorline_channel::Redelivery;

use super::{Played, SECOND, Scenario, needs};
use crate::conformance::Mount;
use crate::conformance::stage::{Fate, Harm};
use crate::conformance::theatre::{FIRST, LATE, NOTICED, SOON, Theatre};

/// Messages of a burst, and the users who write them.
const BURST: usize = 60;
const USERS: usize = 6;

/// No platform knows more kinds of nonsense that come beside a message.
const MALFORMED: usize = 8;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("drop during a burst", |t| Box::pin(dropped(t))),
        Scenario::new("duplicate", |t| Box::pin(duplicate(t))),
        Scenario::new("reorder", |t| Box::pin(reorder(t))),
        Scenario::new("malformed", |t| Box::pin(malformed(t))),
        Scenario::new("oversized", |t| Box::pin(oversized(t))),
        Scenario::new("gap and backfill", |t| Box::pin(gap(t))),
    ]
}

/// The connection ends twice while many users write.
async fn dropped(t: &mut Theatre) -> Played {
    for n in 0..BURST {
        t.say(FIRST, &format!("user{}", n % USERS), &format!("burst {n}"));
        if n == BURST / 3 || n == 2 * BURST / 3 {
            t.harm(Harm::Cut(n)).await?;
        }
        t.pass(Duration::from_millis(3)).await;
    }
    t.until("struck", NOTICED, async |t| t.has_struck()).await;
    t.heal();
    t.recovered(60 * SECOND).await;
    Ok(())
}

/// What is delivered again is known, and starts nothing (G2).
async fn duplicate(t: &mut Theatre) -> Played {
    t.harm(Harm::Duplicate).await?;
    for n in 0..6 {
        t.say(FIRST, "alice", &format!("again and again {n}"));
    }
    t.until("delivered again", LATE, async |t| t.count(FIRST, "duplicates").await >= 6).await;
    t.heal();
    t.recovered(SOON).await;
    Ok(())
}

async fn reorder(t: &mut Theatre) -> Played {
    t.harm(Harm::Reorder).await?;
    for n in 0..6 {
        t.say(FIRST, "alice", &format!("out of order {n}, with an ü and a 消息"));
    }
    t.all_answered(LATE).await;
    t.heal();
    t.recovered(SOON).await;
    Ok(())
}

/// What cannot be read is skipped or kept, and counted; what comes next is read (F-037).
async fn malformed(t: &mut Theatre) -> Played {
    let before = unread(t).await;
    t.harm(Harm::Malformed).await?;
    // What cannot be read may come beside what can.
    for n in 0..MALFORMED {
        let said = t.say(FIRST, "alice", &format!("among what cannot be read {n}"));
        t.answered(said, LATE).await;
    }
    t.until("counted", SOON, async |t| unread(t).await > before).await;
    t.heal();
    t.recovered(60 * SECOND).await;
    Ok(())
}

/// What was skipped, and what was kept as unreadable.
async fn unread(t: &Theatre) -> u64 {
    let account = t.account(FIRST).await;
    let kept = account["counts"]["dropped"]["unreadable"].as_u64().unwrap_or_default();
    account["skipped"].as_u64().unwrap_or_default() + kept
}

/// What is too long costs at most its own connection (F-095).
async fn oversized(t: &mut Theatre) -> Played {
    t.harm(Harm::Oversized).await?;
    t.say(FIRST, "alice", "beside what is too long");
    t.pass(SECOND).await;
    t.until("struck", NOTICED, async |t| t.has_struck()).await;
    t.heal();
    t.recovered(60 * SECOND).await;
    // Where it is the answer to a call, the call may be under way, and wait for a message to be answered with.
    let said = t.say(FIRST, "alice", "with what is too long, or after it");
    t.until("taken or gone", LATE, async |t| t.copies(said) > 0 || t.fate(said) == Fate::Gone).await;
    Ok(())
}

/// What the platform will not offer again is fetched, or a gap says from when to when it may be missing: never silence.
async fn gap(t: &mut Theatre) -> Played {
    if let Redelivery::UntilAcked(kept) | Redelivery::ByCursor(kept) = t.capabilities().redelivery {
        let hours = kept.as_secs() / 3_600;
        let short = t.mount() == Mount::Memory || hours == 0;
        needs(short, &format!("offered for {hours} h, too long for real time"))?;
    }
    t.harm(Harm::Forget).await?;
    t.pass(SECOND).await;
    let said = t.say(FIRST, "alice", "nobody is there to take it");
    t.until("not offered any more", LATE, async |t| t.fate(said) == Fate::Gone).await;
    if t.mount() == Mount::Memory {
        t.pass(60 * SECOND).await;
    }
    t.heal();
    t.recovered(120 * SECOND).await;
    Ok(())
}
