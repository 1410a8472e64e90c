//! Who the bot is (protocol §3.3).

use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use http::Method;
use moorline_channel::{Http, HttpRequest, IdentityProbe};
use moorline_core::{Failure, FailureClass, Identity, Secret, UserId};
use serde_json::Value;

use crate::api::{Call, authorize};
use crate::app::App;
use crate::class;

const PHASE: &str = "identity";

/// `activate_status` of a bot that works.
const ENABLED: i64 = 2;

/// Asks for the bot's own open_id.
pub(crate) struct BotInfo {
    pub(crate) app: Arc<App>,
}

impl IdentityProbe for BotInfo {
    fn probe(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
    ) -> LocalBoxFuture<'static, Result<Identity, Failure>> {
        let app = Arc::clone(&self.app);
        Box::pin(async move {
            let url = app.base.at(&["open-apis", "bot", "v3", "info"]);
            let mut request = HttpRequest::new(Method::GET, url);
            authorize(PHASE, &mut request, token.as_ref())?;
            let secrets = token.iter().map(Secret::expose).collect();
            let call = Call { phase: PHASE, request, secrets, judge: class::call };
            read(&call.make(&*http).await?)
        })
    }
}

/// An answer without an open_id is no answer: taken as success, it would leave the bot deaf in groups until the
/// next restart (F-013, F-014).
fn read(answer: &Value) -> Result<Identity, Failure> {
    let status = answer.pointer("/bot/activate_status").and_then(Value::as_i64);
    if let Some(status) = status.filter(|&status| status != ENABLED) {
        return Err(Failure::new(
            FailureClass::Permission,
            format!("{PHASE}: the bot is {} (activate_status {status})", describe(status)),
        ));
    }
    let id = answer.pointer("/bot/open_id").and_then(Value::as_str).unwrap_or_default();
    if id.is_empty() {
        return Err(Failure::transient(format!("{PHASE}: answered with success, but without an open_id")));
    }
    let name = answer.pointer("/bot/app_name").and_then(Value::as_str).unwrap_or_default();
    Ok(Identity { id: UserId::new(id), name: name.to_owned() })
}

const fn describe(activate_status: i64) -> &'static str {
    match activate_status {
        0 => "not installed",
        1 => "disabled by its tenant",
        3 => "installed, but not enabled",
        4 => "waiting for an upgrade",
        5 => "without a licence: it has expired",
        6 => "not in the tenant's plan: it has expired or was downgraded",
        _ => "not enabled",
    }
}

#[cfg(test)]
mod tests {
    use moorline_channel::HttpResponse;
    use serde_json::json;

    use super::*;
    use crate::fake::{self, FakeHttp};

    fn probe(answer: HttpResponse) -> (Rc<FakeHttp>, Result<Identity, Failure>) {
        let http = FakeHttp::new([Ok(answer)]);
        let identity = BotInfo { app: fake::app("https://open.feishu.cn") };
        let outcome = fake::now(identity.probe(Rc::clone(&http) as _, Some(Secret::new(fake::TOKEN))));
        (http, outcome)
    }

    #[test]
    fn an_enabled_bot_is_known_by_its_open_id() {
        let body = json!({"code": 0, "msg": "ok",
            "bot": {"activate_status": 2, "app_name": "Moor", "open_id": "ou_bot"}});
        let (http, identity) = probe(fake::json(200, body));
        assert_eq!(identity.unwrap(), Identity { id: UserId::new("ou_bot"), name: "Moor".to_owned() });
        assert_eq!(http.calls(), ["GET https://open.feishu.cn/open-apis/bot/v3/info"]);
        assert_eq!(http.header(0, "authorization").unwrap(), format!("Bearer {}", fake::TOKEN));
    }

    /// F-013, F-014, protocol §3.2 and §3.3.
    #[test]
    fn nothing_else_is_an_identity() {
        use FailureClass::*;
        let bot = |status: i64| json!({"code": 0, "bot": {"activate_status": status, "open_id": "ou_bot"}});
        for (answer, class, says) in [
            (fake::json(200, bot(0)), Permission, "not installed (activate_status 0)"),
            (fake::json(200, bot(1)), Permission, "disabled"),
            (fake::json(200, bot(3)), Permission, "not enabled"),
            (fake::json(200, bot(4)), Permission, "upgrade"),
            (fake::json(200, bot(5)), Permission, "licence"),
            (fake::json(200, bot(6)), Permission, "plan"),
            (fake::json(200, bot(7)), Permission, "activate_status 7"),
            (fake::json(200, json!({"code": 0})), Transient, "without an open_id"),
            (
                fake::json(200, json!({"code": 0, "bot": {"activate_status": 2, "open_id": ""}})),
                Transient,
                "without an open_id",
            ),
            (fake::json(400, json!({"code": 99_991_663})), SessionExpired, "status 400"),
            (
                fake::json(400, json!({"code": 99_991_672, "msg": "need im:message"})),
                Permission,
                "im:message",
            ),
            (fake::answer(200, "null"), Transient, "without a code"),
        ] {
            let failure = probe(answer).1.unwrap_err();
            assert_eq!(failure.class, class, "{failure}");
            assert!(failure.message.contains(says), "{failure}");
        }
    }

    #[test]
    fn without_a_token_nobody_is_asked() {
        let http = FakeHttp::new([]);
        let identity = BotInfo { app: fake::app("https://open.feishu.cn") };
        for token in [None, Some(Secret::new("")), Some(Secret::new("line\nbreak"))] {
            let failure = fake::now(identity.probe(Rc::clone(&http) as _, token)).unwrap_err();
            assert_eq!(failure.class, FailureClass::SessionExpired);
        }
    }
}
