//! Text that must never be printed.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// A credential. It has no `Display`, no `Serialize`, and its `Debug` shows nothing of it, not even its length
/// (F-090). [`Secret::expose`] is the only way to the text: calls to it are the places to review.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one call that sends it to the platform it belongs to.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True for a secret of no characters, which is a configuration mistake.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_nothing_of_a_secret() {
        let secret = Secret::new("hunter2hunter2");
        assert_eq!(format!("{secret:?} {secret:#?}"), "[secret] [secret]");
    }
}
