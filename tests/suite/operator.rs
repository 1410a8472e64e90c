//! What an operator does about messages that are stuck, over the whole system: dead letters, sessions that hang or were
//! given up, rows of accounts that are gone, and the life of a message.

use std::time::Duration;

use moorline_core::{ConversationId, OutboxId};
use moorline_runtime::{
    CommandError, InboxState, OutboxFilter, OutboxState, Page, ResumedFrom, Scope, SessionState, Trace,
    Traced, TurnState,
};
use moorline_simulator::feishu::{Answer, Fault, Lost, Push, Times};
use moorline_store::Store;
use moorline_supervision::Fault as Drill;
use moorline_tests::world::chat_of;
use moorline_tests::{Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

const REFUSED: Answer = Answer::Code { status: 400, code: 230_001 };

async fn settled(setup: Setup) -> World {
    let world = World::start(setup).await;
    world.settled().await;
    world
}

fn conversation(user: &str) -> ConversationId {
    ConversationId::new(chat_of(user).as_str())
}

/// Lets the conversation's running turn end its actor, three times.
async fn poison(world: &World, user: &str) {
    for _ in 0..3 {
        world.until("the turn runs", 10 * SECOND, |w| w.handle.board().turns() == 1).await;
        let nodes = world.handle.tree();
        let path = nodes.into_iter().find(|node| node.path.contains(chat_of(user).as_str())).unwrap().path;
        assert!(world.handle.drills().inject(&path, Drill::Panic));
        world.until("it is down", SECOND, |w| w.handle.board().turns() == 0).await;
    }
}

async fn trace(world: &World, traced: Traced) -> Trace {
    let trace = world.handle.listing().trace(&traced).await.unwrap();
    assert!(!trace.is_empty(), "{traced:?}");
    trace
}

async fn dead_letter(world: &World, text: &str) -> OutboxId {
    world.simulator.set_fault(world.app(0), Fault::Send(REFUSED), Times::Count(1)).unwrap();
    let sent = world.handle.send(&world.id(0), chat_of("alice"), text.to_owned(), None).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(world.handle.outbox_row(sent.id).await.unwrap().unwrap().state, OutboxState::Dead, "{text}");
    sent.id
}

#[test]
fn a_dead_letter_is_sent_again_when_an_operator_says_so_and_not_before_f053_f055() {
    in_virtual_time(async {
        let mut world = settled(Setup::default()).await;
        world.say(0, "alice", "hello");
        world.until("answered", SECOND, |w| w.copies("alice", "hello") == 1).await;
        let dead = dead_letter(&world, "your order").await;
        let attempts = |w: &World| w.simulator.counters(w.app(0)).unwrap().sends;
        let before = attempts(&world);
        for _ in 0..10 {
            world.crash().await;
            world.boot().await;
            world.settled().await;
            tokio::time::sleep(60 * SECOND).await;
        }
        assert_eq!(attempts(&world), before, "nobody sends a dead letter again by himself");
        let row = world.handle.retry_send(dead).await.unwrap();
        assert!(row.retried_at.is_some() && row.attempts <= 2, "{row:?}");
        world.until("delivered", 2 * SECOND, |w| w.copies("alice", "your order") == 1).await;
        for refused in [world.handle.retry_send(dead).await, world.handle.discard_send(dead).await] {
            assert_eq!(refused.unwrap_err(), CommandError::WrongState(dead, "was sent"));
        }
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!((world.copies("alice", "your order"), attempts(&world)), (1, before + 1));
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.dead, counts.outbox), (0, 0));
        world.check().await;
    });
}

/// F-056: the first attempt may have been seen, and the platform has forgotten its key since.
#[test]
fn a_dead_letter_that_may_have_been_sent_is_marked_when_its_key_has_lapsed_f056() {
    in_virtual_time(async {
        let world = settled(Setup::default()).await;
        world.say(0, "alice", "hello");
        world.until("answered", SECOND, |w| w.copies("alice", "hello") == 1).await;
        // Past the pause between two messages to one chat.
        tokio::time::sleep(SECOND).await;
        let next = |fault| world.simulator.set_fault(world.app(0), fault, Times::Count(1)).unwrap();
        next(Fault::LoseSendAnswer(Lost::Reset));
        let sent =
            world.handle.send(&world.id(0), chat_of("alice"), "twice?".to_owned(), None).await.unwrap();
        tokio::time::sleep(SECOND / 5).await;
        next(Fault::Send(REFUSED));
        tokio::time::sleep(10 * SECOND).await;
        let dead = world.handle.outbox_row(sent.id).await.unwrap().unwrap();
        assert_eq!(
            (dead.state, dead.doubted, dead.possibly_repeated),
            (OutboxState::Dead, true, false),
            "{dead:?}"
        );
        tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
        world.handle.retry_send(sent.id).await.unwrap();
        tokio::time::sleep(5 * SECOND).await;
        let row = world.handle.outbox_row(sent.id).await.unwrap().unwrap();
        assert_eq!((row.state, row.possibly_repeated), (OutboxState::Sent, true), "{row:?}");
        world.check().await;
    });
}

