//! What goes wrong is told: faults, turns, sends, agents, the store, the file.

use std::sync::Arc;
use std::time::Duration;

use moorline_core::AccountState;
use moorline_runtime::supervision::Fault as Drill;
use moorline_runtime::{AgentState, ConfigFile, EventScope, What};
use moorline_simulator::feishu::{Answer, Fault, Push, Times};
use moorline_store::Fault as StoreFault;
use moorline_tests::world::{Parts, chat_of};
use moorline_tests::{Setup, World, in_virtual_time};
use parking_lot::Mutex;

use super::{SECOND, Watcher};

fn one_account(agent_delay: &'static str) -> Setup {
    Setup { accounts: 1, agent_delay, ..Setup::default() }
}

#[test]
fn faults_reloads_agents_and_the_end_are_told() {
    in_virtual_time(async {
        let tables = moorline_tests::model::AGENT;
        let mut world = World::start(Setup { tables, ..Setup::default() }).await;
        world.settled().await;
        let mut watcher = Watcher::begin(&world);
        let path = "runtime/accounts/feishu:a0/connection";
        assert!(world.handle.drills().inject(path, Drill::Panic));
        tokio::time::sleep(5 * SECOND).await;
        watcher.hear();
        let of_actor: Vec<_> =
            watcher.kinds().into_iter().filter(|kind| kind.starts_with("actor_")).collect();
        assert_eq!(of_actor, ["actor_exited", "actor_restarting", "actor_started"]);
        let exited = watcher.seen.iter().find(|event| event.what.kind() == "actor_exited").unwrap();
        assert_eq!(exited.what.account(), Some(&world.id(0)));

        // Whenever it is back.
        for _ in 0..600 {
            world.handle.drills().inject("runtime/bus", Drill::Panic);
            tokio::time::sleep(SECOND / 10).await;
            watcher.hear();
        }
        assert!(watcher.kinds().contains(&"actor_parked"), "{:?}", watcher.kinds());

        world.model().set(moorline_tests::model::Behaviour::Status(503, None));
        world.say(1, "alice", "anybody?");
        tokio::time::sleep(10 * SECOND).await;
        world.model().set(moorline_tests::model::Behaviour::Echo(Duration::ZERO));
        tokio::time::sleep(10 * SECOND).await;
        watcher.hear();
        let agent: Vec<_> = watcher
            .seen
            .iter()
            .filter_map(|event| match &event.what {
                What::Agent { from, to, .. } => Some((*from, *to)),
                _ => None,
            })
            .collect();
        assert_eq!(agent.first(), Some(&(AgentState::Ok, AgentState::Unavailable)));
        assert_eq!(agent.last(), Some(&(AgentState::Unavailable, AgentState::Ok)));

        world.reload(|config| drop(config.accounts.pop())).await.unwrap();
        watcher.hear();
        assert!(watcher.kinds().ends_with(&["account_removed", "reload_applied"]), "{:?}", watcher.kinds());

        world.shutdown().await;
        watcher.hear();
        let draining = watcher.seen.iter().position(|event| event.what.kind() == "draining").unwrap();
        assert!(
            watcher.seen[draining..]
                .iter()
                .any(|event| matches!(event.what, What::Account { to: AccountState::Stopped, .. }))
        );
    });
}

#[test]
fn a_turn_that_is_interrupted_again_and_again_is_told_to_the_end_f069() {
    in_virtual_time(async {
        let world = World::start(one_account("5s")).await;
        world.settled().await;
        let (_, mut calm) = world.handle.events(&EventScope::default());
        world.say(0, "alice", "deadly");
        for _ in 0..3 {
            tokio::time::sleep(3 * SECOND).await;
            assert!(world.handle.drills().inject("runtime/conversations/feishu:a0~oc_alice", Drill::Panic));
        }
        tokio::time::sleep(60 * SECOND).await;
        let mut told = Vec::new();
        while let Some(event) = futures_util::FutureExt::now_or_never(calm.next()) {
            told.push(event.unwrap().what.kind());
        }
        told.retain(|kind| *kind != "token");
        let interrupted = ["actor_exited", "turns_interrupted"];
        let again = ["turn_resumed", "actor_exited", "turns_interrupted"];
        let expected = [&interrupted[..], &again, &again, &["turn_parked"]].concat();
        assert_eq!(told, expected);
        world.check().await;
    });
}

