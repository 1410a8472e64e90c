//! The scheduler's jobs and their runs: what may be put down, and what can be read back.
//!
//! A run keeps no copy of what became of its message. It names the rows that carry it, and its result and its delivery
//! are read from them each time, so that a run and its delivery cannot disagree (F-088).

use moorline_core::{
    AccountId, ChatId, DropReason, IdempotencyKey, InboxId, JobId, OutboxId, RunId, Timestamp,
};

use crate::names::named;
use crate::rows::{InboxState, OutboxState};
use crate::tx::{NewMessage, NewReply};

/// How many runs of each job outlive their age.
pub const KEPT_RUNS: u32 = 20;

named! {
    /// What a job does when it is due.
    JobKind {
        /// Sends its text.
        Text = "text",
        /// Asks the agent, and sends what it answers.
        Prompt = "prompt",
    }
}

named! {
    /// What becomes of due times that went by while nobody looked (F-086). They are recorded in any case.
    MissedPolicy {
        /// None of them runs.
        Skip = "skip",
        /// The latest one runs.
        Once = "once",
        /// All of them run, one after the other, up to a limit.
        All = "all",
    }
}

named! {
    /// What came of a run, apart from its delivery.
    RunResult {
        /// The agent is at it, or it waits for the agent.
        Running = "running",
        /// There was something to send.
        Ok = "ok",
        /// The agent chose to say nothing.
        Silent = "silent",
        /// It failed; the reason says why.
        Error = "error",
        /// It did not run: nobody was there when it was due, or the job's policy forbade it.
        Missed = "missed",
        /// It did not run: it was found later than the job's longest delay.
        Expired = "expired",
        /// What it led to is pruned, or deleted by an operator.
        Forgotten = "forgotten",
    }
}

named! {
    /// How far a run's messages got.
    Delivery {
        /// There is nothing to send, or not yet.
        NotRequested = "not_requested",
        /// Some of it waits in the outbox or is being sent.
        Held = "held",
        /// The platform confirmed all of it.
        Delivered = "delivered",
        /// Some of it was given up.
        Failed = "failed",
        /// The rows are pruned.
        Forgotten = "forgotten",
    }
}

named! {
    /// How a turn ended. Part of its row, because transcripts are forgotten earlier.
    TurnResult {
        /// With an answer.
        Answered = "answered",
        /// With silence.
        Silent = "silent",
        /// Without an answer.
        Failed = "failed",
    }
}

named! {
    /// What was recorded of a due time; stored with the run.
    RunKind {
        /// A text was put into the outbox.
        Text = "text",
        /// A prompt was put into the inbox.
        Prompt = "prompt",
        /// Nothing: see [`RunResult::Missed`].
        Missed = "missed",
        /// Nothing: see [`RunResult::Expired`].
        Expired = "expired",
        /// Nothing could be put anywhere.
        Failed = "failed",
    }
}

/// A job to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// What people call it.
    pub name: Option<String>,
    /// The account that sends.
    pub account: AccountId,
    /// Where to.
    pub chat: ChatId,
    /// When, as it was written.
    pub schedule: String,
    /// In which time zone, by its IANA name.
    pub zone: String,
    /// What it does.
    pub kind: JobKind,
    /// The text or the prompt.
    pub body: String,
    /// What becomes of missed due times.
    pub missed: MissedPolicy,
    /// A due time found later than this is not run any more, in milliseconds.
    pub max_delay_ms: u64,
    /// When it is due for the first time.
    pub next_due: Option<Timestamp>,
    /// A key under which the request that adds it is recognised when it is repeated.
    pub key: Option<IdempotencyKey>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its number.
    pub id: JobId,
    /// What it was added with. `next_due` is kept up to date: `None` while it is disabled or never due again.
    pub job: NewJob,
    /// Whether it runs when it is due.
    pub enabled: bool,
    /// Why it was disabled, unless an operator did it.
    pub reason: Option<String>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last enabled.
    pub enabled_at: Timestamp,
}

/// A run, or the record that there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// The job.
    pub job: JobId,
    /// The time it was due; the first of several.
    pub due: Timestamp,
    /// The last of several; else the same.
    pub until: Timestamp,
    /// How many due times it stands for.
    pub count: u64,
    /// What brought it about.
    pub trigger: Trigger,
    /// What happens.
    pub content: RunContent,
}

