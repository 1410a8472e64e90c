//! A gap is never silent: whenever messages may have been lost there is a record of it, and otherwise there is none
//! (F-040).

use std::time::Duration;

use moorline_channel::Output;
use moorline_core::{AccountId, AccountState, Epoch, Monotonic, Timestamp};
use moorline_runtime::supervision::Fault as Drill;
use moorline_runtime::{EventScope, FindingKind, Gap, GapKind, What};
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{Cut, Fault, NewApp, Times};
use moorline_simulator::server::{Options, Server};
use moorline_store::{DataDir, Fault as StoreFault, Lease, Op, SqliteOptions, SqliteStore, Store, Tx};
use moorline_tests::disguise::Disguise;
use moorline_tests::{Process, Settings, Setup, World, in_virtual_time};
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn one(disguise: &Disguise) -> Setup {
    Setup { accounts: 1, disguise: disguise.clone(), ..Setup::default() }
}

async fn settled(setup: Setup) -> World {
    let world = World::start(setup).await;
    world.settled().await;
    world
}

/// The gaps of the first account, the first recorded first. The status has the last of them, and their number.
async fn gaps(world: &World) -> Vec<Gap> {
    let mut gaps = world.handle.gaps(&world.id(0)).await.unwrap();
    let view = world.handle.account(&world.id(0)).await.unwrap();
    assert_eq!((view.gaps.count, view.gaps.last.as_ref()), (gaps.len() as u64, gaps.first()));
    gaps.reverse();
    gaps
}

async fn kinds(world: &World) -> Vec<GapKind> {
    gaps(world).await.iter().map(|gap| gap.gap.kind).collect()
}

/// Takes the network away for a while.
async fn outage(world: &World, lasts: Duration) {
    world.simulator.set_fault(world.app(0), Fault::Hold, Times::UntilCleared).unwrap();
    world.simulator.drop_connections(world.app(0), &Cut::Reset).unwrap();
    sleep(lasts).await;
    world.simulator.clear_faults(world.app(0)).unwrap();
    world.all_ready(2 * MINUTE).await;
    sleep(SECOND).await;
}

/// That `at` is `moment` or up to `within` before it.
#[track_caller]
fn assert_just_before(at: Timestamp, moment: Timestamp, within: Duration) {
    assert!(at <= moment && moment.since(at) <= within, "{at} is not just before {moment}");
}

/// Feishu repeats for seven hours: what was sent at the beginning of a longer outage may be gone.
#[test]
fn an_outage_longer_than_the_platform_repeats_is_a_gap_and_a_shorter_one_is_none_f040() {
    in_virtual_time(async {
        let world = settled(one(&Disguise::default())).await;
        outage(&world, HOUR).await;
        assert_eq!(gaps(&world).await, []);
        let (_, mut events) = world.handle.events(&EventScope::default());
        let lost = world.handle.now();
        outage(&world, 8 * HOUR).await;
        let found = gaps(&world).await;
        let [gap] = found.as_slice() else { panic!("{found:?}") };
        let ready = world.status(0).since;
        assert_just_before(gap.gap.from, lost, 10 * SECOND);
        assert_eq!((gap.gap.to, gap.gap.kind), (ready, GapKind::Outage));
        assert!(
            gap.gap
                .why
                .starts_with("nothing heard for 8 h 0 min, and the platform repeats for 7 h 0 min only")
        );
        let mut told = Vec::new();
        while let Ok(event) = timeout(SECOND, events.next()).await {
            told.extend(Some(event.unwrap().what.clone()).filter(|what| what.kind() == "gap"));
        }
        let expected = What::Gap {
            account: world.id(0),
            gap: gap.id,
            from: gap.gap.from,
            to: gap.gap.to,
            gap_kind: GapKind::Outage,
            why: gap.gap.why.clone(),
        };
        assert_eq!(told, [expected]);
        let report = world.handle.doctor().await.unwrap();
        let told: Vec<_> = report.findings.iter().map(|f| (f.kind, f.since)).collect();
        assert_eq!(told, [(FindingKind::Gap, Some(gap.gap.from))]);
        sleep(24 * HOUR).await;
        assert!(world.handle.doctor().await.unwrap().healthy, "it is told of for a day");
        world.check().await;
    });
}

