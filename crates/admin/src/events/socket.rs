//! One watcher's socket: its token, what it is told, its signs of life and its end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use actix_ws::{CloseCode, CloseReason, Closed, Message, MessageStream, ProtocolError, Session};
use moorline_runtime::{EventScope, Missed, Retained, Subscription};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, interval_at, timeout};

use super::Limits;
use crate::gate::Gate;
use crate::operator::Operator;

/// Why a socket ends: the code and the words the watcher is told, unless it is gone already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Goodbye(Option<(CloseCode, &'static str)>);

const fn because(code: CloseCode, words: &'static str) -> Goodbye {
    Goodbye(Some((code, words)))
}

/// The server is about to end, whether or not another one follows: the watcher can come back either way, and is told
/// by what it finds.
pub(crate) const RESTART: Goodbye = because(CloseCode::Restart, "service restart");
pub(crate) const NO_PLACE: Goodbye = because(CloseCode::Again, "too many watchers");
const GONE: Goodbye = Goodbye(None);
const LEFT: Goodbye = because(CloseCode::Normal, "goodbye");
const UNAUTHORIZED: Goodbye = because(CloseCode::Policy, "unauthorized: send {\"auth\":\"<token>\"} first");
const NOT_IN_TIME: Goodbye = because(CloseCode::Policy, "unauthorized: no token within 5 s");
const NOT_TEXT: Goodbye = because(CloseCode::Unsupported, "only text in one frame is taken");
const TOO_LONG: Goodbye = because(CloseCode::Size, "the frame is too long");
const TOO_MANY: Goodbye = because(CloseCode::Policy, "too many frames");
const SILENT: Goodbye = because(CloseCode::Policy, "no sign of life");
const SLOW: Goodbye = because(CloseCode::Policy, "read too slowly");
const BROKEN: Goodbye = because(CloseCode::Protocol, "not a WebSocket frame");
const INTERNAL: Goodbye = because(CloseCode::Error, "a fault in Moorline");

/// The first message to a watcher, and the first after each gap.
#[derive(Serialize)]
struct Snapshot {
    kind: &'static str,
    #[serde(flatten)]
    retained: Retained,
}

pub(crate) struct Socket {
    session: Session,
    incoming: MessageStream,
    limits: Limits,
    operator: Arc<dyn Operator>,
    scope: EventScope,
    /// When a frame of the watcher's was last received.
    heard: Instant,
    /// Its frames since the last ping.
    frames: u32,
}

impl Socket {
    pub(crate) fn new(
        session: Session,
        incoming: MessageStream,
        limits: Limits,
        operator: Arc<dyn Operator>,
        scope: EventScope,
    ) -> Self {
        let incoming = incoming.max_frame_size(limits.longest_frame);
        Self { session, incoming, limits, operator, scope, heard: Instant::now(), frames: 0 }
    }

    /// Waits for the token. Nothing is told before it is there, and is the right one.
    pub(crate) async fn prove(&mut self, gate: &Gate) -> Result<(), Goodbye> {
        let within = self.limits.proves_within;
        let first = async {
            loop {
                let frame = self.incoming.recv().await;
                if let Some(text) = self.hear(frame).await? {
                    return Ok::<String, Goodbye>(text);
                }
            }
        };
        let text = timeout(within, first).await.map_err(|_| NOT_IN_TIME)??;
        // As a map and not as a struct: serde would fill that in from an array too.
        let fields: BTreeMap<&str, &str> = serde_json::from_str(&text).map_err(|_| UNAUTHORIZED)?;
        match fields.iter().collect::<Vec<_>>()[..] {
            [(&"auth", token)] if gate.is_token(token) => Ok(()),
            _ => Err(UNAUTHORIZED),
        }
    }

    /// Tells everything there is to tell, until the socket has to end.
    pub(crate) async fn watch(&mut self) -> Result<Infallible, Goodbye> {
        let every = self.limits.pings_every;
        let mut pings = interval_at(Instant::now() + every, every);
        let mut events = self.greet().await?;
        loop {
            tokio::select! {
                biased;
                frame = self.incoming.recv() => {
                    // There is nothing a watcher could say.
                    self.hear(frame).await?;
                }
                _ = pings.tick() => self.ping().await?,
                event = events.next() => match event {
                    Ok(event) => self.tell(&*event).await?,
                    Err(Missed::Lagged(missed)) => {
                        self.tell(&json!({ "lagged": missed })).await?;
                        events = self.greet().await?;
                    }
                    Err(Missed::Ended) => return Err(RESTART),
                },
            }
        }
    }

    /// Says why, and waits until that is written or cannot be: not for an answer, which may never come.
    pub(crate) async fn close(mut self, Goodbye(why): Goodbye) {
        let closing = async {
            if let Some((code, words)) = why {
                let reason = CloseReason { code, description: Some(words.to_owned()) };
                // One that is gone needs no reason.
                drop(self.session.close(Some(reason)).await);
            } else {
                drop(self.session);
            }
            while let Some(Ok(_)) = self.incoming.recv().await {}
            drop(self.incoming);
            // The peer's side of the closing is the server's to wait for; it ends before this does, or is cut.
            std::future::pending::<()>().await;
        };
        drop(timeout(self.limits.closes_within, closing).await);
    }

    /// Everything as it is, and what will be told from there on.
    async fn greet(&mut self) -> Result<Subscription, Goodbye> {
        let (retained, events) = self.operator.events(&self.scope);
        self.tell(&Snapshot { kind: "snapshot", retained }).await?;
        Ok(events)
    }

    async fn ping(&mut self) -> Result<(), Goodbye> {
        if self.heard.elapsed() >= 2 * self.limits.pings_every {
            return Err(SILENT);
        }
        self.frames = 0;
        timeout(self.limits.reads_within, self.session.ping(b"")).await.map_err(|_| SLOW)??;
        Ok(())
    }

    async fn tell(&mut self, what: &impl Serialize) -> Result<(), Goodbye> {
        let text = serde_json::to_string(what).map_err(|_| INTERNAL)?;
        timeout(self.limits.reads_within, self.session.text(text)).await.map_err(|_| SLOW)??;
        Ok(())
    }

    /// Takes one frame; the text in it, if there is any.
    async fn hear(
        &mut self,
        frame: Option<Result<Message, ProtocolError>>,
    ) -> Result<Option<String>, Goodbye> {
        let frame = frame.ok_or(GONE)??;
        self.heard = Instant::now();
        self.frames += 1;
        if self.frames > self.limits.frames {
            return Err(TOO_MANY);
        }
        match frame {
            Message::Text(text) => Ok(Some(text.into())),
            Message::Ping(bytes) => {
                timeout(self.limits.reads_within, self.session.pong(&bytes)).await.map_err(|_| SLOW)??;
                Ok(None)
            }
            Message::Pong(_) | Message::Nop => Ok(None),
            Message::Binary(_) | Message::Continuation(_) => Err(NOT_TEXT),
            Message::Close(_) => Err(LEFT),
        }
    }
}

impl From<ProtocolError> for Goodbye {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::Overflow => TOO_LONG,
            ProtocolError::Io(_) => GONE,
            _ => BROKEN,
        }
    }
}

impl From<Closed> for Goodbye {
    fn from(_: Closed) -> Self {
        GONE
    }
}

impl fmt::Display for Goodbye {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some((code, words)) => write!(f, "{words} ({})", u16::from(*code)),
            None => f.write_str("it is gone"),
        }
    }
}
