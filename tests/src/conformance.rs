//! The channel conformance suite: one set of scenarios, run for every channel, in memory under virtual time and over
//! real sockets (docs/channels.md).
//!
//! A channel takes part by its [`Stage`]: its simulated platform, and how to do to it what the scenarios do. What a
//! platform cannot do is data: the stage says why, and the table shows it.

pub mod feishu;
pub mod house;
pub mod judge;
pub mod report;
pub mod run;
pub mod scenarios;
pub mod stage;
pub mod theatre;
pub mod weixin;

pub use house::Mount;
pub use report::{Cell, Ended, Report};
pub use run::run;
pub use scenarios::{Scenario, scenarios};
pub use stage::{NotApplicable, Opening, Stage};
pub use theatre::Theatre;

/// Opens the stage of a channel.
pub type Open = fn(&Opening) -> Box<dyn Stage>;

/// Every channel that has to pass; a new one is one more line here.
pub const STAGES: &[(&str, Open)] =
    &[("feishu", feishu::open), ("weixin/consumed", weixin::consuming), ("weixin/replay", weixin::replaying)];

#[cfg(test)]
mod tests;
