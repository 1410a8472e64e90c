//! Defects that fault schedules found (docs/simulation.md): each test is named after its cause.

use std::sync::Arc;
use std::time::Duration;

use moorline_core::AccountState;
use moorline_simulator::feishu::{Answer, Fault, Lost, Push, Redelivery, Times};
use moorline_store::{Listing, OutboxFilter, Page, SqliteStore};
use moorline_supervision::Fault as Drill;
use moorline_tests::disguise::Disguise;
use moorline_tests::sim::store::{Mood, Moody};
use moorline_tests::world::Parts;
use moorline_tests::{Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

/// A store with moods, and a world's parts with it in front.
fn moody() -> (Moody, Parts) {
    let inner = Arc::new(SqliteStore::inline(None).unwrap());
    let store = Moody::new(Arc::clone(&inner), Duration::ZERO);
    let front: Option<Arc<dyn moorline_store::Store>> = Some(Arc::new(store.clone()));
    (store, Parts { front, store: Some(inner), ..Parts::default() })
}

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

/// The hold limit is a day, and was told by the wall clock: a step of a day dropped what had waited for a minute.
#[test]
fn a_step_of_the_wall_clock_drops_nothing_that_is_held_f089() {
    in_virtual_time(async {
        let world = World::prepare(Setup::default(), |simulator, apps| {
            let down = Fault::BotInfo(Answer::Status(503));
            simulator.set_fault(&apps[0].app_id, down, Times::UntilCleared).unwrap();
        })
        .await;
        world.all_ready(5 * SECOND).await;
        let push = Push::group("oc_group", "ou_bob", "are you there?").mentioning_bot();
        world.simulator.push(world.app(0), push).unwrap();
        tokio::time::sleep(60 * SECOND).await;
        world.clock.step(86_400_000);
        tokio::time::sleep(1_200 * SECOND).await;
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.held.get("identity"), counts.dropped.len()), (Some(&1), 0));
        world.simulator.clear_faults(world.app(0)).unwrap();
        let answered = |w: &World| w.simulator.read_ledger(|ledger| ledger.visible().len() == 1);
        world.until("answered", 65 * SECOND, answered).await;
        world.check().await;
    });
}

/// How old a key is was told by the wall clock too. Set back, a row was repeated after its key had lapsed and not
/// marked; set forward, it was marked although the platform still knew its key.
#[test]
fn the_age_of_a_key_is_told_by_the_clock_that_nobody_sets_f059_f089() {
    in_virtual_time(async {
        for (step_s, lost_for_min, marked) in [(-3_600, 62, true), (3_600, 10, false)] {
            let world = World::start(Setup::default()).await;
            world.settled().await;
            let lost = Fault::LoseSendAnswer(Lost::Reset);
            world.simulator.set_fault(world.app(0), lost, Times::UntilCleared).unwrap();
            world.say(0, "alice", "hello");
            tokio::time::sleep(60 * SECOND).await;
            world.clock.step(step_s * 1_000);
            tokio::time::sleep(60 * SECOND * lost_for_min).await;
            world.simulator.clear_faults(world.app(0)).unwrap();
            tokio::time::sleep(120 * SECOND).await;
            let page = Page { before: None, limit: 10 };
            let rows = world.store.outbox(&OutboxFilter::default(), page).await.unwrap().rows;
            let marks: Vec<bool> = rows.iter().map(|row| row.possibly_repeated).collect();
            assert_eq!(marks, [marked], "the wall clock was moved by {step_s} s");
            world.check().await;
        }
    });
}

