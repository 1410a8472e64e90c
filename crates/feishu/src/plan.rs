//! The factory of the channel, its settings, and the plan of one account.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_channel::{
    Capabilities, Connector, Credentials, Editor, Factory, IdentityProbe, Plan, Redelivery, Resources,
    Sender, Start, Typing,
};
use moorline_core::{
    AccountSettings, Field, FieldKind, Finding, Fingerprint, Schema, Secret, TextLimit, TextUnit,
};

use crate::app::{App, Base, Rhythm};
use crate::card::Cards;
use crate::identity::BotInfo;
use crate::machine::LongConnection;
use crate::reaction::Reactions;
use crate::resource::MessageResources;
use crate::sender::TextSender;
use crate::token::TenantToken;

static SCHEMA: Schema = Schema {
    channel: "feishu",
    fields: &[
        Field {
            key: "app_id",
            kind: FieldKind::Text,
            required: true,
            default: None,
            doc: "The App ID of a self-built app: `cli_` and 16 hexadecimal digits.",
        },
        Field {
            key: "app_secret",
            kind: FieldKind::Secret,
            required: true,
            default: None,
            doc: "The App Secret that belongs to it.",
        },
        Field {
            key: "base_url",
            kind: FieldKind::Url,
            required: false,
            default: Some("https://open.feishu.cn"),
            doc: "Where the platform is; `https://open.larksuite.com` for Lark.",
        },
    ],
};

static CAPABILITIES: Capabilities = Capabilities {
    // 15 s, 5 min, 1 h and 6 h after one another (protocol §2.5), the last minutes left to clocks.
    redelivery: Redelivery::UntilAcked(Duration::from_secs(7 * 3600)),
    // The platform promises an hour; the last minutes are left to clocks and to requests on their way (protocol
    // §3.4).
    idempotency: Some(Duration::from_secs(55 * 60)),
    // The platform takes 150 KB of request. Text is JSON in JSON there, in which a control character has seven bytes.
    text_limit: TextLimit { max: 20_000, unit: TextUnit::Bytes },
    // Five, shared by all bots of a group (protocol §3.6).
    chat_rate: 4,
    reply_window: false,
};

/// Feishu and Lark, for self-built apps: events by long connection, messages by REST.
///
/// Settings of an account: `app_id`, `app_secret`, and `base_url` (default `https://open.feishu.cn`).
/// `Route::chat` may hold a chat id (`oc_…`), an open_id (`ou_…`), a union_id (`on_…`), an e-mail address, or, as
/// anything else, a user_id.
#[derive(Debug, Clone, Copy, Default)]
pub struct Feishu;

impl Factory for Feishu {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn parse(&self, settings: &AccountSettings) -> Result<Arc<dyn Plan>, Vec<Finding>> {
        let mut findings = Vec::new();
        let id = settings.text("app_id");
        if !is_app_id(id) {
            let problem = "an App ID is `cli_` and 16 hexadecimal digits".to_owned();
            findings.push(Finding { key: "app_id", problem });
        }
        let secret = settings.secret("app_secret").filter(|secret| is_app_secret(secret));
        if secret.is_none() {
            let problem = "an App Secret is not empty and has no spaces or line breaks".to_owned();
            findings.push(Finding { key: "app_secret", problem });
        }
        let base = Base::parse(settings.text("base_url"))
            .map_err(|error| findings.push(Finding { key: "base_url", problem: error.to_string() }));
        match (secret, base) {
            (Some(secret), Ok(base)) if findings.is_empty() => {
                let rhythm = settings.duration("liveness").map_or_else(Rhythm::default, Rhythm::within);
                let app = App { id: id.to_owned(), secret: secret.clone(), base, rhythm };
                Ok(Arc::new(Account { app: Arc::new(app) }))
            }
            _ => Err(findings),
        }
    }
}

