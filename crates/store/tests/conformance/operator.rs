//! What an operator may do about rows that are stuck, told as short stories and checked on every store.

use moorline_core::{DropReason, Epoch, Generation, InboxId, OutboxId, Timestamp, TurnId};
use moorline_store::{
    Claim, InboxState, Lease, Op, OutboxState, Outcome, SendResult, Store, Traced, TurnState, Tx, Verdict,
    Work,
};

use crate::script::{HOLD, account, conversation, message, reply, results};
use crate::stores;
use crate::visible::assert_conserved;

use Outcome::{Applied, Conflict, Duplicate, Fenced};

const FIRST: Generation = Generation::FIRST;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000 * seconds)
}

fn claim() -> Claim {
    Claim { epoch: Epoch::new(1), generation: FIRST }
}

fn retry(outbox: i64) -> Op {
    Op::RetrySend { outbox: OutboxId::new(outbox) }
}

fn discard(outbox: i64) -> Op {
    Op::DiscardSend { outbox: OutboxId::new(outbox) }
}

fn send(outbox: i64) -> Op {
    Op::ClaimSend { outbox: OutboxId::new(outbox), claim: claim(), possibly_repeated: false }
}

fn settle(outbox: i64, result: usize) -> Op {
    let result: SendResult = results()[result].clone();
    Op::SettleSend { outbox: OutboxId::new(outbox), claim: claim(), result }
}

/// The places of the results.
const SENT: usize = 0;
const WAIT: usize = 1;
const UNKNOWN: usize = 2;
const DEAD: usize = 3;

fn receive(key: u8, verdict: Verdict) -> Op {
    Op::Receive { message: message(&[key], 0, verdict) }
}

fn start(input: i64) -> Op {
    Op::StartTurn { conversation: conversation(0), inputs: vec![InboxId::new(input)], claim: claim() }
}

fn finish(turn: i64, key: u8) -> Op {
    let entries = vec![(moorline_store::Role::User, "said".to_owned())];
    Op::FinishTurn { turn: TurnId::new(turn), claim: claim(), entries, replies: vec![reply(0, key)] }
}

fn interrupt() -> Op {
    Op::InterruptTurns { conversation: None, generation: FIRST }
}

fn park(turn: i64) -> Op {
    Op::ParkTurn { turn: TurnId::new(turn), notice: None }
}

fn reopen() -> Op {
    Op::ReopenTurns { conversation: conversation(0) }
}

fn reset() -> Op {
    Op::ResetSession { conversation: conversation(0) }
}

/// One operation after the other, each alone and a second after the one before.
async fn story(store: &dyn Store, name: &str, lines: impl IntoIterator<Item = (Op, Outcome)>) {
    let lease = Lease { account: account(0), epoch: Epoch::new(1) };
    for (number, (op, outcome)) in lines.into_iter().enumerate() {
        let tx = Tx::under(&lease, at(number as i64 + 1), [op]);
        let told = format!("{name}, line {number}: {tx:?}");
        assert_eq!(store.commit(tx).await, Ok(vec![outcome]), "{told}");
    }
    assert_conserved(&store.counts().await.unwrap());
}

async fn each(mut check: impl AsyncFnMut(&dyn Store, &str)) {
    for subject in stores::all() {
        let take_over = Tx::global(at(0), [Op::TakeOver { account: account(0) }]);
        subject.store().commit(take_over).await.unwrap();
        check(subject.store(), subject.name).await;
        if let Some(sqlite) = subject.sqlite() {
            assert_eq!(sqlite.recount().await.unwrap(), sqlite.counts().await.unwrap(), "{}", subject.name);
        }
    }
}

