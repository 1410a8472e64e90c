//! The sign that an answer is on its way (protocol §6).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use moorline_channel::{Answering, Http, Typing, TypingMark};
use moorline_core::{Failure, FailureClass, Secret};
use serde_json::json;

use crate::api::{Endpoint, GET_CONFIG, SEND_TYPING};
use crate::bot::{Bot, Call, needs_login};
use crate::class;

const PHASE: &str = "typing";

/// How long the sign is shown.
const LASTS: Duration = Duration::from_secs(5);

/// `status` of a sign that is shown, and of one that is taken down.
const SHOWN: u8 = 1;
const TAKEN_DOWN: u8 = 2;

/// Shows the signs of one bot. The mark is the user and the ticket that the sign was shown with: with it, showing the
/// sign again takes one call. It fades, so it is never stored, and may hold the ticket.
pub(crate) struct Signs {
    pub(crate) bot: Option<Arc<Bot>>,
}

impl Typing for Signs {
    fn lasts(&self) -> Option<Duration> {
        Some(LASTS)
    }

    fn start(
        &self,
        http: Rc<dyn Http>,
        _: Option<Secret>,
        answering: Answering<'_>,
        shown: Option<&TypingMark>,
    ) -> LocalBoxFuture<'static, Result<Option<TypingMark>, Failure>> {
        let bot = self.bot.clone();
        let user = answering.chat.as_str().to_owned();
        let reply_token = answering.reply_token.cloned();
        let known = shown.and_then(read).filter(|(of, _)| *of == user).map(|(_, ticket)| ticket);
        Box::pin(async move {
            let bot = bot.ok_or_else(|| needs_login(PHASE))?;
            let ticket = match known {
                Some(ticket) => ticket,
                None => match ticket(&bot, &*http, &user, reply_token.as_ref()).await? {
                    Some(ticket) => ticket,
                    // The platform does without a sign for this user.
                    None => return Ok(None),
                },
            };
            show(&bot, &*http, &user, &ticket, SHOWN).await?;
            Ok(Some(TypingMark(json!([user, ticket]).to_string())))
        })
    }

    fn stop(
        &self,
        http: Rc<dyn Http>,
        _: Option<Secret>,
        mark: &TypingMark,
    ) -> LocalBoxFuture<'static, Result<(), Failure>> {
        let (bot, mark) = (self.bot.clone(), read(mark));
        Box::pin(async move {
            let bot = bot.ok_or_else(|| needs_login(PHASE))?;
            let Some((user, ticket)) = mark else {
                let what = format!("{PHASE}: the mark of the sign to take down cannot be read");
                return Err(Failure::new(FailureClass::Rejected, what));
            };
            show(&bot, &*http, &user, &ticket, TAKEN_DOWN).await
        })
    }
}

fn read(mark: &TypingMark) -> Option<(String, String)> {
    serde_json::from_str(&mark.0).ok()
}

async fn ticket(
    bot: &Bot,
    http: &dyn Http,
    user: &str,
    reply_token: Option<&Secret>,
) -> Result<Option<String>, Failure> {
    let mut body = json!({ "ilink_user_id": user });
    if let Some(reply_token) = reply_token {
        body["context_token"] = json!(reply_token.expose());
    }
    let secrets = reply_token.into_iter().map(Secret::expose).collect();
    Ok(bot.call(http, call(&GET_CONFIG, body, secrets)).await?.text("typing_ticket"))
}

async fn show(bot: &Bot, http: &dyn Http, user: &str, ticket: &str, status: u8) -> Result<(), Failure> {
    let body = json!({ "ilink_user_id": user, "typing_ticket": ticket, "status": status });
    bot.call(http, call(&SEND_TYPING, body, vec![ticket])).await.map(drop)
}

fn call<'a>(endpoint: &'static Endpoint, body: serde_json::Value, secrets: Vec<&'a str>) -> Call<'a> {
    Call { phase: PHASE, endpoint, body, secrets, judge: class::call }
}

#[cfg(test)]
mod tests;
