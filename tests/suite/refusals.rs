//! Two hundred refusals of every kind the platform knows, then acceptance: the same process is ready within the cap of
//! the refusal's class and a second (protocol §1.2, §1.3; F-001, F-005, F-006).

use std::time::Duration;

use moorline_core::{AccountState, FailureClass};
use moorline_simulator::feishu::{Answer, Fault, HandshakeFault, Times};
use moorline_tests::{Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);
const REFUSALS: u32 = 200;

/// A kind of refusal, its class, and how long one takes by itself.
struct Refusal {
    name: &'static str,
    fault: Fault,
    class: FailureClass,
    takes: Duration,
}

fn endpoint(name: &'static str, answer: Answer, class: FailureClass) -> Refusal {
    let takes = if answer == Answer::Hang { 15 * SECOND } else { Duration::ZERO };
    Refusal { name, fault: Fault::Endpoint(answer), class, takes }
}

fn code(name: &'static str, code: i64, class: FailureClass) -> Refusal {
    endpoint(name, Answer::Code { status: 200, code }, class)
}

fn handshake(name: &'static str, status: Option<i64>, auth: Option<i64>, class: FailureClass) -> Refusal {
    let fault = HandshakeFault::Refuse { status: 403, handshake_status: status, auth_code: auth };
    Refusal { name, fault: Fault::Handshake(fault), class, takes: Duration::ZERO }
}

fn refusals() -> Vec<Refusal> {
    use FailureClass::{Conflict, Credentials, Permission, Transient};
    vec![
        endpoint("endpoint: status 500", Answer::Status(500), Transient),
        endpoint("endpoint: status 404", Answer::Status(404), Transient),
        endpoint("endpoint: reset", Answer::Reset, Transient),
        endpoint("endpoint: no answer", Answer::Hang, Transient),
        endpoint("endpoint: not JSON", Answer::Garbage, Transient),
        code("endpoint: 1, busy", 1, Transient),
        code("endpoint: 1000040343, internal", 1_000_040_343, Transient),
        code("endpoint: 1000040344, secret missing", 1_000_040_344, Credentials),
        code("endpoint: 1000040345, secret wrong", 1_000_040_345, Credentials),
        code("endpoint: 1000040350, too many", 1_000_040_350, Conflict),
        code("endpoint: 403, forbidden", 403, Permission),
        code("endpoint: 514, auth failed", 514, Credentials),
        code("endpoint: a code nobody knows", 1_000_049_999, Transient),
        Refusal {
            name: "endpoint: no address",
            fault: Fault::EndpointUrl(String::new()),
            class: Transient,
            takes: Duration::ZERO,
        },
        Refusal {
            name: "handshake: no answer",
            fault: Fault::Handshake(HandshakeFault::Hang),
            class: Transient,
            takes: 10 * SECOND,
        },
        Refusal {
            name: "handshake: reset",
            fault: Fault::Handshake(HandshakeFault::Reset),
            class: Transient,
            takes: Duration::ZERO,
        },
        handshake("handshake: 403", Some(403), None, Permission),
        handshake("handshake: 514", Some(514), None, Transient),
        handshake("handshake: 514, 1000040350", Some(514), Some(1_000_040_350), Conflict),
        handshake("handshake: another status", Some(500), None, Transient),
        handshake("handshake: no headers", None, None, Transient),
    ]
}

/// The longest wait of a class (design §4).
fn cap(class: FailureClass) -> Duration {
    match class {
        FailureClass::Conflict => 300 * SECOND,
        FailureClass::Credentials | FailureClass::Permission | FailureClass::NeedsLogin => 600 * SECOND,
        _ => 60 * SECOND,
    }
}

#[test]
fn two_hundred_refusals_of_each_kind_and_then_ready_within_the_cap() {
    println!("{:40} {:12} {:>12} {:>14}", "refused 200 times", "class", "cap", "ready after");
    for refusal in refusals() {
        let took = in_virtual_time(refuse(&refusal));
        let cap = cap(refusal.class);
        println!(
            "{:40} {:12} {:>10} s {:>12.1} s",
            refusal.name,
            refusal.class,
            cap.as_secs(),
            took.as_secs_f64()
        );
        assert!(took <= cap + SECOND, "{}: {took:?}", refusal.name);
    }
}

/// From the end of the last refusal to ready.
async fn refuse(refusal: &Refusal) -> Duration {
    let world = World::prepare(Setup { accounts: 2, ..Setup::default() }, |simulator, apps| {
        simulator.set_fault(&apps[0].app_id, refusal.fault.clone(), Times::Count(REFUSALS)).unwrap();
    })
    .await;
    let longest = (cap(refusal.class) + refusal.takes + SECOND) * REFUSALS;
    let attempts = |w: &World| {
        let counters = w.simulator.counters(w.app(0)).unwrap();
        if matches!(refusal.fault, Fault::Handshake(_)) {
            counters.handshakes
        } else {
            counters.endpoint_calls
        }
    };
    let step = Duration::from_millis(200);
    world.until_every(step, refusal.name, longest, |w| attempts(w) >= u64::from(REFUSALS)).await;
    if !refusal.takes.is_zero() {
        tokio::time::sleep(refusal.takes).await;
    }
    let status = world.status(0);
    let cause = status.cause.expect("a cause is shown");
    assert_eq!(cause.class, refusal.class, "{}: {cause:?}", refusal.name);
    let blocked = !matches!(refusal.class, FailureClass::Transient);
    let expected = if blocked { AccountState::Blocked } else { AccountState::Reconnecting };
    assert_eq!(status.state, expected, "{}", refusal.name);
    let took = world
        .until_every(step, "ready", cap(refusal.class) * 2 + 20 * SECOND, |w| {
            w.status(0).state == AccountState::Ready
        })
        .await;
    assert_eq!(world.status(0).generation.get(), 1, "the same actor all the time");
    assert_eq!(
        world.simulator.counters(world.app(1)).unwrap().opened,
        1,
        "the other account noticed nothing"
    );
    world.check().await;
    took
}
