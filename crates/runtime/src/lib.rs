//! The actors: accounts, conversations, recovery and the bus, put together as one supervised tree.
//!
//! Everything runs on one arbiter. What must not be lost goes through the store first; messages between actors are
//! hints. What is known of an account is on the [`Board`], where reading it costs nobody anything. From outside,
//! all of it is a [`Handle`].

mod access;
mod accounts;
mod agents;
mod alerts;
mod board;
mod bus;
mod conversations;
mod dated;
mod doctor;
mod events;
mod exit;
mod handle;
mod hosts;
mod logins;
mod machine;
mod measures;
mod pulse;
mod random;
mod recovery;
mod reload;
mod runtime;
mod scheduler;
mod services;
mod storage;
mod verdicts;

pub use accounts::{Applied, UnreadableLogin};
pub use agents::OwnAgents;
pub use board::{
    AccountStatus, AgentState, AgentStatus, Board, Denied, IdentityStatus, PlatformTime, Suspicion, Symptoms,
    TokenState, TokenStatus,
};
pub use doctor::{
    Finding, FindingKind, LoginFault, Offline, OfflineReport, OfflineRun, Report, Severity, examine_offline,
};
pub use events::{Event, Events, Missed, Scope as EventScope, Sort, Subscription, What};
pub use exit::ExitReason;
pub use handle::{
    AccountView, AddJob, CommandError, CronStatus, Discarded, Enqueued, Gaps, Handle, JobView, NotReady,
    Orphan, Resumed, ResumedFrom, Retained, Status, StoreStatus, Turns, Vitals, WRITER,
};
pub use logins::{
    Ended, Kept, LoginSession, LoginState, LoginStatus, LoginView, Logins, LoginsError, MemoryLogins, Saved,
};
pub use machine::{Disk, Exposed, Machine, MachineFacts};
pub use measures::{AccountMeasures, AgentMeasures, Measurements};
pub use pulse::{Pulse, Pulses};
pub use reload::{ConfigFile, ConfigStatus, Loaded, ReloadError};
pub use runtime::{ChildFactory, Options, Runtime, StartError};
pub use scheduler::InvalidSchedule;

// What the admin child is made with, so that `admin` needs no edge to the crates below.
pub use moorline_store::{
    ActiveTurn, Counts, Delivery, Entry, Gap, GapKind, InboxEntry, InboxFilter, InboxKind, InboxRow,
    InboxState, JobKind, JobRow, LONGEST_PAGE, Listed, Listing, Measured, MissedPolicy, NewGap, NewJob,
    OutboxFilter, OutboxRow, OutboxState, Page, ParkedTurn, Receipt, RequestAnswer, Role, RunResult, RunRow,
    Scope, SessionFilter, SessionRow, SessionState, StoreError, Trace, Traced, TurnEntry, TurnState,
};
pub use moorline_supervision as supervision;
