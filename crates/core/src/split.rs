//! Long texts as several messages (F-061): cut where a reader would, and never inside of what they see as one
//! character.

use unicode_segmentation::UnicodeSegmentation;

/// The longest text that a platform takes in one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextLimit {
    /// How many.
    pub max: usize,
    /// Of what.
    pub unit: TextUnit,
}

/// What a platform counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextUnit {
    /// Bytes of UTF-8.
    Bytes,
    /// Unicode scalar values.
    Chars,
    /// UTF-16 code units.
    Utf16,
}

impl TextUnit {
    /// How much of the limit a text uses up.
    pub fn measure(self, text: &str) -> usize {
        match self {
            Self::Bytes => text.len(),
            Self::Chars => text.chars().count(),
            Self::Utf16 => text.encode_utf16().count(),
        }
    }
}

/// Cuts a text into parts that each fit, at the last paragraph, line or word in the second half of what fits, in this
/// order of preference. Together the parts are the text, apart from parts of nothing but white space, which no platform
/// takes. A text of nothing but white space has no parts.
pub fn split(text: &str, limit: TextLimit) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(cut(rest, limit));
        if !part.trim().is_empty() {
            parts.push(part);
        }
        rest = after;
    }
    parts
}

/// Where the first part of a text ends; always behind its first character, so that there is an end to it.
fn cut(text: &str, limit: TextLimit) -> usize {
    let fits = longest(text.grapheme_indices(true), limit);
    if fits == text.len() {
        return fits;
    }
    if fits == 0 {
        // What is one character to a reader is longer than a whole message.
        let chars = text.char_indices().map(|(at, c)| (at, &text[at..at + c.len_utf8()]));
        let first = text.chars().next().map_or(0, char::len_utf8);
        return longest(chars, limit).max(first);
    }
    let half = text.floor_char_boundary(fits / 2);
    let window = &text[half..fits];
    let paragraph = window.rfind("\n\n").map(|at| at + 2);
    let line = || window.rfind('\n').map(|at| at + 1);
    let word = || window.char_indices().rfind(|(_, c)| c.is_whitespace()).map(|(at, c)| at + c.len_utf8());
    paragraph.or_else(line).or_else(word).map_or(fits, |end| half + end)
}

/// The end of the longest run of whole pieces that fits.
fn longest<'a>(pieces: impl Iterator<Item = (usize, &'a str)>, limit: TextLimit) -> usize {
    let mut used = 0;
    let mut end = 0;
    for (at, piece) in pieces {
        used += limit.unit.measure(piece);
        if used > limit.max {
            break;
        }
        end = at + piece.len();
    }
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn bytes(max: usize) -> TextLimit {
        TextLimit { max, unit: TextUnit::Bytes }
    }

    #[test]
    fn a_text_is_cut_where_a_reader_would_f061() {
        let rows: &[(&str, usize, &[&str])] = &[
            ("fits", 4, &["fits"]),
            ("", 4, &[]),
            (" \n ", 2, &[]),
            ("one two three", 8, &["one two ", "three"]),
            ("paragraph one\n\ntwo\nline two", 20, &["paragraph one\n\n", "two\nline two"]),
            ("line one\nline two", 12, &["line one\n", "line two"]),
            ("a\n\nlong words that follow", 16, &["a\n\nlong words ", "that follow"]),
            ("unbroken", 3, &["unb", "rok", "en"]),
            ("word", 1, &["w", "o", "r", "d"]),
            ("x    y", 2, &["x ", " y"]),
        ];
        for (text, max, parts) in rows {
            assert_eq!(split(text, bytes(*max)), *parts, "{text:?} at {max}");
        }
    }

    #[test]
    fn what_is_one_character_to_a_reader_stays_one_f061() {
        let family = "👨‍👩‍👧‍👦";
        let text = format!("{family}{family}e\u{301}e\u{301}");
        let parts = split(&text, bytes(family.len() + 2));
        assert_eq!(parts, [family, family, "e\u{301}e\u{301}"].map(str::to_owned));
        // Unless it is longer than a whole message.
        let parts = split(family, bytes(7));
        assert_eq!(parts.concat(), family);
        assert!(parts.iter().all(|part| part.len() <= 7), "{parts:?}");
    }

    #[test]
    fn platforms_count_different_things() {
        let text = "😀".repeat(10);
        for (unit, max, parts) in [(TextUnit::Bytes, 8, 5), (TextUnit::Chars, 8, 2), (TextUnit::Utf16, 8, 3)]
        {
            assert_eq!(split(&text, TextLimit { max, unit }).len(), parts, "{unit:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_every_part_fits(
            text in "([a-z]{0,9}|[ \n]{1,3}|\n\n|\\PC|👩‍🚀|e\u{301}){0,60}",
            max in 4_usize..40,
            unit in prop_oneof![Just(TextUnit::Bytes), Just(TextUnit::Chars), Just(TextUnit::Utf16)],
        ) {
            let parts = split(&text, TextLimit { max, unit });
            let blank = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(blank(&parts.concat()), blank(&text));
            for part in parts {
                prop_assert!(unit.measure(part) <= max && !part.trim().is_empty(), "{part:?}");
            }
        }
    }
}
