//! What can be asked of the store in one transaction.

use std::time::Duration;

use bytes::Bytes;
use moorline_core::{
    AccountId, BootId, Chat, ConversationId, DedupeKey, DropReason, Epoch, EventId, Fingerprint, Generation,
    HoldReason, IdempotencyKey, Identity, Inbound, InboxId, JobId, MessageId, Outbound, OutboxId, Route,
    Secret, Timestamp, TurnId,
};

use crate::cron::{NewJob, NewRun};
use crate::gap::NewGap;
use crate::rows::Role;

/// How much of a transcript outlives its age while anything happens in its conversation.
pub const KEPT_ENTRIES: u32 = 50;

/// The right to act for an account: checked against the account's epoch inside the transaction, so that a process
/// that has been replaced can change nothing (G13). An account that was never taken over has no valid lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The account.
    pub account: AccountId,
    /// The epoch that [`Op::TakeOver`] gave.
    pub epoch: Epoch,
}

/// Who works on a turn or a send. Stored with the row; a claim whose epoch or generation is over marks the row
/// as interrupted (turn) or unknown (send).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The epoch of the account's lease.
    pub epoch: Epoch,
    /// The life of the actor that works on it.
    pub generation: Generation,
}

/// Operations that become durable together, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tx {
    /// The lease under which all of them are done; `None` only for operations that belong to no account.
    pub lease: Option<Lease>,
    /// The operations, in order.
    pub ops: Vec<Op>,
    /// When they are done, for the rows' time stamps.
    pub at: Timestamp,
}

impl Tx {
    /// A transaction under a lease.
    pub fn under(lease: &Lease, at: Timestamp, ops: impl IntoIterator<Item = Op>) -> Self {
        Self { lease: Some(lease.clone()), ops: ops.into_iter().collect(), at }
    }

    /// A transaction that belongs to no account.
    pub fn global(at: Timestamp, ops: impl IntoIterator<Item = Op>) -> Self {
        Self { lease: None, ops: ops.into_iter().collect(), at }
    }
}

