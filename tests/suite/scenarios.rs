//! Every fault this channel can meet, as one table: what was done, how long the account was not ready, what was lost and
//! what was doubled. A loss, a double or an overrun of the bounds fails the run.

use std::time::Duration;

use moorline_core::AccountState;
use moorline_simulator::feishu::{
    Answer, ConfigShape, Cut, Fault, HandshakeFault, Lost, OddFrame, Reach, Split, Times,
};
use moorline_tests::{Setup, World, in_virtual_time};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

/// What is done to the first of three accounts.
enum Blow {
    /// A fault, and the connection cut so that the next one meets it.
    Reconnect(Fault, u32),
    /// A fault that strikes on the open connection, or at a call.
    Standing(Fault, u32),
    /// The connection ends like this.
    Cut(Cut),
    /// A frame comes in.
    Frame(OddFrame),
    /// The platform cannot be reached for this long, and every connection is cut.
    Unreachable(Reach, Duration),
}

struct Scenario {
    name: &'static str,
    blow: Blow,
    /// The longest time until ready again: what is left of the silence, the deadlines and the back-offs.
    bound: Duration,
}

fn scenario(name: &'static str, blow: Blow, seconds: u64) -> Scenario {
    Scenario { name, blow, bound: Duration::from_secs(seconds) }
}

fn scenarios() -> Vec<Scenario> {
    use Blow::{Cut as Ends, Frame, Reconnect, Standing, Unreachable};
    let endpoint = |answer| Fault::Endpoint(answer);
    let refuse = |status, auth| {
        Fault::Handshake(HandshakeFault::Refuse { status: 403, handshake_status: status, auth_code: auth })
    };
    let config = |value| Fault::ClientConfig(ConfigShape::Json(value));
    vec![
        scenario("socket: close 1000", Ends(Cut::Close { code: 1000, reason: "bye".into() }), 2),
        scenario("socket: close 1012", Ends(Cut::Close { code: 1012, reason: "restart".into() }), 2),
        scenario("socket: FIN", Ends(Cut::Fin), 2),
        scenario("socket: RST", Ends(Cut::Reset), 2),
        scenario("socket: black hole", Ends(Cut::BlackHole), 42),
        scenario("socket: no pong, three times", Standing(Fault::NoPong, 3), 42),
        scenario("socket: cut as soon as open, five times", Reconnect(Fault::CutOnOpen(Cut::Reset), 5), 64),
        scenario("endpoint: 503, five times", Reconnect(endpoint(Answer::Status(503)), 5), 64),
        scenario("endpoint: no answer, twice", Reconnect(endpoint(Answer::Hang), 2), 38),
        scenario("endpoint: reset, three times", Reconnect(endpoint(Answer::Reset), 3), 16),
        scenario("endpoint: not JSON", Reconnect(endpoint(Answer::Garbage), 1), 4),
        scenario("endpoint: busy", Reconnect(endpoint(Answer::Code { status: 200, code: 1 }), 2), 8),
        scenario("endpoint: no address", Reconnect(Fault::EndpointUrl(String::new()), 1), 4),
        scenario("endpoint: unknown code", Reconnect(endpoint(Answer::Code { status: 200, code: 77 }), 2), 8),
        scenario(
            "endpoint: too many connections",
            Reconnect(endpoint(Answer::Code { status: 200, code: 1_000_040_350 }), 1),
            125,
        ),
        scenario(
            "endpoint: credentials refused once",
            Reconnect(endpoint(Answer::Code { status: 200, code: 1_000_040_345 }), 1),
            602,
        ),
        scenario("handshake: no answer", Reconnect(Fault::Handshake(HandshakeFault::Hang), 1), 14),
        scenario("handshake: reset", Reconnect(Fault::Handshake(HandshakeFault::Reset), 2), 8),
        scenario("handshake: 514", Reconnect(refuse(Some(514), None), 2), 8),
        scenario("handshake: 514, too many", Reconnect(refuse(Some(514), Some(1_000_040_350)), 1), 125),
        scenario("ClientConfig: {}", Reconnect(config(json!({})), 1), 2),
        scenario(
            "ClientConfig: zeroes",
            Reconnect(config(json!({ "PingInterval": 0, "ReconnectCount": 0 })), 1),
            2,
        ),
        scenario("ClientConfig: text", Reconnect(config(json!({ "PingInterval": "soon" })), 1), 2),
        scenario("ClientConfig: ReconnectCount 1", Reconnect(config(json!({ "ReconnectCount": 1 })), 1), 2),
        scenario("pong: {}", Standing(Fault::PongPayload("{}".into()), 3), 0),
        scenario("pong: not JSON", Standing(Fault::PongPayload("nonsense".into()), 3), 0),
        scenario("pong: 5 s late", Standing(Fault::LatePong(5 * SECOND), 3), 0),
        scenario("frame: truncated", Frame(OddFrame::Truncated), 0),
        scenario("frame: wrong wire type", Frame(OddFrame::WrongWireType), 0),
        scenario("frame: text", Frame(OddFrame::Text), 0),
        scenario("frame: unknown method", Frame(OddFrame::UnknownMethod), 0),
        scenario("frame: not JSON", Frame(OddFrame::NotJson), 0),
        scenario("frame: sum changes", Frame(OddFrame::SumChanges), 0),
        scenario("frame: 64 MiB", Frame(OddFrame::Oversized(64 << 20)), 4),
        scenario("event: duplicated", Standing(Fault::Duplicate, 5), 0),
        scenario("event: redelivered although acked", Standing(Fault::RedeliverAcked, 5), 0),
        scenario(
            "event: parts out of order",
            Standing(Fault::Split(Split { parts: 3, order: vec![2, 0, 1], missing: None }), 5),
            0,
        ),
        scenario(
            "event: a part missing",
            Standing(Fault::Split(Split { parts: 3, order: vec![], missing: Some(1) }), 2),
            0,
        ),
        scenario("token: no answer for a while", Standing(Fault::Token(Answer::Hang), 3), 0),
        scenario("token: 500", Standing(Fault::Token(Answer::Status(500)), 4), 0),
        scenario("send: 502", Standing(Fault::Send(Answer::Status(502)), 3), 0),
        scenario("send: rate limit", Standing(Fault::Send(Answer::RateLimited { reset: 3 }), 3), 0),
        scenario(
            "send: token refused",
            Standing(Fault::Send(Answer::Code { status: 400, code: 99_991_663 }), 1),
            0,
        ),
        scenario("send: answer lost by a reset", Standing(Fault::LoseSendAnswer(Lost::Reset), 3), 0),
        scenario("send: answer lost by silence", Standing(Fault::LoseSendAnswer(Lost::Hang), 2), 0),
        scenario("platform: refuses for a minute", Unreachable(Reach::Refused, 60 * SECOND), 125),
        scenario("platform: silent for a minute", Unreachable(Reach::Hangs, 60 * SECOND), 125),
    ]
}

