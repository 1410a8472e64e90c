//! What is forgotten, and what is not, on every store (G2, G12).

use moorline_core::{Epoch, Generation, InboxId, OutboxId, Timestamp, TurnId};
use moorline_store::{
    Claim, KEPT_ENTRIES, Lease, Op, OutboxState, Outcome, Role, Store, TurnState, Tx, Verdict,
};

use crate::script::{DROP, HOLD, account, conversation, message, reply, results};
use crate::stores;
use crate::visible::assert_conserved;

use Outcome::{Applied, Duplicate};

const CLAIM: Claim = Claim { epoch: Epoch::new(1), generation: Generation::FIRST };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000 * seconds)
}

/// One operation at a time, alone.
async fn step(store: &dyn Store, seconds: i64, op: Op) -> Outcome {
    let lease = Lease { account: account(0), epoch: Epoch::new(1) };
    let tx = match op {
        Op::TakeOver { .. } | Op::Prune { .. } => Tx::global(at(seconds), [op]),
        _ => Tx::under(&lease, at(seconds), [op]),
    };
    let outcome = store.commit(tx).await.unwrap()[0];
    assert_conserved(&store.counts().await.unwrap());
    outcome
}

fn prune(before: i64, dedupe_before: i64, limit: u32) -> Op {
    Op::Prune { before: at(before), dedupe_before: at(dedupe_before), limit }
}

fn receive(key: u8, of: u8, verdict: Verdict) -> Op {
    Op::Receive { message: message(&[key], of, verdict) }
}

fn start(inbox: i64, of: u8) -> Op {
    Op::StartTurn { conversation: conversation(of), inputs: vec![InboxId::new(inbox)], claim: CLAIM }
}

fn finish(turn: i64, entries: u32, key: u8) -> Op {
    Op::FinishTurn {
        turn: TurnId::new(turn),
        claim: CLAIM,
        entries: (0..entries).map(|n| (Role::Agent, n.to_string())).collect(),
        replies: vec![reply(0, key)],
    }
}

/// Every store, with account 0 taken over; afterwards the counts agree with the rows.
async fn each(mut check: impl AsyncFnMut(&dyn Store)) {
    for subject in stores::all() {
        step(subject.store(), 1, Op::TakeOver { account: account(0) }).await;
        check(subject.store()).await;
        if let Some(sqlite) = subject.sqlite() {
            let (recounted, counted) = (sqlite.recount().await.unwrap(), sqlite.counts().await.unwrap());
            assert_eq!(recounted, counted, "{}", subject.name);
        }
    }
}

#[tokio::test]
async fn what_is_not_settled_stays_however_old_g12() {
    each(async |store| {
        for (key, of, verdict) in [(1, 0, Verdict::Allow), (2, 0, HOLD), (3, 0, DROP), (4, 1, Verdict::Allow)]
        {
            assert_eq!(step(store, 1, receive(key, of, verdict)).await, Applied(key.into()));
        }
        step(store, 1, start(1, 0)).await;
        step(store, 1, start(4, 1)).await;
        step(
            store,
            1,
            Op::InterruptTurns { conversation: Some(conversation(1)), generation: CLAIM.generation },
        )
        .await;
        for id in 1..=6 {
            step(store, 1, Op::Enqueue { parts: vec![reply(0, id)] }).await;
        }
        for (id, result) in [(2, Some(0)), (3, Some(3)), (4, Some(2)), (5, None), (6, Some(4))] {
            let outbox = OutboxId::new(id);
            step(store, 1, Op::ClaimSend { outbox, claim: CLAIM, possibly_repeated: false }).await;
            if let Some(result) = result {
                let result = results()[result].clone();
                step(store, 1, Op::SettleSend { outbox, claim: CLAIM, result }).await;
            }
        }
        assert_eq!(step(store, 9_000, prune(1, 1, 100)).await, Applied(0), "exactly as old is not older");
        // Four keys, the message that was dropped, what was sent and what was given up, and the tokens of two chats.
        assert_eq!(
            step(store, 9_000, prune(9_000, 9_000, 3)).await,
            Applied(3),
            "no more than it was asked for"
        );
        assert_eq!(step(store, 9_000, prune(9_000, 9_000, 100)).await, Applied(6));
        assert_eq!(step(store, 9_000, prune(9_000, 9_000, 100)).await, Applied(0));

        let mut there = Vec::new();
        for id in 1..=5 {
            there.push(store.listing().inbox_row(InboxId::new(id)).await.unwrap().is_some());
        }
        assert_eq!(there, [true, true, false, true, false]);
        let mut states = Vec::new();
        for id in 1..=6 {
            states.push(store.outbox_row(OutboxId::new(id)).await.unwrap().map(|row| row.state));
        }
        use OutboxState::{Held, Ready, Sending, Unknown};
        assert_eq!(states, [Some(Ready), None, None, Some(Unknown), Some(Sending), Some(Held)]);
        let turns = store.interrupted_turns(&account(0)).await.unwrap();
        assert_eq!((turns.len(), turns[0].state, turns[0].inputs.len()), (1, TurnState::Interrupted, 1));
        assert_eq!(step(store, 9_001, finish(1, 1, 7)).await, Applied(0), "the running turn");
        let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
        assert_eq!((counts.received, counts.answered, counts.dropped["not_mentioned"]), (4, 1, 1));
        assert_eq!(
            (counts.outbox, counts.outbox_held, counts.dead),
            (5, 1, 0),
            "a dead letter that is gone is none any more"
        );
    })
    .await;
}