#[test]
fn a_send_that_fails_and_one_that_never_will_succeed_are_told_f055() {
    in_virtual_time(async {
        let world = World::start(one_account("2s")).await;
        world.settled().await;
        let mut watcher = Watcher::begin(&world);
        let (_, mut calm) = world.handle.events(&EventScope::default());
        world.simulator.set_fault(world.app(0), Fault::Send(Answer::Status(500)), Times::Count(1)).unwrap();
        world.say(0, "bob", "hello");
        world.until("answered", 60 * SECOND, |w| w.copies("bob", "hello") == 1).await;
        world.say(0, "alice", "too late");
        tokio::time::sleep(SECOND).await;
        world.simulator.remove_chat(world.app(0), &chat_of("alice")).unwrap();
        tokio::time::sleep(60 * SECOND).await;
        watcher.hear();
        let sends = |kind: &&str| ["send_failed", "message_sent", "dead_letter"].contains(kind);
        let told: Vec<_> = watcher.kinds().into_iter().filter(sends).collect();
        assert_eq!(told, ["send_failed", "message_sent", "dead_letter"]);
        let mut to_all = Vec::new();
        while let Some(event) = futures_util::FutureExt::now_or_never(calm.next()) {
            to_all.push(event.unwrap().what.kind());
        }
        to_all.retain(sends);
        assert_eq!(to_all, ["dead_letter"], "nobody has to ask for this one");
    });
}

#[test]
fn a_message_that_is_held_is_told_when_it_is_received_and_when_it_is_judged_f014() {
    in_virtual_time(async {
        let world = World::prepare(one_account("0s"), |simulator, apps| {
            let down = Fault::BotInfo(Answer::Status(503));
            simulator.set_fault(&apps[0].app_id, down, Times::UntilCleared).unwrap();
        })
        .await;
        world.all_ready(SECOND).await;
        let mut watcher = Watcher::begin(&world);
        let push = Push::group("oc_team", "ou_bob", "are you there?").mentioning_bot();
        world.simulator.push(world.app(0), push).unwrap();
        tokio::time::sleep(SECOND).await;
        world.simulator.clear_faults(world.app(0)).unwrap();
        tokio::time::sleep(61 * SECOND).await;
        watcher.hear();
        let verdicts: Vec<_> = watcher
            .seen
            .iter()
            .filter_map(|event| match &event.what {
                What::MessageReceived { verdict, reason, .. } => Some(("received", *verdict, *reason)),
                What::MessageJudged { verdict, reason, .. } => Some(("judged", *verdict, *reason)),
                _ => None,
            })
            .collect();
        assert_eq!(verdicts, [("received", "held", Some("identity")), ("judged", "allowed", None)]);
    });
}

#[test]
fn a_full_disk_and_a_wrong_file_are_told_once_and_so_is_their_end_f074_f079() {
    in_virtual_time(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("moorline.toml");
        let wrong = Arc::new(Mutex::new(Some("no such key".to_owned())));
        let config = Arc::new(Mutex::new(None));
        let load = {
            let (wrong, config) = (Arc::clone(&wrong), Arc::clone(&config));
            move || match (&*wrong.lock(), &*config.lock()) {
                (None, Some(config)) => Ok((moorline_config::Config::clone(config), Default::default())),
                (why, _) => Err(why.iter().cloned().collect()),
            }
        };
        let parts = Parts { file: Some(ConfigFile { path, load: Arc::new(load) }), ..Parts::default() };
        let world = World::assemble(one_account("0s"), parts, |_, _| {}).await;
        *config.lock() = Some(world.config());
        let mut watcher = Watcher::begin(&world);
        world.settled().await;
        for _ in 0..3 {
            assert!(world.handle.reload().await.is_err());
        }
        *wrong.lock() = None;
        world.handle.reload().await.unwrap();
        world.handle.reload().await.unwrap();

        world.store.inject(StoreFault::Full(true));
        world.say(0, "alice", "hello");
        tokio::time::sleep(10 * SECOND).await;
        world.store.inject(StoreFault::Full(false));
        world.until("answered", 600 * SECOND, |w| w.copies("alice", "hello") == 1).await;
        watcher.hear();
        let told: Vec<String> = watcher
            .seen
            .iter()
            .filter_map(|event| match &event.what {
                What::ReloadFailed { problems } => Some(format!("wrong: {problems:?}")),
                What::ReloadApplied { applied } => Some(format!("right, {} untouched", applied.untouched)),
                What::Store { from, to, .. } => Some(format!("store {from} {to}")),
                _ => None,
            })
            .collect();
        let expected = [r#"wrong: ["no such key"]"#, "right, 1 untouched", "store ok full", "store full ok"];
        assert_eq!(told, expected);
        world.check().await;
    });
}
