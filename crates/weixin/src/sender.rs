//! Sends (protocol §5).

use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use moorline_channel::{Http, Outgoing, Sender};
use moorline_core::{ChatId, Failure, FailureClass, IdempotencyKey, MessageId, Receipt, Secret};
use serde_json::{Value, json};

use crate::api::{self, SEND_MESSAGE};
use crate::bot::{Bot, needs_login};
use crate::class;

const PHASE: &str = "send";

/// Sends text messages of one bot.
pub(crate) struct TextSender {
    pub(crate) bot: Option<Arc<Bot>>,
}

impl Sender for TextSender {
    /// The token is the bot's own, from its login: the runtime has none to give. A stale one is a failure of this message
    /// only; whether the bot receives at the moment is not looked at (F-060).
    fn send(
        &self,
        http: Rc<dyn Http>,
        _: Option<Secret>,
        outgoing: Outgoing<'_>,
    ) -> LocalBoxFuture<'static, Result<Receipt, Failure>> {
        let bot = self.bot.clone();
        let item = json!({ "type": 1, "text_item": { "text": outgoing.outbound.text } });
        let to = outgoing.outbound.route.chat.clone();
        let (key, reply_token) = (outgoing.key.clone(), outgoing.reply_token.cloned());
        Box::pin(async move {
            let bot = bot.ok_or_else(|| needs_login(PHASE))?;
            let message = Message { to: &to, item, key: &key, reply_token: reply_token.as_ref() };
            send(&bot, &*http, message).await
        })
    }
}

/// One message of one item: the platform takes no more in a request.
pub(crate) struct Message<'a> {
    pub(crate) to: &'a ChatId,
    pub(crate) item: Value,
    /// The same in every attempt.
    pub(crate) key: &'a IdempotencyKey,
    /// The newest of the chat; left out only when there never was one (protocol §5.3).
    pub(crate) reply_token: Option<&'a Secret>,
}

/// One attempt.
///
/// # Errors
/// By the table of protocol §5.4.
pub(crate) async fn send(bot: &Bot, http: &dyn Http, message: Message<'_>) -> Result<Receipt, Failure> {
    let Message { to, item, key, reply_token } = message;
    let client_id = format!("moorline-{key}");
    let mut msg = json!({
        "from_user_id": "",
        "to_user_id": to,
        "client_id": client_id,
        "message_type": 2,
        "message_state": 2,
        "item_list": [item],
    });
    if let Some(reply_token) = reply_token {
        msg["context_token"] = json!(reply_token.expose());
    }
    let request = bot.request(&SEND_MESSAGE, None, json!({ "msg": msg }));
    let secrets: Vec<_> = [Some(&bot.token), reply_token].into_iter().flatten().map(Secret::expose).collect();
    let response = http.call(request).await;
    if response.as_ref().is_ok_and(|response| response.status.is_success() && response.body.is_empty()) {
        let what = format!("{PHASE}: answered with success, but without a word: it may have been dropped");
        return Err(Failure::new(FailureClass::Protocol, what).with_unknown_effect());
    }
    let answer = api::read(PHASE, response, class::send, &secrets)?;
    // Many good answers have no id; then the message is known by ours.
    Ok(Receipt { message_id: MessageId::new(answer.id("message_id").unwrap_or(client_id)) })
}

#[cfg(test)]
mod tests;
