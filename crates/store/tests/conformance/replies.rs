//! What a platform takes only after its user wrote: reply tokens and held messages, told as short stories and checked on
//! every store.

use moorline_core::{DropReason, Epoch, Generation, InboxId, OutboxId, Secret, Timestamp};
use moorline_store::{
    Claim, Lease, NewMessage, NewReply, NewReplyToken, NewRun, Op, OutboxRow, OutboxState, Outcome,
    RunContent, SendResult, Store, Trigger, Tx, Verdict,
};

use crate::script::{
    DROP, ECHO, HOLD, account, chat, conversation, fingerprint, job, message, prompt, reply, results,
};
use crate::stores;

use Outcome::{Applied, Conflict, Duplicate, Fenced};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000 * seconds)
}

fn claim() -> Claim {
    Claim { epoch: Epoch::new(1), generation: Generation::FIRST }
}

/// The places of the results.
const SENT: usize = 0;
const UNKNOWN: usize = 2;
const HELD: usize = 4;

fn send(outbox: i64) -> Op {
    Op::ClaimSend { outbox: OutboxId::new(outbox), claim: claim(), possibly_repeated: false }
}

fn settle(outbox: i64, result: usize) -> Op {
    Op::SettleSend { outbox: OutboxId::new(outbox), claim: claim(), result: results()[result].clone() }
}

fn held_unless_news(outbox: i64, heard: i64) -> Op {
    let result = SendResult::Held { heard: InboxId::new(heard), error: "closed".to_owned() };
    Op::SettleSend { outbox: OutboxId::new(outbox), claim: claim(), result }
}

fn enqueue(conversation: u8, key: u8) -> Op {
    Op::Enqueue { parts: vec![reply(conversation, key)] }
}

fn receive(key: u8, conversation: u8, verdict: Verdict) -> Op {
    Op::Receive { message: message(&[key], conversation, verdict) }
}

fn expire(outbox: i64, before: i64) -> Op {
    Op::ExpireHeld { outbox: OutboxId::new(outbox), before: at(before), error: "nobody wrote".to_owned() }
}

/// Carries out one operation after the other, the first at one second past the epoch.
async fn story(store: &dyn Store, name: &str, from: i64, lines: impl IntoIterator<Item = (Op, Outcome)>) {
    let lease = Lease { account: account(0), epoch: Epoch::new(1) };
    for (time, (op, outcome)) in (from..).zip(lines) {
        let told = format!("{name}, at {time}: {op:?}");
        let tx = match op {
            Op::TakeOver { .. } | Op::Prune { .. } | Op::AddJob { .. } => Tx::global(at(time), [op]),
            op => Tx::under(&lease, at(time), [op]),
        };
        assert_eq!(store.commit(tx).await, Ok(vec![outcome]), "{told}");
    }
}

/// Every store, with account 0 taken over once; afterwards the counts agree with the rows.
async fn each(mut check: impl AsyncFnMut(&dyn Store, &str)) {
    for mut subject in stores::all() {
        story(subject.store(), subject.name, 0, [(Op::TakeOver { account: account(0) }, Applied(1))]).await;
        check(subject.store(), subject.name).await;
        let counts = subject.store().counts().await.unwrap();
        subject.reopen();
        assert_eq!(subject.store().counts().await.unwrap().keys().next(), counts.keys().next());
        if let Some(sqlite) = subject.sqlite() {
            assert_eq!(sqlite.recount().await.unwrap(), sqlite.counts().await.unwrap(), "{}", subject.name);
        }
    }
}

async fn row(store: &dyn Store, id: i64) -> OutboxRow {
    store.outbox_row(OutboxId::new(id)).await.unwrap().unwrap()
}

async fn states(store: &dyn Store, ids: &[i64]) -> Vec<OutboxState> {
    let mut states = Vec::new();
    for id in ids {
        states.push(row(store, *id).await.state);
    }
    states
}

async fn heads(store: &dyn Store) -> Vec<i64> {
    store.outbox_heads(&account(0), 9).await.unwrap().iter().map(|row| row.id.get()).collect()
}

