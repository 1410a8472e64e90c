//! The long connection: handshake (§1.3), frames in (§2.1, §2.4), and its many ways to end.

use bytes::Bytes;
use moorline_core::EventId;
use serde_json::{Value, json};

use super::app::{AppId, ConnectionInfo};
use super::fault::{ConfigShape, Cut, Fault, HandshakeFault, OddFrame};
use super::frame::{Frame, Header, METHOD_CONTROL, METHOD_DATA};
use super::platform::{Platform, Timer, UnknownApp};
use crate::link::{Effect, LinkId, Now, Request, Response, WsMessage};

/// "Too many connections for the app", as endpoint code and as `Handshake-Autherrcode`.
pub(crate) const TOO_MANY: i64 = 1_000_040_350;

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) app: AppId,
    pub(crate) service: i32,
    pub(crate) info: ConnectionInfo,
}

/// The configuration that endpoint and pong carry.
pub(crate) fn client_config() -> Value {
    json!({ "ReconnectCount": -1, "ReconnectInterval": 90, "ReconnectNonce": 25, "PingInterval": 90 })
}

impl Platform {
    /// A handshake: its ticket has to be one that was handed out and not used yet.
    pub(crate) fn handshake(&mut self, link: LinkId, request: &Request, now: Now) {
        let known = request.path == "/ws/v2";
        let app = if known { self.redeem(request, now) } else { None };
        let Some((app, service, device_id)) = app else {
            return self.act(link, refusal(400, Some(514), "auth failed", None));
        };
        let Some(state) = self.apps.get_mut(&app) else { return };
        state.counters.handshakes += 1;
        if state.faults.held() {
            return self.act(link, refusal(503, Some(1), "system busy", None));
        }
        if state.links.len() >= state.connection_limit.connections {
            return self.act(link, refusal(400, Some(514), "too many connections", Some(TOO_MANY)));
        }
        let fault = self.take_fault(&app, |fault| match fault {
            Fault::Handshake(fault) => Some(fault.clone()),
            _ => None,
        });
        match fault {
            None => self.establish(link, app, service, device_id, now),
            Some(HandshakeFault::Hang) => {}
            Some(HandshakeFault::Reset) => self.act(link, Effect::Reset),
            Some(HandshakeFault::Delay(delay)) => {
                let timer = Timer::Establish { link, app, service, device_id };
                let timer = self.set_timer(now.monotonic + delay, timer);
                self.handshakes.insert(link, timer);
            }
            Some(HandshakeFault::Refuse { status, handshake_status, auth_code }) => {
                self.act(link, refusal(status, handshake_status, "refused by a fault", auth_code));
            }
        }
    }

    pub(crate) fn establish(&mut self, link: LinkId, app: AppId, service: i32, device_id: String, now: Now) {
        self.act(link, Effect::Upgrade);
        let info = ConnectionInfo { device_id, opened_at: now.wall, black_hole: false, pings: 0 };
        self.connections.insert(link, Connection { app: app.clone(), service, info });
        if let Some(state) = self.apps.get_mut(&app) {
            state.links.insert(link);
            state.counters.opened += 1;
            state.recount();
        }
        let cut = self.take_fault(&app, |fault| match fault {
            Fault::CutOnOpen(cut) => Some(cut.clone()),
            _ => None,
        });
        if let Some(cut) = cut {
            self.cut(link, &cut);
        }
        self.deliver_waiting(&app, now);
    }

    /// Uses up the ticket of a handshake. Whether real tickets are single-use is not documented; clients have to
    /// ask for a new one each time anyway (§1.1), so here they are.
    fn redeem(&mut self, request: &Request, now: Now) -> Option<(AppId, i32, String)> {
        let ticket = request.query("ticket")?;
        let device_id = request.query("device_id")?;
        let service: i32 = request.query("service_id")?.parse().ok()?;
        self.apps.iter_mut().find_map(|(id, state)| {
            if state.app.service_id != service {
                return None;
            }
            let mut tickets = state.tickets.iter();
            let position = tickets.position(|known| known.text == ticket && known.device_id == device_id)?;
            let expires_at = state.tickets.remove(position)?.expires_at;
            if expires_at.is_some_and(|at| at <= now.monotonic) {
                return None;
            }
            Some((id.clone(), state.app.service_id, device_id.to_owned()))
        })
    }

