//! Defects that fault schedules found (docs/simulation.md): each test is named after its cause.

use std::time::Duration;

use moorline_core::AccountState;
use moorline_tests::{Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

/// It was put on the board as connecting, and nothing connected it: /readyz said no for ever, and nobody knew why.
#[test]
fn an_account_that_comes_back_stopped_says_that_it_is_stopped_f101() {
    in_virtual_time(async {
        let mut world = World::start(Setup::default()).await;
        world.settled().await;
        let full = world.config();
        world.handle.stop(&world.id(1)).await.unwrap();
        world.reload(|config| drop(config.accounts.remove(1))).await.unwrap();
        world.reload(|config| *config = full).await.unwrap();
        assert_eq!(world.status(1).state, AccountState::Stopped);
        assert_eq!(world.handle.readiness(), Ok(()));
        world.handle.start(&world.id(1)).await.unwrap();
        world.all_ready(SECOND).await;
        world.check().await;
    });
}
