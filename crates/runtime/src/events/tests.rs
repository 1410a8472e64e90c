use moorline_core::{Monotonic, Timestamp};

use super::*;

struct Still;

impl Clock for Still {
    fn now(&self) -> Monotonic {
        Monotonic::default()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::default()
    }
}

fn feed() -> Events {
    Events::new(Arc::new(Still))
}

fn account(name: &str) -> AccountId {
    name.parse().unwrap()
}

fn added(events: &Events, name: &str) {
    events.tell(Sort::Lifecycle, || What::AccountAdded { account: account(name) });
}

fn sent(events: &Events) {
    events.tell(Sort::Message, || What::MessageSent {
        account: account("feishu:main"),
        conversation: moorline_core::ConversationId::new("oc_1"),
        outbox: moorline_core::OutboxId::new(1),
        message_id: moorline_core::MessageId::new("om_1"),
        attempts: 1,
        delivery_doubted: false,
    });
}

async fn numbers(subscription: &mut Subscription, many: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..many {
        numbers.push(subscription.next().await.unwrap().seq);
    }
    numbers
}

#[tokio::test]
async fn a_watcher_hears_of_everything_after_its_beginning_in_order_and_numbers_have_no_gap() {
    let events = feed();
    added(&events, "feishu:a");
    let mut first = events.subscribe(&Scope::default());
    assert_eq!(first.after(), 1);
    added(&events, "feishu:b");
    let mut second = events.subscribe(&Scope::default());
    added(&events, "feishu:c");
    assert_eq!(numbers(&mut first, 2).await, [2, 3]);
    assert_eq!((second.after(), numbers(&mut second, 1).await), (2, vec![3]));
}

#[tokio::test]
async fn a_busy_bot_does_not_drown_a_watcher_that_did_not_ask_for_messages_f103() {
    let events = feed();
    let mut calm = events.subscribe(&Scope::default());
    let mut all = events.subscribe(&Scope { messages: true, account: None });
    for _ in 0..10 * RING {
        sent(&events);
    }
    added(&events, "feishu:a");
    assert_eq!(calm.next().await.unwrap().what.kind(), "account_added");
    // The slow one is told how many it has lost, and holds no more than the ring.
    let missed = 10 * RING + 1 - RING;
    assert_eq!(all.next().await, Err(Missed::Lagged(missed as u64)));
    assert_eq!(all.next().await.unwrap().seq, missed as u64 + 1);
}

#[tokio::test]
async fn one_account_is_watched_with_what_concerns_everybody() {
    let events = feed();
    let scope = Scope { messages: true, account: Some(account("feishu:main")) };
    let mut subscription = events.subscribe(&scope);
    added(&events, "feishu:other");
    sent(&events);
    events.tell(Sort::Lifecycle, || What::Draining { restart: false });
    assert_eq!(numbers(&mut subscription, 2).await, [2, 3]);
}

#[test]
fn what_nobody_listens_to_is_not_even_put_together() {
    let events = feed();
    events.tell(Sort::Lifecycle, || unreachable!("nobody listens"));
    let calm = events.subscribe(&Scope::default());
    events.tell(Sort::Message, || unreachable!("nobody listens to messages"));
    assert_eq!(calm.after(), 1);
    Events::default().tell(Sort::Lifecycle, || unreachable!("there is no feed"));
}

#[test]
fn an_event_is_one_flat_object() {
    let what = What::AccountAdded { account: account("feishu:main") };
    let event = Event { seq: 7, at: Timestamp::from_millis(1_795_176_000_123), what };
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        r#"{"seq":7,"at":"2026-11-20T12:00:00.123Z","kind":"account_added","account":"feishu:main"}"#
    );
    assert_eq!(event.what.kind(), "account_added");
    assert!(What::KINDS.contains(&"account_added"));
}
