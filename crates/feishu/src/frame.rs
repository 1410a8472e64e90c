//! The frame of the long connection: one protobuf message per WebSocket message (protocol §2).

use bytes::Bytes;
use prost::Message as _;

mod acknowledgement;
mod field;

pub(crate) use acknowledgement::Acknowledgement;

use field::{Fields, HEADERS, check_required};

/// Most headers taken. The platform sends fewer than ten; a frame of empty headers would otherwise unfold to
/// twenty times its size in memory (F-095).
const HEADER_LIMIT: usize = 64;

/// Fields that a frame, and each of its headers, must have: number and name (protocol §2).
const REQUIRED: [(u32, &str); 4] = [(1, "SeqID"), (2, "LogID"), (3, "service"), (4, "method")];
const REQUIRED_OF_HEADER: [(u32, &str); 2] = [(1, "key of a header"), (2, "value of a header")];

/// `method` of a control frame: ping and pong.
pub(crate) const CONTROL: i32 = 0;

/// `method` of a data frame: events and their acknowledgements.
pub(crate) const DATA: i32 = 1;

/// `pbbp2.Frame`, proto2. *Required* here means what it means to the peer's decoder: always written, zero
/// included, and a frame without it is none. Unknown fields are skipped, so that an extension of the format cannot
/// make the bot deaf (F-037); the [`Acknowledgement`] repeats them.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Frame {
    /// `SeqID`.
    #[prost(uint64, required, tag = "1")]
    pub(crate) seq_id: u64,
    /// `LogID`.
    #[prost(uint64, required, tag = "2")]
    pub(crate) log_id: u64,
    /// The `service_id` of the connection's address.
    #[prost(int32, required, tag = "3")]
    pub(crate) service: i32,
    /// [`CONTROL`] or [`DATA`].
    #[prost(int32, required, tag = "4")]
    pub(crate) method: i32,
    /// In the order received, which the acknowledgement keeps.
    #[prost(message, repeated, tag = "5")]
    pub(crate) headers: Vec<Header>,
    /// Not used by anybody; echoed.
    #[prost(string, optional, tag = "6")]
    pub(crate) payload_encoding: Option<String>,
    /// Not used by anybody; echoed.
    #[prost(string, optional, tag = "7")]
    pub(crate) payload_type: Option<String>,
    /// JSON, or a part of it.
    #[prost(bytes = "bytes", optional, tag = "8")]
    pub(crate) payload: Option<Bytes>,
    /// `LogIDNew`; echoed.
    #[prost(string, optional, tag = "9")]
    pub(crate) log_id_new: Option<String>,
}

/// `pbbp2.Header`. Values are strings, numbers too.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Header {
    /// Its name.
    #[prost(string, required, tag = "1")]
    pub(crate) key: String,
    /// Its value.
    #[prost(string, required, tag = "2")]
    pub(crate) value: String,
}

/// A WebSocket message that is no frame.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum FrameError {
    /// Not the protobuf message we know.
    #[error("the message is no frame: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// More headers than any real frame has.
    #[error("the frame has more than {HEADER_LIMIT} headers")]
    TooManyHeaders,
    /// A field is missing that every frame has.
    #[error("the frame has no {0}")]
    Missing(&'static str),
}

impl Frame {
    /// Reads a frame. Its payload shares the memory of `bytes`.
    ///
    /// # Errors
    /// For every sequence of bytes that is no frame; never panics.
    pub(crate) fn read(bytes: Bytes) -> Result<Self, FrameError> {
        check(bytes.clone())?;
        Ok(Self::decode(bytes)?)
    }

    /// The bytes of the frame, in the order of field numbers.
    pub(crate) fn write(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// The ping that keeps a connection alive and asks for a pong (protocol §2.1).
    pub(crate) fn ping(service: i32) -> Self {
        let header = Header { key: "type".to_owned(), value: "ping".to_owned() };
        Self { service, method: CONTROL, headers: vec![header], ..Self::default() }
    }

    /// The first value under `key`.
    pub(crate) fn header(&self, key: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.key == key).map(|header| header.value.as_str())
    }
}

/// What the decoder does not see to: no field is missing that the peer must write, and there are no more headers than
/// are worth allocating.
fn check(bytes: Bytes) -> Result<(), FrameError> {
    let mut headers = 0;
    check_required(bytes.clone(), &REQUIRED)?;
    for field in Fields::of(bytes) {
        let field = field?;
        if field.number == HEADERS {
            headers += 1;
            if headers > HEADER_LIMIT {
                return Err(FrameError::TooManyHeaders);
            }
            check_required(field.content()?, &REQUIRED_OF_HEADER)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
