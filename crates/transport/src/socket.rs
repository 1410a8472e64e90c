//! An open WebSocket.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use awc::BoxedSocket;
use bytes::Bytes;
use futures_util::{Sink, Stream};
use moorline_channel::{Message, NetworkError, NetworkErrorKind};
use tokio_util::codec::{Framed, FramedParts};

use crate::codec::{Codec, Fault};

/// What each direction of a socket buffers while it is idle; it grows with the messages. awc's own frames keep 8 KiB
/// for reading alone, which is most of what an idle account would weigh.
const BUFFER: usize = 1_024;

/// Yields whole messages, answers pings, and ends with the peer's close or the first error. One task polls it for
/// both directions. Dropping it drops the TCP connection (F-019, F-026).
pub(crate) struct Socket {
    framed: Framed<BoxedSocket, Codec>,
    /// Host and port, for messages.
    peer: String,
    /// What to answer to the latest ping that is not answered. Only the latest one counts (RFC 6455 §5.5.3), so a
    /// peer that pings without reading cannot make us hold more than one answer.
    pong: Option<Bytes>,
    /// Something that nobody but us will flush is in the write buffer.
    unflushed: bool,
    close_sent: bool,
    over: bool,
}

impl Socket {
    /// A socket on `io`, of which `received` was read beyond the end of the handshake.
    pub(crate) fn new(io: BoxedSocket, received: &[u8], codec: Codec, peer: String) -> Self {
        let framed = if received.is_empty() {
            Framed::with_capacity(io, codec, BUFFER)
        } else {
            // Only parts make what was read already count as such; otherwise it would wait for the next read.
            let mut parts = FramedParts::new::<Message>(io, codec);
            parts.read_buf.extend_from_slice(received);
            Framed::from_parts(parts)
        };
        Self { framed, peer, pong: None, unflushed: false, close_sent: false, over: false }
    }

    fn framed(&mut self) -> Pin<&mut Framed<BoxedSocket, Codec>> {
        Pin::new(&mut self.framed)
    }

    fn error(&self, fault: Fault) -> NetworkError {
        let kind = match &fault {
            Fault::TooLarge(_) => NetworkErrorKind::TooLarge,
            Fault::Protocol(_) => NetworkErrorKind::Protocol,
            Fault::Io(_) => NetworkErrorKind::Reset,
        };
        NetworkError::new(kind, format!("{}: {fault}", self.peer))
    }

    /// Writes the answer to a ping, as far as the connection takes it now; the task is woken when it takes more.
    fn answer(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        while self.pong.is_some() || self.unflushed {
            if self.pong.is_some() {
                match self.framed().poll_ready(cx) {
                    Poll::Ready(ready) => ready?,
                    Poll::Pending => return Ok(()),
                }
            }
            if let Some(payload) = self.pong.take() {
                self.framed().start_send(Message::Pong(payload))?;
                self.unflushed = true;
            }
            match self.framed().poll_flush(cx) {
                Poll::Ready(flushed) => flushed?,
                Poll::Pending => return Ok(()),
            }
            self.unflushed = false;
        }
        Ok(())
    }

    /// Answers a close with the same code (RFC 6455 §5.5.1), if the connection takes it at once.
    fn confirm_close(&mut self, close: &Message, cx: &mut Context<'_>) {
        if !self.close_sent
            && matches!(self.framed().poll_ready(cx), Poll::Ready(Ok(())))
            && self.framed().start_send(close.clone()).is_ok()
        {
            self.close_sent = true;
            let _ = self.framed().poll_flush(cx);
        }
    }
}

impl Stream for Socket {
    type Item = Result<Message, NetworkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if let Err(fault) = this.answer(cx) {
            this.over = true;
            return Poll::Ready(Some(Err(this.error(fault))));
        }
        let item = match ready!(this.framed().poll_next(cx)) {
            Some(Ok(Message::Ping(payload))) => {
                this.pong = Some(payload.clone());
                this.answer(cx).map(|()| Message::Ping(payload))
            }
            Some(Ok(close @ Message::Close(_))) => {
                this.confirm_close(&close, cx);
                this.over = true;
                Ok(close)
            }
            Some(item) => item,
            None => Err(Fault::Io(std::io::ErrorKind::UnexpectedEof.into())),
        };
        Poll::Ready(Some(item.map_err(|fault| {
            this.over = true;
            this.error(fault)
        })))
    }
}

impl Sink<Message> for Socket {
    type Error = NetworkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), NetworkError>> {
        let ready = ready!(self.framed().poll_ready(cx));
        Poll::Ready(ready.map_err(|fault| self.error(fault)))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), NetworkError> {
        self.close_sent |= matches!(message, Message::Close(_));
        self.framed().start_send(message).map_err(|fault| self.error(fault))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), NetworkError>> {
        let flushed = ready!(self.framed().poll_flush(cx));
        Poll::Ready(flushed.map_err(|fault| self.error(fault)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), NetworkError>> {
        let closed = ready!(self.framed().poll_close(cx));
        Poll::Ready(closed.map_err(|fault| self.error(fault)))
    }
}