/// F-032: each time it is seen it is remembered for as long again, whatever became of the message.
#[tokio::test]
async fn a_key_is_forgotten_when_it_was_not_seen_for_long_g2_f032() {
    each(async |store| {
        let again = || receive(1, 0, DROP);
        assert_eq!(step(store, 10, again()).await, Applied(1));
        assert_eq!(step(store, 100, again()).await, Duplicate(1));
        assert_eq!(
            step(store, 200, prune(150, 100, 100)).await,
            Applied(2),
            "the message and its conversation"
        );
        assert_eq!(step(store, 200, again()).await, Duplicate(1), "the number of what is gone");
        assert_eq!(step(store, 300, prune(0, 200, 100)).await, Applied(0));
        assert_eq!(step(store, 300, prune(0, 201, 100)).await, Applied(1));
        assert_eq!(step(store, 300, again()).await, Applied(2), "no number is given out twice");
    })
    .await;
}

/// An agent keeps what it is given of a conversation that goes on; one that does not is forgotten as a whole.
#[tokio::test]
async fn of_a_transcript_stays_what_an_agent_is_given() {
    each(async |store| {
        let length = async || store.transcript(&account(0), &conversation(0), 1_000).await.unwrap().len();
        step(store, 10, receive(1, 0, Verdict::Allow)).await;
        step(store, 10, start(1, 0)).await;
        step(store, 10, finish(1, KEPT_ENTRIES + 5, 1)).await;
        step(store, 500, receive(2, 0, Verdict::Allow)).await;
        step(store, 500, start(2, 0)).await;
        step(store, 500, finish(2, 3, 2)).await;
        // A message with its turn, and eight entries in two steps; the replies are not sent yet.
        assert_eq!(step(store, 600, prune(400, 0, 5)).await, Applied(5));
        assert_eq!(step(store, 600, prune(400, 0, 5)).await, Applied(4));
        let kept = store.transcript(&account(0), &conversation(0), 1_000).await.unwrap();
        assert_eq!((kept.len(), kept[0].text.as_str()), (KEPT_ENTRIES as usize, "8"), "the latest");
        let reply = store.outbox_row(OutboxId::new(1)).await.unwrap().unwrap();
        assert_eq!(reply.turn, None, "the turn it came from is gone");
        let session = store.listing().session(&account(0), &conversation(0)).await.unwrap().unwrap();
        assert_eq!((session.received, session.entries), (2, u64::from(KEPT_ENTRIES)));

        // Half of it first: the conversation goes with the last of it.
        assert_eq!(step(store, 1_000, prune(501, 0, 26)).await, Applied(26));
        assert_eq!(length().await, 25);
        assert!(store.listing().session(&account(0), &conversation(0)).await.unwrap().is_some());
        assert_eq!(step(store, 1_000, prune(501, 0, 26)).await, Applied(26));
        assert_eq!(length().await, 0);
        assert_eq!(store.listing().session(&account(0), &conversation(0)).await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn a_message_keeps_its_conversation_from_a_pruning_in_its_own_transaction() {
    each(async |store| {
        step(store, 2, receive(1, 0, DROP)).await;
        let lease = Lease { account: account(0), epoch: Epoch::new(1) };
        let both = Tx::under(&lease, at(9), [receive(2, 0, Verdict::Allow), prune(9, 2, 200)]);
        // The message that was dropped, and nothing of its conversation.
        assert_eq!(store.commit(both).await.unwrap(), [Applied(2), Applied(1)]);
    })
    .await;
}
