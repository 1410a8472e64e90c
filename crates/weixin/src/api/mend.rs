//! Answers that are almost JSON: what one of their texts has that JSON has not must not cost what stands beside it
//! (protocol §4.2).

use std::ops::RangeInclusive;

/// What stands where something was that is no character.
const UNKNOWN: &str = "\u{fffd}";

/// The halves of a character that JSON writes as two.
const FIRST_HALF: RangeInclusive<u16> = 0xd800..=0xdbff;
const SECOND_HALF: RangeInclusive<u16> = 0xdc00..=0xdfff;

/// An answer as text, in which bytes that are no UTF-8 and halves of characters are replaced, and bare control characters
/// within texts are written as JSON writes them.
pub(super) fn mended(body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    let mut mended = String::with_capacity(body.len());
    let mut rest = &*body;
    let mut within = false;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') {
        let (plain, from) = rest.split_at(at);
        let (piece, length) = match from.as_bytes().first() {
            Some(b'"') => {
                within = !within;
                ("\"", 1)
            }
            Some(b'\\') => escape(from),
            Some(b'\n') if within => ("\\n", 1),
            Some(b'\t') if within => ("\\t", 1),
            _ if within => (UNKNOWN, 1),
            _ => (" ", 1),
        };
        mended.push_str(plain);
        mended.push_str(piece);
        rest = from.get(length..).unwrap_or_default();
    }
    mended.push_str(rest);
    mended
}

/// What stands for the escape that `text` begins with, and how long that is.
fn escape(text: &str) -> (&str, usize) {
    let length = match unit(text) {
        Some(first) if FIRST_HALF.contains(&first) => {
            let second = text.get(6..).and_then(unit).filter(|second| SECOND_HALF.contains(second));
            if second.is_none() {
                return (UNKNOWN, 6);
            }
            12
        }
        Some(second) if SECOND_HALF.contains(&second) => return (UNKNOWN, 6),
        Some(_) => 6,
        None => text.chars().take(2).map(char::len_utf8).sum(),
    };
    (text.get(..length).unwrap_or(text), length)
}

/// The number in `\uXXXX`, if `text` begins with that.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_json_has_not_is_replaced_and_all_else_is_left() {
        for (body, wanted) in [
            (&br#"{"a":"\ud800"}"#[..], "{\"a\":\"\u{fffd}\"}"),
            (br#""\udc00\ud83d\ude00\ud83d""#, "\"\u{fffd}\\ud83d\\ude00\u{fffd}\""),
            (br#""\ud83dx\ud83d\u0041""#, "\"\u{fffd}x\u{fffd}\\u0041\""),
            (br#""\\ud800 \"\u00e9""#, r#""\\ud800 \"\u00e9""#),
            (b"[\n\t1, \"a\nb\tc\x01\"]\r\n", "[  1, \"a\\nb\\tc\u{fffd}\"]  "),
            (b"\"\xff\"", "\"\u{fffd}\""),
            (b"\"\\", "\"\\"),
            (b"\"\\u12", "\"\\u12"),
            ("\"\\é\\u00é0\"".as_bytes(), "\"\\é\\u00é0\""),
        ] {
            assert_eq!(mended(body), wanted);
        }
    }

    proptest! {
        /// What is JSON already is the same afterwards.
        #[test]
        fn nothing_is_mended_that_is_whole(text in any::<String>(), pretty in any::<bool>()) {
            let value = serde_json::json!({ "text": text, &text: [1, text.clone()] });
            let written = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            prop_assert_eq!(serde_json::from_str::<Value>(&mended(written.unwrap().as_bytes())).unwrap(), value);
        }

        #[test]
        fn anything_can_be_looked_at(body in prop::collection::vec(prop::sample::select(&b"\\\"ud8c0 \n\xff\xc3\xa9"[..]), 0..40)) {
            mended(&body);
        }
    }
}