/// F-053, F-055: a dead letter stays dead until somebody asks for it, and then goes to its old place with its key.
#[tokio::test]
async fn a_dead_letter_is_retried_in_its_old_place_with_its_key_f055() {
    each(async |store, name| {
        let enqueue = |key| Op::Enqueue { parts: vec![reply(0, key)] };
        let heads = async || {
            let rows = store.outbox_heads(&account(0), 9).await.unwrap();
            rows.iter().map(|row| row.id.get()).collect::<Vec<_>>()
        };
        let row = async |id| store.outbox_row(OutboxId::new(id)).await.unwrap().unwrap();
        let lines =
            [(enqueue(1), Applied(1)), (enqueue(2), Applied(2)), (send(1), Applied(0)), (retry(1), Conflict)];
        story(store, name, lines).await;
        story(store, name, [(settle(1, DEAD), Applied(0))]).await;
        let (dead, counts) = (row(1).await, store.counts().await.unwrap().remove(&account(0)).unwrap());
        assert_eq!(
            (dead.state, dead.ended_at, counts.dead, counts.outbox),
            (OutboxState::Dead, Some(at(1)), 1, 1)
        );
        assert_eq!(heads().await, [2], "{name}");
        story(store, name, [(retry(1), Applied(0)), (retry(1), Applied(0)), (retry(9), Conflict)]).await;
        let (again, counts) = (row(1).await, store.counts().await.unwrap().remove(&account(0)).unwrap());
        assert_eq!((again.state, &again.key, again.attempts), (OutboxState::Ready, &dead.key, 1), "{name}");
        assert_eq!((again.not_before, again.retried_at), (at(2), Some(at(2))), "{name}");
        assert_eq!((counts.dead, counts.outbox, heads().await), (0, 2, vec![1]), "{name}");
        let lines = [
            (send(1), Applied(0)),
            (settle(1, SENT), Applied(0)),
            (retry(1), Conflict),
            (discard(1), Conflict),
        ];
        story(store, name, lines).await;
    })
    .await;
}

