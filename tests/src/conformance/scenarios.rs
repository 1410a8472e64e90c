//! The scenarios: what is done, what has to come of it, and how long that may take. None of them knows a channel.

mod connecting;
mod killing;
mod receiving;
mod sending;

use std::fmt;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::house::Wish;
use super::stage::NotApplicable;
use super::theatre::Theatre;

const SECOND: Duration = Duration::from_secs(1);

/// One scenario.
pub struct Scenario {
    /// Its name in the table.
    pub name: String,
    /// What it needs before anything starts.
    pub wish: Wish,
    play: Box<Play>,
}

type Play = dyn for<'a> Fn(&'a mut Theatre) -> LocalBoxFuture<'a, Played> + Send + Sync;

/// A scenario that ran to its end, or that means nothing on this platform.
pub type Played = Result<(), NotApplicable>;

/// Every scenario, in the order of the table.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    [connecting::scenarios(), receiving::scenarios(), sending::scenarios(), killing::scenarios()]
        .into_iter()
        .flatten()
        .collect()
}

/// For scenarios that mean nothing where the platform cannot do this, or that take too long.
fn needs(can: bool, otherwise: &str) -> Played {
    if can { Ok(()) } else { NotApplicable::because(otherwise) }
}

impl Scenario {
    /// With two accounts and an agent that answers at once.
    fn new<F>(name: impl Into<String>, play: F) -> Self
    where
        F: for<'a> Fn(&'a mut Theatre) -> LocalBoxFuture<'a, Played> + Send + Sync + 'static,
    {
        let wish = Wish { accounts: 2, agent_delay: "0s" };
        Self { name: name.into(), wish, play: Box::new(play) }
    }

    /// The same with an agent that takes its time.
    fn with_agent_delay(mut self, agent_delay: &'static str) -> Self {
        self.wish.agent_delay = agent_delay;
        self
    }

    /// Plays it on an open stage.
    ///
    /// # Errors
    /// When it means nothing on this platform.
    pub async fn play(&self, theatre: &mut Theatre) -> Played {
        (self.play)(theatre).await
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
