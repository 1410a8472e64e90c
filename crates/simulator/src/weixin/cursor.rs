//! The opaque `get_updates_buf`: which bot it belongs to and up to which place.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::bot::BotId;

/// The cursor after this place.
pub(crate) fn encode(bot: &BotId, seq: u64) -> String {
    STANDARD.encode(format!("{bot}\n{seq}"))
}

/// The place in a cursor of this bot; `None` for one of another bot, or for something else.
pub(crate) fn decode(bot: &BotId, text: &str) -> Option<u64> {
    let plain = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (owner, seq) = plain.split_once('\n')?;
    if owner == bot.as_str() { seq.parse().ok() } else { None }
}
