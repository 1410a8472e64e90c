//! How a login ends, and what brings it back (§4.4, §4.5).

use serde::{Deserialize, Serialize};

use super::fault::CodeField;

/// A login that has lapsed. In JSON: `{"heals":"notifystart"}`, `{"heals":{"after":3},"sends_refused":true}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expiry {
    /// What brings it back.
    pub heals: Heals,
    /// Where the answers have their -14.
    pub code: CodeField,
    /// Whether polls are answered without any code and without anything else, as in a silent lapse (§4.5).
    pub silent: bool,
    /// Whether sends, typing and media are refused with -14 too. By themselves they go on: only polls lapse.
    pub sends_refused: bool,
}

/// What `notifystart` does for a lapsed login.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heals {
    /// The next one brings it back.
    #[default]
    Notifystart,
    /// This many are refused with -14, then the next one brings it back.
    After(u32),
    /// Each is answered with success, and nothing is brought back: the token is revoked.
    Never,
    /// Each is refused with -14.
    Refused,
}

/// Whether a bot's token works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Live,
    Lapsed(Expiry),
}

impl Expiry {
    /// Lapsed until the next `notifystart`.
    pub fn until_notifystart() -> Self {
        Self::default()
    }

    /// Lapsed; this many `notifystart` fail before one brings it back.
    pub fn after_failures(count: u32) -> Self {
        Self { heals: Heals::After(count), ..Self::default() }
    }

    /// Lapsed for good, although `notifystart` is answered with success.
    pub fn revoked() -> Self {
        Self { heals: Heals::Never, ..Self::default() }
    }

    /// Polls bring nothing and have no code, until the next `notifystart`.
    pub fn silent() -> Self {
        Self { silent: true, ..Self::default() }
    }

    /// With the code in `ret` instead of `errcode`.
    #[must_use]
    pub fn in_ret(mut self) -> Self {
        self.code = CodeField::Ret;
        self
    }

    /// Sends are refused too.
    #[must_use]
    pub fn refusing_sends(mut self) -> Self {
        self.sends_refused = true;
        self
    }
}

impl Default for Expiry {
    fn default() -> Self {
        Self { heals: Heals::Notifystart, code: CodeField::Errcode, silent: false, sends_refused: false }
    }
}

impl Session {
    /// Takes a `notifystart`: whether it is answered with success.
    pub(crate) fn notifystart(&mut self) -> bool {
        let Self::Lapsed(expiry) = self else { return true };
        match &mut expiry.heals {
            Heals::Notifystart | Heals::After(0) => {
                *self = Self::Live;
                true
            }
            Heals::After(left) => {
                *left -= 1;
                false
            }
            Heals::Never => true,
            Heals::Refused => false,
        }
    }
}