/// F-056: what may have been sent before it died is unknown again, so that its repetition can be marked.
#[tokio::test]
async fn a_dead_letter_that_may_have_been_sent_is_unknown_again_f056() {
    each(async |store, name| {
        let state = async || store.outbox_row(OutboxId::new(1)).await.unwrap().unwrap();
        let lines = [
            (Op::Enqueue { parts: vec![reply(0, 1)] }, Applied(1)),
            (send(1), Applied(0)),
            (settle(1, UNKNOWN), Applied(0)),
            (retry(1), Applied(0)),
        ];
        story(store, name, lines).await;
        assert_eq!(
            (state().await.state, state().await.not_before),
            (OutboxState::Unknown, at(4)),
            "{name}: due"
        );
        let lines = [(send(1), Applied(0)), (settle(1, DEAD), Applied(0)), (retry(1), Applied(0))];
        story(store, name, lines).await;
        assert_eq!((state().await.state, state().await.doubted), (OutboxState::Unknown, true), "{name}");
        // A wait that certainly had no effect leaves no doubt behind by itself.
        let lines = [
            (Op::Enqueue { parts: vec![reply(1, 2)] }, Applied(2)),
            (send(2), Applied(0)),
            (settle(2, WAIT), Applied(0)),
            (send(2), Applied(0)),
            (settle(2, DEAD), Applied(0)),
            (retry(2), Applied(0)),
        ];
        story(store, name, lines).await;
        assert_eq!(
            store.outbox_row(OutboxId::new(2)).await.unwrap().unwrap().state,
            OutboxState::Ready,
            "{name}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_message_of_ours_is_discarded_for_good() {
    each(async |store, name| {
        let lines = [
            (Op::Enqueue { parts: vec![reply(0, 1)] }, Applied(1)),
            (Op::Enqueue { parts: vec![reply(0, 2)] }, Applied(2)),
            (send(1), Applied(0)),
            (discard(1), Conflict),
            (settle(1, UNKNOWN), Applied(0)),
            (discard(1), Applied(0)),
            (discard(1), Duplicate(1)),
            (retry(1), Conflict),
            (send(1), Conflict),
            (discard(2), Applied(0)),
            (discard(9), Conflict),
        ];
        story(store, name, lines).await;
        let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
        assert_eq!((counts.outbox, counts.dead, counts.discarded), (0, 0, 2), "{name}");
        assert_eq!(store.outbox_heads(&account(0), 9).await, Ok(vec![]), "{name}");
    })
    .await;
}

/// F-069: what was parked is answered by a fresh turn when an operator says so, and not twice.
#[tokio::test]
async fn parked_messages_go_back_to_pending_once_f069() {
    each(async |store, name| {
        let lines = [
            (reopen(), Conflict),
            (receive(1, Verdict::Allow), Applied(1)),
            (receive(2, Verdict::Allow), Applied(2)),
            (receive(3, Verdict::Allow), Applied(3)),
            (start(1), Applied(1)),
            (reopen(), Conflict),
            (interrupt(), Applied(1)),
            (reopen(), Conflict),
            (park(1), Applied(0)),
            (start(2), Applied(2)),
            (interrupt(), Applied(1)),
            (park(2), Applied(0)),
        ];
        story(store, name, lines).await;
        let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
        assert_eq!((counts.dropped["turn_parked"], counts.pending), (2, 1), "{name}");
        story(store, name, [(reopen(), Applied(2)), (reopen(), Conflict)]).await;
        let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
        assert_eq!((counts.dropped.len(), counts.pending), (0, 3), "{name}");
        match store.next_work(&account(0), &conversation(0)).await.unwrap() {
            Some(Work::Answer(row)) => {
                assert_eq!((row.id.get(), row.state), (1, InboxState::Pending), "{name}")
            }
            other => panic!("{name}: {other:?}"),
        }
        let lines = [
            (start(1), Applied(3)),
            (finish(3, 1), Applied(0)),
            (start(2), Applied(4)),
            (interrupt(), Applied(1)),
            (park(4), Applied(0)),
            (receive(4, Verdict::Allow), Applied(4)),
            (start(3), Applied(5)),
            (finish(5, 2), Applied(0)),
            (start(4), Applied(6)),
            (interrupt(), Applied(1)),
            (park(6), Applied(0)),
            // Only what was parked since the last turn that ended well: 4, and not 2 again.
            (reopen(), Applied(1)),
        ];
        story(store, name, lines).await;
        let row = async |id| store.listing().inbox_row(InboxId::new(id)).await.unwrap().unwrap().row.state;
        assert_eq!(row(2).await, InboxState::Dropped(DropReason::TurnParked), "{name}");
        assert_eq!(row(4).await, InboxState::Pending, "{name}");
    })
    .await;
}

/// F-052: a reset takes the turn away from whoever works on it, forgets the transcript, and keeps what waits.
#[tokio::test]
async fn a_reset_gives_the_turn_up_and_keeps_what_waits_f052() {
    each(async |store, name| {
        let lines = [
            (reset(), Conflict),
            (receive(1, Verdict::Allow), Applied(1)),
            (start(1), Applied(1)),
            (finish(1, 1), Applied(0)),
            (receive(2, Verdict::Allow), Applied(2)),
            (receive(3, Verdict::Allow), Applied(3)),
            (start(2), Applied(2)),
            (reset(), Applied(2)),
            (finish(2, 2), Fenced),
            (reset(), Applied(0)),
        ];
        story(store, name, lines).await;
        let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
        assert_eq!((counts.dropped["session_reset"], counts.pending, counts.outbox), (1, 1, 1), "{name}");
        let session = store.listing().session(&account(0), &conversation(0)).await.unwrap().unwrap();
        assert_eq!((session.entries, session.turn, session.pending), (0, None, 1), "{name}");
        assert_eq!(store.transcript(&account(0), &conversation(0), 9).await, Ok(vec![]), "{name}");
        story(store, name, [(start(3), Applied(3)), (finish(3, 3), Applied(0))]).await;
        assert_eq!(store.transcript(&account(0), &conversation(0), 9).await.unwrap().len(), 1, "{name}");
        let session = store.listing().session(&account(0), &conversation(0)).await.unwrap().unwrap();
        assert_eq!(session.entries, 1, "{name}");
        let trace = store.listing().trace(&Traced::Turn(TurnId::new(2))).await.unwrap();
        assert_eq!(
            (trace.turns[0].state, trace.turns[0].ended_at),
            (TurnState::Reset, Some(at(8))),
            "{name}"
        );
    })
    .await;
}

/// Parked turns are there until their conversation has got over them.
#[tokio::test]
async fn a_parked_turn_is_listed_until_it_is_resumed_reset_or_followed_f069() {
    each(async |store, name| {
        let parked = async || {
            let parked = store.listing().parked(9).await.unwrap();
            parked.into_iter().map(|turn| turn.turn.get()).collect::<Vec<_>>()
        };
        let park_one = |input, turn| {
            let key = u8::try_from(input).unwrap();
            [
                (receive(key, Verdict::Allow), Applied(input)),
                (start(input), Applied(turn)),
                (interrupt(), Applied(1)),
                (park(turn), Applied(0)),
            ]
        };
        story(store, name, park_one(1, 1).into_iter().chain(park_one(2, 2))).await;
        assert_eq!(parked().await, [1, 2], "{name}");
        story(store, name, [(reset(), Applied(0)), (reopen(), Conflict)]).await;
        assert_eq!(parked().await, [0; 0], "{name}: reset");
        story(store, name, park_one(3, 3)).await;
        assert_eq!(parked().await, [3], "{name}");
        story(store, name, [(reopen(), Applied(1)), (start(3), Applied(4))]).await;
        assert_eq!(parked().await, [0; 0], "{name}: resumed");
        story(store, name, [(interrupt(), Applied(1)), (park(4), Applied(0))]).await;
        assert_eq!(parked().await, [3, 4], "{name}: again");
        story(store, name, [(receive(4, Verdict::Allow), Applied(4)), (start(4), Applied(5))]).await;
        assert_eq!(parked().await, [0; 0], "{name}: followed");
    })
    .await;
}

/// The alerts' memory, for one.
#[tokio::test]
async fn a_text_is_kept_under_its_name() {
    each(async |store, name| {
        let keep = async |value: &str| {
            let op = Op::Remember { name: "alerts".to_owned(), value: value.to_owned() };
            store.commit(Tx::global(at(1), [op])).await.unwrap();
        };
        assert_eq!(store.remembered("alerts").await.unwrap(), None, "{name}");
        keep("one").await;
        keep("two").await;
        assert_eq!(store.remembered("alerts").await.unwrap().as_deref(), Some("two"), "{name}");
        assert_eq!(store.remembered("other").await.unwrap(), None, "{name}");
    })
    .await;
}

/// F-055: an account's rows go some at a time, its counts with them, and nobody else's.
#[tokio::test]
async fn an_accounts_rows_are_deleted_in_batches_and_no_other_accounts_f055() {
    each(async |store, name| {
        let other = Lease { account: account(1), epoch: Epoch::new(1) };
        let take_over = Tx::global(at(0), [Op::TakeOver { account: account(1) }]);
        store.commit(take_over).await.unwrap();
        let theirs = [receive(1, Verdict::Allow), Op::Enqueue { parts: vec![reply(0, 9)] }];
        store.commit(Tx::under(&other, at(0), theirs)).await.unwrap();
        for key in 0..9 {
            let verdict = if key % 3 == 0 { HOLD } else { Verdict::Allow };
            let message = message(&[key, key + 100], 0, verdict);
            story(store, name, [(Op::Receive { message }, Applied(i64::from(key) + 2))]).await;
        }
        let lines = [
            (Op::Judge { inbox: InboxId::new(2), verdict: Verdict::Allow }, Applied(0)),
            (receive(3, Verdict::Allow), Duplicate(5)),
            (start(3), Applied(1)),
            (finish(1, 1), Applied(0)),
            (send(2), Applied(0)),
            (settle(2, DEAD), Applied(0)),
            (reset(), Applied(0)),
            (start(4), Applied(2)),
        ];
        story(store, name, lines).await;
        let mut rounds = 0;
        let lease = Lease { account: account(0), epoch: Epoch::new(1) };
        while store.commit(Tx::under(&lease, at(99), [Op::DiscardRows { limit: 3 }])).await.unwrap()
            == [Applied(1)]
        {
            rounds += 1;
            assert!(rounds < 100, "{name}: no end");
            assert_conserved(&store.counts().await.unwrap());
        }
        assert!(name == "model" || rounds > 8, "{name}: {rounds} batches of three rows");
        let counts = store.counts().await.unwrap();
        assert_eq!(counts[&account(0)], Default::default(), "{name}");
        assert_eq!((counts[&account(1)].received, counts[&account(1)].outbox), (1, 1), "{name}");
        assert_eq!(store.listing().session(&account(0), &conversation(0)).await, Ok(None), "{name}");
        assert!(store.listing().trace(&Traced::Inbox(InboxId::new(2))).await.unwrap().is_empty(), "{name}");
        // Its numbers are not given again, and what it knew is forgotten.
        story(store, name, [(receive(3, Verdict::Allow), Applied(11)), (start(11), Applied(3))]).await;
    })
    .await;
}

/// G14: the life of a message, from whichever end it is named.
#[tokio::test]
async fn a_trace_has_every_step_of_a_message() {
    each(async |store, name| {
        let lines = [
            (receive(1, HOLD), Applied(1)),
            (receive(1, HOLD), Duplicate(1)),
            (Op::Judge { inbox: InboxId::new(1), verdict: Verdict::Allow }, Applied(0)),
            (start(1), Applied(1)),
            (interrupt(), Applied(1)),
            (Op::ResumeTurn { turn: TurnId::new(1), attempt: 1, claim: claim() }, Applied(0)),
            (finish(1, 1), Applied(0)),
            (send(1), Applied(0)),
            (settle(1, SENT), Applied(0)),
            (receive(2, Verdict::Allow), Applied(2)),
        ];
        story(store, name, lines).await;
        let named = |name: &str| Traced::Name(name.to_owned());
        let ways = [
            named("om_1"),
            named("event [1]"),
            named("om_sent"),
            Traced::Inbox(InboxId::new(1)),
            Traced::Turn(TurnId::new(1)),
            Traced::Outbox(OutboxId::new(1)),
        ];
        for way in ways {
            let trace = store.listing().trace(&way).await.unwrap();
            let told = format!("{name}, {way:?}: {trace:#?}");
            let ([message], [turn], [ours]) = (&trace.received[..], &trace.turns[..], &trace.ours[..]) else {
                panic!("{told}")
            };
            assert_eq!((message.repeats, message.repeated_at), (1, Some(at(2))), "{told}");
            assert_eq!(message.judged.map(|(_, when)| when), Some(at(3)), "{told}");
            assert_eq!(message.entry.settled_at, Some(at(7)), "{told}");
            assert_eq!((turn.started_at, turn.attempt, turn.state), (at(4), 2, TurnState::Done), "{told}");
            assert_eq!(
                (turn.interrupted_at, turn.resumed_at, turn.ended_at),
                (Some(at(5)), Some(at(6)), Some(at(7))),
                "{told}"
            );
            assert_eq!(ours.sent_at, Some(at(9)), "{told}");
        }
        for way in [named("om_2"), Traced::Inbox(InboxId::new(2))] {
            let trace = store.listing().trace(&way).await.unwrap();
            assert_eq!((trace.received.len(), trace.turns.len(), trace.ours.len()), (1, 0, 0), "{name}");
        }
        for way in [named("om_3"), named(""), Traced::Outbox(OutboxId::new(2)), Traced::Turn(TurnId::new(0))]
        {
            assert!(store.listing().trace(&way).await.unwrap().is_empty(), "{name}, {way:?}");
        }
    })
    .await;
}
