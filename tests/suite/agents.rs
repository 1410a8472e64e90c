//! Agents that are away, hang, or have nothing to say: what is written meanwhile is acknowledged, kept, and answered in
//! order; and what a command was doing ends with its turn.

use std::time::Duration;

use moorline_channel::core::Timestamp;
use moorline_config::{Agent, AgentKind};
use moorline_runtime::{AgentState, FindingKind};
use moorline_tests::model::{AGENT, Behaviour};
use moorline_tests::world::chat_of;
use moorline_tests::{Model, Setup, World, in_virtual_time};
use tokio::time::{Instant, sleep};

mod commands;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const FAILED: &str = "Your message could not be answered. Please send it again later.";

/// A world whose agent is the model, with these tables more.
async fn world_with(tables: &'static str) -> (World, Model) {
    let world = World::start(Setup { accounts: 2, tables, ..Setup::default() }).await;
    let model = world.model();
    world.settled().await;
    (world, model)
}

async fn world() -> (World, Model) {
    world_with(AGENT).await
}

/// What a user sees, in order.
fn seen(world: &World, user: &str) -> Vec<String> {
    let chat = chat_of(user);
    world
        .simulator
        .read_ledger(|ledger| ledger.visible_in(&chat).map(|message| message.text.clone()).collect())
}

async fn answered(world: &World, n: usize) -> u64 {
    world.handle.account(&world.id(n)).await.unwrap().counts.answered
}

/// Each restart while the agent was away counted as an interruption: the third gave the message up, and told its author
/// that it had failed three times, though nothing of it had ever been tried.
#[test]
fn restarts_while_the_agent_is_away_use_up_no_attempt_f051_f069() {
    in_virtual_time(async {
        let (mut world, model) = world().await;
        model.set(Behaviour::Refuse);
        world.say(0, "alice", "are you there?");
        for _ in 0..6 {
            sleep(MINUTE).await;
            world.crash().await;
            world.boot().await;
            world.settled().await;
        }
        model.set(Behaviour::Echo(Duration::ZERO));
        world.until("answered", 6 * SECOND, |w| w.copies("alice", "are you there?") == 1).await;
        assert_eq!(seen(&world, "alice"), ["are you there?"]);
        // An attempt that is with the agent counts as ever.
        model.set(Behaviour::Hang);
        world.say(0, "alice", "and now?");
        for _ in 0..3 {
            sleep(10 * SECOND).await;
            world.crash().await;
            world.boot().await;
            world.settled().await;
        }
        world.until("parked", 10 * SECOND, |w| seen(w, "alice").len() == 2).await;
        assert!(seen(&world, "alice")[1].contains("failed three times"));
        world.check().await;
    });
}

#[test]
fn an_agent_that_is_away_for_ten_minutes_is_waited_for_and_not_hammered_f051() {
    in_virtual_time(async {
        let (world, model) = world().await;
        model.set(Behaviour::Refuse);
        let mut pushed = Vec::new();
        let users = ["alice", "bob", "carol", "dave"];
        for n in 0..60 {
            for (account, user) in users.iter().enumerate() {
                pushed.push(world.say(account % 2, user, &format!("m{n}")));
            }
            sleep(10 * SECOND).await;
        }
        let status = &world.handle.status().await.unwrap().agents["default"];
        assert_eq!((status.kind, status.state), ("openai", AgentState::Unavailable));
        assert!(status.attempt > 100 && status.next_attempt_at.is_some(), "{status:?}");
        assert!(status.last_error.as_ref().unwrap().contains("connection refused"), "{status:?}");
        let found = world.handle.doctor().await.unwrap().findings;
        assert!(
            found.iter().any(|f| f.kind == FindingKind::AgentUnavailable && f.why.contains("refused")),
            "{found:?}"
        );
        assert!(users.iter().all(|user| seen(&world, user).is_empty()), "nobody is told anything yet");

        // Acknowledged at once, and asked for no more often than the back-off allows, by all together.
        let late = |from: Timestamp, to: Timestamp| to.since(from) > SECOND;
        world.simulator.read_ledger(|ledger| {
            for each in &pushed {
                let event = ledger.event(&each.event_id).unwrap();
                assert!(event.is_acked() && !late(event.pushed_at, event.acked[0]), "{event:?}");
            }
        });
        let asked = model.asked();
        for two in asked.windows(2).skip(users.len()) {
            let apart = two[1].at - two[0].at;
            assert!(
                apart >= Duration::from_millis(500) && apart <= Duration::from_millis(5_010),
                "{apart:?}"
            );
        }
        assert!((120..260).contains(&asked.len()), "{} calls in 10 min", asked.len());

        model.set(Behaviour::Echo(Duration::ZERO));
        let all = |world: &World| users.iter().all(|user| world.copies(user, "m59") == 1);
        let first = |world: &World| users.iter().all(|user| world.copies(user, "m0") == 1);
        world.until("everybody is being answered", 5 * SECOND + Duration::from_millis(100), first).await;
        // What remains is the platform's own pace for one chat.
        world.until("all answered", MINUTE, all).await;
        for user in users {
            assert_eq!(seen(&world, user), (0..60).map(|n| format!("m{n}")).collect::<Vec<_>>(), "{user}");
        }
        let status = &world.handle.status().await.unwrap().agents["default"];
        assert_eq!((status.state, status.attempt, &status.last_error), (AgentState::Ok, 0, &None));
        world.check().await;
    });
}

