//! The long connection's protobuf frame (`pbbp2.Frame`, protocol page §2), written by hand: the channel has a
//! codec of its own, so that a mistake in one is noticed by the other.

/// Control frames: ping and pong.
pub const METHOD_CONTROL: i32 = 0;
/// Data frames: events and their acks.
pub const METHOD_DATA: i32 = 1;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// One frame. The four numbers are required: they are written even when they are 0 (§2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Number of the frame; 0 in control frames.
    pub seq_id: u64,
    /// Number of the log entry; 0 in control frames.
    pub log_id: u64,
    /// The `service_id` of the connection's address.
    pub service: i32,
    /// [`METHOD_CONTROL`] or [`METHOD_DATA`]; others are unknown and skipped.
    pub method: i32,
    /// Headers in order; keys may repeat.
    pub headers: Vec<Header>,
    /// Ignored by everybody.
    pub payload_encoding: Option<String>,
    /// Ignored by everybody.
    pub payload_type: Option<String>,
    /// JSON, or a part of it.
    pub payload: Option<Vec<u8>>,
    /// A second log number, as text.
    pub log_id_new: Option<String>,
}

/// One header of a frame. All values are text, numbers too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// `type`, `message_id`, `sum`, `seq`, …
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end inside a field.
    #[error("the frame ends inside a field")]
    Truncated,
    /// A varint of more than ten bytes.
    #[error("a number of the frame is longer than ten bytes")]
    Varint,
    /// Field number 0, or a wire type this field does not have.
    #[error("field {field} of the frame has wire type {wire_type}")]
    WireType {
        /// The field's number.
        field: u64,
        /// The wire type found.
        wire_type: u8,
    },
    /// Text that is not UTF-8.
    #[error("field {field} of the frame is not UTF-8")]
    Utf8 {
        /// The field's number.
        field: u64,
    },
    /// A required field is absent.
    #[error("the frame has no {0}")]
    Missing(&'static str),
}

impl Frame {
    /// A control frame of this type, as ping and pong are (§2.1, §2.2).
    pub fn control(service: i32, kind: &str, payload: Option<Vec<u8>>) -> Self {
        Self {
            service,
            method: METHOD_CONTROL,
            headers: vec![Header::new("type", kind)],
            payload,
            ..Self::default()
        }
    }

    /// The first header with this key.
    pub fn header(&self, key: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.key == key).map(|header| header.value.as_str())
    }

    /// The frame as bytes, fields in the order of their numbers.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.payload.as_ref().map_or(0, Vec::len));
        put_number(&mut out, 1, self.seq_id);
        put_number(&mut out, 2, self.log_id);
        put_number(&mut out, 3, sign_extended(self.service));
        put_number(&mut out, 4, sign_extended(self.method));
        for header in &self.headers {
            let mut inner = Vec::with_capacity(header.key.len() + header.value.len() + 4);
            put_bytes(&mut inner, 1, header.key.as_bytes());
            put_bytes(&mut inner, 2, header.value.as_bytes());
            put_bytes(&mut out, 5, &inner);
        }
        let texts = [(6, &self.payload_encoding), (7, &self.payload_type)];
        for (field, text) in texts {
            if let Some(text) = text {
                put_bytes(&mut out, field, text.as_bytes());
            }
        }
        if let Some(payload) = &self.payload {
            put_bytes(&mut out, 8, payload);
        }
        if let Some(text) = &self.log_id_new {
            put_bytes(&mut out, 9, text.as_bytes());
        }
        out
    }

    /// Reads a frame. Fields may come in any order; unknown ones are skipped.
    ///
    /// # Errors
    /// When the bytes are no frame, or a required field is missing.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader(bytes);
        let (mut seq_id, mut log_id, mut service, mut method) = (None, None, None, None);
        let mut frame = Self::default();
        while let Some((field, wire_type)) = reader.tag()? {
            match field {
                1 => seq_id = Some(reader.number(field, wire_type)?),
                2 => log_id = Some(reader.number(field, wire_type)?),
                3 => service = Some(truncated(reader.number(field, wire_type)?)),
                4 => method = Some(truncated(reader.number(field, wire_type)?)),
                5 => frame.headers.push(Header::decode(reader.bytes(field, wire_type)?)?),
                6 => frame.payload_encoding = Some(reader.text(field, wire_type)?),
                7 => frame.payload_type = Some(reader.text(field, wire_type)?),
                8 => frame.payload = Some(reader.bytes(field, wire_type)?.to_vec()),
                9 => frame.log_id_new = Some(reader.text(field, wire_type)?),
                _ => reader.skip(field, wire_type)?,
            }
        }
        frame.seq_id = seq_id.ok_or(FrameError::Missing("SeqID"))?;
        frame.log_id = log_id.ok_or(FrameError::Missing("LogID"))?;
        frame.service = service.ok_or(FrameError::Missing("service"))?;
        frame.method = method.ok_or(FrameError::Missing("method"))?;
        Ok(frame)
    }
}