/// What brought a run about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// The schedule. The job moves on from `seen` to `next_due` in the same commit.
    Schedule {
        /// The job's next due time as it was read.
        seen: Timestamp,
        /// Its next due time from now on.
        next_due: Option<Timestamp>,
    },
    /// An operator, whose request is recognised by this key when it is repeated. The schedule is not touched.
    Operator {
        /// The key.
        key: IdempotencyKey,
    },
}

/// What happens in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunContent {
    /// A text goes into the outbox, in these parts; never none.
    Text(Vec<NewReply>),
    /// The agent is asked: a message goes into the inbox, as if somebody had written it.
    Prompt(Box<NewMessage>),
    /// Nothing.
    Missed {
        /// Why, for people.
        reason: String,
    },
    /// Nothing: it is too late for it.
    Expired,
    /// Nothing: it cannot be done.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

impl RunContent {
    /// What is stored of it.
    pub(crate) fn kind(&self) -> RunKind {
        match self {
            Self::Text(_) => RunKind::Text,
            Self::Prompt(_) => RunKind::Prompt,
            Self::Missed { .. } => RunKind::Missed,
            Self::Expired => RunKind::Expired,
            Self::Failed { .. } => RunKind::Failed,
        }
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Missed { reason } | Self::Failed { reason } => Some(reason),
            Self::Text(_) | Self::Prompt(_) | Self::Expired => None,
        }
    }
}

/// A run as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Its number.
    pub id: RunId,
    /// The job.
    pub job: JobId,
    /// The time it was due; the first of several.
    pub due: Timestamp,
    /// The last of several; else the same.
    pub until: Timestamp,
    /// How many due times it stands for.
    pub count: u64,
    /// Whether an operator asked for it.
    pub by_operator: bool,
    /// When it was recorded, which is when it ran.
    pub at: Timestamp,
    /// What came of it.
    pub result: RunResult,
    /// How far its messages got.
    pub delivery: Delivery,
    /// What is behind an error or a missed time, or why a message was not delivered.
    pub reason: Option<String>,
    /// The message in the inbox that asks the agent.
    pub inbox: Option<InboxId>,
    /// The first message of ours that came of it.
    pub outbox: Option<OutboxId>,
}

/// What the rows say that a run names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// The message of its prompt.
    pub(crate) prompt: Option<InboxState>,
    /// How that message's last turn ended.
    pub(crate) turn: Option<TurnResult>,
    /// Its messages of ours, in order, each with what failed last.
    pub(crate) ours: Vec<(OutboxId, OutboxState, Option<String>)>,
}

/// What came of a run, from what was recorded and what is found.
pub(crate) fn judge(
    kind: RunKind,
    recorded: Option<String>,
    found: &Found,
) -> (RunResult, Delivery, Option<String>) {
    let result = match (kind, found.prompt, found.turn) {
        (RunKind::Missed, ..) => RunResult::Missed,
        (RunKind::Expired, ..) => RunResult::Expired,
        (RunKind::Failed, ..) => RunResult::Error,
        (RunKind::Text, ..) if found.ours.is_empty() => RunResult::Forgotten,
        (RunKind::Text, ..) => RunResult::Ok,
        (RunKind::Prompt, Some(InboxState::Pending | InboxState::Held(_)), _) => RunResult::Running,
        (RunKind::Prompt, Some(InboxState::Dropped(_)), _) => RunResult::Error,
        (RunKind::Prompt, Some(InboxState::Answered), Some(TurnResult::Answered)) => RunResult::Ok,
        (RunKind::Prompt, Some(InboxState::Answered), Some(TurnResult::Silent)) => RunResult::Silent,
        (RunKind::Prompt, Some(InboxState::Answered), Some(TurnResult::Failed)) => RunResult::Error,
        (RunKind::Prompt, None, _) | (RunKind::Prompt, Some(InboxState::Answered), None) => {
            RunResult::Forgotten
        }
    };
    let given_up = |state| matches!(state, OutboxState::Dead | OutboxState::Discarded);
    let lost = found.ours.iter().find(|(_, state, _)| given_up(*state));
    let delivery = match result {
        _ if lost.is_some() => Delivery::Failed,
        _ if found.ours.iter().any(|(_, state, _)| *state != OutboxState::Sent) => Delivery::Held,
        _ if !found.ours.is_empty() => Delivery::Delivered,
        RunResult::Ok | RunResult::Forgotten => Delivery::Forgotten,
        _ => Delivery::NotRequested,
    };
    let reason = recorded.or_else(|| match (result, found.prompt) {
        (RunResult::Error, Some(InboxState::Dropped(reason))) => Some(words(reason).to_owned()),
        (RunResult::Error, _) => Some("the agent gave no answer".to_owned()),
        _ => match lost {
            Some((_, OutboxState::Discarded, _)) => Some("discarded by an operator".to_owned()),
            Some((.., error)) => error.clone(),
            None => None,
        },
    });
    (result, delivery, reason)
}

