//! A fake WeChat iLink bot platform: everything on the protocol page, from the platform's side.

mod auth;
mod bot;
mod calls;
mod cipher;
mod control;
mod cursor;
mod expiry;
mod fault;
mod item;
mod ledger;
mod login;
mod media;
mod platform;
mod polling;
mod presence;
mod push;
mod retention;
mod rules;
mod sending;
mod simulator;
mod typing;

pub use crate::faults::Times;
pub use crate::hub::Reach;
pub use bot::{Bot, BotId, Counters, NewBot, UnknownBot};
pub use calls::Endpoint;
pub use expiry::{Expiry, Heals};
pub use fault::{Answer, CodeField, Fault, Malformed};
pub use item::{Ids, Item, KeyForm, Media, NewMessage, Quote};
pub use ledger::{
    Breach, CallOutcome, CallRecord, Forgotten, Ledger, MessageRecord, TypingRecord, Violation, Visible,
};
pub use login::{LoginCode, LoginError, LoginStep};
pub use platform::{Person, Platform};
pub use push::Pushed;
pub use rules::{Cursor, Rules, SendAnswer, Tokenless};
pub use simulator::{BotView, Simulator, State};

/// Where the real platform is; what a [`Bot`] has as its base URL unless [`Rules::base_url`] says otherwise.
pub const BASE_URL: &str = "https://ilinkai.weixin.qq.com";
/// Where the real platform's media are.
pub const CDN_URL: &str = "https://novac2c.cdn.weixin.qq.com/c2c";

#[cfg(test)]
mod tests;
