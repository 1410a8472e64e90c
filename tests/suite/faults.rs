//! Accounts fall over one way each; the others never notice, and nothing is lost or doubled.

use std::time::Duration;

use moorline_core::AccountState;
use moorline_simulator::feishu::{Cut, Fault, OddFrame, Times};
use moorline_tests::{Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

/// The longest silence on a Feishu connection: our own ping interval and the time its pong may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// The connection ids and generations of accounts: what an untouched account keeps.
fn fingerprint(world: &World, accounts: &[usize]) -> Vec<(String, u64)> {
    accounts
        .iter()
        .map(|&n| {
            let connections = world.simulator.connections(world.app(n)).unwrap();
            assert_eq!(connections.len(), 1, "account {n}");
            (connections[0].device_id.clone(), world.status(n).generation.get())
        })
        .collect()
}

/// Says something to every account and waits for the answers, each exactly once.
async fn everybody_answers(world: &World, tag: &str) {
    for n in 0..world.apps.len() {
        world.say(n, &format!("u{n}"), &format!("{tag} {n}"));
    }
    world
        .until("every message answered", 2 * SECOND, |world| {
            (0..world.apps.len()).all(|n| world.copies(&format!("u{n}"), &format!("{tag} {n}")) == 1)
        })
        .await;
    world.check().await;
}

#[test]
fn three_accounts_fall_over_in_three_ways_and_nobody_else_notices_f019_f026_f037() {
    in_virtual_time(async {
        let world = World::start(Setup { accounts: 5, ..Setup::default() }).await;
        world.settled().await;
        everybody_answers(&world, "before").await;
        let untouched = fingerprint(&world, &[2, 3, 4]);
        let generations: Vec<u64> = (0..5).map(|n| world.status(n).generation.get()).collect();

        // Account 0 becomes a black hole: no FIN, no RST, no frames.
        world.simulator.drop_connections(world.app(0), &Cut::BlackHole).unwrap();
        let lost = world
            .until("the black hole is noticed", PATIENCE + SECOND, |w| {
                w.status(0).state != AccountState::Ready
            })
            .await;
        let back = world.all_ready(2 * SECOND).await;
        println!("black hole: noticed after {lost:?}, ready again {back:?} later");

        // Account 1 is reset twenty times, each time as soon as it is ready.
        for round in 0..20_u32 {
            world.simulator.drop_connections(world.app(1), &Cut::Reset).unwrap();
            world.until("the reset is noticed", SECOND, |w| w.status(1).state != AccountState::Ready).await;
            let back = world.all_ready(61 * SECOND).await;
            // It flaps, so each delay may be twice the last, up to the cap (design §4).
            let cap = SECOND * 2_u32.pow(round.min(6)).min(60) + SECOND / 2;
            assert!(back <= cap, "round {round}: ready after {back:?}, allowed {cap:?}");
        }

        // Account 2 is sent every frame no client should choke on; it keeps its connection.
        for frame in odd_frames() {
            world.simulator.inject(world.app(2), frame).unwrap();
            tokio::time::sleep(SECOND).await;
            assert_eq!(world.status(2).state, AccountState::Ready, "after {frame:?}");
        }

        everybody_answers(&world, "after").await;
        assert_eq!(fingerprint(&world, &[2, 3, 4]), untouched);
        let after: Vec<u64> = (0..5).map(|n| world.status(n).generation.get()).collect();
        assert_eq!(after, generations, "an outage is no fault: no actor was restarted");
    });
}

/// Frames of ordinary size that a client survives without losing its connection.
pub(super) fn odd_frames() -> Vec<OddFrame> {
    use OddFrame::*;
    vec![
        Truncated,
        MissingRequired,
        WrongWireType,
        Text,
        Empty,
        UnknownMethod,
        UnknownType,
        ServerPing,
        NotJson,
        NoHeader,
        SumZero,
        SeqBeyondSum,
        SumChanges,
        SumNotNumber,
    ]
}

#[test]
fn an_oversized_frame_costs_at_most_its_own_connection_f095() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        let untouched = fingerprint(&world, &[1, 2]);
        world.simulator.inject(world.app(0), OddFrame::Oversized(64 << 20)).unwrap();
        tokio::time::sleep(5 * SECOND).await;
        world.all_ready(5 * SECOND).await;
        everybody_answers(&world, "after").await;
        assert_eq!(fingerprint(&world, &[1, 2]), untouched);
    });
}

#[test]
fn every_way_a_connection_can_end_is_followed_by_the_next_f001_f024() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        let cuts = [
            Cut::Close { code: 1000, reason: "bye".to_owned() },
            Cut::Close { code: 1006, reason: String::new() },
            Cut::Close { code: 1012, reason: "service restart".to_owned() },
            Cut::Fin,
            Cut::Reset,
        ];
        for cut in &cuts {
            // A healthy minute, so that each of them is the first failure again.
            tokio::time::sleep(61 * SECOND).await;
            world.simulator.drop_connections(world.app(0), cut).unwrap();
            world.until("noticed", SECOND, |w| w.status(0).state != AccountState::Ready).await;
            let back = world.all_ready(5 * SECOND).await;
            assert!(back <= SECOND + SECOND / 2, "{cut:?}: {back:?}");
            everybody_answers(&world, &format!("after {cut:?}")).await;
        }
    });
}

#[test]
fn messages_sent_while_the_channel_is_down_are_answered_when_it_is_back() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        world.simulator.set_fault(world.app(0), Fault::Hold, Times::UntilCleared).unwrap();
        tokio::time::sleep(SECOND).await;
        assert_ne!(world.status(0).state, AccountState::Ready);
        for n in 0..5 {
            world.say(0, "alice", &format!("while down {n}"));
        }
        tokio::time::sleep(30 * SECOND).await;
        world.simulator.clear_faults(world.app(0)).unwrap();
        world.all_ready(61 * SECOND).await;
        // The platform's next rungs are at 5 min and 1 h after the first.
        world
            .until("all answered", 3_700 * SECOND, |w| {
                (0..5).all(|n| w.copies("alice", &format!("while down {n}")) == 1)
            })
            .await;
        world.check().await;
    });
}

#[test]
fn an_idle_account_is_left_alone_for_a_day_f021() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        let untouched = fingerprint(&world, &[0, 1, 2]);
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        assert_eq!(fingerprint(&world, &[0, 1, 2]), untouched);
        for n in 0..3 {
            let counters = world.simulator.counters(world.app(n)).unwrap();
            assert_eq!(counters.opened, 1);
            assert!((2_800..=2_900).contains(&counters.pings), "{} pings in a day", counters.pings);
        }
    });
}
