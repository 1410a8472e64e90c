//! openclaw#68766: two timeouts of the token endpoint ended the socket for good, 8.5 hours of silence, and nothing said
//! so.
//!
//! Here receiving does not depend on the token, and a connection is tried again for ever. (That status and `doctor`
//! tell the truth meanwhile is another file.)

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use moorline_core::AccountState;
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{Answer, Cut, Fault, NewApp, Push, Times};
use moorline_simulator::server::{Options, Server};
use moorline_tests::world::chat_of;
use moorline_tests::{Settings, Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// The token refresh timed out twice, after which the socket was gone and never came back. Here the socket does not even
/// notice, and what came in meanwhile is answered in order when there is a token again.
#[test]
fn two_timeouts_of_the_token_endpoint_cost_no_socket_and_no_message_f001_f008() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        world.simulator.set_fault(world.app(0), Fault::Token(Answer::Hang), Times::Count(2)).unwrap();
        world.simulator.revoke_tokens(world.app(0)).unwrap();
        for n in 0..5 {
            world.say(0, "alice", &format!("{n}"));
        }
        // Two calls of 15 s, the sender's waits after what it heard of them, and the pace of the chat.
        world.until("answered", 39 * SECOND, |w| w.replies(&chat_of("alice")).len() == 5).await;
        assert_eq!(world.replies(&chat_of("alice")), ["0", "1", "2", "3", "4"]);
        let counters = world.simulator.counters(world.app(0)).unwrap();
        assert_eq!(counters.opened, 1, "the socket never noticed");
        world.check().await;
    });
}

/// The connection was lost while tokens could not be had, and was not restored in 8.5 hours. Here it comes back by itself
/// each time, within its back-off, however long there is no token; and sending begins within the cap when there is.
#[test]
fn a_socket_that_is_lost_during_8_hours_without_tokens_comes_back_each_time_f001_f008() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        world.simulator.set_fault(world.app(0), Fault::Token(Answer::Hang), Times::UntilCleared).unwrap();
        world.simulator.revoke_tokens(world.app(0)).unwrap();
        for n in 0..17 {
            world.simulator.drop_connections(world.app(0), &Cut::Reset).unwrap();
            world.until("noticed", SECOND, |w| w.status(0).state == AccountState::Reconnecting).await;
            world.all_ready(SECOND + SECOND / 2).await;
            world.say(0, "alice", &format!("{n}"));
            tokio::time::sleep(HOUR / 2).await;
            let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
            assert_eq!((counts.received, counts.outbox), (n + 1, n + 1), "received, and its answer waits");
        }
        assert_eq!(world.status(0).generation.get(), 1, "an outage is no fault");
        world.simulator.clear_faults(world.app(0)).unwrap();
        // The call under way, the longest wait, and then one message after the other at the pace of a chat.
        world.until("answered", 85 * SECOND, |w| w.replies(&chat_of("alice")).len() == 17).await;
        let expected: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        assert_eq!(world.replies(&chat_of("alice")), expected, "in order, once each");
        world.check().await;
    });
}

/// Nothing in the log told that the connection was back, or that it was not. Here the line is there, with how long it
/// took and how many attempts, as a person reads it.
#[test]
fn the_log_says_reconnected_with_the_time_and_the_attempts() {
    let simulator = Simulator::new(3);
    let apps = vec![simulator.add_app(NewApp::named("Bot 0"))];
    let app = &apps[0].app_id;
    let server = Server::start(&simulator, Options::default()).unwrap();
    let retry = "retry = { initial = \"100ms\", max = \"400ms\", reset_after = \"60s\" }";
    let settings = Settings::with_channel(server.address(), &apps, "0s", retry);
    let environment = BTreeMap::from([("MOORLINE__LOG__FORMAT".to_owned(), "pretty".to_owned())]);
    let mut process = settings.start_with(&moorline_tests::process::binary(), &environment);
    process.ready(10 * SECOND);
    simulator.set_fault(app, Fault::Token(Answer::Hang), Times::UntilCleared).unwrap();
    simulator.set_fault(app, Fault::Endpoint(Answer::Status(503)), Times::Count(2)).unwrap();
    simulator.drop_connections(app, &Cut::Reset).unwrap();
    let line = || {
        let log = fs::read_to_string(settings.log()).unwrap_or_default();
        log.lines().find(|line| line.contains("] reconnected after ")).map(str::to_owned)
    };
    process.until("the line is there", 10 * SECOND, |_| line().is_some());
    let line = line().unwrap();
    assert!(line.contains("[feishu:a0] reconnected after ") && line.contains("(3 attempts)"), "{line}");
    simulator.clear_faults(app).unwrap();
    simulator.push(app, Push::direct("oc_alice", "ou_alice", "hello")).unwrap();
    process.until("answered", 20 * SECOND, |_| {
        simulator.read_ledger(|ledger| ledger.visible_copies(&chat_of("alice"), "hello")) == 1
    });
    assert!(process.terminate(15 * SECOND).success());
}
