//! Tenant access tokens (protocol §3.1). The long connection uses none.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use http::Method;
use moorline_channel::{AccessToken, Credentials, Http, HttpRequest};
use moorline_core::{Failure, FailureClass, Secret};
use serde_json::{Value, json};

use crate::api::{Call, json_request};
use crate::app::App;
use crate::class;

/// Earlier the platform answers with the same token; from here on it mints a new one, and both stay valid until
/// their own ends.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 60);

/// Gets the tokens of one app.
pub(crate) struct TenantToken {
    pub(crate) app: Arc<App>,
}

impl Credentials for TenantToken {
    fn fetch(&self, http: Rc<dyn Http>) -> LocalBoxFuture<'static, Result<AccessToken, Failure>> {
        let app = Arc::clone(&self.app);
        Box::pin(async move {
            let url = app.base.at(&["open-apis", "auth", "v3", "tenant_access_token", "internal"]);
            let body = json!({ "app_id": app.id, "app_secret": app.secret.expose() });
            let call = Call {
                phase: "token call",
                request: HttpRequest { idempotent: true, ..json_request(Method::POST, url, &body) },
                secrets: vec![app.secret.expose()],
                judge: class::token,
            };
            read(&call.make(&*http).await?)
        })
    }
}

/// `expire` is what remains of the token's life, counted from now.
fn read(answer: &Value) -> Result<AccessToken, Failure> {
    let token = answer.get("tenant_access_token").and_then(Value::as_str).unwrap_or_default();
    let expire = answer.get("expire").and_then(Value::as_u64).unwrap_or_default();
    if token.is_empty() || expire == 0 {
        return Err(Failure::new(
            FailureClass::Protocol,
            "token call: answered with success, but without a token that lives",
        ));
    }
    Ok(AccessToken {
        secret: Secret::new(token),
        lifetime: Duration::from_secs(expire),
        renew_before: RENEW_BEFORE,
    })
}

#[cfg(test)]
mod tests {
    use moorline_channel::{HttpResponse, NetworkError, NetworkErrorKind};

    use super::*;
    use crate::fake::{self, FakeHttp};

    fn fetch(answer: Result<HttpResponse, NetworkError>) -> (Rc<FakeHttp>, Result<AccessToken, Failure>) {
        let http = FakeHttp::new([answer]);
        let credentials = TenantToken { app: fake::app("https://open.feishu.cn") };
        let outcome = fake::now(credentials.fetch(Rc::clone(&http) as Rc<dyn Http>));
        (http, outcome)
    }

    #[test]
    fn a_token_lives_as_long_as_the_platform_says() {
        let body = json!({"code": 0, "msg": "ok", "tenant_access_token": fake::TOKEN, "expire": 5_400});
        let (http, token) = fetch(Ok(fake::json(200, body)));
        let token = token.unwrap();
        assert_eq!(token.secret.expose(), fake::TOKEN);
        assert_eq!((token.lifetime.as_secs(), token.renew_before.as_secs()), (5_400, 1_800));
        assert_eq!(
            http.calls(),
            ["POST https://open.feishu.cn/open-apis/auth/v3/tenant_access_token/internal"]
        );
        assert_eq!(http.body(0), json!({"app_id": fake::APP_ID, "app_secret": fake::SECRET}));
        assert_eq!(http.header(0, "content-type").unwrap(), "application/json; charset=utf-8");
        assert_eq!(http.header(0, "authorization"), None);
    }

    /// Protocol §3.1; nothing of the secret shows, even if the platform repeats it (F-090).
    #[test]
    fn what_is_no_token_is_a_failure_with_its_class() {
        use FailureClass::*;
        let said = format!("app secret {} invalid", fake::SECRET);
        for (answer, class, code) in [
            (Ok(fake::json(200, json!({"code": 10_014, "msg": said}))), Credentials, Some("10014")),
            (Ok(fake::json(400, json!({"code": 10_003, "msg": said}))), Credentials, Some("10003")),
            (Ok(fake::json(200, json!({"code": 77, "msg": said}))), Transient, Some("77")),
            (Ok(fake::json(200, json!({"code": 0, "expire": 7_200}))), Protocol, None),
            (Ok(fake::json(200, json!({"code": 0, "tenant_access_token": "", "expire": 1}))), Protocol, None),
            (
                Ok(fake::json(200, json!({"code": 0, "tenant_access_token": "t", "expire": 0}))),
                Protocol,
                None,
            ),
            (
                Ok(fake::json(200, json!({"code": 0, "tenant_access_token": "t", "expire": -1}))),
                Protocol,
                None,
            ),
            (Ok(fake::answer(502, "<html>bad gateway</html>")), Transient, None),
            (Err(fake::lost(NetworkErrorKind::Timeout)), Transient, None),
        ] {
            let failure = fetch(answer).1.unwrap_err();
            assert_eq!((failure.class, failure.code.as_deref()), (class, code), "{failure}");
            assert!(!failure.to_string().contains(fake::SECRET), "{failure}");
            assert!(failure.message.starts_with("token call: "), "{failure}");
        }
    }
}
