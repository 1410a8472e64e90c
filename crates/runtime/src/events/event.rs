//! Every kind of event there is. Their names and fields are part of the API, and never change their meaning.

use moorline_core::{
    AccountId, AccountState, BlockReason, Cause, ConversationId, GapId, Generation, IdentityState, InboxId,
    MessageId, OutboxId, Timestamp, TurnId, UserId,
};
use moorline_store::GapKind;
use moorline_supervision::ExitReason;
use serde::Serialize;

use crate::accounts::Applied;
use crate::board::{AgentState, TokenState};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Its number: greater than that of every event before it in this process. Numbers are left out where a watcher
    /// does not hear of everything.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// Who hears of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Every watcher: something an operator may want to act on, however busy the bots are.
    Lifecycle,
    /// Those who asked for messages: there are several for each message.
    Message,
}

/// Defines the kinds of events with their stable names.
macro_rules! kinds {
    ($(
        $(#[$doc:meta])*
        $name:ident = $text:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }
    )*) => {
        /// What happened.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(tag = "kind")]
        #[non_exhaustive]
        pub enum What {
            $($(#[$doc])* #[serde(rename = $text)] $name { $($(#[$field_doc])* $field: $type,)* },)*
        }

        impl What {
            /// The names of all kinds, for tables and tests.
            pub const KINDS: &'static [&'static str] = &[$($text),*];

            /// The stable name.
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$name { .. } => $text,)* }
            }
        }
    };
}