/// F-060: a held message heads its conversation, is not due, and is let go by the next message in its chat, whatever
/// becomes of that one; with its key and its attempts, and before what waits behind it.
#[tokio::test]
async fn what_is_held_is_let_go_by_the_next_message_of_its_chat_and_by_nothing_else_f060() {
    use OutboxState::{Held, Ready};
    for verdict in [Verdict::Allow, DROP, HOLD] {
        each(async |store, name| {
            let lines = [
                (enqueue(0, 1), Applied(1)),
                (enqueue(0, 2), Applied(2)),
                (enqueue(1, 3), Applied(3)),
                (send(1), Applied(0)),
                (settle(1, HELD), Applied(0)),
                (send(1), Conflict),
                (settle(1, SENT), Fenced),
            ];
            story(store, name, 1, lines).await;
            assert_eq!(heads(store).await, [3], "{name}: nothing overtakes what is held");
            let held = row(store, 1).await;
            assert_eq!((held.state, held.held_at, held.attempts), (Held, Some(at(5)), 1), "{name}");
            let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
            assert_eq!((counts.outbox, counts.outbox_held), (3, 1), "{name}");

            story(store, name, 8, [(receive(1, 1, verdict), Applied(1))]).await;
            assert_eq!(
                states(store, &[1, 2, 3]).await,
                [Held, Ready, Ready],
                "{name}: another chat's message"
            );
            story(store, name, 9, [(receive(2, 0, verdict), Applied(2))]).await;
            let free = row(store, 1).await;
            assert_eq!(
                (free.state, free.not_before, free.released_at),
                (Ready, at(9), Some(at(9))),
                "{name}"
            );
            assert_eq!((free.attempts, &free.key), (1, &held.key), "{name}");
            let mut heads = heads(store).await;
            heads.sort();
            assert_eq!(heads, [1, 3], "{name}");

            let lines = [
                (send(1), Applied(0)),
                (settle(1, HELD), Applied(0)),
                (receive(2, 0, verdict), Duplicate(2)),
            ];
            story(store, name, 10, lines).await;
            assert_eq!(row(store, 1).await.state, Held, "{name}: a repeated delivery says nothing new");
        })
        .await;
    }
}

/// What the bot had written itself came back as a message of the chat, and let go what waited for the user.
#[tokio::test]
async fn what_no_user_wrote_lets_nothing_go_and_brings_no_token_f041_f060() {
    for reason in [DropReason::OwnMessage, DropReason::FromBot] {
        each(async |store, name| {
            let Op::Receive { message } = with_token(1, Some(1), "echoed", 0) else { unreachable!() };
            let echo = Op::Receive { message: NewMessage { verdict: Verdict::Drop(reason), ..message } };
            let lines = [
                (enqueue(0, 1), Applied(1)),
                (send(1), Applied(0)),
                (settle(1, HELD), Applied(0)),
                (echo, Applied(1)),
            ];
            story(store, name, 1, lines).await;
            assert_eq!(row(store, 1).await.state, OutboxState::Held, "{name}: {reason:?}");
            assert!(token(store, 0, 0).await.is_none(), "{name}: {reason:?}");
            let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
            assert_eq!(counts.outbox_held, 1, "{name}: {reason:?}");
            story(store, name, 5, [(receive(2, 0, Verdict::Allow), Applied(2))]).await;
            assert_eq!(row(store, 1).await.state, OutboxState::Ready, "{name}: {reason:?}");
        })
        .await;
    }
}

/// F-060: a message that comes while the attempt is under way is not waited for twice.
#[tokio::test]
async fn what_the_user_wrote_during_the_attempt_is_not_missed_f060() {
    each(async |store, name| {
        let lines = [
            (receive(1, 0, Verdict::Allow), Applied(1)),
            (enqueue(0, 1), Applied(1)),
            (send(1), Applied(0)),
            (receive(2, 1, Verdict::Allow), Applied(2)),
            (held_unless_news(1, 1), Applied(0)),
        ];
        story(store, name, 1, lines).await;
        assert_eq!(row(store, 1).await.state, OutboxState::Held, "{name}: another chat's message is no news");
        let lines = [
            (receive(3, 0, Verdict::Allow), Applied(3)),
            (send(1), Applied(0)),
            (receive(4, 0, Verdict::Allow), Applied(4)),
            (held_unless_news(1, 3), Applied(1)),
        ];
        story(store, name, 6, lines).await;
        let again = row(store, 1).await;
        assert_eq!((again.state, again.not_before), (OutboxState::Ready, at(9)), "{name}");
        assert_eq!(again.last_error.as_deref(), Some("closed"), "{name}");
    })
    .await;
}

