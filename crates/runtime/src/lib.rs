//! The actors: accounts, conversations, recovery and the bus, put together as one supervised tree.
//!
//! Everything runs on one arbiter. What must not be lost goes through the store first; messages between actors are
//! hints. What is known of an account is on the [`Board`], where reading it costs nobody anything. From outside,
//! all of it is a [`Handle`].

mod access;
mod accounts;
mod agents;
mod board;
mod bus;
mod conversations;
mod doctor;
mod exit;
mod handle;
mod hosts;
mod random;
mod recovery;
mod reload;
mod runtime;
mod services;
mod storage;
mod verdicts;

pub use accounts::Applied;
pub use agents::OwnAgents;
pub use board::{AccountStatus, AgentState, AgentStatus, Board, IdentityStatus, TokenState, TokenStatus};
pub use doctor::{Finding, FindingKind, Report, Severity};
pub use exit::ExitReason;
pub use handle::{
    AccountView, CommandError, Discarded, Enqueued, Handle, NotReady, Orphan, Resumed, ResumedFrom, Status,
    StoreStatus, Turns,
};
pub use reload::{ConfigFile, ConfigStatus, Loaded, ReloadError};
pub use runtime::{ChildFactory, Options, Runtime, StartError};

// What the admin child is made with, so that `admin` needs no edge to the crates below.
pub use moorline_store::{
    ActiveTurn, Counts, Entry, InboxEntry, InboxFilter, InboxKind, InboxRow, InboxState, LONGEST_PAGE,
    Listed, Listing, OutboxFilter, OutboxRow, OutboxState, Page, Receipt, RequestAnswer, Role, Scope,
    SessionFilter, SessionRow, SessionState, StoreError, Trace, Traced, TurnEntry, TurnState,
};
pub use moorline_supervision as supervision;
