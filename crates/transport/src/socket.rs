//! An open WebSocket.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_codec::Framed;
use awc::BoxedSocket;
use bytes::Bytes;
use futures_util::{Sink, Stream};
use moorline_channel::{Message, NetworkError, NetworkErrorKind};

use crate::codec::{Codec, Fault};

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
    pub(crate) fn new(framed: Framed<BoxedSocket, Codec>, peer: String) -> Self {
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
        if self.framed.is_write_ready()
            && let Some(payload) = self.pong.take()
        {
            self.framed().write(Message::Pong(payload))?;
            self.unflushed = true;
        }
        if (self.unflushed || self.pong.is_some())
            && let Poll::Ready(flushed) = self.framed().flush::<Message>(cx)
        {
            flushed?;
            self.unflushed = false;
            if self.pong.is_some() {
                // There is room now: the next round writes it.
                return self.answer(cx);
            }
        }
        Ok(())
    }

    /// Answers a close with the same code (RFC 6455 §5.5.1), if the connection takes it at once.
    fn confirm_close(&mut self, close: &Message, cx: &mut Context<'_>) {
        if !self.close_sent && self.framed().write(close.clone()).is_ok() {
            self.close_sent = true;
            let _ = self.framed().flush::<Message>(cx);
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
        let ready = ready!(Sink::<Message>::poll_ready(self.framed(), cx));
        Poll::Ready(ready.map_err(|fault| self.error(fault)))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), NetworkError> {
        self.close_sent |= matches!(message, Message::Close(_));
        self.framed().write(message).map_err(|fault| self.error(fault))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), NetworkError>> {
        let flushed = ready!(self.framed().flush::<Message>(cx));
        Poll::Ready(flushed.map_err(|fault| self.error(fault)))
    }

    /// Flushes first: closing the frames alone would drop what is still in the write buffer.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), NetworkError>> {
        ready!(self.as_mut().poll_flush(cx))?;
        let closed = ready!(self.framed().close::<Message>(cx));
        Poll::Ready(closed.map_err(|fault| self.error(fault)))
    }
}