/// What the next process knows of the last sign of life is at most ten minutes old.
#[test]
fn a_process_that_was_away_for_long_knows_since_when_f040() {
    in_virtual_time(async {
        for (orderly, away, gap) in [(false, HOUR, false), (true, 8 * HOUR, true), (false, 8 * HOUR, true)] {
            let mut world = settled(one(&Disguise::default())).await;
            sleep(3 * HOUR + 7 * MINUTE).await;
            let ended = world.handle.now();
            if orderly {
                world.shutdown().await
            } else {
                world.crash().await
            }
            sleep(away).await;
            world.boot().await;
            world.all_ready(5 * SECOND).await;
            sleep(SECOND).await;
            let found = gaps(&world).await;
            assert_eq!(found.len(), usize::from(gap), "{orderly} {away:?}: {found:?}");
            if let Some(found) = found.first() {
                let within = if orderly { 10 * SECOND } else { 10 * MINUTE + 10 * SECOND };
                assert_just_before(found.gap.from, ended, within);
                assert_eq!(found.gap.to, world.status(0).since);
                let second = world.handle.gaps(&world.id(0)).await.unwrap();
                world.crash().await;
                world.boot().await;
                world.all_ready(5 * SECOND).await;
                assert_eq!(
                    gaps(&world).await,
                    second,
                    "shown by the process after the next, and not made longer"
                );
            }
        }
    });
}

/// A platform that promises nothing: a lost connection is none, an end without a goodbye is one.
#[test]
fn where_nothing_is_promised_every_end_without_a_goodbye_is_a_gap_f040() {
    in_virtual_time(async {
        let disguise = Disguise::noncommittal();
        let mut world = settled(one(&disguise)).await;
        outage(&world, 9 * HOUR).await;
        world.handle.stop(&world.id(0)).await.unwrap();
        sleep(9 * HOUR).await;
        world.handle.start(&world.id(0)).await.unwrap();
        world.all_ready(5 * SECOND).await;
        world.shutdown().await;
        sleep(9 * HOUR).await;
        world.boot().await;
        world.all_ready(5 * SECOND).await;
        sleep(SECOND).await;
        assert_eq!(gaps(&world).await, [], "a lost connection, a stop and a restart in order");

        sleep(10 * MINUTE + 30 * SECOND).await;
        let killed = world.handle.now();
        world.crash().await;
        sleep(2 * MINUTE).await;
        world.boot().await;
        world.all_ready(5 * SECOND).await;
        sleep(SECOND).await;
        let found = gaps(&world).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_just_before(found[0].gap.from, killed, 2 * MINUTE + 10 * SECOND);
        assert_eq!((found[0].gap.to, found[0].gap.kind), (world.status(0).since, GapKind::BrokenOff));

        sleep(10 * MINUTE).await;
        assert!(world.handle.drills().inject("runtime/accounts/feishu:a0/connection", Drill::Panic));
        world.until("it is down", SECOND, |w| w.status(0).state != AccountState::Ready).await;
        world.all_ready(5 * SECOND).await;
        sleep(SECOND).await;
        assert_eq!(kinds(&world).await, [GapKind::BrokenOff; 2], "a crash of the actor");
        world.handle.restart(&world.id(0)).await.unwrap();
        sleep(5 * SECOND).await;
        world.all_ready(5 * SECOND).await;
        assert_eq!(kinds(&world).await, [GapKind::BrokenOff; 2], "within a minute it is the same one");
        assert_eq!(gaps(&world).await[1].gap.to, world.status(0).since);
        world.check().await;
    });
}

