//! The body of an answer, bounded after decompression.

use std::io::{self, Write};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::write::MultiGzDecoder;

/// Takes a body piece by piece and never holds more than its limit, however well the body was compressed. (awc
/// would inflate a whole piece of the network before counting it.)
pub(crate) enum Body {
    Identity(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

/// A body that cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is longer than the limit.
    TooLarge,
    /// It is not gzip, or cut off.
    Corrupt,
}

/// Memory that refuses to grow beyond a limit.
pub(crate) struct Bounded {
    bytes: BytesMut,
    limit: usize,
}

impl Body {
    /// For the value of `Content-Encoding`; None if it is one we did not ask for and cannot undo.
    pub(crate) fn new(encoding: Option<&[u8]>, limit: usize) -> Option<Self> {
        let bounded = Bounded { bytes: BytesMut::new(), limit };
        let encoding = encoding.unwrap_or(b"identity").trim_ascii();
        if encoding.eq_ignore_ascii_case(b"identity") || encoding.is_empty() {
            Some(Self::Identity(bounded))
        } else if encoding.eq_ignore_ascii_case(b"gzip") {
            Some(Self::Gzip(Box::new(MultiGzDecoder::new(bounded))))
        } else {
            None
        }
    }

    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        match self {
            Self::Identity(bounded) => bounded.write_all(piece),
            Self::Gzip(decoder) => decoder.write_all(piece),
        }
        .map_err(|error| BodyError::from(&error))
    }

    pub(crate) fn finish(self) -> Result<Bytes, BodyError> {
        match self {
            Self::Identity(bounded) => Ok(bounded.bytes.freeze()),
            Self::Gzip(decoder) => match decoder.finish() {
                Ok(bounded) => Ok(bounded.bytes.freeze()),
                Err(error) => Err(BodyError::from(&error)),
            },
        }
    }
}

impl Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() > self.limit - self.bytes.len() {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.put_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<&io::Error> for BodyError {
    fn from(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::FileTooLarge { Self::TooLarge } else { Self::Corrupt }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn take(encoding: Option<&[u8]>, limit: usize, sent: &[u8]) -> Result<Bytes, BodyError> {
        let mut body = Body::new(encoding, limit).unwrap();
        sent.chunks(7).try_for_each(|piece| body.push(piece))?;
        body.finish()
    }

    #[test]
    fn the_limit_is_exact_and_counts_what_comes_out() {
        let text = [b'a'; 1_000];
        for (encoding, sent) in [(None, text.to_vec()), (Some(&b"GZIP"[..]), gzip(&text))] {
            assert_eq!(take(encoding, 1_000, &sent).unwrap(), &text[..]);
            assert_eq!(take(encoding, 999, &sent), Err(BodyError::TooLarge));
        }
        assert!(Body::new(Some(b"br"), 1).is_none());
    }

    #[test]
    fn a_damaged_or_cut_gzip_body_is_not_taken() {
        let sent = gzip(b"a message nobody should read half of");
        assert_eq!(take(Some(b"gzip"), 1_000, &sent[..sent.len() - 9]), Err(BodyError::Corrupt));
        assert_eq!(take(Some(b"gzip"), 1_000, b"plain text, wrongly labelled"), Err(BodyError::Corrupt));
    }
}
