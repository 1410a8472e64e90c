//! Kinds that strike the connection: the endpoint, the handshake, frames and events.

use moorline_simulator::feishu::{Answer, ConfigShape, Cut, Echo, Fault, HandshakeFault, OddFrame, Split};
use serde_json::json;

use super::{Act, Draw, Kind, Lure, fault, kind, secs};

pub(super) fn endpoint(all: &mut Vec<Kind>) {
    use Answer::*;
    let mut answers = |name: &str, most, pick: fn(&mut Draw<'_>) -> Answer| {
        fault(all, &format!("endpoint: {name}"), Lure::Reconnect, most, move |d| Fault::Endpoint(pick(d)));
    };
    answers("hangs", 3, |_| Hang);
    answers("reset", 5, |_| Reset);
    answers("status 4xx", 4, |d| Status(d.one_of(&[400, 403, 404, 418])));
    answers("status 5xx", 6, |d| Status(d.one_of(&[500, 502, 503, 504])));
    answers("garbage", 4, |_| Garbage);
    answers("unknown code", 4, |_| Code { status: 200, code: 1_000_049_999 });
    answers("busy", 4, |_| Code { status: 200, code: 1_000_040_343 });
    answers("conflict", 2, |_| Code { status: 200, code: 1_000_040_350 });
    answers("credentials refused", 1, |d| Code { status: 200, code: d.one_of(&[514, 1_000_040_345]) });
    answers("forbidden", 1, |_| Code { status: 200, code: 403 });
    answers("rate limited", 3, |d| RateLimited { reset: d.rng.u64(1..20) });
    answers("slow", 3, |d| Delay(d.one_of(&[secs(1), secs(3), secs(9)])));
    answers("too slow", 2, |_| Delay(secs(20)));
    answers("redirect", 3, |_| Redirect("http://elsewhere.test/".to_owned()));
    answers("other body", 3, |d| {
        let body = d.one_of(&["{}", "[]", "{\"code\":\"0\"}", "{\"code\":0,\"data\":null}", ""]);
        Body { status: 200, body: body.to_owned() }
    });
    fault(all, "endpoint: other address", Lure::Reconnect, 3, |d| {
        let urls = ["", "no address", "ws://elsewhere.test/ws/v2?device_id=1&service_id=1&ticket=x"];
        Fault::EndpointUrl(d.one_of(&urls).to_owned())
    });
    fault(all, "endpoint: odd configuration", Lure::Reconnect, 3, |d| Fault::ClientConfig(shape(d)));
    fault(all, "endpoint: expired ticket", Lure::Reconnect, 3, |_| Fault::TicketExpiry(secs(0)));
}

fn shape(d: &mut Draw<'_>) -> ConfigShape {
    d.one_of(&[
        ConfigShape::Missing,
        ConfigShape::Json(json!(null)),
        ConfigShape::Json(json!({ "PingInterval": 0 })),
        ConfigShape::Json(json!({ "PingInterval": -1, "ReconnectCount": 0 })),
        ConfigShape::Json(json!({ "PingInterval": "soon", "ReconnectInterval": 1e30 })),
        ConfigShape::Json(json!({ "PingInterval": 1_000_000_000_u64 })),
    ])
}

pub(super) fn handshake(all: &mut Vec<Kind>) {
    let refuse = |status, handshake_status, auth_code| {
        Fault::Handshake(HandshakeFault::Refuse { status, handshake_status, auth_code })
    };
    let reconnect = Lure::Reconnect;
    fault(all, "handshake: hangs", reconnect, 3, |_| Fault::Handshake(HandshakeFault::Hang));
    fault(all, "handshake: reset", reconnect, 5, |_| Fault::Handshake(HandshakeFault::Reset));
    fault(all, "handshake: slow", reconnect, 3, |d| {
        Fault::Handshake(HandshakeFault::Delay(d.one_of(&[secs(1), secs(5), secs(9)])))
    });
    fault(all, "handshake: refused", reconnect, 4, move |_| refuse(400, Some(514), None));
    fault(all, "handshake: forbidden", reconnect, 1, move |_| refuse(400, Some(403), None));
    fault(all, "handshake: conflict", reconnect, 2, move |_| refuse(400, Some(514), Some(1_000_040_350)));
    fault(all, "handshake: bare status", reconnect, 4, move |d| {
        refuse(d.one_of(&[200, 404, 429, 502]), None, None)
    });
    fault(all, "flapping: reset", reconnect, 8, |_| Fault::CutOnOpen(Cut::Reset));
    fault(all, "flapping: FIN", reconnect, 8, |_| Fault::CutOnOpen(Cut::Fin));
    fault(all, "flapping: close", reconnect, 8, |_| {
        Fault::CutOnOpen(Cut::Close { code: 1011, reason: "try later".to_owned() })
    });
    fault(all, "flapping: half-open", reconnect, 2, |_| Fault::CutOnOpen(Cut::BlackHole));
}

