use moorline_core::Backoff;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_origin(Duration::from_secs(seconds))
}

fn row(id: i64) -> OutboxId {
    OutboxId::new(id)
}

fn expired() -> Failure {
    Failure::new(FailureClass::SessionExpired, "session timeout")
}

fn shut(gate: &mut Gate, id: i64, failure: &Failure, now: Monotonic) -> Shut {
    gate.shut(row(id), failure, &RetryPolicy::STANDARD, 1.0, now)
}

#[test]
fn one_message_after_the_other_until_one_is_taken() {
    let mut gate = Gate::new(true);
    assert_eq!(gate.pass(at(0)), Pass::InTurn);
    assert!(!gate.prove(), "it was open");
    assert_eq!(gate.pass(at(0)), Pass::All);
    assert_eq!(Gate::new(false).pass(at(0)), Pass::All, "a token was fetched before");
}

#[test]
fn a_revoked_login_is_tried_by_one_message_at_a_time_and_ever_more_slowly() {
    let mut gate = Gate::new(true);
    gate.prove();
    (1..=3).for_each(|id| gate.begin(row(id)));
    assert_eq!(shut(&mut gate, 1, &expired(), at(0)), Shut { wait: LEAST, first: true });
    assert_eq!(
        shut(&mut gate, 2, &expired(), at(5)),
        Shut { wait: SECOND * 10, first: false },
        "the same news"
    );
    assert_eq!(gate.pass(at(14)), Pass::NotBefore(at(15)));
    let (mut now, mut calls) = (at(15), Vec::new());
    for id in 4..12 {
        assert_eq!(gate.pass(now), Pass::One, "{id}");
        gate.begin(row(id));
        assert_eq!(gate.pass(now), Pass::Wait, "{id}");
        calls.push(now);
        now = now + shut(&mut gate, id, &expired(), now).wait;
    }
    let waits: Vec<u64> = calls.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(waits, [15, 15, 15, 15, 16, 32, 60]);
    assert!(gate.prove(), "it was shut");
    assert_eq!(gate.pass(now), Pass::All);
    assert_eq!(shut(&mut gate, 20, &expired(), now), Shut { wait: LEAST, first: true }, "another series");
}

#[test]
fn readiness_opens_the_gate_at_once_and_not_again_and_again() {
    let mut gate = Gate::new(true);
    shut(&mut gate, 1, &expired(), at(0));
    assert!(gate.trust(at(1)));
    assert_eq!(gate.pass(at(1)), Pass::InTurn, "and yet nothing is proven");
    assert!(!shut(&mut gate, 1, &expired(), at(1)).first, "the same series");
    assert!(!gate.trust(at(2)));
    assert_eq!(gate.pass(at(15)), Pass::NotBefore(at(16)));
    assert!(gate.trust(at(16)));
    assert!(!gate.trust(at(17)), "it is open");
}

#[test]
fn what_says_nothing_of_the_account_keeps_the_gate_as_it_is() {
    let mut gate = Gate::new(true);
    gate.learned_nothing(row(1), at(9));
    assert_eq!(gate.pass(at(0)), Pass::InTurn);
    shut(&mut gate, 1, &expired(), at(0));
    gate.begin(row(2));
    gate.learned_nothing(row(1), at(99));
    gate.learned_nothing(row(2), at(20));
    gate.end(row(1));
    assert_eq!(gate.pass(at(15)), Pass::Wait);
    gate.end(row(2));
    assert_eq!((gate.pass(at(15)), gate.pass(at(20))), (Pass::NotBefore(at(20)), Pass::One));
    gate.hurry(at(16));
    assert_eq!(gate.pass(at(16)), Pass::One);
}

#[test]
fn only_what_a_session_or_a_login_lacks_concerns_all_messages() {
    for class in FailureClass::ALL {
        let always = matches!(class, FailureClass::Credentials | FailureClass::NeedsLogin);
        assert_eq!(Gate::new(false).concerns_all(class), always, "{class}");
        let expired = class == FailureClass::SessionExpired;
        assert_eq!(Gate::new(true).concerns_all(class), always || expired, "{class}");
    }
    let mut gate = Gate::new(true);
    let revoked = Failure::new(FailureClass::NeedsLogin, "revoked");
    assert_eq!(shut(&mut gate, 1, &revoked, at(0)).wait, MINUTE * 10);
    let quick =
        RetryPolicy { transient: Backoff { initial: SECOND, ..Backoff::STANDARD }, ..RetryPolicy::STANDARD };
    let told = expired().with_retry_after(Some(MINUTE * 2));
    let mut gate = Gate::new(true);
    assert_eq!(
        gate.shut(row(1), &told, &quick, 0.0, at(0)).wait,
        MINUTE * 2,
        "what the platform asks for is more"
    );
}
