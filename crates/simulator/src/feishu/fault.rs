//! What can be made to go wrong, per app. A fault waits where it belongs and strikes there, a number of times or
//! until it is cleared.

use std::time::Duration;

use moorline_core::ChatId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::faults::millis;

/// Something that goes wrong at one place of the protocol. Faults of one place strike one after the other, in the
/// order in which they were set. In JSON: `"hold"`, `{"endpoint":{"status":503}}`, `{"late_pong":1500}`; times are
/// milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// The app's channel is held down: its connections are reset, the endpoint answers 503, and every handshake is
    /// refused. Sending, tokens and bot info go on. Meant to be set until cleared.
    Hold,
    /// The endpoint call (§1.1) is answered like this.
    Endpoint(Answer),
    /// The endpoint hands out this address; empty for none.
    EndpointUrl(String),
    /// The endpoint's `ClientConfig`, whatever its shape.
    ClientConfig(ConfigShape),
    /// The address the endpoint hands out is good for a handshake this long, and refused with 514 afterwards.
    TicketExpiry(#[serde(with = "millis")] Duration),
    /// The handshake (§1.3) ends like this.
    Handshake(HandshakeFault),
    /// A new connection ends like this right after its 101.
    CutOnOpen(Cut),
    /// A ping gets no pong.
    NoPong,
    /// A ping gets its pong this much later.
    LatePong(#[serde(with = "millis")] Duration),
    /// A ping gets a pong with this payload instead of the configuration.
    PongPayload(String),
    /// A ping gets a pong with this configuration, or an empty payload for none.
    PongConfig(ConfigShape),
    /// Such a frame goes out on the same connection right before the next event.
    OddFrame(OddFrame),
    /// An event is sent twice at once, to connections drawn independently.
    Duplicate,
    /// An event that was acked is pushed again all the same, as if it had not been (§2.5, at least once).
    RedeliverAcked,
    /// An event is split into parts (§2.3).
    Split(Split),
    /// An event is split into this many parts, and the last one says that there is one more. No ack of it counts.
    SplitSumChanges(usize),
    /// The frames of an event have a header and a field that no client knows, and an encoding and a type to ignore.
    UnknownFields,
    /// What a bot sends comes back to it, or to the other bots of the chat, as an event (F-041).
    Echo(Echo),
    /// The token call (§3.1) is answered like this.
    Token(Answer),
    /// A new token is minted with this lifetime, in seconds.
    TokenExpiry(u64),
    /// The token call takes effect, and its answer is lost like this.
    LoseTokenAnswer(Lost),
    /// The bot-info call (§3.3) is answered like this.
    BotInfo(Answer),
    /// Bot info has this open_id; `null` leaves the key out.
    BotOpenId(Option<String>),
    /// Bot info has this `activate_status` (2 is the good one).
    BotStatus(i64),
    /// The bot-info answer is lost like this.
    LoseBotInfoAnswer(Lost),
    /// A call of the im API is refused with 99991672, naming these scopes (§3.2).
    MissingScopes(Vec<String>),
    /// A send or reply (§3.4) is answered like this, and nothing is sent.
    Send(Answer),
    /// A send or reply takes effect, and its answer is lost like this.
    LoseSendAnswer(Lost),
    /// A send or reply takes effect at once and is answered this much later; meanwhile the same uuid gets 230049.
    SlowSend(#[serde(with = "millis")] Duration),
    /// A send or reply into this chat is refused with this code (§3.5, permanent for one chat).
    Chat {
        /// The chat.
        chat_id: ChatId,
        /// The code: 230018, 230035, 230038, 230053, 230075, 232009, …
        code: i64,
    },
    /// An update, edit, recall or read of a message is answered like this, and nothing is changed.
    Edit(Answer),
    /// An update, edit, recall or read takes effect, and its answer is lost like this.
    LoseEditAnswer(Lost),
    /// A reaction call is answered like this, and nothing is changed.
    Reaction(Answer),
    /// A reaction call takes effect, and its answer is lost like this.
    LoseReactionAnswer(Lost),
    /// An upload is answered like this, and nothing is kept.
    Upload(Answer),
    /// An upload takes effect, and its answer is lost like this.
    LoseUploadAnswer(Lost),
    /// A download is answered like this.
    Download(Answer),
}

/// What a call gets instead of its proper answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// Nothing, ever; the connection stays open.
    Hang,
    /// A reset of the TCP connection.
    Reset,
    /// This status with an HTML page, as a proxy would answer.
    Status(u16),
    /// A refusal in the platform's own shape.
    Code {
        /// HTTP status; the endpoint and token calls use 200, the others mostly 400.
        status: u16,
        /// The platform's code.
        code: i64,
    },
    /// The same with a text of its own: scope names, an `ext=` detail.
    Refusal {
        /// HTTP status.
        status: u16,
        /// The platform's code.
        code: i64,
        /// The answer's `msg`.
        msg: String,
    },
    /// Too many calls at the gateway (§3.6): status 429, code 99991400, `x-ogw-ratelimit-reset`.
    RateLimited {
        /// Seconds to wait.
        reset: u64,
    },
    /// Status 200 and a body that is not JSON.
    Garbage,
    /// This status and this body, as JSON: a code that is text, `data` that is missing.
    Body {
        /// HTTP status.
        status: u16,
        /// The body as text.
        body: String,
    },
    /// A redirect to this address, which calls with a token must not follow.
    Redirect(String),
    /// The proper answer, this much later.
    Delay(#[serde(with = "millis")] Duration),
}

/// The `ClientConfig` an endpoint answer has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigShape {
    /// The key is absent.
    Missing,
    /// Any JSON: null, `{}`, zeroes, negatives, text.
    Json(Value),
}

/// How a handshake fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandshakeFault {
    /// No answer.
    Hang,
    /// A reset of the TCP connection.
    Reset,
    /// The 101, this much later.
    Delay(#[serde(with = "millis")] Duration),
    /// An answer other than 101.
    Refuse {
        /// HTTP status.
        status: u16,
        /// `Handshake-Status`: 403, 514, …; absent when `None`.
        handshake_status: Option<i64>,
        /// `Handshake-Autherrcode`: 1000040350 is "too many connections"; absent when `None`.
        auth_code: Option<i64>,
    },
}

/// How an open connection ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// With a close frame.
    Close {
        /// RFC 6455 §7.4.
        code: u16,
        /// For people.
        reason: String,
    },
    /// TCP ends in an orderly way, without a close frame.
    Fin,
    /// TCP is reset.
    Reset,
    /// TCP stays open; nothing is read or written any more (F-019). The platform goes on handing it events until
    /// the peer closes it, which is how a half-dead socket steals them. (A client whose bytes no longer fit into the
    /// buffers cannot even get its FIN through; over real sockets such a connection stays until the server ends.)
    BlackHole,
}

