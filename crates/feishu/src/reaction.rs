//! The sign that an answer is on its way: a reaction on the message that is being answered (protocol §3.4).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use http::Method;
use moorline_channel::{Answering, Http, HttpRequest, Typing, TypingMark};
use moorline_core::{Failure, FailureClass, Secret};
use serde_json::{Value, json};

use crate::api::{Call, authorize, json_request};
use crate::app::App;
use crate::class;

const PHASE: &str = "typing";

/// The emoji. Case counts.
const EMOJI: &str = "Typing";

/// Of one call: a sign that comes later than this is of no use (F-048).
const DEADLINE: Duration = Duration::from_secs(5);

/// Puts and removes the reactions of one app.
pub(crate) struct Reactions {
    pub(crate) app: Arc<App>,
}

impl Typing for Reactions {
    fn start(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        answering: Answering<'_>,
        _: Option<&TypingMark>,
    ) -> LocalBoxFuture<'static, Result<Option<TypingMark>, Failure>> {
        let message = answering.message.clone();
        let url = self.app.base.at(&["open-apis", "im", "v1", "messages", message.as_str(), "reactions"]);
        Box::pin(async move {
            let body = json!({ "reaction_type": { "emoji_type": EMOJI } });
            let answer = call(json_request(Method::POST, url, &body), &*http, token).await?;
            match answer.pointer("/data/reaction_id").and_then(Value::as_str) {
                Some(reaction) if !reaction.is_empty() => Ok(Some(mark(message.as_str(), reaction))),
                _ => Err(Failure::new(
                    FailureClass::Protocol,
                    format!("{PHASE}: answered with success, but without a reaction_id"),
                )
                .with_unknown_effect()),
            }
        })
    }

    /// A refusal that no repetition can change ends it too: the reaction or its message is gone, or out of our reach.
    fn stop(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        mark: &TypingMark,
    ) -> LocalBoxFuture<'static, Result<(), Failure>> {
        let ids = serde_json::from_str::<[String; 2]>(&mark.0);
        let app = Arc::clone(&self.app);
        Box::pin(async move {
            let Ok([message, reaction]) = ids else {
                let what = format!("{PHASE}: the mark of the sign to remove cannot be read");
                return Err(Failure::new(FailureClass::Rejected, what));
            };
            let path = ["open-apis", "im", "v1", "messages", &message, "reactions", &reaction];
            let mut request = HttpRequest::new(Method::DELETE, app.base.at(&path));
            request.idempotent = true;
            match call(request, &*http, token).await {
                Err(failure) if failure.class == FailureClass::Rejected => {
                    tracing::debug!("Nothing left to remove: {failure}");
                    Ok(())
                }
                outcome => outcome.map(drop),
            }
        })
    }
}

/// What [`Typing::stop`] needs: message and reaction as a JSON array, which no id can break out of.
fn mark(message: &str, reaction: &str) -> TypingMark {
    TypingMark(json!([message, reaction]).to_string())
}

async fn call(mut request: HttpRequest, http: &dyn Http, token: Option<Secret>) -> Result<Value, Failure> {
    request.deadline = DEADLINE;
    authorize(PHASE, &mut request, token.as_ref())?;
    let secrets = token.iter().map(Secret::expose).collect();
    Call { phase: PHASE, request, secrets, judge: class::reaction }.make(http).await
}

#[cfg(test)]
mod tests;
