//! What is over is forgotten in time, and not before: the state file does not grow for ever (G12), and nothing that is
//! forgotten comes back as new too early (G2).

use std::time::Duration;

use moorline_config::AgentKind;
use moorline_core::InboxId;
use moorline_simulator::feishu::Push;
use moorline_store::{InboxFilter, OutboxFilter, Page, SessionFilter, Store};
use moorline_tests::world::chat_of;
use moorline_tests::{Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A repetition counts from when it was last seen, through restarts and crashes; what came after the window is new.
#[test]
fn a_delivery_is_recognised_for_seven_days_after_it_was_last_seen_g2_f032() {
    in_virtual_time(async {
        let mut world = World::start(Setup { accounts: 1, ..Setup::default() }).await;
        world.settled().await;
        let pushed = world.say(0, "alice", "once");
        world.until("answered", SECOND, |w| w.copies("alice", "once") == 1).await;
        for repetition in 1..=2 {
            for _ in 0..6 {
                tokio::time::sleep(DAY).await;
                world.crash().await;
                world.boot().await;
                world.settled().await;
            }
            let seen = world.elapsed();
            tokio::time::sleep(7 * DAY * repetition - MINUTE - seen).await;
            world.simulator.push_again(world.app(0), &pushed.message_id).unwrap();
            tokio::time::sleep(MINUTE / 2).await;
            let counts = world.store.counts().await.unwrap()[&world.id(0)].clone();
            assert_eq!((counts.received, counts.duplicates), (1, u64::from(repetition)));
        }
        // Two hours: it is looked once an hour for what may go.
        tokio::time::sleep(7 * DAY + 120 * MINUTE).await;
        world.simulator.push_again(world.app(0), &pushed.message_id).unwrap();
        world.until("answered as new", SECOND, |w| w.copies("alice", "once") == 2).await;
        world.check().await;
    });
}

/// How many rows an operator can find: received, ours, sessions.
async fn rows(world: &World) -> [usize; 3] {
    let mut found = [0; 3];
    let listing = world.store.listing();
    for (n, found) in found.iter_mut().enumerate() {
        let mut page = Page { before: None, limit: 500 };
        loop {
            let (rows, next) = match n {
                0 => {
                    let listed = listing.inbox(&InboxFilter::default(), page).await.unwrap();
                    (listed.rows.len(), listed.next)
                }
                1 => {
                    let listed = listing.outbox(&OutboxFilter::default(), page).await.unwrap();
                    (listed.rows.len(), listed.next)
                }
                _ => {
                    let listed = listing.sessions(&SessionFilter::default(), page).await.unwrap();
                    (listed.rows.len(), listed.next)
                }
            };
            *found += rows;
            page.before = next;
            if next.is_none() {
                break;
            }
        }
    }
    found
}

/// Every day the same traffic, of which some is dropped and some comes from people who never write again.
#[test]
fn the_state_is_as_large_after_forty_days_as_after_thirty_g12_f097() {
    const DAYS: usize = 40;
    const A_DAY: usize = 12;
    in_virtual_time(async {
        let mut world = World::start(Setup { accounts: 1, ..Setup::default() }).await;
        world.settled().await;
        let mut at = Vec::new();
        for day in 0..DAYS {
            let guest = format!("guest{day}");
            for n in 0..A_DAY - 2 {
                world.say(0, "alice", &format!("{day}.{n}"));
            }
            world.say(0, &guest, "hello");
            let talk = Push::group("oc_group", "ou_bob", "not for the bot");
            world.simulator.push(world.app(0), talk).unwrap();
            world.until("answered", MINUTE, |w| w.copies(&guest, "hello") == 1).await;
            tokio::time::sleep(DAY - MINUTE).await;
            if day % 9 == 0 {
                world.crash().await;
                world.boot().await;
                world.settled().await;
            }
            world.check().await;
            at.push(rows(&world).await);
        }
        assert!(at[28][0] == 29 * A_DAY, "nothing goes before its time: {:?}", at[28]);
        // Thirty days, and what is left of the day and the hour that go on.
        let most = [32 * A_DAY, 32 * (A_DAY - 1), 32 + 2];
        for (day, rows) in at.iter().enumerate() {
            assert!(rows.iter().zip(most).all(|(rows, most)| *rows <= most), "day {day}: {rows:?}");
        }
        let counts = world.store.counts().await.unwrap()[&world.id(0)].clone();
        let (received, answered) = ((DAYS * A_DAY) as u64, (DAYS * (A_DAY - 1)) as u64);
        assert_eq!((counts.received, counts.answered, counts.outbox), (received, answered, 0));
        assert_eq!(counts.dropped["not_mentioned"], DAYS as u64);
        world.check().await;
    });
}

/// F-042: the agent stands still while messages come. All of them are acknowledged, none is kept in memory, and when
/// it goes on they are answered in order.
#[test]
fn messages_that_come_while_the_agent_hangs_wait_in_the_store_f042() {
    const CHATS: usize = 50;
    const EACH: usize = 200;
    in_virtual_time(async {
        let mut world = World::start(Setup { accounts: 1, agent_delay: "9m", ..Setup::default() }).await;
        world.settled().await;
        let users: Vec<String> = (0..CHATS).map(|n| format!("u{n}")).collect();
        let mut pushed = Vec::new();
        for n in 0..EACH {
            pushed.extend(users.iter().map(|user| world.say(0, user, &n.to_string()).event_id));
            tokio::time::sleep(SECOND / 10).await;
        }
        tokio::time::sleep(SECOND).await;
        world.simulator.read_ledger(|ledger| {
            let late = pushed.iter().filter(|id| !ledger.event(id).unwrap().is_acked()).count();
            assert_eq!(late, 0, "not acknowledged");
        });
        let counts = world.store.counts().await.unwrap()[&world.id(0)].clone();
        assert_eq!((counts.pending, counts.answered), ((CHATS * EACH) as u64, 0));
        assert_eq!(counts.duplicates, 0, "nothing had to come twice");
        let page = world.store.conversations_with_work(None, InboxId::default(), 10).await.unwrap();
        assert!(page.is_empty(), "every conversation is at work: {page:?}");
        let actors = world.handle.tree().iter().filter(|node| node.path.contains("conversations/")).count();
        assert_eq!(actors, CHATS);

        world
            .reload(|config| {
                let agents = config.agents.values_mut();
                agents.for_each(|agent| agent.kind = AgentKind::Echo { delay: Duration::ZERO });
            })
            .await
            .unwrap();
        let last = (EACH - 1).to_string();
        world
            .until_every(20 * SECOND, "drained", 20 * MINUTE, |w| {
                users.iter().all(|user| w.copies(user, &last) == 1)
            })
            .await;
        let expected: Vec<String> = (0..EACH).map(|n| n.to_string()).collect();
        for user in &users {
            let chat = chat_of(user);
            let texts: Vec<String> =
                world.simulator.read_ledger(|l| l.visible_in(&chat).map(|m| m.text.clone()).collect());
            assert_eq!(texts, expected, "{user}");
        }
        world.check().await;
    });
}
