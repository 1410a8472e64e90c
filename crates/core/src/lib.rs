//! The words every Moorline crate shares: ids, messages, account states, failure classes and delays.
//!
//! Nothing here does I/O, reads a clock or knows an actor library; everything is plain data and pure
//! functions, so that it can be tested with tables.

mod backoff;
mod clock;
mod failure;
mod histogram;
mod ids;
mod message;
mod pace;
mod reason;
mod schema;
mod secret;
mod split;
mod state;

pub use backoff::{Backoff, RetryPolicy};
pub use clock::{Clock, Monotonic, Timestamp, millis};
pub use failure::{Effect, Failure, FailureClass};
pub use histogram::{Distribution, Histogram};
pub use ids::{
    AccountId, BootId, ChannelName, ChatId, ConversationId, DedupeKey, Epoch, EventId, Fingerprint, GapId,
    Generation, IdempotencyKey, InboxId, InvalidAccountId, JobId, MessageId, OutboxId, RunId, TurnId, UserId,
};
pub use message::{
    Attachment, AttachmentKind, Chat, ChatKind, DEDUPE_WINDOW, Identity, Inbound, Mention, Outbound, Receipt,
    Route, Sender, SenderKind,
};
pub use pace::TokenBucket;
pub use reason::{DropReason, HoldReason};
pub use schema::{AccountSettings, Field, FieldKind, Finding, Schema, Value};
pub use secret::Secret;
pub use split::{TextLimit, TextUnit, split};
pub use state::{AccountState, BlockReason, Cause, Evidence, IdentityState};
