//! The faults that make somebody say something.

use std::time::Duration;

use moorline_simulator::feishu::{Answer, ConfigShape, Cut, Fault, HandshakeFault, Lost, OddFrame, Split};
use serde_json::json;

/// Tickets in addresses that cannot be connected to: they end up in errors, which must not show them.
pub(super) const TICKETS: [&str; 3] = [
    "1badadd2e550f1badadd2e550f1badad",
    "2badadd2e550f2badadd2e550f2badad",
    "3badadd2e550f3badadd2e550f3badad",
];

fn address(origin: &str, ticket: &str) -> Fault {
    Fault::EndpointUrl(format!("{origin}/ws/v2?device_id=1&access_key={ticket}&service_id=1&ticket={ticket}"))
}

pub(super) fn endpoint(status: u16) -> Fault {
    Fault::Endpoint(Answer::Status(status))
}

fn refused(status: u16, handshake_status: Option<i64>, auth_code: Option<i64>) -> Fault {
    Fault::Handshake(HandshakeFault::Refuse { status, handshake_status, auth_code })
}

fn answers() -> [Answer; 7] {
    [
        Answer::Reset,
        Answer::Status(500),
        Answer::Status(403),
        Answer::Code { status: 200, code: 1 },
        Answer::Code { status: 400, code: 99_991_663 },
        Answer::RateLimited { reset: 0 },
        Answer::Garbage,
    ]
}

pub(super) fn on_connecting() -> Vec<Fault> {
    let mut faults: Vec<Fault> = answers().map(Fault::Endpoint).into();
    for code in [1, 403, 514, 1_000_040_343, 1_000_040_344, 1_000_040_345, 1_000_040_350] {
        faults.push(Fault::Endpoint(Answer::Code { status: 200, code }));
    }
    faults.extend([
        Fault::EndpointUrl(String::new()),
        address("ws://127.0.0.1:1", TICKETS[0]),
        address("ws://no such host:x", TICKETS[1]),
        address("gopher://127.0.0.1", TICKETS[2]),
        Fault::ClientConfig(ConfigShape::Missing),
        Fault::ClientConfig(ConfigShape::Json(json!({ "PingInterval": "soon" }))),
        Fault::Handshake(HandshakeFault::Reset),
        refused(400, None, None),
        refused(403, Some(403), None),
        refused(400, Some(514), Some(1_000_040_350)),
        refused(500, Some(1), None),
        Fault::PongPayload("{".to_owned()),
        Fault::NoPong,
    ]);
    faults.extend(cuts().into_iter().map(Fault::CutOnOpen));
    faults
}

pub(super) fn cuts() -> Vec<Cut> {
    vec![
        Cut::Close { code: 1000, reason: "bye".to_owned() },
        Cut::Close { code: 1012, reason: "service restart".to_owned() },
        Cut::Fin,
        Cut::Reset,
        Cut::BlackHole,
    ]
}

pub(super) fn frames() -> Vec<OddFrame> {
    let mut frames = crate::faults::odd_frames();
    frames.push(OddFrame::Oversized(2 << 20));
    frames
}

pub(super) fn on_calls() -> Vec<Fault> {
    let mut faults = vec![
        Fault::TokenExpiry(1),
        Fault::BotOpenId(None),
        Fault::Duplicate,
        Fault::RedeliverAcked,
        Fault::Split(Split { parts: 3, order: vec![2, 0, 1], missing: None }),
        Fault::LoseSendAnswer(Lost::Reset),
        Fault::Token(Answer::Code { status: 400, code: 10_014 }),
        Fault::Token(Answer::Delay(Duration::from_millis(50))),
        Fault::Send(Answer::Code { status: 400, code: 230_002 }),
        Fault::Send(Answer::Code { status: 400, code: 99_991_672 }),
    ];
    for answer in answers() {
        faults.extend([Fault::Token(answer.clone()), Fault::BotInfo(answer.clone()), Fault::Send(answer)]);
    }
    faults
}