#[test]
fn a_message_that_waits_is_sent_at_once_when_an_operator_says_so() {
    in_virtual_time(async {
        let world = settled(Setup::default()).await;
        let pace = Fault::Send(Answer::RateLimited { reset: 3_600 });
        world.simulator.set_fault(world.app(0), pace, Times::Count(1)).unwrap();
        world.say(0, "alice", "patience");
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(world.copies("alice", "patience"), 0);
        world.handle.retry_send(OutboxId::new(1)).await.unwrap();
        world.until("sent", 2 * SECOND, |w| w.copies("alice", "patience") == 1).await;
        world.check().await;
    });
}

#[test]
fn what_is_discarded_is_never_sent_and_holds_up_nothing() {
    in_virtual_time(async {
        let mut world = settled(Setup::default()).await;
        let dead = dead_letter(&world, "stale news").await;
        world
            .simulator
            .set_fault(world.app(0), Fault::Send(Answer::Status(502)), Times::UntilCleared)
            .unwrap();
        world.say(0, "alice", "first");
        world.say(0, "alice", "second");
        tokio::time::sleep(20 * SECOND).await;
        // The head of the conversation may just be on its way: then it is asked again.
        let first = OutboxId::new(dead.get() + 1);
        while let Err(error) = world.handle.discard_send(first).await {
            assert!(matches!(error, CommandError::WrongState(..)), "{error}");
            tokio::time::sleep(SECOND / 10).await;
        }
        let row = world.handle.discard_send(dead).await.unwrap();
        assert_eq!(row.state, OutboxState::Discarded);
        world.handle.discard_send(dead).await.expect("asking again is harmless");
        assert!(matches!(world.handle.retry_send(dead).await, Err(CommandError::WrongState(..))), "for good");
        world.simulator.clear_faults(world.app(0)).unwrap();
        world.until("the next is sent", 61 * SECOND, |w| w.copies("alice", "second") == 1).await;
        world.crash().await;
        world.boot().await;
        world.settled().await;
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!((world.copies("alice", "stale news"), world.copies("alice", "first")), (0, 0));
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.dead, counts.outbox, counts.discarded), (0, 0, 2));
        let unknown = OutboxId::new(999);
        assert_eq!(world.handle.discard_send(unknown).await, Err(CommandError::UnknownMessage(unknown)));
        world.check().await;
    });
}

#[test]
fn a_parked_turn_is_resumed_by_an_operator_and_answered_once_f069() {
    in_virtual_time(async {
        let world = settled(Setup { agent_delay: "5s", ..Setup::default() }).await;
        let (a0, alice) = (world.id(0), conversation("alice"));
        let resume = || world.handle.resume_session(&a0, &alice);
        assert_eq!(resume().await, Err(CommandError::UnknownSession));
        world.say(0, "alice", "poison");
        world.until("a turn runs", SECOND, |w| w.handle.board().turns() == 1).await;
        assert!(matches!(resume().await, Err(CommandError::NothingToResume(_))), "it is running");
        poison(&world, "alice").await;
        let counts = async || world.handle.account(&world.id(0)).await.unwrap().counts;
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(counts().await.dropped.get("turn_parked"), Some(&1));
        // Whatever ended it is mended now.
        let resumed = resume().await.unwrap();
        assert_eq!((resumed.from, resumed.messages), (ResumedFrom::Parked, 1));
        world.check().await;
        assert!(resume().await.is_err(), "a second request gives nothing back twice");
        world.until("answered", 10 * SECOND, |w| w.copies("alice", "poison") == 1).await;
        tokio::time::sleep(60 * SECOND).await;
        assert!(matches!(resume().await, Err(CommandError::NothingToResume(_))));
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(world.copies("alice", "poison"), 1);
        assert_eq!((counts().await.answered, counts().await.dropped.len()), (1, 0));
        let turns = trace(&world, Traced::Inbox(moorline_core::InboxId::new(1))).await.turns;
        let told: Vec<_> = turns.iter().map(|turn| (turn.state, turn.attempt)).collect();
        assert_eq!(told, [(TurnState::Parked, 3), (TurnState::Done, 1)], "the attempts start anew");
        world.check().await;
    });
}