/// F-060: what the bot itself or another program wrote meanwhile opens no window, nor does what nobody wrote: the row was
/// tried again at once, and refused, and so on for as long as its own echo was news.
#[tokio::test]
async fn only_a_users_message_during_the_attempt_is_news_f060() {
    let from_bot = Verdict::Drop(moorline_core::DropReason::FromBot);
    for (verdict, news) in [(ECHO, 0), (from_bot, 0), (Verdict::Allow, 1), (DROP, 1), (HOLD, 1)] {
        each(async |store, name| {
            let lines = [
                (receive(1, 0, Verdict::Allow), Applied(1)),
                (enqueue(0, 1), Applied(1)),
                (send(1), Applied(0)),
                (receive(2, 0, verdict), Applied(2)),
                (held_unless_news(1, 1), Applied(news)),
            ];
            story(store, name, 1, lines).await;
            let state = if news == 1 { OutboxState::Ready } else { OutboxState::Held };
            assert_eq!(row(store, 1).await.state, state, "{name}: {verdict:?}");
        })
        .await;
    }
}

/// F-056: an attempt that may have been a repetition, and of which nobody knows whether it took effect, is counted,
/// whether it was cut off or its process was; one that had no effect is not, and leaves the doubt of those before it.
#[tokio::test]
async fn repetitions_that_nobody_confirmed_are_counted_until_an_operator_asks_for_more_f056() {
    const RETRY: usize = 1;
    let again = || Op::ClaimSend { outbox: OutboxId::new(1), claim: claim(), possibly_repeated: true };
    each(async |store, name| {
        let seen = async || {
            let row = row(store, 1).await;
            (row.state, row.repeats)
        };
        let lines = [(enqueue(0, 1), Applied(1)), (send(1), Applied(0)), (settle(1, UNKNOWN), Applied(0))];
        story(store, name, 1, lines).await;
        assert_eq!(seen().await, (OutboxState::Unknown, 0), "{name}: the first attempt repeats nothing");
        story(store, name, 4, [(again(), Applied(0)), (settle(1, RETRY), Applied(0))]).await;
        assert_eq!(seen().await, (OutboxState::Unknown, 0), "{name}: certainly no repetition");
        story(store, name, 6, [(again(), Applied(0)), (settle(1, UNKNOWN), Applied(0))]).await;
        assert_eq!(seen().await, (OutboxState::Unknown, 1), "{name}");
        let interrupt = Op::InterruptSends { generation: Generation::FIRST };
        story(store, name, 8, [(again(), Applied(0)), (interrupt, Applied(1))]).await;
        assert_eq!(seen().await, (OutboxState::Unknown, 2), "{name}");
        let retry = Op::RetrySend { outbox: OutboxId::new(1) };
        story(store, name, 10, [(retry, Applied(0))]).await;
        assert_eq!(seen().await, (OutboxState::Unknown, 0), "{name}");
        let lines = [(again(), Applied(0)), (Op::TakeOver { account: account(0) }, Applied(2))];
        story(store, name, 11, lines).await;
        assert_eq!(seen().await, (OutboxState::Unknown, 1), "{name}");
    })
    .await;
}

/// F-059: what the platform took and may have shown to nobody says so.
#[tokio::test]
async fn what_was_taken_in_doubt_is_sent_and_says_so_f059() {
    const TAKEN: usize = 6;
    each(async |store, name| {
        let lines = [
            (enqueue(0, 1), Applied(1)),
            (enqueue(1, 2), Applied(2)),
            (send(1), Applied(0)),
            (settle(1, TAKEN), Applied(0)),
            (send(2), Applied(0)),
            (settle(2, SENT), Applied(0)),
        ];
        story(store, name, 1, lines).await;
        for (id, doubted) in [(1, true), (2, false)] {
            let sent = row(store, id).await;
            assert_eq!((sent.state, sent.delivery_doubted), (OutboxState::Sent, doubted), "{name}");
        }
    })
    .await;
}

/// F-056: what may have been sent before it was held is in doubt ever after.
#[tokio::test]
async fn what_may_have_been_sent_before_it_was_held_is_unknown_again_f056() {
    each(async |store, name| {
        let lines = [
            (enqueue(0, 1), Applied(1)),
            (send(1), Applied(0)),
            (settle(1, UNKNOWN), Applied(0)),
            (send(1), Applied(0)),
            (settle(1, HELD), Applied(0)),
            (receive(1, 0, Verdict::Allow), Applied(1)),
        ];
        story(store, name, 1, lines).await;
        assert_eq!(row(store, 1).await.state, OutboxState::Unknown, "{name}");
    })
    .await;
}