#[test]
fn retry_after_is_kept_to_by_every_conversation_f051() {
    in_virtual_time(async {
        let (world, model) = world().await;
        model.set(Behaviour::Status(429, Some(20)));
        world.say(0, "alice", "hello");
        world.until("asked once", SECOND, |_| model.asked().len() == 1).await;
        world.say(1, "bob", "me too");
        sleep(19 * SECOND).await;
        assert_eq!(model.asked().len(), 1);
        model.set(Behaviour::Echo(Duration::ZERO));
        let both = |world: &World| world.copies("alice", "hello") + world.copies("bob", "me too") == 2;
        world.until("both answered", 2 * SECOND, both).await;
        let asked = model.asked();
        assert!(asked[1].at - asked[0].at >= 20 * SECOND);
        assert_eq!(asked.len(), 3);
        world.check().await;
    });
}

#[test]
fn a_call_that_hangs_ends_is_told_and_keeps_nobody_else_f044_f045() {
    in_virtual_time(async {
        let (world, model) =
            world_with("[runtime]\nturn_timeout = \"20s\"\n[agents.default]\nkind = \"openai\"\nbase_url = \"http://agent.test/v1\"\nmodel = \"m\"\n").await;
        model.judge(|said| if said == "hang" { Behaviour::Hang } else { Behaviour::Echo(Duration::ZERO) });
        world.say(0, "alice", "hang");
        for n in 0..8 {
            world.say(0, "alice", &format!("behind {n}"));
        }
        sleep(5 * SECOND).await;
        world.say(0, "bob", "quick");
        world.until("others are answered", SECOND, |world| world.copies("bob", "quick") == 1).await;
        let told = world.until("told", 20 * SECOND, |world| world.copies("alice", FAILED) == 1).await;
        assert!(told <= 16 * SECOND, "{told:?}");
        world.until("all behind it", 3 * SECOND, |world| world.copies("alice", "behind 7") == 1).await;
        let expected = [FAILED.to_owned()].into_iter().chain((0..8).map(|n| format!("behind {n}")));
        assert_eq!(seen(&world, "alice"), expected.collect::<Vec<_>>());
        assert_eq!(
            model.asked().iter().filter(|asked| asked.messages.last().unwrap()["content"] == "hang").count(),
            1
        );
        world.check().await;
    });
}

#[test]
fn an_empty_answer_is_a_failure_and_silence_has_to_be_said_f047() {
    in_virtual_time(async {
        let (world, model) = world().await;
        model.judge(|said| match said {
            "empty" => Behaviour::Say("  "),
            "silent" => Behaviour::Say("NO_REPLY"),
            "key" => Behaviour::Status(401, None),
            _ => Behaviour::Echo(Duration::ZERO),
        });
        for text in ["silent", "empty", "key", "talk"] {
            world.say(0, "alice", text);
        }
        world.until("the last is answered", 5 * SECOND, |world| world.copies("alice", "talk") == 1).await;
        assert_eq!(seen(&world, "alice"), [FAILED, FAILED, "talk"]);
        assert_eq!(answered(&world, 0).await, 4, "silence and failures are outcomes");
        assert_eq!(model.asked().len(), 4, "none of them is tried again");
        // The next turn knows of the silence, and not of what failed.
        let told: Vec<String> =
            model.asked()[3].messages.iter().map(|message| message["content"].to_string()).collect();
        assert_eq!(told, ["\"silent\"", "\"NO_REPLY\"", "\"talk\""]);
        world.check().await;
    });
}