#[test]
fn an_interrupted_turn_waits_for_its_channel_whoever_asks_for_it_g9() {
    in_virtual_time(async {
        let mut world = settled(Setup { agent_delay: "5s", ..Setup::default() }).await;
        world.say(0, "alice", "interrupt me");
        tokio::time::sleep(2 * SECOND).await;
        world.crash().await;
        world.simulator.set_fault(world.app(0), Fault::Hold, Times::UntilCleared).unwrap();
        world.boot().await;
        tokio::time::sleep(5 * SECOND).await;
        let resumed = world.handle.resume_session(&world.id(0), &conversation("alice")).await.unwrap();
        assert_eq!((resumed.from, resumed.waits_for_channel), (ResumedFrom::Interrupted, true));
        tokio::time::sleep(20 * SECOND).await;
        assert_eq!((world.handle.board().turns(), world.copies("alice", "interrupt me")), (0, 0));
        world.simulator.clear_faults(world.app(0)).unwrap();
        world.all_ready(61 * SECOND).await;
        world.until("answered", 6 * SECOND, |w| w.copies("alice", "interrupt me") == 1).await;
        world.check().await;
    });
}

/// F-052: a turn that hangs is given up within a moment, and those behind it are answered.
#[test]
fn a_hung_turn_is_reset_and_the_messages_behind_it_are_answered_f052() {
    in_virtual_time(async {
        let world = settled(Setup { agent_delay: "5s", ..Setup::default() }).await;
        let alice = conversation("alice");
        let session = async || world.handle.listing().session(&world.id(0), &alice).await.unwrap().unwrap();
        world.say(0, "alice", "one");
        world.until("answered", 6 * SECOND, |w| w.copies("alice", "one") == 1).await;
        assert_eq!(world.handle.transcript(&world.id(0), &alice, 9).await.unwrap().len(), 2);
        world.say(0, "alice", "hangs");
        world.say(0, "alice", "behind it");
        world.say(0, "bob", "elsewhere");
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!((session().await.state(), session().await.pending), (SessionState::Running, 2));
        let began = world.elapsed();
        let given_up = world.handle.reset_session(&world.id(0), &alice).await.unwrap();
        let took = world.elapsed() - began;
        assert!(given_up.is_some() && took < 2 * SECOND, "{given_up:?} after {took:?}");
        let after = session().await;
        assert_eq!((after.entries, after.pending, after.dropped), (0, 1, 1));
        world.until("answered", 6 * SECOND, |w| w.copies("alice", "behind it") == 1).await;
        assert!(world.elapsed() - began < 6 * SECOND, "the agent's five seconds and no more");
        world.until("bob noticed nothing", 2 * SECOND, |w| w.copies("bob", "elsewhere") == 1).await;
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(world.copies("alice", "hangs"), 0, "its answer was given up with it");
        assert_eq!(world.simulator.read_ledger(|ledger| ledger.typing().count()), 0, "no sign of it is left");
        let transcript = world.handle.transcript(&world.id(0), &alice, 9).await.unwrap();
        assert_eq!(transcript.iter().map(|entry| entry.text.as_str()).collect::<Vec<_>>(), ["behind it"; 2]);
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.dropped.get("session_reset"), counts.pending), (Some(&1), 0));

        // One that sleeps, one that was never there, and one whose actor is just ending.
        assert_eq!(world.handle.reset_session(&world.id(0), &alice).await, Ok(None));
        let nobody = world.handle.reset_session(&world.id(0), &conversation("nobody")).await;
        assert_eq!(nobody, Err(CommandError::UnknownSession));
        world.say(0, "alice", "after that");
        world.until("answered", 6 * SECOND, |w| w.copies("alice", "after that") == 1).await;
        world.check().await;
    });
}

