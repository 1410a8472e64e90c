//! The documented outcomes of each operation, told as short stories and checked on every store.

use moorline_core::{DropReason, Epoch, Generation, InboxId, OutboxId, Timestamp, TurnId};
use moorline_store::{
    Claim, InboxState, Lease, Op, OutboxState, Outcome, SendResult, Store, TurnState, Tx, Verdict, Work,
};

use crate::script::{DROP, HOLD, account, boot, conversation, message, reply, results};
use crate::stores;
use crate::visible::assert_conserved;

use Outcome::{Applied, Conflict, Duplicate, Fenced};

const FIRST: Generation = Generation::FIRST;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000 * seconds)
}

fn lease(epoch: i64) -> Lease {
    Lease { account: account(0), epoch: Epoch::new(epoch) }
}

fn claim(epoch: i64, generation: u64) -> Claim {
    Claim { epoch: Epoch::new(epoch), generation: Generation::new(generation) }
}

fn receive(key: u8, verdict: Verdict) -> Op {
    Op::Receive { message: message(&[key], 0, verdict) }
}

fn start(inputs: &[i64], claim: Claim) -> Op {
    let inputs = inputs.iter().copied().map(InboxId::new).collect();
    Op::StartTurn { conversation: conversation(0), inputs, claim }
}

fn finish(turn: i64, claim: Claim, keys: &[u8]) -> Op {
    let replies = keys.iter().map(|key| reply(0, *key)).collect();
    Op::FinishTurn { turn: TurnId::new(turn), claim, entries: vec![], replies }
}

fn resume(turn: i64, attempt: u32, claim: Claim) -> Op {
    Op::ResumeTurn { turn: TurnId::new(turn), attempt, claim }
}

fn send(outbox: i64, claim: Claim) -> Op {
    Op::ClaimSend { outbox: OutboxId::new(outbox), claim, possibly_repeated: false }
}

fn settle(outbox: i64, claim: Claim, result: usize) -> Op {
    let result: SendResult = results()[result].clone();
    Op::SettleSend { outbox: OutboxId::new(outbox), claim, result }
}

fn take_over() -> Op {
    Op::TakeOver { account: account(0) }
}

/// Carries out one operation after the other, each alone, under the lease of `epoch`.
async fn story(store: &dyn Store, name: &str, epoch: i64, lines: Vec<(Op, Outcome)>) {
    for (number, (op, outcome)) in lines.into_iter().enumerate() {
        let tx = match op {
            Op::BeginBoot { .. }
            | Op::EndBoot { .. }
            | Op::TakeOver { .. }
            | Op::Prune { .. }
            | Op::Remember { .. } => Tx::global(at(1), [op]),
            _ => Tx::under(&lease(epoch), at(1), [op]),
        };
        let told = format!("{name}, line {number}: {tx:?}");
        assert_eq!(store.commit(tx).await, Ok(vec![outcome]), "{told}");
    }
    assert_conserved(&store.counts().await.unwrap());
}

/// Every store, with account 0 taken over once.
async fn each(mut check: impl AsyncFnMut(&dyn Store, &str)) {
    for subject in stores::all() {
        story(subject.store(), subject.name, 1, vec![(take_over(), Applied(1))]).await;
        check(subject.store(), subject.name).await;
    }
}

