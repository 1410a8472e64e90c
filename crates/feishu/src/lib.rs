//! Feishu and Lark: frames, endpoint, events and REST calls of a self-built app's long connection.
//!
//! Receiving and sending share nothing but the app's credentials. The long connection asks for a fresh WebSocket
//! address with the app's secret and uses no access token; sending and the identity use an access token and no
//! socket. So a failing token call never stops receiving, and a broken socket never stops sending (F-008).
//!
//! | module | what |
//! | --- | --- |
//! | `plan` | the factory, its settings, and the plan of one account |
//! | `app` | the app's id, secret and base address |
//! | `machine` | one long connection, from the endpoint call to its end |
//! | `endpoint` | the endpoint call, the handshake's refusals, the client configuration |
//! | `frame`, `parts`, `event` | bytes to frames, frames to payloads, payloads to messages |
//! | `api`, `token`, `identity`, `sender` | REST calls |
//! | `card`, `reaction`, `resource` | messages that can be edited, the sign of typing, attachments |
//! | `class` | what every code of the platform means, in one place |
//! | `quote` | the platform's text, made fit for our messages |

#![forbid(unsafe_code)]

mod api;
mod app;
mod card;
mod class;
mod endpoint;
mod event;
mod frame;
mod identity;
mod machine;
mod parts;
mod plan;
mod quote;
mod reaction;
mod resource;
mod scope;
mod sender;
mod token;

#[cfg(test)]
mod fake;

pub use plan::Feishu;