/// Resets at every moment of a turn's life, faults among them: nobody is answered twice, and nothing stays stuck.
#[test]
fn resets_at_any_moment_lose_nothing_that_waits_f052() {
    in_virtual_time(async {
        let world = settled(Setup { agent_delay: "300ms", ..Setup::default() }).await;
        for round in 0..40_u32 {
            world.say(0, "alice", &format!("given up or not {round}"));
            world.say(0, "alice", &format!("waits {round}"));
            tokio::time::sleep(Duration::from_millis(u64::from(round) * 17)).await;
            if round % 3 == 0 {
                let nodes = world.handle.tree();
                if let Some(node) = nodes.iter().find(|node| node.path.contains("oc_alice")) {
                    world.handle.drills().inject(&node.path, Drill::Panic);
                }
            }
            match world.handle.reset_session(&world.id(0), &conversation("alice")).await {
                Ok(_) | Err(CommandError::Busy | CommandError::UnknownSession) => {}
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(5 * SECOND).await;
            let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
            assert_eq!(counts.pending, 0, "round {round}: {counts:?}");
            assert_eq!(
                counts.answered + counts.dropped.get("session_reset").copied().unwrap_or(0),
                counts.received
            );
            let sessions = [format!("given up or not {round}"), format!("waits {round}")];
            assert!(sessions.iter().all(|text| world.copies("alice", text) <= 1), "round {round}");
            world.check().await;
        }
    });
}

#[test]
fn rows_of_an_account_that_is_gone_are_shown_and_deleted_on_request_f055() {
    in_virtual_time(async {
        let mut world = settled(Setup::default()).await;
        world.say(1, "bob", "answered");
        world.until("answered", SECOND, |w| w.copies("bob", "answered") == 1).await;
        world.simulator.set_fault(world.app(1), Fault::Send(Answer::Hang), Times::UntilCleared).unwrap();
        for n in 0..300 {
            world.say(1, &format!("user{n}"), "never sent");
        }
        world.say(0, "alice", "mine");
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(world.handle.status().await.unwrap().orphaned, []);
        let gone = world.id(1);
        let configured = world.handle.discard_rows(&gone).await;
        assert_eq!(configured, Err(CommandError::Configured(gone.clone())));
        let kept = world.config();
        world
            .reload(|config| config.accounts.retain(|account| account.id != "feishu:a1".parse().unwrap()))
            .await
            .unwrap();
        let orphaned = world.handle.status().await.unwrap().orphaned;
        assert_eq!((orphaned.len(), &orphaned[0].id), (1, &gone));
        assert_eq!((orphaned[0].counts.received, orphaned[0].counts.outbox), (301, 300));
        let filter = OutboxFilter { scope: Scope::Account(gone.clone()), state: None };
        let page = Page { before: None, limit: 1 };
        let stuck = world.handle.listing().outbox(&filter, page).await.unwrap().rows[0].id;
        assert_eq!(world.handle.retry_send(stuck).await, Err(CommandError::Orphaned(gone.clone())));
        let reset = world.handle.reset_session(&gone, &conversation("bob")).await;
        assert_eq!(reset, Err(CommandError::Orphaned(gone.clone())));

        // The next process shows them too.
        world.crash().await;
        world.boot().await;
        assert_eq!(world.handle.status().await.unwrap().orphaned.len(), 1);
        let discarded = world.handle.discard_rows(&gone).await.unwrap();
        assert!(discarded.done && discarded.counts.received == 0, "{discarded:?}");
        assert_eq!(world.handle.status().await.unwrap().orphaned, []);
        assert!(world.handle.discard_rows(&gone).await.unwrap().done, "asking again is harmless");
        let nobody = "feishu:nobody".parse().unwrap();
        assert_eq!(world.handle.discard_rows(&nobody).await, Err(CommandError::UnknownAccount(nobody)));
        assert_eq!(
            world.handle.account(&world.id(0)).await.unwrap().counts.answered,
            1,
            "others keep theirs"
        );
        assert_eq!(world.store.counts().await.unwrap(), world.store.recount().await.unwrap());

        // Configured again, it begins with nothing, and answers what comes.
        world.simulator.clear_faults(world.app(1)).unwrap();
        world.reload(move |config| *config = kept).await.unwrap();
        world.settled().await;
        world.say(1, "bob", "back");
        world.until("answered", 2 * SECOND, |w| w.copies("bob", "back") == 1).await;
        assert_eq!((0..300).filter(|n| world.copies(&format!("user{n}"), "never sent") > 0).count(), 0);
        world.check().await;
    });
}

/// G14: whatever became of a message, its trace says so.
#[test]
fn a_trace_shows_every_outcome_step_by_step_g14() {
    in_virtual_time(async {
        let world = settled(Setup { agent_delay: "1s", ..Setup::default() }).await;
        let name = |id: &str| Traced::Name(id.to_owned());

        // Answered, delivered twice.
        world.simulator.set_fault(world.app(0), Fault::Duplicate, Times::Count(1)).unwrap();
        let answered = world.say(0, "alice", "hello");
        world.until("answered", 3 * SECOND, |w| w.copies("alice", "hello") == 1).await;
        tokio::time::sleep(SECOND).await;
        let life = trace(&world, name(answered.message_id.as_str())).await;
        assert_eq!((life.received.len(), life.turns.len(), life.ours.len()), (1, 1, 1));
        assert_eq!((life.received[0].entry.row.state, life.received[0].repeats), (InboxState::Answered, 1));
        assert_eq!((life.turns[0].state, life.ours[0].state), (TurnState::Done, OutboxState::Sent));
        let times = [
            life.received[0].entry.row.received_at,
            life.turns[0].started_at,
            life.turns[0].ended_at.unwrap(),
            life.ours[0].first_attempt_at.unwrap(),
            life.ours[0].sent_at.unwrap(),
        ];
        assert!(times.is_sorted(), "{times:?}");
        let sent = life.ours[0].message_id.clone().unwrap();
        assert_eq!(trace(&world, name(sent.as_str())).await, life, "the same from the other end");
        let event = life.received[0].entry.row.event_id.clone();
        assert_eq!(trace(&world, name(event.as_str())).await, life);

        // Dropped.
        let dropped =
            world.simulator.push(world.app(0), Push::group("oc_g", "ou_bob", "not for you")).unwrap();
        tokio::time::sleep(SECOND).await;
        let life = trace(&world, name(dropped.message_id.as_str())).await;
        assert!(matches!(life.received[0].entry.row.state, InboxState::Dropped(_)) && life.turns.is_empty());
        assert!(life.received[0].entry.settled_at.is_some());

        // Dead.
        world.simulator.set_fault(world.app(0), Fault::Send(REFUSED), Times::Count(1)).unwrap();
        let refused = world.say(0, "alice", "refused");
        tokio::time::sleep(3 * SECOND).await;
        let life = trace(&world, name(refused.message_id.as_str())).await;
        assert_eq!((life.ours[0].state, life.ours[0].ended_at.is_some()), (OutboxState::Dead, true));
        assert!(life.ours[0].last_error.as_ref().is_some_and(|error| error.contains("230001")));

        let nothing = world.handle.listing().trace(&name("om_nobody")).await.unwrap();
        assert!(nothing.is_empty());
        world.check().await;
    });
}

/// G8: a message that was held says so, while it is and afterwards.
#[test]
fn a_trace_shows_what_a_message_was_held_for_g8() {
    in_virtual_time(async {
        let world = World::prepare(Setup { accounts: 1, ..Setup::default() }, |simulator, apps| {
            simulator
                .set_fault(&apps[0].app_id, Fault::BotInfo(Answer::Status(500)), Times::UntilCleared)
                .unwrap();
        })
        .await;
        world.all_ready(5 * SECOND).await;
        let push = Push::group("oc_g", "ou_bob", "you there").mentioning_bot();
        let pushed = world.simulator.push(world.app(0), push).unwrap();
        tokio::time::sleep(2 * SECOND).await;
        let name = || Traced::Name(pushed.message_id.to_string());
        let life = trace(&world, name()).await;
        assert!(
            matches!(life.received[0].entry.row.state, InboxState::Held(_))
                && life.received[0].judged.is_none()
        );
        world.simulator.clear_faults(world.app(0)).unwrap();
        world.handle.probe(&world.id(0)).await.unwrap();
        tokio::time::sleep(120 * SECOND).await;
        let life = trace(&world, name()).await;
        assert_eq!(life.received[0].entry.row.state, InboxState::Answered);
        assert!(life.received[0].judged.is_some_and(|(_, at)| at > life.received[0].entry.row.received_at));
        world.check().await;
    });
}
