//! One exchange with a peer: its deadline, and what its failures mean.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix_http::error::ParseError;
use awc::error::{ConnectError, PayloadError, SendRequestError};
use moorline_channel::core::Effect;
use moorline_channel::{NetworkError, NetworkErrorKind};

use crate::progress::{Phase, Progress};

/// What is needed to judge a failure. All messages are written here, from the peer and the phase alone: awc's own
/// texts may contain the address, and with it credentials (F-090).
pub(crate) struct Exchange {
    peer: String,
    progress: Rc<Progress>,
}

impl Exchange {
    pub(crate) fn new(peer: String) -> Self {
        Self { peer, progress: Progress::new() }
    }

    /// Runs the exchange under one deadline, from the name lookup to its last byte (F-023, F-027).
    pub(crate) async fn within<T, E: From<NetworkError>>(
        &self,
        deadline: Duration,
        exchange: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match tokio::time::timeout(deadline, self.progress.clone().follow(exchange)).await {
            Ok(result) => result,
            Err(_) => Err(self.late(&format!("within {deadline:?}")).into()),
        }
    }

    /// Whether the peer has ended the connection since the request left.
    pub(crate) fn peer_finished(&self) -> bool {
        self.progress.peer_finished()
    }

    pub(crate) fn error(&self, kind: NetworkErrorKind, what: &str) -> NetworkError {
        NetworkError::new(kind, format!("{}: {what}", self.progress.place(&self.peer)))
    }

    /// Whether a call has failed only because a connection of the pool was dead: the peer closes it when it has been
    /// idle, or something in between forgets it, and the request crosses with that.
    pub(crate) fn was_stale(&self, error: &NetworkError) -> bool {
        error.kind == NetworkErrorKind::Reset && self.progress.unanswered_on_used_connection()
    }

    /// From here on another attempt of the same exchange is reported on.
    pub(crate) fn repeat(&self) {
        self.progress.repeat();
    }

    /// The error of an exchange whose second attempt has failed too. What is certain of the second attempt is not of
    /// the first, which was sent.
    pub(crate) fn failed_again(&self, first: NetworkError, second: NetworkError) -> NetworkError {
        match second.effect() {
            Effect::Unknown => second,
            Effect::None => {
                let message = format!("{}, and then {}", first.message, second.at(&self.peer));
                NetworkError { message, ..first }
            }
        }
    }

    /// What it means that awc has got no answer.
    pub(crate) fn request_failed(&self, error: SendRequestError) -> NetworkError {
        if let SendRequestError::Connect(ConnectError::Io(error)) = &error
            && let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<NetworkError>())
        {
            return self.error(error.kind, &error.message);
        }
        if !self.progress.sent() {
            // Only the connection can have sent anything, and it has not: this is certain.
            return match error {
                SendRequestError::Connect(ConnectError::Timeout) => self.late("in time"),
                _ => self.error(NetworkErrorKind::Connect, &format!("failed at {}", self.progress.phase())),
            };
        }
        match error {
            SendRequestError::Connect(_) | SendRequestError::Send(_) => {
                self.error(NetworkErrorKind::Reset, "the connection ended before the answer")
            }
            SendRequestError::Response(error) => self.answer_failed(&error),
            SendRequestError::Timeout => self.late("in time"),
            _ => self.error(NetworkErrorKind::Protocol, "the answer makes no sense"),
        }
    }

    /// What it means that the body of an answer has failed.
    pub(crate) fn body_failed(&self, error: &PayloadError) -> NetworkError {
        match error {
            PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) if is_malformed(error) => {
                self.error(NetworkErrorKind::Protocol, "the body makes no sense")
            }
            PayloadError::Incomplete(_) | PayloadError::Io(_) => self.cut(),
            PayloadError::Overflow => self.error(NetworkErrorKind::TooLarge, "the body is too long"),
            _ => self.error(NetworkErrorKind::Protocol, "the body makes no sense"),
        }
    }

    /// The body ended before it was complete.
    pub(crate) fn cut(&self) -> NetworkError {
        self.error(NetworkErrorKind::Reset, "the connection ended in the middle of the body")
    }

    fn answer_failed(&self, error: &ParseError) -> NetworkError {
        match error {
            ParseError::Io(error) if !is_malformed(error) => {
                self.error(NetworkErrorKind::Reset, "the connection ended in the middle of the answer")
            }
            ParseError::Incomplete => {
                self.error(NetworkErrorKind::Reset, "the connection ended in the middle of the answer")
            }
            ParseError::TooLarge => {
                self.error(NetworkErrorKind::TooLarge, "the head of the answer is too long")
            }
            _ => self.error(NetworkErrorKind::Protocol, "the answer is not HTTP"),
        }
    }

    fn late(&self, limit: &str) -> NetworkError {
        let phase = self.progress.phase();
        let sent = phase == Phase::Sent || self.progress.repeated();
        let kind = if sent { NetworkErrorKind::Timeout } else { NetworkErrorKind::ConnectTimeout };
        self.error(kind, &format!("{phase} not complete {limit}"))
    }
}

/// The parser reports malformed input as an I/O error too.
fn is_malformed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
}