/// One operation. All but the first eleven need a lease and act on the lease's account only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A process started. `Duplicate` when this run was recorded before.
    BeginBoot {
        /// The run.
        boot: BootId,
        /// The program's version.
        version: String,
    },
    /// A process ends in an orderly way. `Duplicate` when that was recorded before, `Conflict` when the run never
    /// began.
    EndBoot {
        /// The run.
        boot: BootId,
    },
    /// Takes the account over: its epoch grows by one, its running turns become interrupted and its rows in
    /// `sending` become unknown, all of it in this transaction (design §6). `Applied` carries the new epoch.
    TakeOver {
        /// The account; created when it is new.
        account: AccountId,
    },
    /// Forgets at most `limit` things that have been over for long, the longest first. `Applied` carries how many; fewer
    /// than `limit` means that nothing more is to be forgotten. What is not settled stays, however old, and no count
    /// changes but that of dead letters, which are fewer then.
    ///
    /// Over are: a key last seen before `dedupe_before` (G2); and, before `before`, a message that was answered or
    /// dropped, which takes its turn along; a message of ours that was sent or given up; a gap; the transcript of a
    /// conversation but for the [`KEPT_ENTRIES`] latest entries; a conversation in which nothing happened since and
    /// nothing waits, with all of its transcript; a run of the program but the last; a run of a job but its
    /// [`KEPT_RUNS`](crate::KEPT_RUNS) latest; a reply token.
    Prune {
        /// How far back settled rows are kept.
        before: Timestamp,
        /// How far back keys are remembered.
        dedupe_before: Timestamp,
        /// How many things at most.
        limit: u32,
    },
    /// Remembers what a request was answered with, so that it can be answered the same way again (F-080). `Duplicate` when
    /// its key was used before: then the first answer stays.
    RememberAnswer {
        /// The key that the caller gave it.
        key: String,
        /// The request and its answer.
        answer: RequestAnswer,
    },
    /// Forgets at most `limit` answers that were given before `before`, the oldest first. `Applied` carries how many.
    ForgetAnswers {
        /// How far back answers are kept.
        before: Timestamp,
        /// How many at most.
        limit: u32,
    },
    /// Keeps a short text under a name, in the place of the one before; nothing forgets it.
    Remember {
        /// The name.
        name: String,
        /// The text.
        value: String,
    },
    /// Adds a job of the scheduler. `Applied` carries its [`JobId`]; `Duplicate` that of the job that was added with the
    /// same key.
    AddJob {
        /// The job.
        job: Box<NewJob>,
    },
    /// Removes a job and the records of its runs; what they put into the outbox or the inbox stays. `Conflict` when
    /// there is no such job.
    RemoveJob {
        /// The job.
        job: JobId,
    },
    /// Enables or disables a job, or moves its next due time. `Duplicate` when it is so already, `Conflict` when there is
    /// no such job.
    SwitchJob {
        /// The job.
        job: JobId,
        /// Which of the two.
        enabled: bool,
        /// When it is due next; `None` for one that is disabled.
        next_due: Option<Timestamp>,
        /// Why it is disabled, unless an operator did it.
        reason: Option<String>,
    },
    /// A due time of a job is over: the record of it, what it puts into the outbox or the inbox, and the job's next due
    /// time, all in one (F-087). `Applied` carries the [`RunId`](moorline_core::RunId). `Duplicate` carries that of the
    /// record that has this due time, or this operator's key, already: then nothing but the job's next due time changes.
    /// `Conflict` when the job is gone or disabled, was moved on by somebody else, or is another account's. A run that
    /// puts something anywhere needs a lease, any other does not.
    RecordRun {
        /// The run.
        run: Box<NewRun>,
    },
    /// Stores a message once, and lets go what is held in its chat: → `ready` or, if an earlier attempt may have
    /// succeeded, `unknown`, due at once (F-060). `Applied` carries its [`InboxId`]; `Duplicate` that of the message already stored
    /// under one of its keys, pruned or not, in which case all its keys are remembered from now on (F-032) and nothing
    /// else changes. A message without a key is refused.
    Receive {
        /// The message and the verdict on it.
        message: NewMessage,
    },
    /// Moves a connector's cursor.
    SetCursor {
        /// Which cursor.
        kind: String,
        /// Its new value; an empty one forgets it.
        value: String,
    },
    /// Judges a held message. `Conflict` when it is not held.
    Judge {
        /// The message.
        inbox: InboxId,
        /// The verdict; holding again is a `Conflict`.
        verdict: Verdict,
    },
    /// Starts a turn that answers the pending messages `inputs`. `Applied` carries its [`TurnId`]. `Conflict` when
    /// the conversation has a running or interrupted turn, or when an input is not pending: there is never a
    /// second agent on a conversation. `Fenced` when the claim is not of the lease's epoch; a turn without inputs is
    /// refused.
    StartTurn {
        /// The conversation.
        conversation: ConversationId,
        /// The messages it answers.
        inputs: Vec<InboxId>,
        /// Who runs it.
        claim: Claim,
    },
    /// Takes up an interrupted turn: a compare-and-set on its attempt. `Conflict` when it is not interrupted or was
    /// taken up by somebody else meanwhile, so that a flapping channel resumes nothing twice (F-064). `Fenced` when
    /// the claim is not of the lease's epoch.
    ResumeTurn {
        /// The turn.
        turn: TurnId,
        /// The attempt that was interrupted; it becomes one more.
        attempt: u32,
        /// Who runs it now.
        claim: Claim,
    },
    /// Says whether the attempt under way counts: one that only waits for its agent does not, so that restarts
    /// meanwhile cannot use up the attempts of a turn of which nothing was ever tried. `Fenced` when `claim` no longer
    /// owns the turn.
    CountAttempt {
        /// The turn.
        turn: TurnId,
        /// Who runs it.
        claim: Claim,
        /// Whether it counts from now on; to be said only when it changes.
        counts: bool,
    },
    /// Ends a turn: transcript, replies and the end of its inputs, in one commit. `Fenced` when `claim` no longer
    /// owns the turn. A reply whose key is in the outbox already is there already (see [`Op::Enqueue`]).
    FinishTurn {
        /// The turn.
        turn: TurnId,
        /// Who ran it.
        claim: Claim,
        /// What is added to the transcript.
        entries: Vec<(Role, String)>,
        /// The replies, in order.
        replies: Vec<NewReply>,
    },
    /// Marks as interrupted what an actor left running: turns of `conversation` (of every conversation of the account
    /// when it is `None`) with this account's current epoch and a generation of at most `generation`. `Applied`
    /// carries how many.
    InterruptTurns {
        /// The conversation, or all.
        conversation: Option<ConversationId>,
        /// The last life of the actor that ended.
        generation: Generation,
    },
    /// Gives up an interrupted turn: its inputs are dropped as `turn_parked`, `notice` tells the user. `Conflict`
    /// when the turn is not interrupted.
    ParkTurn {
        /// The turn.
        turn: TurnId,
        /// What the user is told.
        notice: Option<NewReply>,
    },
    /// Puts a message that no turn produced into the outbox, in as many parts as it has. `Applied` carries the
    /// [`OutboxId`] of the first; `Duplicate` that of the row that has its idempotency key already, and then nothing
    /// is added (F-057); `Conflict` when that row is another account's. A message without a part is refused.
    Enqueue {
        /// Its parts, in order.
        parts: Vec<NewReply>,
    },
    /// Claims a row before it is sent: `ready` or `unknown` → `sending`. `Conflict` when it is in another state,
    /// `Fenced` when the claim is not of the lease's epoch.
    ClaimSend {
        /// The row.
        outbox: OutboxId,
        /// Who sends it.
        claim: Claim,
        /// An earlier attempt may have succeeded, and the platform no longer recognises the key: the row is marked,
        /// for good, as one that a user may see twice (design §6).
        possibly_repeated: bool,
    },
    /// Records what became of a send. `Fenced` when `claim` does not hold the row. `Applied` carries 1 when what should
    /// have been held is due at once, else 0.
    SettleSend {
        /// The row.
        outbox: OutboxId,
        /// Who sent it.
        claim: Claim,
        /// What became of it.
        result: SendResult,
    },
    /// Marks as unknown what an outbox actor left in `sending`, with this account's current epoch and a generation
    /// of at most `generation`. `Applied` carries how many.
    InterruptSends {
        /// The last life of the actor that ended.
        generation: Generation,
    },
    /// Gives up a message of ours that has been held since before `before`, and what waits behind it for the same chat
    /// and was put there before that too: → `dead`. `Applied` carries how many; `Conflict` when it is not held, or not
    /// for so long.
    ExpireHeld {
        /// The row.
        outbox: OutboxId,
        /// Held since before this.
        before: Timestamp,
        /// Why they are given up.
        error: String,
    },
    /// Remembers the identity verified with these credentials.
    SaveIdentity {
        /// The credentials.
        fingerprint: Fingerprint,
        /// The identity.
        identity: Identity,
    },
    /// Remembers when the account was last heard, in the place of the time before.
    Heard {
        /// When.
        at: Timestamp,
        /// Whether its connection has ended with a goodbye since, and without a doubt.
        orderly: bool,
    },
    /// Puts a gap down (F-040). `Applied` carries its [`GapId`](moorline_core::GapId); `Duplicate` that of the one of the
    /// same kind that began at the same moment: then that one ends when this one does, for the reason of this one.
    RecordGap {
        /// The gap.
        gap: NewGap,
    },
    /// An operator wants a message of ours sent now (F-053, F-055). A dead letter goes back to its old place with its
    /// key: as `unknown` if an earlier attempt may have succeeded, else as `ready`, and so is one that is held. One that
    /// waits is due at once. Its repetitions are counted anew.
    /// `Conflict` when it is being sent, was sent or was discarded.
    RetrySend {
        /// The row.
        outbox: OutboxId,
    },
    /// An operator gives a message of ours up: `dead`, `ready`, `unknown` or `held` → `discarded`, for good. `Duplicate` when
    /// it was discarded before, `Conflict` when it is being sent or was sent.
    DiscardSend {
        /// The row.
        outbox: OutboxId,
    },
    /// Puts the messages of a conversation that were given up with its latest turns back to pending: those of every
    /// parked turn after its last one that was not parked. The next turn on them begins with the first attempt.
    /// `Applied` carries how many they are; `Conflict` when there are none.
    ReopenTurns {
        /// The conversation.
        conversation: ConversationId,
    },
    /// Lets a conversation begin anew: its transcript so far is forgotten, and a turn that is not over is given up, its
    /// inputs dropped as `session_reset`, whoever works on it. What waits goes on waiting. `Applied` carries the turn,
    /// or 0; `Conflict` when the conversation never received a message.
    ResetSession {
        /// The conversation.
        conversation: ConversationId,
    },
    /// Deletes about `limit` of the account's rows, whatever their state; its epoch is kept. `Applied` carries 1 when
    /// there may be more of them, else 0.
    DiscardRows {
        /// How many rows, so that nobody waits long for the writer.
        limit: u32,
    },
}

