//! The process is killed at every step of a message's way, and the next one takes it up. Each step is reached by
//! evidence and not by a delay: what the platform's ledger says, and the rows.

use moorline_core::FailureClass;

use super::{Played, SECOND, Scenario};
use crate::conformance::house::Hold;
use crate::conformance::stage::{Fate, Harm, Phase, Silence};
use crate::conformance::theatre::{FIRST, SOON, Theatre};

/// Where a message is when the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Handed out to us, and not stored.
    BeforeTheCommit,
    /// Stored, and the platform was not told.
    AfterTheCommit,
    /// With the agent.
    TurnRunning,
    /// Its answer is in the outbox, and no call is under way.
    BeforeTheSend,
    /// A call is under way, and has had no effect.
    SendUnderWay,
    /// Its answer is visible, and nobody said so.
    Visible,
    /// Its answer is visible, and its row is being settled.
    BeforeItIsSettled,
    /// All is done.
    Settled,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::BeforeTheCommit,
        Self::AfterTheCommit,
        Self::TurnRunning,
        Self::BeforeTheSend,
        Self::SendUnderWay,
        Self::Visible,
        Self::BeforeItIsSettled,
        Self::Settled,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeTheCommit => "before the commit",
            Self::AfterTheCommit => "after the commit",
            Self::TurnRunning => "turn running",
            Self::BeforeTheSend => "before the send",
            Self::SendUnderWay => "send under way",
            Self::Visible => "visible, unconfirmed",
            Self::BeforeItIsSettled => "confirmed, unsettled",
            Self::Settled => "settled",
        }
    }
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |step: Step| {
        let scenario =
            Scenario::new(format!("killed: {}", step.as_str()), move |t| Box::pin(killed(t, step)));
        if step == Step::TurnRunning { scenario.with_agent_delay("1s") } else { scenario }
    };
    Step::ALL.into_iter().map(scenario).collect()
}

async fn killed(t: &mut Theatre, step: Step) -> Played {
    reach(t, step).await?;
    t.killed().await;
    if step == Step::TurnRunning {
        // It is resumed once the channel is ready, and not earlier (G9).
        t.all_answered(10 * SECOND).await;
    }
    Ok(())
}

/// Brings a message to this step.
async fn reach(t: &mut Theatre, step: Step) -> Played {
    let text = "killed on its way";
    match step {
        Step::BeforeTheCommit => {
            t.hold(Hold::BeforeTheCommit);
            let said = t.say(FIRST, "alice", text);
            let handed_out = [Fate::HandedOut, Fate::Gone];
            t.until("handed out", SOON, async |t| t.house.is_held() && handed_out.contains(&t.fate(said)))
                .await;
        }
        Step::AfterTheCommit => {
            t.hold(Hold::AfterTheCommit);
            let said = t.say(FIRST, "alice", text);
            t.until("written", SOON, async |t| t.house.is_held()).await;
            assert_ne!(t.fate(said), Fate::Acknowledged, "not before it is on disk (G1)");
        }
        Step::TurnRunning => {
            t.say(FIRST, "alice", text);
            t.until("the turn runs", SOON, async |t| t.house.turns() == 1).await;
        }
        Step::BeforeTheSend => {
            t.harm(Harm::RefuseSends(FailureClass::Transient)).await?;
            let said = t.say(FIRST, "alice", text);
            t.until("it waits", SOON, async |t| {
                let row = t.row(said).await;
                t.has_struck() && (row["state"] == "ready" || row["state"] == "unknown")
            })
            .await;
        }
        Step::SendUnderWay => {
            t.harm(Harm::Hang(Phase::Send)).await?;
            let said = t.say(FIRST, "alice", text);
            t.until("it is sent", SOON, async |t| t.has_struck() && t.row(said).await["state"] == "sending")
                .await;
        }
        Step::Visible => {
            t.harm(Harm::LoseAnswers(Silence::Silent)).await?;
            let said = t.say(FIRST, "alice", text);
            t.until("visible", SOON, async |t| t.copies(said) > 0 && t.row(said).await["state"] == "sending")
                .await;
        }
        Step::BeforeItIsSettled => {
            let said = t.say(FIRST, "alice", text);
            t.until("visible", SOON, async |t| t.copies(said) > 0).await;
        }
        Step::Settled => {
            let said = t.say(FIRST, "alice", text);
            t.until("settled", SOON, async |t| t.row(said).await["state"] == "sent").await;
        }
    }
    Ok(())
}
