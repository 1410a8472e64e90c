//! Configuration: layers, diagnosis with positions, resolved and validated types.
//!
//! [`load`] turns a [`Source`] (a file's text), an environment given as a value and the channels' schemas into a
//! [`Config`] in which nothing is optional that has a default, or into a [`Diagnosis`] that lists everything that
//! is wrong, each once, with its place. It is a function of its arguments and of the secret files they name: the
//! start, `moorline check` and a reload therefore cannot disagree (F-079).
//!
//! What may be written is one table (`setting.rs`) that checking, the search for the nearest known key and
//! the generated [`reference()`] page share. What channels add to it comes in as [`moorline_core::Schema`] data.

mod account;
mod agent;
mod diagnosis;
mod difference;
mod fault;
mod file;
mod layers;
mod load;
mod nearest;
mod reader;
mod reference;
mod resolved;
mod secret;
mod setting;
mod source;
mod span;
mod value;

#[cfg(test)]
mod tests;

pub use diagnosis::{Diagnosis, Problem};
pub use difference::{Change, Difference};
pub use fault::{CODES, Severity};
pub use load::{load, load_partly, load_with_warnings};
pub use nearest::nearest;
pub use reference::reference;
pub use resolved::{
    AGENT_KINDS, Access, Account, Admin, Agent, AgentKind, AlertBody, Alerts, Config, DirectPolicy,
    GroupPolicy, Log, LogFormat, Network, Runtime,
};
pub use source::{Position, Source};