#[test]
fn what_the_connector_doubts_is_recorded_at_the_next_sign_of_life_f040() {
    in_virtual_time(async {
        let disguise = Disguise::noncommittal();
        let mut world = settled(one(&disguise)).await;
        let doubt = || {
            disguise.say(Output::Gap { since: Monotonic::default(), why: "an answer was cut off".to_owned() })
        };
        for _ in 0..20 {
            doubt();
            doubt();
            sleep(30 * SECOND).await;
        }
        let found = gaps(&world).await;
        assert_eq!(found.len(), 1, "a noisy link makes one record (G12): {found:?}");
        assert_eq!(
            (found[0].gap.kind, found[0].gap.why.as_str()),
            (GapKind::HandedOut, "an answer was cut off")
        );
        assert!(found[0].gap.to.since(found[0].gap.from) > 9 * MINUTE, "{found:?}");
        sleep(5 * MINUTE).await;
        // Doubted, and then the process ends in order before it hears anything again.
        world.simulator.drop_connections(world.app(0), &Cut::BlackHole).unwrap();
        doubt();
        world.handle.probe(&world.id(0)).await.unwrap();
        world.until("it was said", 10 * SECOND, |_| disguise.is_silent()).await;
        assert_eq!(world.status(0).state, AccountState::Ready);
        world.shutdown().await;
        world.boot().await;
        world.all_ready(5 * SECOND).await;
        sleep(SECOND).await;
        assert_eq!(kinds(&world).await, [GapKind::HandedOut, GapKind::BrokenOff]);
        world.check().await;
    });
}

/// Where nothing is kept for us every reconnect costs messages.
#[test]
fn where_nothing_is_kept_every_reconnect_is_a_gap_f040() {
    in_virtual_time(async {
        let mut world = settled(one(&Disguise::forgetful())).await;
        assert_eq!(gaps(&world).await, [], "the first connection of all");
        for n in 1..=3 {
            sleep(5 * MINUTE).await;
            let lost = world.handle.now();
            outage(&world, 10 * SECOND).await;
            let found = gaps(&world).await;
            assert_eq!(found.len(), n);
            assert_just_before(found[n - 1].gap.from, lost, 10 * SECOND);
            assert_eq!(
                (found[n - 1].gap.to, found[n - 1].gap.kind),
                (world.status(0).since, GapKind::Outage)
            );
        }
        sleep(5 * MINUTE).await;
        world.shutdown().await;
        world.boot().await;
        world.all_ready(5 * SECOND).await;
        sleep(SECOND).await;
        assert_eq!(kinds(&world).await, [GapKind::Outage; 4], "a restart in order, too");
    });
}

/// A full disk delays the record, and so does a crash while it is full.
#[test]
fn a_gap_is_recorded_when_the_disk_has_room_again_f074() {
    in_virtual_time(async {
        for crash in [false, true] {
            let mut world = settled(one(&Disguise::forgetful())).await;
            sleep(5 * MINUTE).await;
            let lost = world.handle.now();
            world.store.inject(StoreFault::Full(true));
            outage(&world, 10 * SECOND).await;
            let ready = world.status(0).since;
            sleep(5 * MINUTE).await;
            assert_eq!(gaps(&world).await, []);
            if crash {
                world.crash().await;
            }
            world.store.inject(StoreFault::Full(false));
            if crash {
                world.boot().await;
            }
            sleep(3 * MINUTE).await;
            let found = gaps(&world).await;
            assert_eq!(found.len(), 1, "{found:?}");
            assert_just_before(found[0].gap.from, lost, MINUTE + 10 * SECOND);
            let end = if crash { world.status(0).since } else { ready };
            assert_eq!(found[0].gap.to, end);
        }
    });
}