#[tokio::test]
async fn an_operator_sends_what_is_held_or_gives_it_up() {
    each(async |store, name| {
        let retry = Op::RetrySend { outbox: OutboxId::new(1) };
        let discard = Op::DiscardSend { outbox: OutboxId::new(1) };
        let lines = [
            (enqueue(0, 1), Applied(1)),
            (send(1), Applied(0)),
            (settle(1, HELD), Applied(0)),
            (retry, Applied(0)),
        ];
        story(store, name, 1, lines).await;
        let due = row(store, 1).await;
        assert_eq!(
            (due.state, due.not_before, due.retried_at),
            (OutboxState::Ready, at(4), Some(at(4))),
            "{name}"
        );
        let lines = [(send(1), Applied(0)), (settle(1, HELD), Applied(0)), (discard, Applied(0))];
        story(store, name, 5, lines).await;
        let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
        assert_eq!((counts.outbox, counts.outbox_held, counts.discarded), (0, 0, 1), "{name}");
        story(store, name, 8, [(receive(1, 0, Verdict::Allow), Applied(1))]).await;
        assert_eq!(row(store, 1).await.state, OutboxState::Discarded, "{name}");
    })
    .await;
}

/// A new process decides what was under way; what is held stays so.
#[tokio::test]
async fn a_takeover_leaves_what_is_held() {
    each(async |store, name| {
        let lines = [
            (enqueue(0, 1), Applied(1)),
            (send(1), Applied(0)),
            (settle(1, HELD), Applied(0)),
            (Op::InterruptSends { generation: Generation::FIRST }, Applied(0)),
            (Op::TakeOver { account: account(0) }, Applied(2)),
        ];
        story(store, name, 1, lines).await;
        assert_eq!(row(store, 1).await.state, OutboxState::Held, "{name}");
    })
    .await;
}

/// What waits behind a held message has waited for its user too; what was put there later has not waited so long.
#[tokio::test]
async fn what_was_held_for_too_long_is_dead_with_what_waited_behind_it_as_long() {
    use OutboxState::{Dead, Held, Ready};
    each(async |store, name| {
        let elsewhere = NewReply { conversation: conversation(0), ..reply(1, 4) };
        let lines = [
            (enqueue(0, 1), Applied(1)),
            (enqueue(0, 2), Applied(2)),
            (enqueue(1, 3), Applied(3)),
            (Op::Enqueue { parts: vec![elsewhere] }, Applied(4)),
            (send(1), Applied(0)),
            (settle(1, HELD), Applied(0)),
            (expire(1, 6), Conflict),
            (expire(2, 99), Conflict),
            (enqueue(0, 5), Applied(5)),
        ];
        story(store, name, 1, lines).await;
        let held = async |before: i64| store.held_sends(&account(0), at(before), 9).await.unwrap().len();
        assert_eq!((held(6).await, held(7).await), (0, 1), "{name}");
        story(store, name, 20, [(expire(1, 9), Applied(2)), (expire(1, 9), Conflict)]).await;
        assert_eq!(states(store, &[1, 2, 3, 4, 5]).await, [Dead, Dead, Ready, Ready, Ready], "{name}");
        let dead = row(store, 2).await;
        assert_eq!(
            (dead.last_error.as_deref(), dead.ended_at),
            (Some("nobody wrote"), Some(at(20))),
            "{name}"
        );
        let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
        assert_eq!((counts.outbox, counts.outbox_held, counts.dead), (3, 0, 2), "{name}");
        // A dead letter that an operator sends again may be held again.
        let retry = Op::RetrySend { outbox: OutboxId::new(1) };
        story(store, name, 22, [(retry, Applied(0)), (send(1), Applied(0)), (settle(1, HELD), Applied(0))])
            .await;
        assert_eq!(row(store, 1).await.state, Held, "{name}");
    })
    .await;
}

fn with_token(key: u8, written_at: Option<i64>, token: &str, credentials: u8) -> Op {
    let reply_token =
        Some(NewReplyToken { secret: Secret::new(token), credentials: fingerprint(credentials) });
    let written_at = written_at.map(at);
    Op::Receive { message: NewMessage { reply_token, written_at, ..message(&[key], 0, Verdict::Allow) } }
}

