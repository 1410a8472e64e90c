//! AES-128 in ECB mode with PKCS#7 padding, as the platform wants it (protocol §7.1). It hides little, which is the
//! platform's business; a file is opened and locked in pieces, so that a large one holds nobody up.

use std::future::poll_fn;
use std::task::Poll;

use aes::Aes128;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

use crate::site::hex;

/// Bytes of a block, and of a key.
pub(crate) const BLOCK: usize = 16;

/// Blocks that are worked on before everybody else has a turn: a mebibyte.
const PIECE: usize = (1 << 20) / BLOCK;

/// A key of one media file.
#[derive(Clone)]
pub(crate) struct Key([u8; BLOCK]);

impl Key {
    /// From its bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// From 32 hexadecimal digits.
    pub(crate) fn from_hex(digits: &[u8]) -> Option<Self> {
        let digits = std::str::from_utf8(digits).ok()?;
        let sound = digits.len() == 2 * BLOCK && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let key = u128::from_str_radix(digits, 16).ok().filter(|_| sound)?;
        Some(Self(key.to_be_bytes()))
    }

    /// As 32 hexadecimal digits.
    pub(crate) fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// Opens what was locked with this key; `None` when it was not.
    pub(crate) async fn open(&self, locked: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = locked.to_vec();
        let cipher = self.cipher();
        let (blocks, rest) = Array::slice_as_chunks_mut(&mut bytes);
        if !rest.is_empty() {
            return None;
        }
        for piece in blocks.chunks_mut(PIECE) {
            cipher.decrypt_blocks(piece);
            others_first().await;
        }
        let padding = usize::from(*bytes.last()?);
        let length = bytes.len().checked_sub(padding)?;
        let sound = (1..=BLOCK).contains(&padding)
            && bytes[length..].iter().all(|&byte| usize::from(byte) == padding);
        bytes.truncate(length);
        sound.then_some(bytes)
    }

    /// Locks bytes; the result is longer by 1 to 16 of them.
    pub(crate) async fn lock(&self, bytes: &[u8]) -> Vec<u8> {
        let padding = BLOCK - bytes.len() % BLOCK;
        let mut locked = Vec::with_capacity(bytes.len() + padding);
        locked.extend_from_slice(bytes);
        // At most 16.
        locked.resize(bytes.len() + padding, u8::try_from(padding).unwrap_or_default());
        let cipher = self.cipher();
        let (blocks, _) = Array::slice_as_chunks_mut(&mut locked);
        for piece in blocks.chunks_mut(PIECE) {
            cipher.encrypt_blocks(piece);
            others_first().await;
        }
        locked
    }

    fn cipher(&self) -> Aes128 {
        Aes128::new(&Array(self.0))
    }
}

/// Lets everybody else on this thread have a turn.
pub(super) async fn others_first() {
    let mut asked = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