#[tokio::test]
async fn boots_and_leases() {
    each(async |store, name| {
        let begin = || Op::BeginBoot { boot: boot(1), version: "0".to_owned() };
        let end = |number| Op::EndBoot { boot: boot(number) };
        let cursor = || Op::SetCursor { kind: "poll".to_owned(), value: "1".to_owned() };
        let lines = vec![
            (begin(), Applied(0)),
            (begin(), Duplicate(0)),
            (end(2), Conflict),
            (end(1), Applied(0)),
            (end(1), Duplicate(0)),
            (cursor(), Applied(0)),
            (take_over(), Applied(2)),
            (cursor(), Fenced),
        ];
        story(store, name, 1, lines).await;
        story(store, name, 2, vec![(cursor(), Applied(0))]).await;
        story(store, name, 3, vec![(cursor(), Fenced)]).await;
        // The lease is looked at before every operation, so a take-over ends it for those after it.
        let tx = Tx::under(&lease(2), at(1), [take_over(), cursor()]);
        assert_eq!(store.commit(tx).await, Ok(vec![Fenced; 2]), "{name}");
        story(store, name, 2, vec![(cursor(), Applied(0))]).await;
        assert!(store.commit(Tx::global(at(1), [cursor()])).await.is_err(), "{name}: no lease");
        let unknown = Lease { account: account(9), epoch: Epoch::new(0) };
        assert_eq!(store.commit(Tx::under(&unknown, at(1), [cursor()])).await, Ok(vec![Fenced]), "{name}");
    })
    .await;
}

/// F-032, F-033: any key recognises a repetition, all keys are learned from it, and each account has its own.
#[tokio::test]
async fn a_message_is_stored_once() {
    each(async |store, name| {
        let with = |keys: &[u8]| Op::Receive { message: message(keys, 0, Verdict::Allow) };
        let lines = vec![
            (with(&[1, 2]), Applied(1)),
            (with(&[3, 1]), Duplicate(1)),
            (with(&[3]), Duplicate(1)),
            (with(&[4]), Applied(2)),
            (with(&[4, 2]), Duplicate(2)),
            (with(&[5, 5]), Applied(3)),
        ];
        story(store, name, 1, lines).await;
        let other = Lease { account: account(1), epoch: Epoch::new(1) };
        store.commit(Tx::global(at(1), [Op::TakeOver { account: account(1) }])).await.unwrap();
        let tx = Tx::under(&other, at(1), [with(&[1])]);
        assert_eq!(store.commit(tx).await, Ok(vec![Applied(4)]), "{name}");
        let counts = store.counts().await.unwrap();
        assert_eq!((counts[&account(0)].received, counts[&account(0)].duplicates), (3, 3), "{name}");
        assert_eq!((counts[&account(1)].received, counts[&account(1)].duplicates), (1, 0), "{name}");
    })
    .await;
}

#[tokio::test]
async fn held_messages_are_judged_once_and_in_order() {
    each(async |store, name| {
        let judge = |inbox, verdict| Op::Judge { inbox: InboxId::new(inbox), verdict };
        let lines = vec![
            (receive(1, HOLD), Applied(1)),
            (receive(2, HOLD), Applied(2)),
            (receive(3, Verdict::Allow), Applied(3)),
            (receive(4, DROP), Applied(4)),
            (judge(3, DROP), Conflict),
            (judge(4, Verdict::Allow), Conflict),
            (judge(9, DROP), Conflict),
            (judge(1, HOLD), Conflict),
        ];
        story(store, name, 1, lines).await;
        let held = store.held(&account(0), 9).await.unwrap();
        assert_eq!(held.iter().map(|row| row.id.get()).collect::<Vec<_>>(), [1, 2], "{name}");
        let lines = vec![
            (judge(1, Verdict::Allow), Applied(0)),
            (judge(1, Verdict::Allow), Conflict),
            (judge(2, Verdict::Drop(DropReason::IdentityUnknown)), Applied(0)),
        ];
        story(store, name, 1, lines).await;
        match store.next_work(&account(0), &conversation(0)).await.unwrap() {
            Some(Work::Answer(row)) => {
                assert_eq!((row.id.get(), row.state), (1, InboxState::Pending), "{name}")
            }
            other => panic!("{name}: {other:?}"),
        }
        let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
        assert_eq!(
            (counts.pending, counts.held.len(), counts.dropped["identity_unknown"]),
            (2, 0, 1),
            "{name}"
        );
    })
    .await;
}

