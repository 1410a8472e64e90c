//! Messages that can be changed later: cards (protocol §3.4). Text messages can be changed only twenty times.

use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use http::Method;
use moorline_channel::{Editor, Http, Outgoing};
use moorline_core::{Failure, FailureClass, MessageId, Receipt, Secret};
use serde_json::json;

use crate::api::{Call, authorize, json_request};
use crate::app::App;
use crate::class;
use crate::sender::{Content, Sending};

/// Most bytes of a card. The platform says 30 KB and does not say how it counts.
const CARD_LIMIT: usize = 30_000;

/// Sends and edits the cards of one app.
pub(crate) struct Cards {
    pub(crate) app: Arc<App>,
}

impl Editor for Cards {
    fn send_editable(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        outgoing: Outgoing<'_>,
    ) -> LocalBoxFuture<'static, Result<Receipt, Failure>> {
        let Outgoing { outbound, key, .. } = outgoing;
        let (app, route, key) = (Arc::clone(&self.app), outbound.route.clone(), key.as_str().to_owned());
        let content = card("send", &outbound.text);
        Box::pin(async move {
            let content = Content { msg_type: "interactive", content: content? };
            Sending { app, http, token, route, content }.deliver(key).await
        })
    }

    fn edit(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        message: &MessageId,
        text: &str,
    ) -> LocalBoxFuture<'static, Result<(), Failure>> {
        const PHASE: &str = "edit";
        let url = self.app.base.at(&["open-apis", "im", "v1", "messages", message.as_str()]);
        let content = card(PHASE, text);
        Box::pin(async move {
            let mut request = json_request(Method::PATCH, url, &json!({ "content": content? }));
            // The whole card: a repetition changes nothing.
            request.idempotent = true;
            authorize(PHASE, &mut request, token.as_ref())?;
            let secrets = token.iter().map(Secret::expose).collect();
            Call { phase: PHASE, request, secrets, judge: class::edit }.make(&*http).await.map(drop)
        })
    }
}

/// A card that shows `text` and may be changed. The text is plain: a card's Markdown would turn `<at id=all></at>` in
/// an answer into a call for everybody, and an editable message would look unlike any other.
fn card(phase: &str, text: &str) -> Result<String, Failure> {
    let card = json!({
        "config": { "update_multi": true, "wide_screen_mode": true },
        "elements": [{ "tag": "div", "text": { "tag": "plain_text", "content": text } }],
    })
    .to_string();
    if card.len() > CARD_LIMIT {
        let message = format!("{phase}: a card of {} bytes, the platform takes {CARD_LIMIT}", card.len());
        return Err(Failure::new(FailureClass::Rejected, message));
    }
    Ok(card)
}

#[cfg(test)]
mod tests;
