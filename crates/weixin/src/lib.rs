//! WeChat, through the bot API of personal accounts: long polls, sends within the reply window, media, and the login by
//! QR code.
//!
//! Receiving and sending share nothing but what the login left: a poll that is refused never stops a send, and the other
//! way round (F-060). Credentials come from a person with a phone, never from the configuration.
//!
//! | module | what |
//! | --- | --- |
//! | `plan` | the factory, its settings, and the plan of one account |
//! | `site` | where the platform is, and how soon silence counts |
//! | `bot` | what a login leaves, and the calls that need it |
//! | `api` | how a call is written, and how its answer is read |
//! | `class` | what every code of the platform means, in one place |
//! | `machine` | receiving, from the first call to the goodbye |
//! | `message` | from the bytes of an answer to messages |
//! | `sender`, `typing`, `identity` | REST calls |
//! | `media` | attachments, both ways |
//! | `login` | the login by QR code |
//! | `quote` | the platform's text, made fit for our messages |

#![forbid(unsafe_code)]

mod api;
mod bot;
mod class;
mod identity;
mod login;
mod machine;
mod media;
mod message;
mod plan;
mod quote;
mod sender;
mod site;
mod typing;

#[cfg(test)]
mod fake;

pub use media::{MediaKind, MediaUploader, Nonce, Upload, Uploaded};
pub use plan::Weixin;