/// F-064, F-065: a turn that was started and not finished is interrupted, and taken up once.
#[tokio::test]
async fn a_turn_has_one_owner() {
    each(async |store, name| {
        let interrupt = |generation| Op::InterruptTurns {
            conversation: Some(conversation(0)),
            generation: Generation::new(generation),
        };
        let all = || Op::InterruptTurns { conversation: None, generation: FIRST };
        let lines = vec![
            (receive(1, Verdict::Allow), Applied(1)),
            (receive(2, Verdict::Allow), Applied(2)),
            (receive(3, HOLD), Applied(3)),
            (start(&[3], claim(1, 2)), Conflict),
            (start(&[1, 9], claim(1, 2)), Conflict),
            (start(&[1], claim(2, 2)), Fenced),
            (start(&[2, 1], claim(1, 2)), Applied(1)),
            (start(&[1], claim(1, 2)), Conflict),
            (resume(1, 1, claim(1, 2)), Conflict),
            (finish(1, claim(1, 1), &[]), Fenced),
            (interrupt(1), Applied(0)),
            (interrupt(2), Applied(1)),
            (finish(1, claim(1, 2), &[]), Fenced),
            (start(&[2], claim(1, 3)), Conflict),
        ];
        story(store, name, 1, lines).await;
        match store.next_work(&account(0), &conversation(0)).await.unwrap() {
            Some(Work::Resume(turn)) => {
                let inputs: Vec<_> = turn.inputs.iter().map(|row| row.id.get()).collect();
                assert_eq!(
                    (turn.state, turn.attempt, inputs),
                    (TurnState::Interrupted, 1, vec![1, 2]),
                    "{name}"
                );
            }
            other => panic!("{name}: {other:?}"),
        }
        let lines = vec![
            (resume(1, 2, claim(1, 3)), Conflict),
            (resume(1, 1, claim(1, 1)), Applied(0)),
            (resume(1, 1, claim(1, 3)), Conflict),
            (all(), Applied(1)),
            (resume(1, 2, claim(1, 3)), Applied(0)),
            (take_over(), Applied(2)),
        ];
        story(store, name, 1, lines).await;
        assert_eq!(store.interrupted_turns(&account(0)).await.unwrap().len(), 1, "{name}");
        let lines = vec![
            // An interruption of the present epoch says nothing about turns of another.
            (resume(1, 3, claim(2, 1)), Applied(0)),
            (finish(1, claim(1, 3), &[]), Fenced),
            (finish(1, claim(2, 1), &[1, 2]), Applied(0)),
            (finish(1, claim(2, 1), &[1, 2]), Fenced),
        ];
        story(store, name, 2, lines).await;
        assert_eq!(store.next_work(&account(0), &conversation(0)).await, Ok(None), "{name}");
        let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
        assert_eq!((counts.answered, counts.pending, counts.outbox), (2, 0, 2), "{name}");
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_turn_can_be_given_up() {
    each(async |store, name| {
        let park = |turn, key: Option<u8>| Op::ParkTurn {
            turn: TurnId::new(turn),
            notice: key.map(|key| reply(0, key)),
        };
        let lines = vec![
            (receive(1, Verdict::Allow), Applied(1)),
            (start(&[1], claim(1, 1)), Applied(1)),
            (park(1, None), Conflict),
            (Op::InterruptTurns { conversation: None, generation: FIRST }, Applied(1)),
            (park(1, Some(1)), Applied(0)),
            (park(1, Some(2)), Conflict),
            (resume(1, 1, claim(1, 1)), Conflict),
        ];
        story(store, name, 1, lines).await;
        let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
        assert_eq!((counts.dropped["turn_parked"], counts.outbox), (1, 1), "{name}");
    })
    .await;
}

/// F-056, F-057: a row is claimed before it is sent; what nobody can tell is unknown; a key stands for one row.
#[tokio::test]
async fn a_send_has_one_owner() {
    each(async |store, name| {
        let enqueue = |key| Op::Enqueue { parts: vec![reply(0, key)] };
        let state = async |id| store.outbox_row(OutboxId::new(id)).await.unwrap().map(|row| row.state);
        let lines = vec![
            (enqueue(1), Applied(1)),
            (enqueue(1), Duplicate(1)),
            (settle(1, claim(1, 1), 0), Fenced),
            (send(9, claim(1, 1)), Conflict),
            (send(1, claim(2, 1)), Fenced),
            (send(1, claim(1, 2)), Applied(0)),
            (send(1, claim(1, 2)), Conflict),
            (settle(1, claim(1, 1), 0), Fenced),
            (Op::InterruptSends { generation: FIRST }, Applied(0)),
            (settle(1, claim(1, 2), 1), Applied(0)),
            (send(1, claim(1, 2)), Applied(0)),
            (Op::InterruptSends { generation: Generation::new(2) }, Applied(1)),
            (settle(1, claim(1, 2), 0), Fenced),
            (send(1, claim(1, 3)), Applied(0)),
            (take_over(), Applied(2)),
        ];
        story(store, name, 1, lines).await;
        assert_eq!(state(1).await, Some(OutboxState::Unknown), "{name}");
        let lines = vec![
            (send(1, claim(2, 1)), Applied(0)),
            (settle(1, claim(2, 1), 0), Applied(0)),
            (settle(1, claim(2, 1), 0), Fenced),
            (send(1, claim(2, 1)), Conflict),
            (enqueue(1), Duplicate(1)),
        ];
        story(store, name, 2, lines).await;
        let row = store.outbox_row(OutboxId::new(1)).await.unwrap().unwrap();
        assert_eq!(
            (row.state, row.attempts, row.first_attempt_at),
            (OutboxState::Sent, 4, Some(at(1))),
            "{name}"
        );
        assert_eq!((row.message_id.is_some(), row.sent_at), (true, Some(at(1))), "{name}");
        // Another account's key is not ours to share: taking its row for ours would lose the message.
        store.commit(Tx::global(at(1), [Op::TakeOver { account: account(1) }])).await.unwrap();
        let other = Lease { account: account(1), epoch: Epoch::new(1) };
        assert_eq!(store.commit(Tx::under(&other, at(1), [enqueue(1)])).await, Ok(vec![Conflict]), "{name}");
        assert_eq!(
            store.commit(Tx::under(&other, at(1), [send(1, claim(1, 1))])).await,
            Ok(vec![Conflict]),
            "{name}"
        );
    })
    .await;
}

/// G3: a later reply of a conversation is not offered before the earlier ones are settled.
#[tokio::test]
async fn only_the_first_open_row_of_a_conversation_may_be_sent() {
    each(async |store, name| {
        let enqueue = |conversation, key| Op::Enqueue { parts: vec![reply(conversation, key)] };
        let heads = async || {
            let rows = store.outbox_heads(&account(0), 9).await.unwrap();
            rows.iter().map(|row| row.id.get()).collect::<Vec<_>>()
        };
        let lines = vec![
            (enqueue(0, 1), Applied(1)),
            (enqueue(0, 2), Applied(2)),
            (enqueue(1, 3), Applied(3)),
            (send(1, claim(1, 1)), Applied(0)),
        ];
        story(store, name, 1, lines).await;
        assert_eq!(heads().await, [1, 3], "{name}");
        story(store, name, 1, vec![(settle(1, claim(1, 1), 1), Applied(0))]).await;
        assert_eq!(heads().await, [3, 1], "{name}: 1 has to wait longer, and 2 for it");
        let lines = vec![(send(1, claim(1, 1)), Applied(0)), (settle(1, claim(1, 1), 3), Applied(0))];
        story(store, name, 1, lines).await;
        assert_eq!(heads().await, [2, 3], "{name}: a dead row holds nobody up");
        let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
        assert_eq!((counts.outbox, counts.dead), (2, 1), "{name}");
    })
    .await;
}