#[test]
fn every_fault_of_the_channel_loses_nothing_doubles_nothing_and_stays_in_its_bounds() {
    println!("{:44} {:>10} {:>10} {:>5} {:>8}", "scenario", "not ready", "bound", "lost", "doubled");
    let mut failed = Vec::new();
    for scenario in scenarios() {
        let (down, lost, doubled) = in_virtual_time(play(&scenario));
        let bound = scenario.bound;
        println!(
            "{:44} {:>8.1} s {:>8} s {lost:>5} {doubled:>8}",
            scenario.name,
            down.as_secs_f64(),
            bound.as_secs()
        );
        if down > bound || lost > 0 || doubled > 0 {
            failed.push(scenario.name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// How long the account was not ready, and how many of twenty messages around the fault were lost and doubled.
async fn play(scenario: &Scenario) -> (Duration, usize, usize) {
    let world = World::start(Setup::default()).await;
    world.settled().await;
    tokio::time::sleep(61 * SECOND).await;
    let texts: Vec<String> = (0..20).map(|n| format!("message {n}")).collect();
    for text in &texts[..10] {
        world.say(0, "alice", text);
    }
    let simulator = &world.simulator;
    match &scenario.blow {
        Blow::Reconnect(fault, times) => {
            simulator.set_fault(world.app(0), fault.clone(), Times::Count(*times)).unwrap();
            simulator.drop_connections(world.app(0), &Cut::Reset).unwrap();
        }
        Blow::Standing(fault, times) => {
            if matches!(fault, Fault::Token(_)) {
                simulator.revoke_tokens(world.app(0)).unwrap();
            }
            simulator.set_fault(world.app(0), fault.clone(), Times::Count(*times)).unwrap();
        }
        Blow::Cut(cut) => drop(simulator.drop_connections(world.app(0), cut).unwrap()),
        Blow::Frame(frame) => drop(simulator.inject(world.app(0), *frame).unwrap()),
        Blow::Unreachable(reach, _) => {
            simulator.set_reach(*reach);
            for app in &world.apps {
                simulator.drop_connections(&app.app_id, &Cut::Reset).unwrap();
            }
        }
    }
    for text in &texts[10..] {
        world.say(0, "alice", text);
    }
    let healed_after = match &scenario.blow {
        Blow::Unreachable(_, span) => *span,
        _ => Duration::ZERO,
    };
    let down = watch(&world, scenario.bound.max(60 * SECOND) * 2, healed_after).await;
    // The platform's last repetition comes after seven hours; nothing may be outstanding then.
    tokio::time::sleep(Duration::from_secs(8 * 3600)).await;
    let copies: Vec<usize> = texts.iter().map(|text| world.copies("alice", text)).collect();
    for n in 1..3 {
        if !matches!(scenario.blow, Blow::Unreachable(..)) {
            let counters = simulator.counters(world.app(n)).unwrap();
            assert_eq!(counters.opened, 1, "{}: the other accounts notice nothing", scenario.name);
        }
    }
    world.check().await;
    (down, copies.iter().filter(|&&n| n == 0).count(), copies.iter().filter(|&&n| n > 1).count())
}

/// How long the first account is not ready within `span`; a platform that is away comes back after `healed_after`.
/// A connection that is a black hole is not ready either, whatever is believed of it.
async fn watch(world: &World, span: Duration, healed_after: Duration) -> Duration {
    let step = Duration::from_millis(100);
    let (mut down, mut passed) = (Duration::ZERO, Duration::ZERO);
    while passed < span {
        if passed >= healed_after && world.simulator.reach() != Reach::Open {
            world.simulator.set_reach(Reach::Open);
        }
        let dead = world.simulator.connections(world.app(0)).unwrap().iter().any(|c| c.black_hole);
        if world.status(0).state != AccountState::Ready || dead {
            down += step;
        }
        tokio::time::sleep(step).await;
        passed += step;
    }
    down
}