impl Header {
    /// A header.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader(bytes);
        let (mut key, mut value) = (None, None);
        while let Some((field, wire_type)) = reader.tag()? {
            match field {
                1 => key = Some(reader.text(field, wire_type)?),
                2 => value = Some(reader.text(field, wire_type)?),
                _ => reader.skip(field, wire_type)?,
            }
        }
        Ok(Self {
            key: key.ok_or(FrameError::Missing("header key"))?,
            value: value.ok_or(FrameError::Missing("header value"))?,
        })
    }
}

/// What is left of the bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next field's number and wire type; `None` at the end.
    fn tag(&mut self) -> Result<Option<(u64, u8)>, FrameError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let (field, wire_type) = (tag >> 3, (tag & 7) as u8);
        if field == 0 { Err(FrameError::WireType { field, wire_type }) } else { Ok(Some((field, wire_type))) }
    }

    fn varint(&mut self) -> Result<u64, FrameError> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(FrameError::Truncated)?;
            self.0 = rest;
            // The tenth byte has one usable bit; protobuf readers drop the others.
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(FrameError::Varint)
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], FrameError> {
        let count = usize::try_from(count).map_err(|_| FrameError::Truncated)?;
        let (taken, rest) = self.0.split_at_checked(count).ok_or(FrameError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, field: u64, wire_type: u8) -> Result<u64, FrameError> {
        if wire_type == VARINT { self.varint() } else { Err(FrameError::WireType { field, wire_type }) }
    }

    fn bytes(&mut self, field: u64, wire_type: u8) -> Result<&'a [u8], FrameError> {
        if wire_type != BYTES {
            return Err(FrameError::WireType { field, wire_type });
        }
        let count = self.varint()?;
        self.take(count)
    }

    fn text(&mut self, field: u64, wire_type: u8) -> Result<String, FrameError> {
        let bytes = self.bytes(field, wire_type)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| FrameError::Utf8 { field })
    }

    fn skip(&mut self, field: u64, wire_type: u8) -> Result<(), FrameError> {
        match wire_type {
            VARINT => self.varint().map(drop),
            FIXED64 => self.take(8).map(drop),
            FIXED32 => self.take(4).map(drop),
            BYTES => self.bytes(field, wire_type).map(drop),
            // Groups ended with proto2's infancy; nobody sends them here.
            _ => Err(FrameError::WireType { field, wire_type }),
        }
    }
}

/// A negative int32 travels as a ten-byte varint.
fn sign_extended(number: i32) -> u64 {
    i64::from(number) as u64
}

/// The reverse: readers keep the low 32 bits.
fn truncated(number: u64) -> i32 {
    number as i32
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3 | u64::from(VARINT));
    put_varint(out, value);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | u64::from(BYTES));
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