/// The platform's Node client refuses anything else (protocol §0).
fn is_app_id(text: &str) -> bool {
    text.strip_prefix("cli_").is_some_and(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A line break at the end of a secret file is the usual mistake, and the platform's answer to it says nothing.
fn is_app_secret(secret: &Secret) -> bool {
    !secret.is_empty() && !secret.expose().contains(|c: char| c.is_whitespace() || c.is_control())
}

/// The plan of one account.
struct Account {
    app: Arc<App>,
}

impl Plan for Account {
    fn fingerprint(&self) -> Fingerprint {
        self.app.fingerprint()
    }

    fn host(&self) -> &str {
        self.app.base.host()
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn connector(&self, _: Start) -> Box<dyn Connector> {
        Box::new(LongConnection::new(Arc::clone(&self.app)))
    }

    fn credentials(&self) -> Option<Rc<dyn Credentials>> {
        Some(Rc::new(TenantToken { app: Arc::clone(&self.app) }))
    }

    fn identity(&self) -> Rc<dyn IdentityProbe> {
        Rc::new(BotInfo { app: Arc::clone(&self.app) })
    }

    fn sender(&self) -> Rc<dyn Sender> {
        Rc::new(TextSender { app: Arc::clone(&self.app) })
    }

    fn typing(&self) -> Option<Rc<dyn Typing>> {
        Some(Rc::new(Reactions { app: Arc::clone(&self.app) }))
    }

    fn editor(&self) -> Option<Rc<dyn Editor>> {
        Some(Rc::new(Cards { app: Arc::clone(&self.app) }))
    }

    fn resources(&self) -> Option<Rc<dyn Resources>> {
        Some(Rc::new(MessageResources { app: Arc::clone(&self.app) }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use moorline_core::{AccountId, ChannelName, Value};

    use super::*;

    fn settings(app_id: &str, app_secret: &str, base_url: &str) -> AccountSettings {
        let values = [
            ("app_id", Value::Text(app_id.to_owned())),
            ("app_secret", Value::Secret(Secret::new(app_secret))),
            ("base_url", Value::Text(base_url.to_owned())),
        ];
        AccountSettings {
            id: AccountId::new(&ChannelName::new("feishu"), "main").unwrap(),
            values: values
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn sound_settings_make_a_plan() {
        let default = Feishu.schema().fields[2].default.unwrap();
        let plan = Feishu.parse(&settings("cli_a1b2c3d4e5f60718", "s", default)).unwrap();
        assert_eq!(plan.host(), "open.feishu.cn");
        assert!(plan.credentials().is_some());
        assert!(plan.typing().is_some() && plan.editor().is_some() && plan.resources().is_some());
        let lark = settings("cli_a1b2c3d4e5f60718", "s", "https://open.larksuite.com");
        assert_eq!(Feishu.parse(&lark).unwrap().host(), "open.larksuite.com");
        assert!(matches!(plan.capabilities().redelivery, Redelivery::UntilAcked(_)));
        let other = Feishu.parse(&settings("cli_a1b2c3d4e5f60718", "t", default)).unwrap();
        assert_ne!(plan.fingerprint(), other.fingerprint());
    }

    /// Every mistake at once, and never the secret itself (F-090).
    #[test]
    fn every_setting_that_cannot_work_is_found() {
        for (app_id, app_secret, base_url, keys) in [
            ("", "s", "https://a.test", vec!["app_id"]),
            ("cli_a1b2c3d4e5f6071", "s", "https://a.test", vec!["app_id"]),
            ("cli_a1b2c3d4e5f6071g", "s", "https://a.test", vec!["app_id"]),
            ("app_a1b2c3d4e5f60718", "s", "https://a.test", vec!["app_id"]),
            ("cli_a1b2c3d4e5f60718", "", "https://a.test", vec!["app_secret"]),
            ("cli_a1b2c3d4e5f60718", "canary\n", "https://a.test", vec!["app_secret"]),
            ("cli_a1b2c3d4e5f60718", "s", "https://a.test/?x=1", vec!["base_url"]),
            ("cli_a1b2c3d4e5f60718", "s", "ftp://a.test", vec!["base_url"]),
            ("cli_", "", "", vec!["app_id", "app_secret", "base_url"]),
        ] {
            let Err(findings) = Feishu.parse(&settings(app_id, app_secret, base_url)) else {
                panic!("accepted: {app_id} {base_url}");
            };
            assert_eq!(findings.iter().map(|finding| finding.key).collect::<Vec<_>>(), keys);
            assert!(findings.iter().all(|finding| !finding.problem.contains("canary")));
        }
    }
}