fn words(reason: DropReason) -> &'static str {
    match reason {
        DropReason::TurnParked => "the turn was interrupted too often",
        DropReason::SessionReset => "given up when an operator reset the conversation",
        other => other.as_str(),
    }
}

/// How a turn with these entries ended.
pub(crate) fn turn_result(entries: &[(crate::rows::Role, String)]) -> TurnResult {
    match entries.last() {
        Some((crate::rows::Role::System, _)) => TurnResult::Failed,
        Some((crate::rows::Role::Agent, text)) if text.is_empty() => TurnResult::Silent,
        _ => TurnResult::Answered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cell of F-088's matrix that a run can be in.
    #[test]
    fn a_run_and_its_delivery_are_judged_apart_f088() {
        use Delivery as D;
        use OutboxState::{Dead, Discarded, Held, Ready, Sending, Sent, Unknown};
        use RunKind as K;
        use RunResult as R;
        let answered = Some(InboxState::Answered);
        let parked = Some(InboxState::Dropped(DropReason::TurnParked));
        let waiting = Some(InboxState::Pending);
        let table = [
            (K::Text, None, None, vec![Sent, Sent], R::Ok, D::Delivered),
            (K::Text, None, None, vec![Sent, Ready], R::Ok, D::Held),
            (K::Text, None, None, vec![Sending], R::Ok, D::Held),
            (K::Text, None, None, vec![Unknown], R::Ok, D::Held),
            (K::Text, None, None, vec![Held], R::Ok, D::Held),
            (K::Text, None, None, vec![Dead, Ready], R::Ok, D::Failed),
            (K::Text, None, None, vec![Discarded], R::Ok, D::Failed),
            (K::Text, None, None, vec![], R::Forgotten, D::Forgotten),
            (K::Prompt, waiting, None, vec![], R::Running, D::NotRequested),
            (K::Prompt, answered, Some(TurnResult::Answered), vec![Sent], R::Ok, D::Delivered),
            (K::Prompt, answered, Some(TurnResult::Answered), vec![Ready], R::Ok, D::Held),
            (K::Prompt, answered, Some(TurnResult::Answered), vec![Dead], R::Ok, D::Failed),
            (K::Prompt, answered, Some(TurnResult::Silent), vec![], R::Silent, D::NotRequested),
            (K::Prompt, answered, Some(TurnResult::Failed), vec![], R::Error, D::NotRequested),
            (K::Prompt, answered, Some(TurnResult::Failed), vec![Sent], R::Error, D::Delivered),
            (K::Prompt, answered, Some(TurnResult::Failed), vec![Ready], R::Error, D::Held),
            (K::Prompt, answered, Some(TurnResult::Failed), vec![Dead], R::Error, D::Failed),
            (K::Prompt, parked, None, vec![Sent], R::Error, D::Delivered),
            (K::Prompt, None, None, vec![], R::Forgotten, D::Forgotten),
            (K::Missed, None, None, vec![], R::Missed, D::NotRequested),
            (K::Expired, None, None, vec![], R::Expired, D::NotRequested),
            (K::Failed, None, None, vec![], R::Error, D::NotRequested),
        ];
        for (kind, prompt, turn, states, result, delivery) in table {
            let ours = states.iter().map(|state| (OutboxId::new(1), *state, None)).collect();
            let told = format!("{kind:?} {prompt:?} {turn:?} {states:?}");
            let judged = judge(kind, None, &Found { prompt, turn, ours });
            assert_eq!((judged.0, judged.1), (result, delivery), "{told}");
        }
    }
}
