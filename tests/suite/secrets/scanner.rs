//! Looks for secrets: in whole or in part, as they are, percent-encoded, in base64, reversed, and broken over lines.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Characters of base64 that stand for eight bytes, wherever they begin.
const BASE64_PART: usize = 10;

/// What must not be found.
#[derive(Default)]
pub(super) struct Scanner {
    /// By length: a part of a secret, and whose it is.
    parts: BTreeMap<usize, HashMap<Vec<u8>, String>>,
}

impl Scanner {
    /// Forbids every part of `secret` that has `least` bytes.
    pub(super) fn forbid(&mut self, name: &str, secret: &str, least: usize) {
        let bytes = secret.as_bytes();
        assert!(bytes.len() >= least, "{name} is too short to be recognised");
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        self.put(name, bytes, least);
        self.put(&format!("{name}, reversed"), &reversed, least);
        for before in 0..3 {
            // As it looks when so many bytes come before it; the first and the last character depend on others.
            let text = base64(&[&vec![b'x'; before][..], bytes].concat());
            let text = text.trim_end_matches('=');
            let inner = &text[[0, 2, 3][before]..text.len() - 1];
            let part = BASE64_PART.max(least + least / 3).min(inner.len());
            self.put(&format!("{name}, in base64"), inner.as_bytes(), part);
            let safe = inner.replace('+', "-").replace('/', "_");
            self.put(&format!("{name}, in base64"), safe.as_bytes(), part);
        }
    }

    fn put(&mut self, name: &str, bytes: &[u8], least: usize) {
        let parts = self.parts.entry(least).or_default();
        for part in bytes.windows(least) {
            parts.entry(part.to_vec()).or_insert_with(|| name.to_owned());
        }
    }

    /// What was found, with what is around it.
    pub(super) fn find(&self, text: &[u8]) -> BTreeSet<String> {
        let joined = without_line_breaks(text);
        let mut found = BTreeSet::new();
        for (how, text) in [
            ("", text),
            (", broken over lines", &joined),
            (", percent-encoded", &url_decoded(text)),
            (", escaped", &unescaped(text)),
        ] {
            self.look(how, text, &mut found);
        }
        found
    }

    fn look(&self, how: &str, text: &[u8], found: &mut BTreeSet<String>) {
        for (length, parts) in &self.parts {
            // Most places are passed by on their first two bytes.
            let mut begins = vec![false; 1 << 16];
            for part in parts.keys() {
                begins[usize::from(u16::from_be_bytes([part[0], part[1]]))] = true;
            }
            for (at, window) in text.windows(*length).enumerate() {
                if begins[usize::from(u16::from_be_bytes([window[0], window[1]]))]
                    && let Some(name) = parts.get(window)
                {
                    let around = &text[at.saturating_sub(120)..(at + length + 40).min(text.len())];
                    found.insert(format!("{name}{how}: …{}…", String::from_utf8_lossy(around)));
                    if found.len() > 8 {
                        return;
                    }
                }
            }
        }
    }
}

/// Line breaks, written as such or escaped, and the blanks of an indentation.
fn without_line_breaks(text: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match rest {
            [b'\\', b'n' | b'r' | b't', after @ ..] => after,
            _ if byte.is_ascii_whitespace() => after,
            _ => {
                joined.push(byte);
                after
            }
        };
    }
    joined
}

/// As a JSON string or a `{:?}` writes it.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match rest {
            [b'\\', escaped @ (b'\\' | b'"' | b'/' | b'\''), after @ ..] => {
                plain.push(*escaped);
                after
            }
            _ => {
                plain.push(byte);
                after
            }
        };
    }
    plain
}

fn url_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| text[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(text[at]);
                at += 1;
            }
        }
    }
    decoded
}

pub(super) fn url_encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let of = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = of(0) << 16 | of(1) << 8 | of(2);
        for digit in 0..4 {
            let index = usize::try_from(group >> (18 - 6 * digit) & 63).unwrap();
            text.push(if digit as usize > chunk.len() { '=' } else { char::from(DIGITS[index]) });
        }
    }
    text
}