    /// A message of the client on an open connection.
    pub(crate) fn message(&mut self, link: LinkId, message: WsMessage, now: Now) {
        let Some(connection) = self.connections.get(&link) else { return };
        if connection.info.black_hole {
            return;
        }
        let app = connection.app.clone();
        match message {
            WsMessage::Binary(bytes) => match Frame::decode(&bytes) {
                Ok(frame) => self.frame(link, &app, &frame, now),
                Err(_) => self.bad_frame(&app),
            },
            WsMessage::Text(_) => self.bad_frame(&app),
            WsMessage::Ping(payload) => self.act(link, Effect::Send(WsMessage::Pong(payload))),
            WsMessage::Pong(_) => {
                if let Some(state) = self.apps.get_mut(&app) {
                    state.counters.websocket_pongs += 1;
                }
            }
            WsMessage::Close => {
                self.gone(link);
                self.act(link, Effect::Close { code: 1000, reason: String::new() });
            }
        }
    }

    fn frame(&mut self, link: LinkId, app: &AppId, frame: &Frame, now: Now) {
        match (frame.method, frame.header("type")) {
            (METHOD_CONTROL, Some("ping")) => self.ping(link, app, frame, now),
            (METHOD_DATA, _) => self.ack(link, app, frame, now),
            _ => self.bad_frame(app),
        }
    }

    /// A ping has to carry the service_id of the connection's address (§2.1).
    fn ping(&mut self, link: LinkId, app: &AppId, frame: &Frame, now: Now) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        let service = connection.service;
        if frame.service != service || frame.seq_id != 0 || frame.log_id != 0 || frame.headers.len() != 1 {
            return self.bad_frame(app);
        }
        connection.info.pings += 1;
        if let Some(state) = self.apps.get_mut(app) {
            state.counters.pings += 1;
        }
        let fault = self.take_fault(app, |fault| {
            let pong = matches!(
                fault,
                Fault::NoPong | Fault::LatePong(_) | Fault::PongPayload(_) | Fault::PongConfig(_)
            );
            pong.then(|| fault.clone())
        });
        let mut payload = Some(client_config().to_string());
        let mut delay = std::time::Duration::ZERO;
        match fault {
            Some(Fault::NoPong) => return,
            Some(Fault::LatePong(late)) => delay = late,
            Some(Fault::PongPayload(other)) => payload = Some(other),
            Some(Fault::PongConfig(ConfigShape::Json(config))) => payload = Some(config.to_string()),
            Some(Fault::PongConfig(ConfigShape::Missing)) => payload = None,
            _ => {}
        }
        let pong = Frame::control(service, "pong", payload.map(String::into_bytes)).encode();
        self.act_later(link, Effect::Send(WsMessage::Binary(pong)), delay, now);
    }

    fn bad_frame(&mut self, app: &AppId) {
        if let Some(state) = self.apps.get_mut(app) {
            state.counters.bad_frames += 1;
        }
    }

    /// The link is over for the platform; for calls there is nothing to forget.
    pub(crate) fn gone(&mut self, link: LinkId) {
        let handshake = self.handshakes.remove(&link);
        self.clear_timer(handshake);
        let Some(connection) = self.connections.remove(&link) else { return };
        if let Some(state) = self.apps.get_mut(&connection.app) {
            state.links.remove(&link);
            state.recount();
        }
        self.deliveries.retain(|_, delivery| delivery.link != link);
    }

    /// Ends all open connections of the app, and says how many there were.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn drop_connections(&mut self, app: &AppId, cut: &Cut) -> Result<usize, UnknownApp> {
        let links: Vec<LinkId> = self.app(app)?.links.iter().copied().collect();
        for &link in &links {
            self.cut(link, cut);
        }
        Ok(links.len())
    }

    pub(crate) fn is_black_hole(&self, link: LinkId) -> bool {
        self.connections.get(&link).is_some_and(|connection| connection.info.black_hole)
    }

    fn cut(&mut self, link: LinkId, cut: &Cut) {
        let effect = match cut {
            Cut::Close { code, reason } => Effect::Close { code: *code, reason: reason.clone() },
            Cut::Fin => Effect::Fin,
            Cut::Reset => Effect::Reset,
            Cut::BlackHole => {
                if let Some(connection) = self.connections.get_mut(&link) {
                    connection.info.black_hole = true;
                }
                return self.act(link, Effect::BlackHole);
            }
        };
        self.gone(link);
        self.act(link, effect);
    }

    /// Sends such a frame on every open connection of the app, and says on how many. Events among them
    /// ([`OddFrame::NotJson`], [`OddFrame::NoHeader`]) are pushed once and repeated like any other.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn inject(&mut self, app: &AppId, frame: OddFrame, now: Now) -> Result<usize, UnknownApp> {
        let links: Vec<LinkId> = self.app(app)?.links.iter().copied().collect();
        if let Some(payload) = odd_payload(frame) {
            self.push_raw(app, payload, now)?;
            return Ok(links.len().min(1));
        }
        for &link in &links {
            self.send_odd(link, frame);
        }
        Ok(links.len())
    }

    /// Sends an untracked odd frame.
    pub(crate) fn send_odd(&mut self, link: LinkId, odd: OddFrame) {
        let Some(service) = self.connections.get(&link).map(|connection| connection.service) else { return };
        let id = self.hex(8);
        let part = |sum: &str, seq: &str| data_frame(service, &id, sum, seq, b"{\"schema\":").encode();
        let whole = data_frame(service, &id, "1", "0", b"{}");
        let messages = match odd {
            OddFrame::Text => vec![WsMessage::Text("hello".to_owned())],
            OddFrame::Empty => vec![WsMessage::Binary(Vec::new())],
            OddFrame::Truncated => {
                let mut bytes = whole.encode();
                bytes.truncate(bytes.len() / 2);
                vec![WsMessage::Binary(bytes)]
            }
            // SeqID, LogID and method, no service.
            OddFrame::MissingRequired => vec![WsMessage::Binary(vec![0x08, 0x01, 0x10, 0x01, 0x20, 0x01])],
            OddFrame::WrongWireType => {
                vec![WsMessage::Binary(vec![0x0a, 0x01, b'1', 0x10, 0x01, 0x18, 0x01, 0x20, 0x01])]
            }
            OddFrame::UnknownMethod => {
                vec![WsMessage::Binary(Frame { method: 7, ..whole }.encode())]
            }
            OddFrame::UnknownType => {
                let headers = vec![Header::new("type", "weather")];
                vec![WsMessage::Binary(Frame { headers, ..whole }.encode())]
            }
            OddFrame::CardType => {
                let headers = vec![Header::new("type", "card")];
                vec![WsMessage::Binary(Frame { headers, ..whole }.encode())]
            }
            OddFrame::WebSocketPing => vec![WsMessage::Ping(id.clone().into_bytes())],
            OddFrame::ServerPing => vec![WsMessage::Binary(Frame::control(service, "ping", None).encode())],
            OddFrame::SumZero => vec![WsMessage::Binary(part("0", "0"))],
            OddFrame::SeqBeyondSum => vec![WsMessage::Binary(part("2", "5"))],
            OddFrame::SumChanges => {
                vec![WsMessage::Binary(part("2", "0")), WsMessage::Binary(part("3", "1"))]
            }
            OddFrame::SumNotNumber => vec![WsMessage::Binary(part("two", "first"))],
            OddFrame::Oversized(size) => {
                vec![WsMessage::Binary(data_frame(service, &id, "1", "0", &vec![b' '; size]).encode())]
            }
            OddFrame::NotJson | OddFrame::NoHeader => Vec::new(),
        };
        let black_hole = self.connections.get(&link).is_none_or(|connection| connection.info.black_hole);
        for message in messages.into_iter().filter(|_| !black_hole) {
            self.act(link, Effect::Send(message));
        }
    }
}