#[test]
fn an_agent_that_stays_away_for_longer_than_the_hold_limit_is_given_up_once_f051() {
    in_virtual_time(async {
        let (world, model) =
            world_with("[runtime]\nhold_limit = \"2h\"\n[agents.default]\nkind = \"openai\"\nbase_url = \"http://agent.test/v1\"\nmodel = \"m\"\n").await;
        model.set(Behaviour::Status(503, None));
        world.say(0, "alice", "hello");
        sleep(119 * MINUTE).await;
        assert!(seen(&world, "alice").is_empty());
        sleep(2 * MINUTE).await;
        assert_eq!(seen(&world, "alice"), [FAILED]);
        let turns = world.handle.status().await.unwrap().turns;
        assert_eq!((turns.running, turns.waiting), (0, 0));
        world.check().await;
    });
}

#[test]
fn a_turn_that_waits_takes_the_agent_that_a_reload_gives_it_f078() {
    in_virtual_time(async {
        let (mut world, model) = world().await;
        model.set(Behaviour::Status(503, Some(3_600)));
        world.say(0, "alice", "hello");
        world.say(1, "bob", "hello");
        world.until("both wait", SECOND, |world| world.handle.board().waiting() == 2).await;
        assert_eq!(world.handle.board().turns(), 0, "who waits is not worked on");
        // A reload that changes something else keeps them waiting.
        let same = |config: &mut moorline_config::Config| config.runtime.hold_limit = 12 * 60 * MINUTE;
        world.reload(same).await.unwrap();
        sleep(MINUTE).await;
        assert_eq!((model.asked().len() <= 2, world.handle.board().waiting()), (true, 2));
        world
            .reload(|config| {
                let echo = Agent { kind: AgentKind::Echo { delay: Duration::ZERO } };
                config.agents.insert("default".to_owned(), echo);
            })
            .await
            .unwrap();
        let both = |world: &World| world.copies("alice", "hello") + world.copies("bob", "hello") == 2;
        world.until("both answered", SECOND, both).await;
        let status = &world.handle.status().await.unwrap().agents["default"];
        assert_eq!((status.kind, status.state), ("echo", AgentState::Ok));
        world.check().await;
    });
}

#[test]
fn a_turn_that_breaks_the_agent_is_given_up_and_holds_others_up_for_seconds_only_g7() {
    in_virtual_time(async {
        let (world, model) = world().await;
        model.judge(|said| match said {
            "poison" => Behaviour::Status(500, None),
            _ => Behaviour::Echo(Duration::ZERO),
        });
        world.say(0, "mallory", "poison");
        world.say(0, "mallory", "and a question");
        let began = Instant::now();
        let mut n = 0;
        while world.copies("mallory", FAILED) == 0 {
            let text = format!("m{n}");
            world.say(1, "bob", &text);
            let took = world.until("answered", 10 * SECOND, |world| world.copies("bob", &text) == 1).await;
            // The rest of the longest back-off: then it goes before the one that has failed already.
            assert!(took < 5 * SECOND + Duration::from_millis(200), "{took:?}");
            sleep(5 * SECOND).await;
            n += 1;
            assert!(began.elapsed() < 30 * MINUTE, "never given up");
        }
        world
            .until("the next is answered", 3 * SECOND, |world| world.copies("mallory", "and a question") == 1)
            .await;
        world.check().await;
    });
}

#[test]
fn a_crash_while_the_agent_is_away_loses_nothing_g9_f051() {
    in_virtual_time(async {
        let (mut world, model) = world().await;
        model.set(Behaviour::Refuse);
        for n in 0..3 {
            world.say(0, "alice", &format!("m{n}"));
        }
        sleep(MINUTE).await;
        world.crash().await;
        world.boot().await;
        world.settled().await;
        sleep(MINUTE).await;
        model.set(Behaviour::Echo(Duration::ZERO));
        world.until("all answered", 10 * SECOND, |world| world.copies("alice", "m2") == 1).await;
        assert_eq!(seen(&world, "alice"), ["m0", "m1", "m2"]);
        world.check().await;
    });
}

#[test]
fn a_shutdown_does_not_wait_for_an_agent_that_is_away() {
    in_virtual_time(async {
        let (mut world, model) = world().await;
        model.set(Behaviour::Refuse);
        world.say(0, "alice", "hello");
        world.until("it waits", SECOND, |world| world.handle.board().waiting() == 1).await;
        let began = Instant::now();
        world.shutdown().await;
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
        assert_eq!(world.handle.board().waiting(), 0);
        model.set(Behaviour::Echo(Duration::ZERO));
        world.boot().await;
        world.until("answered", 5 * SECOND, |world| world.copies("alice", "hello") == 1).await;
        world.check().await;
    });
}
