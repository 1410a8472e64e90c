//! The acknowledgement of a data frame (protocol §2.4).

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{bytes as length_delimited, message};

use super::Header;
use super::field::{Fields, HEADERS, PAYLOAD};

/// A received frame without its payload, ready to be sent back. It keeps the very bytes: whatever the platform put
/// in, in whatever order, known to us or not, goes back as it came. Some of it names the machine that the
/// acknowledgement has to find its way back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    /// Every field but the payload. A copy, because the frame's own memory holds the payload too.
    fields: Bytes,
    /// Where in it the last header ends.
    headers_end: usize,
    /// Where in it the payload was; the end, when there was none.
    payload_at: usize,
}

impl Acknowledgement {
    /// For a frame that [`Frame::read`](super::Frame::read) has read.
    pub(crate) fn of(frame: &Bytes) -> Self {
        let mut fields = BytesMut::new();
        let (mut headers_end, mut payload_at) = (None, None);
        for field in Fields::of(frame.clone()).map_while(Result::ok) {
            if field.number == PAYLOAD {
                payload_at.get_or_insert(fields.len());
                continue;
            }
            fields.extend_from_slice(&field.bytes);
            if field.number == HEADERS {
                headers_end = Some(fields.len());
            }
        }
        let payload_at = payload_at.unwrap_or(fields.len());
        Self { headers_end: headers_end.unwrap_or(payload_at), payload_at, fields: fields.freeze() }
    }

    /// Bytes of memory held.
    pub(crate) const fn size(&self) -> usize {
        self.fields.len()
    }

    /// The frame as received, with `biz_rt` behind its headers and `payload` in place of its own.
    pub(crate) fn write(&self, payload: &'static [u8], took: Duration) -> Bytes {
        let biz_rt = Header { key: "biz_rt".to_owned(), value: took.as_millis().to_string() };
        let mut additions = [(self.headers_end, BytesMut::new()), (self.payload_at, BytesMut::new())];
        let [(_, header), (_, body)] = &mut additions;
        message::encode(HEADERS, &biz_rt, header);
        length_delimited::encode(PAYLOAD, &Bytes::from_static(payload), body);
        // Headers may have come behind the payload; at the same place, the header goes first.
        additions.sort_by_key(|(at, _)| *at);

        let mut written = BytesMut::with_capacity(self.fields.len() + payload.len() + 64);
        let mut from = 0;
        for (at, addition) in additions {
            written.put(self.fields.slice(from..at));
            written.put(addition);
            from = at;
        }
        written.put(self.fields.slice(from..));
        written.freeze()
    }
}
