//! Between bytes and whole WebSocket messages, without I/O.

use std::io;

use actix_codec::{Decoder, Encoder};
use awc::error::WsProtocolError;
use awc::ws;
use bytes::{Bytes, BytesMut};
use moorline_channel::{Close, Message};

/// The longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_LIMIT: u64 = 125;

/// Joins fragments and bounds them (F-095). Frames are those of actix's codec, which however waits for the whole of
/// a frame before it judges the length: so the announced length is judged here, on the first bytes of the frame.
pub(crate) struct Codec {
    frames: ws::Codec,
    limit: usize,
    partial: Option<Partial>,
}

/// The fragments of a message so far.
struct Partial {
    text: bool,
    bytes: BytesMut,
}

/// Why no message could be read or written. The connection is of no use after it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("a message longer than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Protocol(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Codec {
    /// For a client that takes messages of up to `limit` bytes, all fragments together.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            frames: ws::Codec::new().max_size(limit.max(CONTROL_LIMIT as usize)).client_mode(),
            limit,
            partial: None,
        }
    }

    /// Refuses a frame whose announced length can never be taken, before any of it is stored.
    fn check_announced(&self, source: &BytesMut) -> Result<(), Fault> {
        let Some((control, length)) = announced(source) else { return Ok(()) };
        if control {
            if length > CONTROL_LIMIT {
                return Err(Fault::Protocol(format!("a control frame of {length} bytes")));
            }
            return Ok(());
        }
        let held = self.partial.as_ref().map_or(0, |partial| partial.bytes.len());
        if length > self.limit.saturating_sub(held) as u64 {
            Err(Fault::TooLarge(self.limit))
        } else {
            Ok(())
        }
    }

    /// None while a message is incomplete.
    fn join(&mut self, frame: ws::Frame) -> Result<Option<Message>, Fault> {
        Ok(Some(match frame {
            ws::Frame::Text(bytes) => text(bytes)?,
            ws::Frame::Binary(bytes) => Message::Binary(bytes),
            ws::Frame::Ping(payload) => Message::Ping(payload),
            ws::Frame::Pong(payload) => Message::Pong(payload),
            ws::Frame::Close(reason) => Message::Close(reason.map(|reason| Close {
                code: reason.code.into(),
                reason: reason.description.unwrap_or_default(),
            })),
            ws::Frame::Continuation(item) => return self.fragment(item),
        }))
    }

    fn fragment(&mut self, item: actix_http::ws::Item) -> Result<Option<Message>, Fault> {
        use actix_http::ws::Item::{Continue, FirstBinary, FirstText, Last};
        let (bytes, last) = match item {
            FirstText(bytes) => {
                self.partial = Some(Partial { text: true, bytes: BytesMut::new() });
                (bytes, false)
            }
            FirstBinary(bytes) => {
                self.partial = Some(Partial { text: false, bytes: BytesMut::new() });
                (bytes, false)
            }
            Continue(bytes) => (bytes, false),
            Last(bytes) => (bytes, true),
        };
        let out_of_order = || Fault::Protocol("a fragment of no message".to_owned());
        let partial = self.partial.as_mut().ok_or_else(out_of_order)?;
        partial.bytes.extend_from_slice(&bytes);
        if !last {
            return Ok(None);
        }
        let whole = self.partial.take().ok_or_else(out_of_order)?;
        let bytes = whole.bytes.freeze();
        Ok(Some(if whole.text { text(bytes)? } else { Message::Binary(bytes) }))
    }
}

impl Decoder for Codec {
    type Item = Message;
    type Error = Fault;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Message>, Fault> {
        loop {
            self.check_announced(source)?;
            let Some(frame) = self.frames.decode(source).map_err(Fault::from_protocol)? else {
                return Ok(None);
            };
            if let Some(message) = self.join(frame)? {
                return Ok(Some(message));
            }
        }
    }
}

impl Encoder<Message> for Codec {
    type Error = Fault;

    fn encode(&mut self, message: Message, target: &mut BytesMut) -> Result<(), Fault> {
        let message = match message {
            Message::Text(text) => ws::Message::Text(text.into()),
            Message::Binary(bytes) => ws::Message::Binary(bytes),
            Message::Ping(payload) => ws::Message::Ping(payload),
            Message::Pong(payload) => ws::Message::Pong(payload),
            Message::Close(close) => ws::Message::Close(close.map(|close| ws::CloseReason {
                code: close.code.into(),
                description: (!close.reason.is_empty()).then_some(close.reason),
            })),
        };
        self.frames.encode(message, target).map_err(Fault::from_protocol)
    }
}

impl Fault {
    fn from_protocol(error: WsProtocolError) -> Self {
        match error {
            // Reserved bits are reported like this.
            WsProtocolError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Self::Protocol("a frame of an extension nobody asked for".to_owned())
            }
            WsProtocolError::Io(error) => Self::Io(error),
            error => Self::Protocol(error.to_string()),
        }
    }
}

fn text(bytes: Bytes) -> Result<Message, Fault> {
    String::from_utf8(bytes.into())
        .map(Message::Text)
        .map_err(|_| Fault::Protocol("a text message that is not UTF-8".to_owned()))
}

/// Whether the frame at the start of `source` is a control frame, and its length (RFC 6455 §5.2); None while too
/// little of it is there.
fn announced(source: &[u8]) -> Option<(bool, u64)> {
    let (&first, rest) = source.split_first()?;
    let (&second, rest) = rest.split_first()?;
    let length = match second & 0x7f {
        126 => u64::from(u16::from_be_bytes(*rest.first_chunk()?)),
        127 => u64::from_be_bytes(*rest.first_chunk()?),
        short => u64::from(short),
    };
    Some((first & 0x08 != 0, length))
}

#[cfg(test)]
mod tests;
