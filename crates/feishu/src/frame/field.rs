//! A protobuf message as the sequence of its fields, known and unknown, each with the bytes it came in.

use bytes::{Buf, Bytes};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, bytes as length_delimited, decode_key, skip_field};

use super::FrameError;

/// Field number of the headers.
pub(super) const HEADERS: u32 = 5;

/// Field number of the payload.
pub(super) const PAYLOAD: u32 = 8;

/// One field, as it stands in its message.
pub(super) struct Field {
    /// Its number.
    pub(super) number: u32,
    wire_type: WireType,
    /// Key, length and value.
    pub(super) bytes: Bytes,
}

impl Field {
    /// The value of a field that has a length.
    ///
    /// # Errors
    /// When it is a number.
    pub(super) fn content(&self) -> Result<Bytes, DecodeError> {
        let (mut rest, mut content) = (self.bytes.clone(), Bytes::new());
        decode_key(&mut rest)?;
        length_delimited::merge(self.wire_type, &mut content, &mut rest, DecodeContext::default())?;
        Ok(content)
    }
}

/// The fields of a message in the order received. Ends behind the first one that cannot be read.
pub(super) struct Fields {
    rest: Bytes,
}

impl Fields {
    /// Of these bytes, which are shared and not copied.
    pub(super) const fn of(message: Bytes) -> Self {
        Self { rest: message }
    }

    fn read(&mut self) -> Result<Field, DecodeError> {
        let mut rest = self.rest.clone();
        let (number, wire_type) = decode_key(&mut rest)?;
        skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
        let bytes = self.rest.split_to(self.rest.remaining() - rest.remaining());
        Ok(Field { number, wire_type, bytes })
    }
}

impl Iterator for Fields {
    type Item = Result<Field, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest.clear();
        }
        Some(field)
    }
}

/// Whether all of `required` are there.
///
/// # Errors
/// The first one that is missing, or what makes the message unreadable.
pub(super) fn check_required(message: Bytes, required: &[(u32, &'static str)]) -> Result<(), FrameError> {
    let mut missing: u32 = required.iter().map(|(number, _)| 1 << number).sum();
    for field in Fields::of(message) {
        missing &= !1_u32.checked_shl(field?.number).unwrap_or_default();
    }
    match required.iter().find(|(number, _)| missing & (1 << number) != 0) {
        Some((_, name)) => Err(FrameError::Missing(name)),
        None => Ok(()),
    }
}
