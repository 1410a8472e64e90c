//! Turns: their end, their interruption, and what waits behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use moorline_config::AgentKind;
use moorline_core::{ChatId, ConversationId};
use moorline_simulator::feishu::{Fault, Push, Times};
use moorline_store::{Fault as StoreFault, Listing, Page, SessionFilter, Store, TurnState};
use moorline_supervision::Fault as Drill;
use moorline_tests::world::chat_of;
use moorline_tests::{Setup, World, in_virtual_time};

use super::{SECOND, one_account, settled};

#[test]
fn a_turn_that_hangs_is_ended_at_its_limit_and_what_waits_behind_it_is_answered_f044_f045() {
    in_virtual_time(async {
        let mut world = settled(Setup { agent_delay: "2h", ..Setup::default() }).await;
        world.reload(|config| config.runtime.turn_timeout = 60 * SECOND).await.unwrap();
        world.say(0, "alice", "hang");
        tokio::time::sleep(SECOND).await;
        let agent = |config: &mut moorline_config::Config| {
            for agent in config.agents.values_mut() {
                agent.kind = AgentKind::Echo { delay: Duration::ZERO };
            }
        };
        world.reload(agent).await.unwrap();
        for n in 0..8 {
            world.say(0, "alice", &format!("{n}"));
            // Whoever else writes is not concerned, and what comes in puts the limit off for nobody.
            world.say(0, "bob", &format!("{n}"));
            let bob = world.until("bob", SECOND, |w| w.copies("bob", &format!("{n}")) == 1).await;
            assert!(bob < SECOND / 2, "{bob:?}");
            tokio::time::sleep(7 * SECOND).await;
        }
        let answered = |w: &World| w.replies(&chat_of("alice")).len() == 9;
        // The notice 60 s after the question, which is in 3 s, and eight replies at the pace of a chat.
        world.until("the turn is given up, the rest answered", 5 * SECOND, answered).await;
        let replies = world.replies(&chat_of("alice"));
        assert!(replies[0].contains("could not be answered"), "{replies:?}");
        let expected: Vec<String> = (0..8).map(|n| n.to_string()).collect();
        assert_eq!(replies[1..], expected);
        world.check().await;
    });
}

#[test]
fn a_message_at_every_instant_of_a_turns_end_is_answered_f046() {
    in_virtual_time(async {
        let world = settled(one_account("100ms")).await;
        // With reads that take a while, an answer that says "nothing to do" may be older than the message.
        for (lag, last) in [(0, 106), (5, 130)] {
            world.lag.set(Duration::from_millis(lag));
            for millis in 96..=last {
                for yields in 0..20 {
                    let user = format!("u{lag}-{millis}-{yields}");
                    world.say(0, &user, "first");
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    for _ in 0..yields {
                        tokio::task::yield_now().await;
                    }
                    world.say(0, &user, "second");
                    // The turn itself, the pace of the chat, and 100 ms.
                    let both = |w: &World| w.replies(&chat_of(&user)).len() == 2;
                    world.until(&user, Duration::from_millis(100 + 200 + 100), both).await;
                    assert_eq!(world.replies(&chat_of(&user)), ["first", "second"]);
                }
            }
        }
        world.check().await;
    });
}

#[test]
fn no_reply_goes_astray_among_fifty_chats_of_three_accounts_and_a_reload_f049() {
    in_virtual_time(async {
        let mut world = settled(Setup { agent_delay: "300ms", ..Setup::default() }).await;
        world
            .reload(|c| {
                c.accounts.iter_mut().for_each(|a| a.access.group = moorline_config::GroupPolicy::Allow)
            })
            .await
            .unwrap();
        let mut dice = fastrand::Rng::with_seed(49);
        let mut said = Vec::new();
        for n in 0..3_000 {
            let (account, chat) = (dice.usize(0..3), dice.usize(0..50));
            // The chats of an account are its own; some are groups, and some of those have threads.
            let id = format!("oc_{account}_{chat}");
            let text = format!("{account}/{chat}/{n}");
            let thread = (chat % 5 == 0).then(|| format!("omt_{}", dice.u32(0..3)));
            let mut push = match chat % 2 {
                0 => Push::group(id.as_str(), format!("ou_{chat}"), text.as_str()),
                _ => Push::direct(id.as_str(), format!("ou_{chat}"), text.as_str()),
            };
            push.thread_id.clone_from(&thread);
            let message = world.simulator.push(world.app(account), push).unwrap().message_id;
            said.push((account, ChatId::new(id), thread, message, text));
            if n % 20 == 0 {
                tokio::time::sleep(Duration::from_millis(dice.u64(0..200))).await;
            }
            if n == 1_500 {
                world
                    .reload(|c| c.accounts[1].access.users.push(moorline_core::UserId::new("x")))
                    .await
                    .unwrap();
                world.handle.restart(&world.id(2)).await.unwrap();
            }
        }
        let all = |w: &World| w.simulator.read_ledger(|ledger| ledger.visible().len()) >= said.len();
        world.until_every(SECOND, "all answered", 600 * SECOND, all).await;
        tokio::time::sleep(60 * SECOND).await;
        world.simulator.read_ledger(|ledger| {
            assert_eq!(ledger.visible().len(), said.len());
            let replies: BTreeMap<&str, _> =
                ledger.visible().iter().map(|reply| (reply.text.as_str(), reply)).collect();
            for (account, chat, thread, message, text) in &said {
                let reply = replies[text.as_str()];
                assert_eq!(
                    (&reply.app, &reply.chat, &reply.thread),
                    (world.app(*account), chat, thread),
                    "{text}"
                );
                let answers = reply.reply_to.as_ref();
                assert!(answers.is_none_or(|answered| answered == message), "{text}");
            }
        });
        world.check().await;
    });
}