/// The payload of an odd frame that is an event of its own.
pub(crate) fn odd_payload(odd: OddFrame) -> Option<Vec<u8>> {
    match odd {
        OddFrame::NotJson => Some(b"{\"schema\":\"2.0\",\"header\"".to_vec()),
        OddFrame::NoHeader => Some(b"{\"schema\":\"2.0\",\"event\":{}}".to_vec()),
        _ => None,
    }
}

/// A data frame of no event we keep.
fn data_frame(service: i32, id: &str, sum: &str, seq: &str, payload: &[u8]) -> Frame {
    let id = EventId::new(format!("odd-{id}"));
    let headers = [("type", "event"), ("message_id", id.as_str()), ("sum", sum), ("seq", seq)];
    Frame {
        seq_id: 1,
        log_id: 1,
        service,
        method: METHOD_DATA,
        headers: headers.into_iter().map(|(key, value)| Header::new(key, value)).collect(),
        payload: Some(payload.to_vec()),
        ..Frame::default()
    }
}

/// A handshake answered with something else than 101; the reason is in headers.
fn refusal(status: u16, code: Option<i64>, reason: &str, auth_code: Option<i64>) -> Effect {
    let mut headers = vec![("handshake-msg", reason.to_owned())];
    headers.extend(code.map(|code| ("handshake-status", code.to_string())));
    headers.extend(auth_code.map(|code| ("handshake-autherrcode", code.to_string())));
    Effect::Respond(Response { status, headers, body: Bytes::new() })
}