/// A request and what it was answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAnswer {
    /// What tells the request from another one under the same key: a hash, for what it said is nobody's business.
    pub request: String,
    /// The answer's status.
    pub status: u16,
    /// The answer's body.
    pub body: String,
}

/// A message to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The delivery's id.
    pub event_id: EventId,
    /// All keys under which it may come again; never empty.
    pub dedupe: Vec<DedupeKey>,
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// Where it was written.
    pub chat: Chat,
    /// The message's own id; `None` for what could not be parsed.
    pub message_id: Option<MessageId>,
    /// Where its answer goes.
    pub route: Route,
    /// What the agent reads.
    pub text: String,
    /// Whatever else is needed to judge the message later, as the caller's own JSON.
    pub context: String,
    /// When the platform says it was written.
    pub written_at: Option<Timestamp>,
    /// The reply token that came with it, for the chat of its route: replaces the one before, unless that came with a
    /// message that was written later.
    pub reply_token: Option<NewReplyToken>,
    /// The bytes received.
    pub raw: Bytes,
    /// What is to become of it.
    pub verdict: Verdict,
}

impl NewMessage {
    /// A message with its verdict, received with these credentials.
    pub fn new(inbound: Inbound, credentials: &Fingerprint, context: String, verdict: Verdict) -> Self {
        let reply_token =
            inbound.reply_token.map(|secret| NewReplyToken { secret, credentials: credentials.clone() });
        Self {
            event_id: inbound.event_id,
            dedupe: inbound.dedupe,
            conversation: inbound.conversation,
            chat: inbound.chat,
            message_id: Some(inbound.message_id),
            route: inbound.route,
            text: inbound.text.unwrap_or_default(),
            context,
            written_at: inbound.written_at,
            reply_token,
            raw: inbound.raw,
            verdict,
        }
    }
}