/// The connection that had handed it to the store was gone when it was stored, and the next one was ready before: the
/// look for lost hints came too early, and nothing ever woke the conversation.
#[test]
fn a_message_stored_after_its_connection_has_ended_and_the_next_is_ready_is_answered_f046() {
    in_virtual_time(async {
        let (store, parts) = moody();
        let world = World::assemble(Setup::default(), parts, |simulator, _| {
            simulator.set_redelivery(Redelivery { ladder: Vec::new(), ..Redelivery::default() });
        })
        .await;
        world.settled().await;
        store.set(Mood::Slow(Duration::from_millis(1_500)));
        world.say(0, "alice", "just in time");
        tokio::time::sleep(Duration::from_millis(1)).await;
        world.handle.restart(&world.id(0)).await.unwrap();
        tokio::time::sleep(SECOND).await;
        assert_eq!(world.status(0).state, AccountState::Ready, "before it is stored");
        store.clear();
        world.until("answered", 20 * SECOND, |w| w.copies("alice", "just in time") == 1).await;
        world.check().await;
    });
}

/// The accounts' supervisor ended while it waited for the store, and what it had begun went on without it: it started the
/// new account beneath itself, where nothing runs any more, and its successor had started what there was before.
#[test]
fn what_a_supervisor_of_the_past_has_applied_is_settled_by_the_next_f077() {
    in_virtual_time(async {
        let (store, parts) = moody();
        let mut world = World::assemble(Setup::default(), parts, |_, _| {}).await;
        world.settled().await;
        let full = world.config();
        world.reload(|config| drop(config.accounts.remove(1))).await.unwrap();
        store.set(Mood::Slow(5 * SECOND));
        let applying = world.begin_reload(full);
        let applying = async {
            let applied = applying.await;
            drop(applied);
        };
        let panicking = async {
            tokio::time::sleep(SECOND).await;
            assert!(world.handle.drills().inject("runtime/accounts", Drill::Panic));
        };
        tokio::join!(applying, panicking);
        store.clear();
        world.all_ready(65 * SECOND).await;
        world.check().await;
    });
}

/// It waited for the store's word for as long as the store liked, and said of itself only that it was connecting.
#[test]
fn an_attempt_that_waits_for_the_store_ends_and_says_so_f001() {
    in_virtual_time(async {
        let (store, parts) = moody();
        let setup = Setup { disguise: Disguise::noncommittal(), ..Setup::default() };
        let world = World::assemble(setup, parts, |_, _| {}).await;
        world.settled().await;
        world.handle.stop(&world.id(0)).await.unwrap();
        store.set(Mood::Slow(100 * SECOND));
        let starting = async { world.handle.start(&world.id(0)).await.unwrap() };
        let looking = async {
            tokio::time::sleep(40 * SECOND).await;
            let status = world.status(0);
            let cause = status.cause.map(|cause| cause.message).unwrap_or_default();
            assert!(cause.contains("the store is not ready for it: no answer for 30 s"), "{cause}");
            assert!(status.attempt > 1);
            store.clear();
        };
        tokio::join!(starting, looking);
        world.all_ready(120 * SECOND).await;
        world.check().await;
    });
}

/// It still ran when it was started again, so that there was nothing to do; then it stopped, and stayed so.
#[test]
fn an_account_that_is_started_while_it_stops_runs_f083() {
    in_virtual_time(async {
        let (store, parts) = moody();
        let world = World::assemble(Setup::default(), parts, |_, _| {}).await;
        world.settled().await;
        let id = world.id(0);
        // Its goodbye takes as long.
        store.set(Mood::Slow(SECOND));
        let starting = async {
            tokio::time::sleep(SECOND / 2).await;
            assert_eq!(
                world.status(0).state,
                AccountState::Stopped,
                "it says so, and its actors are there still"
            );
            world.handle.start(&id).await
        };
        let (stopped, started) = tokio::join!(world.handle.stop(&id), starting);
        assert_eq!((stopped, started), (Ok(true), Ok(true)));
        store.clear();
        world.all_ready(5 * SECOND).await;
        // The last word counts.
        let (stopped, started, again) =
            tokio::join!(world.handle.stop(&id), world.handle.start(&id), world.handle.stop(&id));
        assert_eq!((stopped, started), (Ok(true), Ok(true)), "{again:?}");
        tokio::time::sleep(20 * SECOND).await;
        assert_eq!(world.status(0).state, AccountState::Stopped);
        world.handle.start(&id).await.unwrap();
        world.all_ready(5 * SECOND).await;
        world.check().await;
    });
}
