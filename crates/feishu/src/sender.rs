//! Sends and replies (protocol §3.4).

use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use http::Method;
use moorline_channel::{Http, Outgoing, Sender};
use moorline_core::{ChatId, Failure, FailureClass, MessageId, Receipt, Route, Secret};
use serde_json::{Value, json};

use crate::api::{Call, authorize, json_request};
use crate::app::{App, sha256_hex};
use crate::class;

const PHASE: &str = "send";

/// Longest `uuid` the platform takes, in characters.
const KEY_LIMIT: usize = 50;

/// Sends text messages of one app.
pub(crate) struct TextSender {
    pub(crate) app: Arc<App>,
}

impl Sender for TextSender {
    fn send(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        outgoing: Outgoing<'_>,
    ) -> LocalBoxFuture<'static, Result<Receipt, Failure>> {
        let Outgoing { outbound, key, .. } = outgoing;
        let content = Content { msg_type: "text", content: json!({ "text": outbound.text }).to_string() };
        let (app, route) = (Arc::clone(&self.app), outbound.route.clone());
        let sending = Sending { app, http, token, route, content };
        let key = key.as_str().to_owned();
        Box::pin(async move { sending.deliver(key).await })
    }
}

/// The ways to deliver a message, from the wanted one to the one that works everywhere.
#[derive(Clone)]
enum Way {
    Reply { to: MessageId, in_thread: bool },
    Plain,
}

/// What a message says, in the platform's notation.
pub(crate) struct Content {
    /// `text`, `interactive`, …
    pub(crate) msg_type: &'static str,
    /// JSON as text.
    pub(crate) content: String,
}

/// One message on its way, whatever its type.
pub(crate) struct Sending {
    pub(crate) app: Arc<App>,
    pub(crate) http: Rc<dyn Http>,
    pub(crate) token: Option<Secret>,
    pub(crate) route: Route,
    pub(crate) content: Content,
}

impl Sending {
    /// Falls back from thread to reply to plain send when the platform says that the former cannot be had (protocol
    /// §3.5). The platform ties a key to its content, so each way has a key of its own. All are derived from the
    /// first, so that a repeated attempt takes the same ways with the same keys, and what it sent before is
    /// recognised (G4).
    pub(crate) async fn deliver(&self, key: String) -> Result<Receipt, Failure> {
        if key.is_empty() || key.chars().count() > KEY_LIMIT {
            return Err(Failure::new(
                FailureClass::Rejected,
                format!("{PHASE}: the idempotency key must have 1 to {KEY_LIMIT} characters"),
            ));
        }
        let mut way = match &self.route.reply_to {
            Some(to) => Way::Reply { to: to.clone(), in_thread: self.route.in_thread },
            None => Way::Plain,
        };
        let mut way_key = key.clone();
        loop {
            let failure = match self.attempt(&way, &way_key).await {
                Ok(receipt) => return Ok(receipt),
                Err(failure) => failure,
            };
            way = match way {
                Way::Reply { to, in_thread: true } if class::has_no_threads(&failure) => {
                    way_key = derive(&key, "reply");
                    Way::Reply { to, in_thread: false }
                }
                Way::Reply { .. } if class::target_is_gone(&failure) => {
                    way_key = derive(&key, "plain");
                    Way::Plain
                }
                Way::Reply { .. } | Way::Plain => return Err(failure),
            };
        }
    }

    async fn attempt(&self, way: &Way, key: &str) -> Result<Receipt, Failure> {
        let Content { msg_type, content } = &self.content;
        let mut body = json!({ "msg_type": msg_type, "content": content, "uuid": key });
        let mut url = self.app.base.at(&["open-apis", "im", "v1", "messages"]);
        match way {
            Way::Reply { to, in_thread } => {
                url = self.app.base.at(&["open-apis", "im", "v1", "messages", to.as_str(), "reply"]);
                body["reply_in_thread"] = json!(in_thread);
            }
            Way::Plain => {
                let chat = &self.route.chat;
                url.query_pairs_mut().append_pair("receive_id_type", receive_id_type(chat));
                body["receive_id"] = json!(chat);
            }
        }
        let mut request = json_request(Method::POST, url, &body);
        // The platform recognises the key.
        request.idempotent = true;
        authorize(PHASE, &mut request, self.token.as_ref())?;
        let secrets = self.token.iter().map(Secret::expose).collect();
        let call = Call { phase: PHASE, request, secrets, judge: class::send };
        confirmed(&call.make(&*self.http).await?)
    }
}

/// Only the platform's own id of the message proves that it is visible (F-059).
fn confirmed(answer: &Value) -> Result<Receipt, Failure> {
    match answer.pointer("/data/message_id").and_then(Value::as_str) {
        Some(id) if !id.is_empty() => Ok(Receipt { message_id: MessageId::new(id) }),
        _ => Err(Failure::new(
            FailureClass::Protocol,
            format!("{PHASE}: answered with success, but without a message_id"),
        )
        .with_unknown_effect()),
    }
}

/// What kind of id a destination is, by its prefix. `Route::chat` may be any of these, so that a schedule can write
/// to a person without knowing the chat.
fn receive_id_type(chat: &ChatId) -> &'static str {
    match chat.as_str() {
        id if id.starts_with("oc_") => "chat_id",
        id if id.starts_with("ou_") => "open_id",
        id if id.starts_with("on_") => "union_id",
        id if id.contains('@') => "email",
        _ => "user_id",
    }
}

/// The key of another way: 32 hexadecimal digits.
fn derive(key: &str, way: &str) -> String {
    let mut digest = sha256_hex(format!("{way}\0{key}").as_bytes());
    digest.truncate(32);
    digest
}

#[cfg(test)]
mod tests;
