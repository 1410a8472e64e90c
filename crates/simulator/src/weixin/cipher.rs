//! AES-128 in ECB mode with PKCS#7 padding, which is how files lie on the CDN (§7.1).

use aes::Aes128;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

const BLOCK: usize = 16;

/// A key.
pub(crate) type Key = [u8; BLOCK];

pub(crate) fn encrypt(key: &Key, plain: &[u8]) -> Vec<u8> {
    let cipher = Aes128::new(&Array::from(*key));
    let padding = BLOCK - plain.len() % BLOCK;
    let mut bytes = plain.to_vec();
    bytes.resize(plain.len() + padding, u8::try_from(padding).unwrap_or_default());
    for chunk in bytes.chunks_exact_mut(BLOCK) {
        if let Ok(block) = <&mut Array<u8, _>>::try_from(chunk) {
            cipher.encrypt_block(block);
        }
    }
    bytes
}

/// `None` for what is no ciphertext under this key.
pub(crate) fn decrypt(key: &Key, secret: &[u8]) -> Option<Vec<u8>> {
    let cipher = Aes128::new(&Array::from(*key));
    let mut bytes = secret.to_vec();
    if bytes.is_empty() || bytes.len() % BLOCK != 0 {
        return None;
    }
    for chunk in bytes.chunks_exact_mut(BLOCK) {
        cipher.decrypt_block(<&mut Array<u8, _>>::try_from(chunk).ok()?);
    }
    let padding = usize::from(*bytes.last()?);
    let kept = bytes.len().checked_sub(padding).filter(|_| (1..=BLOCK).contains(&padding))?;
    let good = bytes.get(kept..)?.iter().all(|byte| usize::from(*byte) == padding);
    bytes.truncate(kept);
    good.then_some(bytes)
}

pub(crate) fn hex(key: &Key) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The 16 bytes that 32 hex digits stand for.
pub(crate) fn unhex(text: &str) -> Option<Key> {
    let number = u128::from_str_radix(text, 16).ok()?;
    (text.len() == 2 * BLOCK && !text.starts_with('+')).then(|| number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, appendix B, with one block of padding behind it.
    #[test]
    fn a_block_is_encrypted_as_the_standard_has_it() {
        let key = unhex("2b7e151628aed2a6abf7158809cf4f3c").unwrap();
        let plain = unhex("3243f6a8885a308d313198a2e0370734").unwrap();
        let secret = encrypt(&key, &plain);
        assert_eq!(secret.len(), 32);
        assert_eq!(secret[..16], unhex("3925841d02dc09fbdc118597196a0b32").unwrap());
        assert_eq!(decrypt(&key, &secret).unwrap(), plain);
    }

    #[test]
    fn what_is_no_ciphertext_is_refused() {
        let key = [7; 16];
        assert_eq!(decrypt(&key, &[]), None);
        assert_eq!(decrypt(&key, &[1; 15]), None);
        assert_eq!(decrypt(&[8; 16], &encrypt(&key, b"hello")), None);
        assert_eq!(decrypt(&key, &encrypt(&key, b"")).unwrap(), b"");
        assert_eq!((hex(&key), unhex("zz")), ("07".repeat(16), None));
    }
}
