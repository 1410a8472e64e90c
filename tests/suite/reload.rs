//! A reload is the difference of two configurations: what is the same in both is not touched (F-075…F-079).

use std::time::Duration;

use moorline_config::{Config, DirectPolicy};
use moorline_core::{AccountState, IdentityState, Secret, UserId, Value};
use moorline_simulator::feishu::{Answer, Cut, Fault, NewApp, Times};
use moorline_tests::{Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

/// Connection ids and generations of all accounts.
fn fingerprint(world: &World) -> Vec<(String, u64)> {
    (0..world.apps.len())
        .map(|n| {
            let connections = world.simulator.connections(world.app(n)).unwrap();
            let device = connections.first().map(|c| c.device_id.clone()).unwrap_or_default();
            (device, world.status(n).generation.get())
        })
        .collect()
}

async fn everybody_answers(world: &World, accounts: std::ops::Range<usize>, tag: &str) {
    for n in accounts.clone() {
        world.say(n, &format!("u{n}"), &format!("{tag} {n}"));
    }
    world
        .until(&format!("answered {tag}"), 3 * SECOND, |w| {
            accounts.clone().all(|n| w.copies(&format!("u{n}"), &format!("{tag} {n}")) == 1)
        })
        .await;
}

fn set_secret(config: &mut Config, n: usize, secret: &str) {
    let value = Value::Secret(Secret::new(secret));
    config.accounts[n].settings.values.insert("app_secret".to_owned(), value);
}

#[test]
fn the_same_configuration_touches_nothing_f075() {
    in_virtual_time(async {
        let mut world = World::start(Setup::default()).await;
        world.settled().await;
        let before = fingerprint(&world);
        let applied = world.reload(|_| {}).await.unwrap();
        assert_eq!((applied.untouched, applied.added.len(), applied.reconnected.len()), (3, 0, 0));
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(fingerprint(&world), before);
        world.check().await;
    });
}

#[test]
fn a_changed_allowlist_takes_effect_without_a_reconnect_f075() {
    in_virtual_time(async {
        let mut world = World::start(Setup::default()).await;
        world.settled().await;
        let before = fingerprint(&world);
        let applied = world
            .reload(|config| {
                config.accounts[0].access.direct = DirectPolicy::Allowlist;
                config.accounts[0].access.users = vec![UserId::new("friend")];
            })
            .await
            .unwrap();
        assert_eq!((applied.updated, applied.reconnected.len()), (vec![world.id(0)], 0));
        world.say(0, "stranger", "let me in");
        world.say(0, "friend", "it is me");
        world.until("the friend is answered", SECOND, |w| w.copies("friend", "it is me") == 1).await;
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!(counts.dropped.get("user_not_allowed"), Some(&1));
        assert_eq!(fingerprint(&world), before);
        world.check().await;
    });
}

#[test]
fn a_rotated_secret_reconnects_its_account_and_no_other_f075() {
    in_virtual_time(async {
        let mut world = World::start(Setup::default()).await;
        world.settled().await;
        let before = fingerprint(&world);
        let app = world.app(0).as_str().to_owned();
        world.simulator.add_app(NewApp::named("Bot 0").with_credentials(app, "rotated"));
        let applied = world.reload(|config| set_secret(config, 0, "rotated")).await.unwrap();
        assert_eq!(applied.reconnected, [world.id(0)]);
        world.settled().await;
        let after = fingerprint(&world);
        assert_ne!(after[0], before[0]);
        assert_eq!(after[1..], before[1..]);
        everybody_answers(&world, 0..3, "rotated").await;
        world.check().await;
    });
}

#[test]
fn accounts_come_and_go_while_the_others_stay_f076() {
    in_virtual_time(async {
        let mut world = World::start(Setup::default()).await;
        world.settled().await;
        let before = fingerprint(&world);
        let mut wider = world.config();
        world.add_account(&mut wider);
        let applied = world.reload(|config| *config = wider.clone()).await.unwrap();
        assert_eq!((applied.added.clone(), applied.untouched), (vec![world.id(3)], 3));
        world.settled().await;
        everybody_answers(&world, 0..4, "four").await;
        assert_eq!(fingerprint(&world)[..3], before);

        let removed = wider.accounts.remove(1);
        let applied = world.reload(|config| *config = wider.clone()).await.unwrap();
        assert_eq!(applied.removed, [world.id(1)]);
        assert_eq!(world.simulator.counters(world.app(1)).unwrap().open, 0);
        assert!(world.handle.board().account(&world.id(1)).is_none());
        let gone = "runtime/accounts/feishu:a1";
        assert_eq!(world.handle.tree().iter().filter(|node| node.path.starts_with(gone)).count(), 0);
        // It comes back with everything it had.
        wider.accounts.insert(1, removed);
        world.reload(|config| *config = wider.clone()).await.unwrap();
        world.settled().await;
        everybody_answers(&world, 0..4, "back").await;
        let counts = world.handle.account(&world.id(1)).await.unwrap().counts;
        assert_eq!(counts.answered, 2);
        world.check().await;
    });
}

#[test]
fn a_turn_ends_with_what_it_began_with_f078() {
    in_virtual_time(async {
        let mut world = World::start(Setup { agent_delay: "30s", ..Setup::default() }).await;
        world.settled().await;
        world.say(0, "alice", "a long thought");
        world.until("it runs", SECOND, |w| w.handle.board().turns() == 1).await;
        let app = world.app(0).as_str().to_owned();
        world.simulator.add_app(NewApp::named("Bot 0").with_credentials(app, "rotated"));
        world
            .reload(|config| {
                set_secret(config, 0, "rotated");
                for agent in config.agents.values_mut() {
                    agent.kind = moorline_config::AgentKind::Echo { delay: SECOND };
                }
            })
            .await
            .unwrap();
        world.until("it ends as it began", 31 * SECOND, |w| w.copies("alice", "a long thought") == 1).await;
        world.say(0, "alice", "a short one");
        let took =
            world.until("the next is quick", 2 * SECOND, |w| w.copies("alice", "a short one") == 1).await;
        assert!(took >= SECOND, "{took:?}");
        world.check().await;
    });
}

/// Report openclaw#77717: the reload falls into the time in which bot info is asked for.
#[test]
fn a_reload_during_the_identity_probe_costs_no_identity_f013() {
    in_virtual_time(async {
        for offset in 0..50 {
            let slow = Fault::BotInfo(Answer::Delay(5 * SECOND));
            let mut world = World::prepare(Setup::default(), |simulator, apps| {
                simulator.set_fault(&apps[0].app_id, slow, Times::UntilCleared).unwrap();
            })
            .await;
            tokio::time::sleep(Duration::from_millis(100 * offset)).await;
            world.reload(|config| config.accounts[0].access.users.push(UserId::new("x"))).await.unwrap();
            world
                .until("the identity is known", 7 * SECOND, |w| {
                    w.status(0).identity.state == IdentityState::Verified
                })
                .await;
            world.shutdown().await;
        }
    });
}

/// F-015: an answer for the old credentials is on its way when the new ones come.
#[test]
fn a_late_identity_of_old_credentials_never_lands_f015() {
    in_virtual_time(async {
        let slow = Fault::BotInfo(Answer::Delay(3 * SECOND));
        let mut world = World::prepare(Setup::default(), |simulator, apps| {
            simulator.set_fault(&apps[0].app_id, slow, Times::Count(1)).unwrap();
        })
        .await;
        let old = world.apps[0].bot_open_id.clone();
        let other =
            world.simulator.add_app(NewApp::named("Other").with_credentials("cli_00000000000000ff", "other"));
        tokio::time::sleep(SECOND).await;
        world
            .reload(|config| {
                let id = Value::Text(other.app_id.as_str().to_owned());
                config.accounts[0].settings.values.insert("app_id".to_owned(), id);
                set_secret(config, 0, "other");
            })
            .await
            .unwrap();
        world
            .until("the new identity", 5 * SECOND, |w| {
                w.status(0).identity.id.as_ref() == Some(&other.bot_open_id)
            })
            .await;
        for _ in 0..50 {
            tokio::time::sleep(SECOND / 10).await;
            assert_ne!(world.status(0).identity.id.as_ref(), Some(&old));
        }
    });
}

#[test]
fn two_hundred_reloads_among_disconnects_end_in_the_last_configuration_f077() {
    in_virtual_time(async {
        let mut world = World::start(Setup { accounts: 6, ..Setup::default() }).await;
        world.settled().await;
        let full = world.config();
        for round in 0..200_usize {
            let mut next = full.clone();
            match round % 4 {
                0 => next.accounts.truncate(2 + round % 3),
                1 => next.accounts[round % 6].access.users.push(UserId::new(format!("u{round}"))),
                2 => drop(next.accounts.remove(round % 6)),
                _ => {}
            }
            world.reload(|config| *config = next).await.unwrap();
            let app = world.app(round % 6).clone();
            world.simulator.drop_connections(&app, &Cut::Reset).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        world.reload(|config| *config = full).await.unwrap();
        world
            .until("every account ready", 61 * SECOND, |w| {
                (0..6).all(|n| w.status(n).state == AccountState::Ready)
            })
            .await;
        world.settled().await;
        everybody_answers(&world, 0..6, "after the storm").await;
        world.check().await;
    });
}

#[test]
fn a_reload_of_one_account_of_a_thousand_touches_no_other_socket_g7() {
    in_virtual_time(async {
        let mut world = World::start(Setup { accounts: 1_000, ..Setup::default() }).await;
        world.all_ready(60 * SECOND).await;
        tokio::time::sleep(60 * SECOND).await;
        let before = fingerprint(&world);
        let app = world.app(500).as_str().to_owned();
        world.simulator.add_app(NewApp::named("Bot").with_credentials(app, "rotated"));
        let position = world.config().accounts.iter().position(|a| a.id == world.id(500)).unwrap();
        let applied = world.reload(|config| set_secret(config, position, "rotated")).await.unwrap();
        assert_eq!((applied.reconnected.clone(), applied.untouched), (vec![world.id(500)], 999));
        world.all_ready(2 * SECOND).await;
        let after = fingerprint(&world);
        let touched: Vec<usize> = (0..1_000).filter(|&n| before[n] != after[n]).collect();
        assert_eq!(touched, [500]);
    });
}

/// A setting that was changed and changed back needed a restart, it was said, although it did not.
#[test]
fn what_is_changed_back_needs_no_restart_f075() {
    in_virtual_time(async {
        let mut world = World::start(Setup::default()).await;
        world.settled().await;
        let before = world.config().data_dir;
        for _ in 0..2 {
            let there = world.reload(|config| config.data_dir = "elsewhere".into()).await.unwrap();
            assert_eq!(there.needs_restart, ["data_dir"], "for as long as it is so");
        }
        let back = world.reload(|config| config.data_dir = before).await.unwrap();
        assert_eq!((back.needs_restart.len(), back.untouched), (0, 3));
    });
}