pub(super) fn connection(all: &mut Vec<Kind>) {
    fault(all, "pong: none", Lure::None, 3, |_| Fault::NoPong);
    fault(all, "pong: late", Lure::None, 4, |d| Fault::LatePong(d.one_of(&[secs(1), secs(5), secs(9)])));
    fault(all, "pong: too late", Lure::None, 2, |_| Fault::LatePong(secs(15)));
    fault(all, "pong: odd payload", Lure::None, 4, |d| {
        Fault::PongPayload(d.one_of(&["", "pong", "[]", "{\"PingInterval\":"]).to_owned())
    });
    fault(all, "pong: odd configuration", Lure::None, 4, |d| Fault::PongConfig(shape(d)));
    for code in
        [1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999]
    {
        kind(all, format!("close {code}"), 2, move |d| {
            let cut = Cut::Close { code, reason: "drill".to_owned() };
            vec![(secs(0), Act::Cut { account: d.account, cut })]
        });
    }
    for (name, cut) in [("FIN", Cut::Fin), ("RST", Cut::Reset), ("half-open", Cut::BlackHole)] {
        kind(all, name, 6, move |d| vec![(secs(0), Act::Cut { account: d.account, cut: cut.clone() })]);
    }
}

pub(super) fn frames(all: &mut Vec<Kind>) {
    use OddFrame::*;
    let odd = [
        ("truncated", Truncated),
        ("field missing", MissingRequired),
        ("wrong wire type", WrongWireType),
        ("text", Text),
        ("empty", Empty),
        ("unknown method", UnknownMethod),
        ("unknown type", UnknownType),
        ("card", CardType),
        ("server's ping", ServerPing),
        ("WebSocket ping", WebSocketPing),
        ("event that is no JSON", NotJson),
        ("event without header", NoHeader),
        ("sum 0", SumZero),
        ("seq beyond sum", SeqBeyondSum),
        ("sum changes", SumChanges),
        ("sum no number", SumNotNumber),
        ("too large", Oversized((2 << 20) + 1)),
    ];
    for (name, frame) in odd {
        kind(all, format!("odd frame: {name}"), 2, move |d| {
            vec![(secs(0), Act::Inject { account: d.account, frame })]
        });
    }
    fault(all, "odd frame before an event", Lure::Message, 3, move |d| {
        Fault::OddFrame(d.one_of(&[Truncated, Empty, UnknownType, SumZero, SumChanges, NotJson]))
    });
}

pub(super) fn events(all: &mut Vec<Kind>) {
    fault(all, "event: twice", Lure::Message, 6, |_| Fault::Duplicate);
    fault(all, "event: again although acknowledged", Lure::Message, 6, |_| Fault::RedeliverAcked);
    kind(all, "event: again under another id", 6, |d| vec![(secs(0), Act::PushAgain { account: d.account })]);
    let split =
        |parts, order: &[usize], missing| Fault::Split(Split { parts, order: order.to_vec(), missing });
    fault(all, "event: in parts, out of order", Lure::Message, 6, move |d| {
        let order = d.one_of(&[[2, 0, 1], [2, 1, 0], [1, 0, 2], [0, 2, 1]]);
        split(3, &order, None)
    });
    fault(all, "event: a part missing", Lure::Message, 4, move |d| split(3, &[], Some(d.rng.usize(0..3))));
    fault(all, "event: a part twice", Lure::Message, 4, move |_| split(3, &[0, 1, 1, 2, 0], None));
    fault(all, "event: parts disagree", Lure::Message, 3, |_| Fault::SplitSumChanges(3));
    fault(all, "event: unknown fields", Lure::Message, 6, |_| Fault::UnknownFields);
    for (name, echo) in [("same id", Echo::SameId), ("new id", Echo::NewId), ("to other bots", Echo::Others)]
    {
        fault(all, &format!("echo: {name}"), Lure::Message, 3, move |_| Fault::Echo(echo));
    }
}
