//! Failure modes that other gateways were seen to have, by their numbers; docs/failure-modes.md says what covers which.

use std::time::Duration;

use moorline_tests::{Setup, World};

mod connecting;
mod identity;
mod inbound;
mod outbound;
mod storage;
mod table;
mod turns;

const SECOND: Duration = Duration::from_secs(1);

/// One account, whose agent takes this long.
fn one_account(agent_delay: &'static str) -> Setup {
    Setup { accounts: 1, agent_delay, ..Setup::default() }
}

/// A world in which every account is ready and knows who it is.
async fn settled(setup: Setup) -> World {
    let world = World::start(setup).await;
    world.settled().await;
    world
}

/// What the platform counted for an account.
fn counters(world: &World, n: usize) -> moorline_simulator::feishu::Counters {
    world.simulator.counters(world.app(n)).unwrap()
}