kinds! {
    /// An account's connection is in another state, or failed once more in the same one.
    Account = "account" {
        /// Whose.
        account: AccountId,
        /// The state before.
        from: AccountState,
        /// The state now; the same as before when only the attempt is another one.
        to: AccountState,
        /// The life of its connection actor.
        generation: Generation,
        /// Why it is not ready.
        cause: Option<Cause>,
        /// Why an operator has to act.
        blocked: Option<BlockReason>,
        /// The number of the attempt under way or waited for; 0 while ready.
        attempt: u32,
        /// When the next attempt begins.
        next_attempt_at: Option<Timestamp>,
        /// How long it was not ready, when it is ready now.
        after_ms: Option<u64>,
        /// How many attempts that took.
        attempts: Option<u32>,
    }
    /// The configuration has a new account.
    AccountAdded = "account_added" {
        /// Which.
        account: AccountId,
    }
    /// The configuration has an account no more.
    AccountRemoved = "account_removed" {
        /// Which.
        account: AccountId,
    }
    /// What is known of who the bot is has changed, or could once more not be verified (F-014).
    Identity = "identity" {
        /// Whose.
        account: AccountId,
        /// How well it was known.
        from: IdentityState,
        /// How well it is known now.
        to: IdentityState,
        /// Our id.
        id: Option<UserId>,
        /// Our name.
        name: Option<String>,
        /// Failed probes since the last good one.
        attempt: u32,
        /// When the next probe is made.
        next_attempt_at: Option<Timestamp>,
        /// Why the last probe failed.
        error: Option<String>,
    }
    /// There is an access token, there is none any more, or once more none was given (F-008).
    Token = "token" {
        /// Whose.
        account: AccountId,
        /// What there was.
        from: TokenState,
        /// What there is now.
        to: TokenState,
        /// Failed fetches since the last good one.
        attempt: u32,
        /// When the next fetch is made.
        next_attempt_at: Option<Timestamp>,
        /// Why the last fetch failed.
        error: Option<String>,
    }
    /// Messages that were sent in this time may be missing: recorded now, or longer than it was (F-040).
    Gap = "gap" {
        /// Whose.
        account: AccountId,
        /// Its number.
        gap: GapId,
        /// The last sign of life before it.
        from: Timestamp,
        /// The first one after it.
        to: Timestamp,
        /// What gave rise to the doubt.
        gap_kind: GapKind,
        /// Why, in words.
        why: String,
    }
    /// The connection looks well and may be deaf all the same, or this is over.
    Suspect = "suspect" {
        /// Whose.
        account: AccountId,
        /// What speaks for it; none when it is over.
        why: Option<String>,
    }
    /// An actor ended by a fault.
    ActorExited = "actor_exited" {
        /// Its path in the tree.
        path: String,
        /// Whose it is, if it is an account's.
        account: Option<AccountId>,
        /// The life that ended.
        generation: Generation,
        /// How.
        reason: ExitReason,
        /// How long it lasted, in milliseconds.
        ran_for_ms: u64,
    }
    /// An actor waits for its next life.
    ActorRestarting = "actor_restarting" {
        /// Its path in the tree.
        path: String,
        /// Whose it is, if it is an account's.
        account: Option<AccountId>,
        /// The life that ended.
        generation: Generation,
        /// When the next one begins.
        next_attempt_at: Option<Timestamp>,
    }
    /// An actor failed too often, and waits long for its next life.
    ActorParked = "actor_parked" {
        /// Its path in the tree.
        path: String,
        /// Whose it is, if it is an account's.
        account: Option<AccountId>,
        /// The life that ended.
        generation: Generation,
        /// When the next one begins.
        next_attempt_at: Option<Timestamp>,
    }
    /// An actor begins another life, after a fault or because somebody wanted it.
    ActorStarted = "actor_started" {
        /// Its path in the tree.
        path: String,
        /// Whose it is, if it is an account's.
        account: Option<AccountId>,
        /// The life that begins.
        generation: Generation,
    }
    /// A changed configuration is in use.
    ReloadApplied = "reload_applied" {
        /// The difference.
        applied: Applied,
    }
    /// The file on disk cannot be used; the configuration before it stays in use (F-079).
    ReloadFailed = "reload_failed" {
        /// What is wrong, one line each.
        problems: Vec<String>,
    }
    /// The store takes commits, or does not (F-074, G11).
    Store = "store" {
        /// `ok`, `full` or `failed`, before.
        from: &'static str,
        /// The same now.
        to: &'static str,
        /// What is wrong.
        message: Option<String>,
    }
    /// An agent takes calls, does not, or still does not (F-051).
    Agent = "agent" {
        /// Its name.
        agent: String,
        /// Before.
        from: AgentState,
        /// Now.
        to: AgentState,
        /// Failed calls since the last good one.
        attempt: u32,
        /// Not before this it is asked again.
        next_attempt_at: Option<Timestamp>,
        /// Why the last call failed, in our words.
        error: Option<String>,
    }
    /// Turns were left by an actor that has ended; each is resumed when its channel is ready (G9).
    TurnsInterrupted = "turns_interrupted" {
        /// Whose.
        account: AccountId,
        /// In this conversation; in any of the account's when there is none.
        conversation: Option<ConversationId>,
    }
    /// An interrupted turn goes on.
    TurnResumed = "turn_resumed" {
        /// Whose.
        account: AccountId,
        /// Where.
        conversation: ConversationId,
        /// Which.
        turn: TurnId,
        /// The number of the attempt.
        attempt: u32,
    }
    /// A turn was interrupted too often and is given up; the user is told (F-069).
    TurnParked = "turn_parked" {
        /// Whose.
        account: AccountId,
        /// Where.
        conversation: ConversationId,
        /// Which.
        turn: TurnId,
        /// How often it was tried.
        attempts: u32,
    }
    /// A message of ours will never be taken by the platform (F-055).
    DeadLetter = "dead_letter" {
        /// Whose.
        account: AccountId,
        /// Where.
        conversation: ConversationId,
        /// Its number in the outbox.
        outbox: OutboxId,
        /// Why.
        error: String,
    }
    /// The process is on its way down: nothing more comes in, and what is under way may finish.
    Draining = "draining" {
        /// Whether a fresh process is to take its place.
        restart: bool,
    }
    /// A message was received and stored.
    MessageReceived = "message_received" {
        /// By whom.
        account: AccountId,
        /// Where.
        conversation: ConversationId,
        /// Its number in the inbox.
        inbox: InboxId,
        /// The platform's id of it.
        message_id: Option<MessageId>,
        /// `allowed`, `dropped` or `held`.
        verdict: &'static str,
        /// Why it was dropped or is held.
        reason: Option<&'static str>,
    }
    /// A message that was held is judged (F-014).
    MessageJudged = "message_judged" {
        /// By whom.
        account: AccountId,
        /// Where.
        conversation: ConversationId,
        /// Its number in the inbox.
        inbox: InboxId,
        /// The platform's id of it.
        message_id: Option<MessageId>,
        /// `allowed` or `dropped`.
        verdict: &'static str,
        /// Why it was dropped.
        reason: Option<&'static str>,
    }
    /// An agent is asked for an answer.
    TurnStarted = "turn_started" {
        /// Whose.
        account: AccountId,
        /// Where.
        conversation: ConversationId,
        /// Which.
        turn: TurnId,
        /// The number of the attempt.
        attempt: u32,
    }
    /// A turn is over, and its messages answered.
    TurnFinished = "turn_finished" {
        /// Whose.
        account: AccountId,
        /// Where.
        conversation: ConversationId,
        /// Which.
        turn: TurnId,
        /// `answered`, `silent`, or `failed`: then the user is told that there is no answer.
        outcome: &'static str,
        /// The number of the attempt.
        attempt: u32,
    }
    /// A message of ours was not taken, and is tried again.
    SendFailed = "send_failed" {
        /// Whose.
        account: AccountId,
        /// Where.
        conversation: ConversationId,
        /// Its number in the outbox.
        outbox: OutboxId,
        /// Why.
        error: String,
        /// Whether the platform may have it all the same.
        outcome_unknown: bool,
        /// The number of the attempt that failed.
        attempt: u32,
        /// When it is tried again.
        next_attempt_at: Timestamp,
    }
    /// A message of ours is held: the platform takes nothing more for its chat until the user writes again (F-060).
    SendHeld = "send_held" {
        /// Whose.
        account: AccountId,
        /// Where.
        conversation: ConversationId,
        /// Its number in the outbox.
        outbox: OutboxId,
        /// What the platform said.
        error: String,
        /// The number of the attempt.
        attempt: u32,
    }
    /// The platform has a message of ours.
    MessageSent = "message_sent" {
        /// Whose.
        account: AccountId,
        /// Where.
        conversation: ConversationId,
        /// Its number in the outbox.
        outbox: OutboxId,
        /// The platform's id of it.
        message_id: MessageId,
        /// How many attempts it took.
        attempts: u32,
        /// It was taken without a reply token where users have to write first, so it may be shown to nobody.
        delivery_doubted: bool,
    }
}

impl What {
    /// The account that it concerns; `None` when it is not one's.
    pub const fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Account { account, .. }
            | Self::AccountAdded { account }
            | Self::AccountRemoved { account }
            | Self::Identity { account, .. }
            | Self::Token { account, .. }
            | Self::Gap { account, .. }
            | Self::Suspect { account, .. }
            | Self::TurnsInterrupted { account, .. }
            | Self::TurnResumed { account, .. }
            | Self::TurnParked { account, .. }
            | Self::DeadLetter { account, .. }
            | Self::MessageReceived { account, .. }
            | Self::MessageJudged { account, .. }
            | Self::TurnStarted { account, .. }
            | Self::TurnFinished { account, .. }
            | Self::SendFailed { account, .. }
            | Self::SendHeld { account, .. }
            | Self::MessageSent { account, .. } => Some(account),
            Self::ActorExited { account, .. }
            | Self::ActorRestarting { account, .. }
            | Self::ActorParked { account, .. }
            | Self::ActorStarted { account, .. } => account.as_ref(),
            Self::ReloadApplied { .. }
            | Self::ReloadFailed { .. }
            | Self::Store { .. }
            | Self::Agent { .. }
            | Self::Draining { .. } => None,
        }
    }
}