/// A machine that sleeps hears nothing either, whatever its timers say (F-020).
#[test]
fn a_long_sleep_is_an_outage_f020() {
    in_virtual_time(async {
        let world = settled(one(&Disguise::default())).await;
        for (hours, count) in [(1, 0), (8, 1)] {
            world.simulator.drop_connections(world.app(0), &Cut::BlackHole).unwrap();
            world.sleep_machine(hours * HOUR);
            sleep(30 * SECOND).await;
            world.all_ready(30 * SECOND).await;
            sleep(SECOND).await;
            assert_eq!(gaps(&world).await.len(), count, "{hours} h");
        }
    });
}

/// G12: idle accounts write a sign of life now and then, and not all at one moment.
#[test]
fn idle_accounts_write_little_and_not_all_at_once_g12() {
    in_virtual_time(async {
        for (disguise, a_minute) in [(Disguise::default(), 0.1), (Disguise::noncommittal(), 1.0)] {
            let accounts = 300;
            let world = World::start(Setup { accounts, disguise, ..Setup::default() }).await;
            // They connect at twenty a second.
            world.all_ready(MINUTE).await;
            sleep(HOUR).await;
            let commits = || world.store.statistics().commits;
            let before = commits();
            let mut busiest = 0;
            for _ in 0..3_600 {
                let then = commits();
                sleep(SECOND).await;
                busiest = busiest.max(commits() - then);
            }
            let written = (commits() - before) as f64 / (60.0 * accounts as f64);
            println!(
                "{accounts} accounts: {written:.2} commits a minute each, {busiest} in the busiest second"
            );
            assert!(written <= 1.1 * a_minute && written >= 0.5 * a_minute, "{written}");
            // No more than connect in one second.
            assert!(busiest <= 100, "{busiest}");
        }
    });
}

/// By the binary, and on threads: the list, the status and what a kill leaves.
#[test]
fn the_command_lists_gaps() {
    let simulator = Simulator::new(3);
    let apps = [simulator.add_app(NewApp::named("Bot"))];
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::new(server.address(), &apps, "0s");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    assert_eq!(settings.command(&["gaps"]), (Some(0), "no gaps\n".to_owned()));
    let put_down =
        |process: &Process| process.get("/v1/accounts/feishu:a0")["evidence"]["last_frame_at"].is_string();
    process.until("it is heard", 10 * SECOND, put_down);
    assert!(process.terminate_when_ready(10 * SECOND).success());

    // Nine hours pass.
    let account: AccountId = "feishu:a0".parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = DataDir::open(settings.data()).unwrap();
        let store = SqliteStore::open(&directory, SqliteOptions::default()).unwrap();
        let heard = store.lives().await.unwrap()[&account].heard.unwrap();
        assert!(heard.orderly);
        let op = Op::Heard { at: heard.at.minus(9 * HOUR), orderly: true };
        let lease = Lease { account, epoch: Epoch::new(1) };
        store.commit(Tx::under(&lease, heard.at, [op])).await.unwrap();
    });
    let mut process = settings.start();
    process.ready(10 * SECOND);
    process.until("it is recorded", 10 * SECOND, |process| {
        process.get("/v1/accounts/feishu:a0")["gaps"]["count"] == 1
    });
    let (code, table) = settings.command(&["gaps", "--account", "a0"]);
    assert_eq!(code, Some(0));
    assert!(table.contains("feishu:a0") && table.contains("nothing heard for 9 h 0 min"), "{table}");
    let listed: serde_json::Value = serde_json::from_str(&settings.command(&["--json", "gaps"]).1).unwrap();
    let account = process.get("/v1/accounts/feishu:a0");
    assert_eq!((&listed["gaps"][0], &listed["next"]), (&account["gaps"]["last"], &serde_json::Value::Null));
    assert_eq!(settings.command(&["doctor"]).0, Some(1));
    let log = std::fs::read_to_string(settings.log()).unwrap();
    let line = log.lines().find(|line| line.contains("messages may be missing")).unwrap();
    assert!(line.contains("\"account\":\"feishu:a0\"") && line.contains("\"from\":"), "{line}");
}
