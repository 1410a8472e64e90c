//! The receiving half of a channel as a machine without I/O.

use std::time::Duration;

use bytes::Bytes;
use moorline_core::{DedupeKey, EventId, Failure, Inbound, Monotonic};

use crate::network::{HandshakeError, HttpRequest, HttpResponse, Message, NetworkError, WebSocketRequest};

/// What a connection begins with.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// What was stored last under the plan's [`cursor`](crate::Plan::cursor); `None` when nothing was.
    pub cursor: Option<String>,
    /// Where the machine's randomness comes from.
    pub seed: u64,
}

/// One life of a connection, from the first call to its end. A new attempt is a new machine: nothing of a lost
/// connection leaks into the next.
pub trait Connector {
    /// What happened, and when; what is to be done about it, in order. After [`Effect::Finish`] the machine is
    /// never stepped again.
    fn step(&mut self, event: Event, now: Monotonic) -> Vec<Effect>;

    /// When [`Event::Wake`] is wanted. Asked after every step.
    fn wake_at(&self) -> Option<Monotonic>;

    /// The longest silence that is not death, once the connection is open: how long the driver waits for the next
    /// [`Output::Alive`] before it ends the connection (F-019). Asked after every step.
    fn patience(&self) -> Duration;

    /// When what was received and is not stored yet was asked for, if it is lost with the connection. Nothing is read until
    /// it is stored, so no silence ends the connection, nor does a sign of life that was asked for (design §3 rule 8); if
    /// the connection ends before, that is a gap since then (F-040). Asked after every step.
    fn in_hand(&self) -> Option<Monotonic> {
        None
    }
}

/// Names a call of the machine, so that its completion can be told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);

/// Names a delivery that the platform waits to have acknowledged; unique within one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AckId(pub u64);

/// What a machine is told.
#[derive(Debug)]
pub enum Event {
    /// Begin. Always the first event, and only then.
    Start,
    /// A call is over.
    Response {
        /// Which.
        id: RequestId,
        /// How it ended.
        result: Result<HttpResponse, NetworkError>,
    },
    /// The WebSocket is open.
    Opened,
    /// The WebSocket was not opened.
    NotOpened(HandshakeError),
    /// A message came in.
    Frame(Message),
    /// The WebSocket ended: by an error, or without one when the peer just went away.
    Lost(Option<NetworkError>),
    /// The moment of [`Connector::wake_at`] has come.
    Wake,
    /// A delivery is stored (acknowledge it), or could not be stored (refuse it, so that it comes again).
    Verdict {
        /// Which.
        ack: AckId,
        /// Stored?
        stored: bool,
    },
    /// Ask the peer for a sign of life now.
    Probe,
    /// End in an orderly way: say goodbye, then [`Effect::Finish`].
    Stop,
}

/// What a machine wants done.
#[derive(Debug)]
pub enum Effect {
    /// Make a call.
    Request {
        /// Named in its completion.
        id: RequestId,
        /// The call.
        request: HttpRequest,
    },
    /// Give up a call: its connection is closed, and no [`Event::Response`] comes of it.
    Cancel(RequestId),
    /// Open the WebSocket. At most one in a machine's life.
    Open(WebSocketRequest),
    /// Send a message on it.
    Send(Message),
    /// Tell the runtime.
    Emit(Output),
    /// The connection is over; `None` after [`Event::Stop`].
    Finish(Option<Failure>),
}

/// What the runtime is told.
#[derive(Debug)]
pub enum Output {
    /// The transport is open: a connection stands, or the platform answers polls. `connection` names it for the logs and
    /// is no credential.
    Open {
        /// The platform's name for the connection.
        connection: String,
    },
    /// The platform showed that it is there: a frame of its protocol was received. The first one after
    /// [`Output::Open`] makes the account ready.
    Alive,
    /// Store these, then answer with a [`Event::Verdict`].
    Deliver {
        /// Named in the verdict.
        ack: AckId,
        /// What was received, in order.
        deliveries: Vec<Delivery>,
        /// What to store as the plan's [`cursor`](crate::Plan::cursor) in the same commit (F-029).
        cursor: Option<String>,
    },
    /// The platform may have handed out messages that never arrived, and may not hand them out again: to be recorded as a
    /// gap (F-040).
    Gap {
        /// Since when: the beginning of the call that should have brought them. Signs of life that came beside it change
        /// nothing.
        since: Monotonic,
        /// What happened to them.
        why: String,
    },
    /// The connection looks well and may be deaf all the same, for this reason; `None` when that is over. `doctor` tells
    /// of it when it lasts.
    Suspect(Option<String>),
    /// An event arrived that is no message; it was acknowledged and needs nothing.
    Notice {
        /// The platform's name for the kind of event.
        kind: String,
    },
    /// Something arrived that the protocol does not know; it was skipped and the connection goes on (F-037).
    Skipped {
        /// What it was.
        why: String,
    },
}

/// Something received that has to be stored before it may be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A message.
    Message(Box<Inbound>),
    /// What should have been a message and cannot be parsed. Its bytes are kept.
    Unreadable {
        /// The delivery's id, or one made from its bytes.
        event_id: EventId,
        /// The keys under which it may come again.
        dedupe: Vec<DedupeKey>,
        /// The bytes received.
        raw: Bytes,
        /// What is wrong with them.
        why: String,
    },
}