#[test]
fn a_message_that_comes_while_an_answer_is_being_sent_takes_nothing_of_it_f050() {
    in_virtual_time(async {
        let world = settled(one_account("1s")).await;
        let slow = Fault::SlowSend(3 * SECOND);
        world.simulator.set_fault(world.app(0), slow, Times::UntilCleared).unwrap();
        for n in 0..5 {
            world.say(0, "alice", &format!("{n}"));
            tokio::time::sleep(SECOND + SECOND / 2).await;
        }
        world.until("all answered", 30 * SECOND, |w| w.replies(&chat_of("alice")).len() == 5).await;
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(world.replies(&chat_of("alice")), ["0", "1", "2", "3", "4"]);
        world.check().await;
    });
}

/// Conversations whose turn is in this state.
async fn with_turn(world: &World, state: TurnState) -> BTreeSet<ConversationId> {
    let page = Page { before: None, limit: 500 };
    let sessions = world.store.sessions(&SessionFilter::default(), page).await.unwrap().rows;
    let in_state =
        sessions.into_iter().filter(|session| session.turn.is_some_and(|turn| turn.state == state));
    in_state.map(|session| session.conversation).collect()
}

#[test]
fn every_turn_that_was_cut_short_is_listed_and_no_other_f065() {
    in_virtual_time(async {
        let mut world = settled(one_account("100ms")).await;
        let mut dice = fastrand::Rng::with_seed(65);
        let mut seen = 0;
        for round in 0..100 {
            let user = |n: usize| format!("r{round}-{n}");
            for n in 0..3 {
                world.say(0, &user(n), "hello");
                tokio::time::sleep(Duration::from_millis(dice.u64(0..60))).await;
            }
            world.crash().await;
            let cut_short = with_turn(&world, TurnState::Running).await;
            world.simulator.set_fault(world.app(0), Fault::Hold, Times::UntilCleared).unwrap();
            world.boot().await;
            tokio::time::sleep(SECOND).await;
            let listed = world.store.interrupted_turns(&world.id(0)).await.unwrap();
            let listed: BTreeSet<_> = listed.into_iter().map(|turn| turn.conversation).collect();
            assert_eq!(listed, cut_short, "round {round}");
            assert_eq!(with_turn(&world, TurnState::Interrupted).await, cut_short, "round {round}");
            assert_eq!(with_turn(&world, TurnState::Running).await, BTreeSet::new(), "round {round}");
            seen += listed.len();
            world.simulator.clear_faults(world.app(0)).unwrap();
            let all = |w: &World| (0..3).all(|n| w.copies(&user(n), "hello") == 1);
            world.until("all answered", 80 * SECOND, all).await;
        }
        assert!(seen > 50, "{seen} turns cut short");
        world.check().await;
    });
}

#[test]
fn an_orderly_end_that_takes_too_long_interrupts_its_turns_like_a_crash_f065() {
    in_virtual_time(async {
        let mut world = settled(one_account("60s")).await;
        world.say(0, "alice", "slow question");
        world.until("it runs", SECOND, |w| w.handle.board().turns() == 1).await;
        world.shutdown().await;
        world.boot().await;
        world.until("resumed", 2 * SECOND, |w| w.handle.board().turns() == 1).await;
        world.until("answered", 61 * SECOND, |w| w.copies("alice", "slow question") == 1).await;
        world.check().await;
    });
}

#[test]
fn a_resume_that_fails_is_tried_again_and_a_new_message_still_finds_its_session_f066_f067() {
    in_virtual_time(async {
        let mut world = settled(one_account("5s")).await;
        world.say(0, "alice", "interrupted");
        world.say(0, "bob", "interrupted");
        world.until("both run", SECOND, |w| w.handle.board().turns() == 2).await;
        world.crash().await;
        let late = Fault::LatePong(2 * SECOND);
        world.simulator.set_fault(world.app(0), late, Times::Count(1)).unwrap();
        world.boot().await;
        tokio::time::sleep(SECOND).await;
        // The channel is ready while nothing can be written: no turn can be claimed.
        world.store.inject(StoreFault::Full(true));
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(
            (world.handle.board().turns(), world.status(0).state.to_string()),
            (0, "ready".to_owned())
        );
        world.store.inject(StoreFault::Full(false));
        world.until("both resumed", 2 * SECOND, |w| w.handle.board().turns() == 2).await;
        // Being resumed is not being answered: the actor dies, and the turn is taken up once more.
        let path = world.handle.tree().into_iter().find(|node| node.path.contains("oc_alice")).unwrap().path;
        assert!(world.handle.drills().inject(&path, Drill::Panic));
        world.say(0, "alice", "fresh");
        world.say(0, "bob", "fresh");
        let both = |w: &World| ["alice", "bob"].iter().all(|user| w.replies(&chat_of(user)).len() == 2);
        world.until("all answered", 15 * SECOND, both).await;
        tokio::time::sleep(60 * SECOND).await;
        for user in ["alice", "bob"] {
            assert_eq!(world.replies(&chat_of(user)), ["interrupted", "fresh"], "{user}");
        }
        world.check().await;
    });
}
