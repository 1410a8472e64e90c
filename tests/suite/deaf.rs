//! The states in which others were measured to go deaf for good: each is left within its deadline, and the other
//! accounts never notice.

use std::time::Duration;

use moorline_core::{AccountState, FailureClass, IdentityState};
use moorline_simulator::feishu::{Answer, Fault, HandshakeFault, Times};
use moorline_tests::{Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

/// Starts three accounts with a fault waiting for the first, and checks that the two others are ready at once.
async fn with_fault(fault: Fault, times: Times) -> World {
    let world = World::prepare(Setup::default(), |simulator, apps| {
        simulator.set_fault(&apps[0].app_id, fault, times).unwrap();
    })
    .await;
    world
        .until("the others ready", SECOND, |w| {
            (1..3).all(|n| w.status(n).state == AccountState::Ready && w.status(n).identity.id.is_some())
        })
        .await;
    world
}

#[test]
fn an_endpoint_call_that_is_never_answered_is_given_up_within_15_s_f027() {
    in_virtual_time(async {
        let world = with_fault(Fault::Endpoint(Answer::Hang), Times::Count(1)).await;
        assert_eq!(world.status(0).state, AccountState::Connecting);
        let left =
            world.until("given up", 16 * SECOND, |w| w.status(0).state == AccountState::Reconnecting).await;
        assert!(world.elapsed() >= 15 * SECOND && left <= 16 * SECOND);
        let cause = world.status(0).cause.unwrap();
        assert!(cause.message.contains("endpoint"), "{cause:?}");
        world.all_ready(2 * SECOND).await;
        world.check().await;
    });
}

#[test]
fn an_endpoint_that_hangs_for_hours_is_asked_for_ever_f001() {
    in_virtual_time(async {
        let world = with_fault(Fault::Endpoint(Answer::Hang), Times::UntilCleared).await;
        tokio::time::sleep(Duration::from_secs(6 * 3600)).await;
        let calls = world.simulator.counters(world.app(0)).unwrap().endpoint_calls;
        assert!((280..480).contains(&calls), "{calls} calls in 6 h of 15 s deadlines and 30 to 60 s waits");
        world.simulator.clear_faults(world.app(0)).unwrap();
        let back = world.all_ready(77 * SECOND).await;
        println!("ready {back:?} after the endpoint answers again");
        world.check().await;
    });
}

#[test]
fn a_code_nobody_knows_is_transient_and_named_f006() {
    in_virtual_time(async {
        let unknown = Answer::Code { status: 200, code: 1_000_049_999 };
        let world = with_fault(Fault::Endpoint(unknown), Times::Count(10)).await;
        let status = world.status(0);
        assert_eq!(status.state, AccountState::Reconnecting);
        let cause = status.cause.unwrap();
        assert_eq!((cause.class, cause.code.as_deref()), (FailureClass::Transient, Some("1000049999")));
        assert!(status.next_attempt_at.is_some());
        // Ten refusals: 1 + 2 + 4 + 8 + 16 + 32 + 60 × 4 seconds at most.
        world.all_ready(304 * SECOND).await;
        world.check().await;
    });
}

#[test]
fn bot_info_that_hangs_at_the_start_stops_neither_receiving_nor_direct_answers_f013_f016() {
    in_virtual_time(async {
        let world = with_fault(Fault::BotInfo(Answer::Hang), Times::Count(2)).await;
        world.all_ready(SECOND).await;
        assert_eq!(world.status(0).identity.state, IdentityState::Unknown);
        world.say(0, "alice", "are you there?");
        world.until("answered", SECOND, |w| w.copies("alice", "are you there?") == 1).await;
        // Two calls of 15 s, and the waits between them.
        world
            .until("identity known", 35 * SECOND, |w| w.status(0).identity.state == IdentityState::Verified)
            .await;
        world.check().await;
    });
}

#[test]
fn group_mentions_wait_for_the_identity_and_are_answered_in_order_f016() {
    in_virtual_time(async {
        let world = with_fault(Fault::BotInfo(Answer::Status(500)), Times::Count(5)).await;
        world.all_ready(SECOND).await;
        for n in 0..10 {
            let push = moorline_simulator::feishu::Push::group("oc_group", "ou_bob", format!("question {n}"))
                .mentioning_bot();
            world.simulator.push(world.app(0), push).unwrap();
        }
        tokio::time::sleep(SECOND).await;
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.held.get("identity"), counts.pending), (Some(&10), 0));
        world
            .until("identity known", 70 * SECOND, |w| w.status(0).identity.state == IdentityState::Verified)
            .await;
        let chat = moorline_core::ChatId::new("oc_group");
        world
            .until("all answered", 5 * SECOND, |w| {
                w.simulator.read_ledger(|l| l.visible_in(&chat).count()) == 10
            })
            .await;
        let texts: Vec<String> = world
            .simulator
            .read_ledger(|ledger| ledger.visible_in(&chat).map(|message| message.text.clone()).collect());
        for (n, text) in texts.iter().enumerate() {
            assert!(text.ends_with(&format!("question {n}")), "{texts:?}");
        }
        world.check().await;
    });
}

#[test]
fn a_handshake_that_is_never_answered_is_given_up_within_10_s_f027() {
    in_virtual_time(async {
        let world = with_fault(Fault::Handshake(HandshakeFault::Hang), Times::Count(1)).await;
        world.until("given up", 11 * SECOND, |w| w.status(0).state == AccountState::Reconnecting).await;
        assert!(world.status(0).cause.unwrap().message.contains("handshake"));
        world.all_ready(2 * SECOND).await;
        world.check().await;
    });
}

#[test]
fn a_peer_that_opens_and_never_says_a_word_is_given_up_within_10_s_f027() {
    in_virtual_time(async {
        let world = with_fault(Fault::NoPong, Times::Count(1)).await;
        world.until("given up", 11 * SECOND, |w| w.status(0).state == AccountState::Reconnecting).await;
        world.all_ready(2 * SECOND).await;
        world.check().await;
    });
}

#[test]
fn refused_credentials_block_and_are_probed_slowly_or_on_request_f005() {
    in_virtual_time(async {
        let refused = Answer::Code { status: 200, code: 1_000_040_345 };
        let world = with_fault(Fault::Endpoint(refused), Times::Count(2)).await;
        assert_eq!(world.status(0).state, AccountState::Blocked);
        tokio::time::sleep(Duration::from_secs(599)).await;
        assert_eq!(world.simulator.counters(world.app(0)).unwrap().endpoint_calls, 1);
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(world.simulator.counters(world.app(0)).unwrap().endpoint_calls, 2);
        assert_eq!(world.status(0).state, AccountState::Blocked);
        world.handle.probe(&world.id(0)).await.unwrap();
        world.all_ready(SECOND).await;
        world.check().await;
    });
}

#[test]
fn too_many_connections_is_a_conflict_that_is_retried_slowly_f006() {
    in_virtual_time(async {
        let conflict = Answer::Code { status: 200, code: 1_000_040_350 };
        let world = with_fault(Fault::Endpoint(conflict), Times::Count(3)).await;
        assert_eq!(world.status(0).state, AccountState::Blocked);
        // 60 + 120 + 240 s.
        let back = world.all_ready(421 * SECOND).await;
        assert!(back >= 419 * SECOND, "{back:?}");
        world.check().await;
    });
}