/// A reply token and the credentials that it was given to: those of another bot can do nothing with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReplyToken {
    /// The token.
    pub secret: Secret,
    /// The credentials.
    pub credentials: Fingerprint,
}

/// What becomes of a message. Stored in the same commit as the message, so that none is ever without a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It waits for its turn.
    Allow,
    /// It will not be answered.
    Drop(DropReason),
    /// It waits until it can be judged.
    Hold(HoldReason),
}

impl Verdict {
    /// Whether it is on a message that a user wrote: our own ones and those of other programs come back, too (F-041).
    pub fn is_of_a_user(self) -> bool {
        !matches!(self, Self::Drop(DropReason::OwnMessage | DropReason::FromBot))
    }
}

/// A message for the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReply {
    /// The conversation in whose order it is sent.
    pub conversation: ConversationId,
    /// The message.
    pub outbound: Outbound,
    /// Makes repeating the send harmless where the platform knows such keys; unique in the store.
    pub key: IdempotencyKey,
}

/// What became of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendResult {
    /// The platform confirmed it (F-059).
    Sent {
        /// The id the platform gave.
        message_id: MessageId,
        /// It may show it to nobody all the same.
        delivery_doubted: bool,
    },
    /// It certainly was not sent: → `ready`, or `unknown` again if an earlier attempt may have succeeded, not before
    /// `wait` has passed.
    Retry {
        /// How long to wait.
        wait: Duration,
        /// What failed.
        error: String,
    },
    /// Nobody can tell whether it was sent: → `unknown`, not before `wait` has passed; counted in
    /// [`OutboxRow::repeats`](crate::OutboxRow::repeats) if it may have been a repetition.
    Unknown {
        /// How long to wait.
        wait: Duration,
        /// What failed.
        error: String,
    },
    /// The platform takes nothing more for this chat until its user writes: → `held`. If a message has been received in
    /// the chat since `heard`, so that the attempt knew nothing of it: → `ready`, due at once.
    Held {
        /// What the attempt knew: [`ReplyWindow::heard`](crate::ReplyWindow::heard) as it was before it.
        heard: InboxId,
        /// What the platform said.
        error: String,
    },
    /// It will never be sent: → `dead`.
    Dead {
        /// Why.
        error: String,
    },
}

/// What became of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It happened. The number is what the operation's documentation says, else 0.
    Applied(i64),
    /// It had happened before. The number is that of the row from then.
    Duplicate(i64),
    /// The lease or the claim is over: somebody else owns this now. Nothing happened.
    Fenced,
    /// The row is not in the state the operation needs. Nothing happened.
    Conflict,
}

impl Outcome {
    /// Whether the operation happened, now or before.
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Applied(_) | Self::Duplicate(_))
    }
}