async fn token(store: &dyn Store, of: u8, credentials: u8) -> Option<(String, Timestamp)> {
    let window = store.reply_window(&account(0), &chat(of), &fingerprint(credentials)).await.unwrap();
    window.token.map(|token| (token.secret.expose().to_owned(), token.received_at))
}

/// F-060: the newest token of a chat counts, and only for the credentials that it was given to.
#[tokio::test]
async fn the_newest_token_of_a_chat_counts_f060() {
    each(async |store, name| {
        let newest = async || token(store, 0, 0).await.map(|(token, _)| token);
        assert_eq!(newest().await, None, "{name}");
        let mut time = 0;
        let rows: [(Op, Outcome, &str); 7] = [
            (with_token(1, Some(50), "a", 0), Applied(1), "a"),
            (with_token(2, Some(40), "older", 0), Applied(2), "a"),
            (with_token(3, Some(50), "as old", 0), Applied(3), "as old"),
            (with_token(4, None, "no time", 0), Applied(4), "no time"),
            (with_token(5, Some(10), "b", 0), Applied(5), "b"),
            (with_token(5, Some(60), "repeated", 0), Duplicate(5), "b"),
            (receive(7, 0, Verdict::Allow), Applied(6), "b"),
        ];
        for (op, outcome, expected) in rows {
            time += 1;
            story(store, name, time, [(op, outcome)]).await;
            assert_eq!(newest().await.as_deref(), Some(expected), "{name}, at {time}");
        }
        assert_eq!(token(store, 0, 0).await, Some(("b".to_owned(), at(5))), "{name}");
        assert_eq!((token(store, 1, 0).await, token(store, 0, 1).await), (None, None), "{name}");
        // Another bot's token takes the place of ours, however old its message.
        story(store, name, 8, [(with_token(8, Some(1), "theirs", 1), Applied(7))]).await;
        assert_eq!(token(store, 0, 0).await, None, "{name}");
        assert_eq!(token(store, 0, 1).await, Some(("theirs".to_owned(), at(8))), "{name}");
        let window = store.reply_window(&account(0), &chat(0), &fingerprint(1)).await.unwrap();
        assert_eq!(window.heard, InboxId::new(7), "{name}");
        assert!(!format!("{window:?}").contains("theirs"), "{name}: {window:?}");
    })
    .await;
}

#[tokio::test]
async fn tokens_are_forgotten_with_age_and_with_their_account() {
    each(async |store, name| {
        let prune = |before| Op::Prune { before: at(before), dedupe_before: at(0), limit: 9 };
        let lines = [(with_token(1, None, "a", 0), Applied(1)), (prune(1), Applied(0))];
        story(store, name, 1, lines).await;
        assert!(token(store, 0, 0).await.is_some(), "{name}");
        story(store, name, 3, [(prune(2), Applied(1))]).await;
        assert!(token(store, 0, 0).await.is_none(), "{name}");
        let lines = [(with_token(2, None, "b", 0), Applied(2)), (Op::DiscardRows { limit: 99 }, Applied(0))];
        story(store, name, 4, lines).await;
        assert!(token(store, 0, 0).await.is_none(), "{name}");
    })
    .await;
}

/// What a job says in a chat's name is not what its user says.
#[tokio::test]
async fn a_prompt_of_a_job_lets_nothing_go() {
    each(async |store, name| {
        let prompt = prompt(1, 0);
        let beside = NewReply { conversation: conversation(1), ..reply(0, 2) };
        let run = NewRun {
            job: moorline_core::JobId::new(1),
            due: at(1),
            until: at(1),
            count: 1,
            trigger: Trigger::Operator { key: moorline_core::IdempotencyKey::new("r") },
            content: RunContent::Prompt(Box::new(prompt)),
        };
        let lines = [
            (Op::AddJob { job: Box::new(job(0, None)) }, Applied(1)),
            (enqueue(0, 1), Applied(1)),
            (send(1), Applied(0)),
            (settle(1, HELD), Applied(0)),
            (Op::Enqueue { parts: vec![beside] }, Applied(2)),
            (send(2), Applied(0)),
            (Op::RecordRun { run: Box::new(run) }, Applied(1)),
            (held_unless_news(2, 0), Applied(0)),
        ];
        story(store, name, 1, lines).await;
        assert_eq!(states(store, &[1, 2]).await, [OutboxState::Held; 2], "{name}");
    })
    .await;
}