/// How an answer is lost after the call took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// It never comes.
    Hang,
    /// The connection is reset instead.
    Reset,
}

/// To whom a message of a bot comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Echo {
    /// To the bot that sent it, under the message's own id.
    SameId,
    /// To the bot that sent it, as if it were another message.
    NewId,
    /// To every other bot of the chat, mentioning it.
    Others,
}

/// An event in several parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// How many parts, at least 1; split points ignore UTF-8.
    pub parts: usize,
    /// The order of sending by index; empty for 0, 1, 2, … Indices left out are never sent, others may come twice.
    #[serde(default)]
    pub order: Vec<usize>,
    /// A part that is never sent.
    #[serde(default)]
    pub missing: Option<usize>,
}

/// A frame no client should choke on (F-037, F-038, F-095).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OddFrame {
    /// Protobuf that ends in the middle.
    Truncated,
    /// No `service`.
    MissingRequired,
    /// `SeqID` as text.
    WrongWireType,
    /// A text message.
    Text,
    /// An empty binary message.
    Empty,
    /// A method that is neither control nor data.
    UnknownMethod,
    /// A data frame of an unknown type.
    UnknownType,
    /// A data frame of type `card`, which nobody handles.
    CardType,
    /// A control frame `ping` from the server.
    ServerPing,
    /// An RFC 6455 ping, which is to be answered by its pong.
    WebSocketPing,
    /// A tracked event whose payload is not JSON.
    NotJson,
    /// A tracked event whose JSON has no header.
    NoHeader,
    /// An event part with `sum` 0.
    SumZero,
    /// An event part with `seq` beyond `sum`.
    SeqBeyondSum,
    /// Two parts of one event that disagree about `sum`.
    SumChanges,
    /// An event part whose `sum` and `seq` are not numbers.
    SumNotNumber,
    /// A data frame with this many bytes of payload.
    Oversized(usize),
}

/// The faults of one app.
pub(crate) type Faults = crate::faults::Faults<Fault>;

impl Faults {
    /// Whether the channel is held down, which is then counted as a blow.
    pub(crate) fn held(&mut self) -> bool {
        self.take(|fault| (*fault == Fault::Hold).then_some(())).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Times;

    #[test]
    fn faults_of_one_place_strike_in_order_and_run_out() {
        let mut faults = Faults::default();
        faults.set(Fault::Endpoint(Answer::Status(503)), Times::Count(2));
        faults.set(Fault::NoPong, Times::UntilCleared);
        faults.set(Fault::Endpoint(Answer::Hang), Times::Count(1));
        let endpoint = |fault: &Fault| match fault {
            Fault::Endpoint(answer) => Some(answer.clone()),
            _ => None,
        };
        let taken: Vec<_> = (0..4).map(|_| faults.take(endpoint)).collect();
        let busy = Some(Answer::Status(503));
        assert_eq!(taken, [busy.clone(), busy, Some(Answer::Hang), None]);
        assert_eq!(faults.list(), [(Fault::NoPong, Times::UntilCleared)]);
        let struck = [(Fault::Endpoint(Answer::Status(503)), 2), (Fault::Endpoint(Answer::Hang), 1)];
        assert_eq!(faults.struck(), struck);
    }

    #[test]
    fn faults_are_written_in_json_as_documented() {
        let cases = [
            (r#""hold""#, Fault::Hold),
            (r#"{"endpoint":{"status":503}}"#, Fault::Endpoint(Answer::Status(503))),
            (r#"{"late_pong":1500}"#, Fault::LatePong(Duration::from_millis(1500))),
            (r#"{"client_config":{"json":null}}"#, Fault::ClientConfig(ConfigShape::Json(Value::Null))),
            (r#"{"cut_on_open":"black_hole"}"#, Fault::CutOnOpen(Cut::BlackHole)),
        ];
        for (json, fault) in cases {
            assert_eq!(serde_json::from_str::<Fault>(json).unwrap(), fault);
            assert_eq!(serde_json::to_string(&fault).unwrap(), json);
        }
    }
}
