//! The factory of the channel, its settings, and the plan of one account.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use moorline_channel::{
    Capabilities, Connector, Credentials, Factory, IdentityProbe, Login, Plan, Redelivery, Resources,
    SavedLogin, Sender, Start, Typing,
};
use moorline_core::{
    AccountSettings, Failure, Field, FieldKind, Finding, Fingerprint, Schema, TextLimit, TextUnit,
};

use crate::bot::Bot;
use crate::identity::FromLogin;
use crate::login::QrLogin;
use crate::machine::Receiver;
use crate::media::Downloads;
use crate::sender::TextSender;
use crate::site::{Base, Site, sha256_hex};
use crate::typing::Signs;

static SCHEMA: Schema = Schema {
    channel: "weixin",
    fields: &[
        Field {
            key: "base_url",
            kind: FieldKind::Url,
            required: false,
            default: Some("https://ilinkai.weixin.qq.com"),
            doc: "Where to log in; the login says where the platform is from then on.",
        },
        Field {
            key: "cdn_base_url",
            kind: FieldKind::Url,
            required: false,
            default: Some("https://novac2c.cdn.weixin.qq.com/c2c"),
            doc: "Where pictures and files are kept; they are fetched from this host and no other.",
        },
        Field {
            key: "route_tag",
            kind: FieldKind::Text,
            required: false,
            default: None,
            doc: "`SKRouteTag` of every call, for those whom the platform gave one.",
        },
    ],
};

static CAPABILITIES: Capabilities = Capabilities {
    // Some saw messages come again with an old cursor, others saw that they do not (protocol §4.2).
    redelivery: Redelivery::Perhaps,
    // Nobody knows whether it looks at `client_id` (protocol §5.1).
    idempotency: None,
    // 2374 characters went through, 7599 did not (protocol §5.4).
    text_limit: TextLimit { max: 2_000, unit: TextUnit::Chars },
    chat_rate: 1,
    // A day, and ten messages (protocol §5.3).
    reply_window: true,
};

/// WeChat, for personal accounts: the bot API behind a login by QR code.
///
/// Settings of an account: `base_url`, `cdn_base_url`, `route_tag`. `Route::chat` is the id of a user.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weixin;

impl Factory for Weixin {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn parse(&self, settings: &AccountSettings) -> Result<Arc<dyn Plan>, Vec<Finding>> {
        let name = settings.id.to_string();
        Ok(Arc::new(Account { name, site: Arc::new(site(settings)?), bot: None }))
    }
}

/// What the settings say.
///
/// # Errors
/// Every setting whose value cannot work.
pub(crate) fn site(settings: &AccountSettings) -> Result<Site, Vec<Finding>> {
    let mut findings = Vec::new();
    let mut base = |key| {
        let base = Base::parse(settings.text(key));
        base.map_err(|error| findings.push(Finding { key, problem: error.to_string() })).ok()
    };
    let (api, cdn) = (base("base_url"), base("cdn_base_url"));
    let tag = Some(settings.text("route_tag")).filter(|tag| !tag.is_empty());
    let route_tag = tag.map(HeaderValue::from_str).transpose().map_err(|_| {
        let problem = "it has a character that no header can carry".to_owned();
        findings.push(Finding { key: "route_tag", problem });
    });
    match (api, cdn, route_tag) {
        (Some(base), Some(cdn), Ok(route_tag)) => {
            Ok(Site { base, cdn, route_tag, liveness: settings.duration("liveness") })
        }
        _ => Err(findings),
    }
}

/// The plan of one account, before somebody is logged in to it or after.
struct Account {
    name: String,
    site: Arc<Site>,
    bot: Option<Arc<Bot>>,
}

impl Plan for Account {
    /// Before a login there are no credentials that two accounts could share, so it is the account's own.
    fn fingerprint(&self) -> Fingerprint {
        match &self.bot {
            Some(bot) => bot.fingerprint(),
            None => Fingerprint::new(sha256_hex(format!("{}\0nobody", self.name).as_bytes())),
        }
    }

    fn host(&self) -> &str {
        self.bot.as_ref().map_or(&self.site.base, |bot| &bot.base).host()
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn connector(&self, start: Start) -> Box<dyn Connector> {
        Box::new(Receiver::new(self.bot.clone(), start))
    }

    /// A cursor means nothing to another bot, and every login makes another one (protocol §4.2).
    fn cursor(&self) -> Option<String> {
        self.bot.as_ref().map(|bot| format!("getupdates:{}", bot.id))
    }

    fn login(&self, held: &[SavedLogin], seed: u64) -> Option<Box<dyn Login>> {
        Some(Box::new(QrLogin::new(Arc::clone(&self.site), held, seed)))
    }

    fn logged_in(&self, login: &SavedLogin) -> Option<Result<Arc<dyn Plan>, Failure>> {
        Some(Bot::read(&self.site, login).map(|bot| {
            let (name, site) = (self.name.clone(), Arc::clone(&self.site));
            Arc::new(Self { name, site, bot: Some(Arc::new(bot)) }) as Arc<dyn Plan>
        }))
    }

    /// The token comes from a login and cannot be renewed by us.
    fn credentials(&self) -> Option<Rc<dyn Credentials>> {
        None
    }

    fn identity(&self) -> Rc<dyn IdentityProbe> {
        Rc::new(FromLogin { bot: self.bot.clone() })
    }

    fn sender(&self) -> Rc<dyn Sender> {
        Rc::new(TextSender { bot: self.bot.clone() })
    }

    fn typing(&self) -> Option<Rc<dyn Typing>> {
        Some(Rc::new(Signs { bot: self.bot.clone() }))
    }

    fn resources(&self) -> Option<Rc<dyn Resources>> {
        Some(Rc::new(Downloads { bot: self.bot.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use moorline_core::{AccountId, ChannelName, Value};

    use super::*;
    use crate::fake;

    const DEFAULTS: [&str; 3] =
        ["https://ilinkai.weixin.qq.com", "https://novac2c.cdn.weixin.qq.com/c2c", ""];

    fn settings(name: &str, values: [&str; 3]) -> AccountSettings {
        let keys = ["base_url", "cdn_base_url", "route_tag"];
        let values = keys.into_iter().zip(values).filter(|(_, text)| !text.is_empty());
        AccountSettings {
            id: AccountId::new(&ChannelName::new("weixin"), name).unwrap(),
            values: values.map(|(key, text)| (key.to_owned(), Value::Text(text.to_owned()))).collect(),
        }
    }

    #[test]
    fn an_account_is_a_plan_before_anybody_is_logged_in() {
        let defaults: Vec<_> =
            Weixin.schema().fields.iter().map(|field| field.default.unwrap_or("")).collect();
        assert_eq!(defaults, DEFAULTS);
        let plan = Weixin.parse(&settings("main", DEFAULTS)).unwrap();
        assert_eq!((plan.host(), plan.cursor()), ("ilinkai.weixin.qq.com", None));
        assert!(plan.credentials().is_none() && plan.editor().is_none());
        assert!(plan.typing().is_some() && plan.resources().is_some() && plan.login(&[], 1).is_some());
        let other = Weixin.parse(&settings("other", DEFAULTS)).unwrap();
        assert_ne!(plan.fingerprint(), other.fingerprint(), "two accounts without a login share none");
    }

    /// Protocol §1, §4.2: base, cursor and credentials are those of the login.
    #[test]
    fn a_login_makes_it_the_plan_of_a_bot() {
        let plan = Weixin.parse(&settings("main", DEFAULTS)).unwrap();
        let logged_in = plan.logged_in(&fake::saved()).unwrap().unwrap();
        assert_eq!(logged_in.host(), "ilink.test");
        assert_eq!(logged_in.cursor().unwrap(), format!("getupdates:{}", fake::BOT));
        assert_ne!(plan.fingerprint(), logged_in.fingerprint());
        let unreadable = plan.logged_in(&SavedLogin(moorline_core::Secret::new("{}"))).unwrap();
        assert_eq!(unreadable.err().unwrap().class, moorline_core::FailureClass::NeedsLogin);
    }

    #[test]
    fn every_setting_that_cannot_work_is_found() {
        let [base, cdn, _] = DEFAULTS;
        for (values, keys) in [
            ([base, cdn, "tag"], vec![]),
            (["http://127.0.0.1:9/x/", "http://127.0.0.1:9", "tag"], vec![]),
            (["https://a.test?x=1", cdn, ""], vec!["base_url"]),
            ([base, "cdn.test", ""], vec!["cdn_base_url"]),
            ([base, cdn, "a\nb"], vec!["route_tag"]),
            (["", "", "a\nb"], vec!["base_url", "cdn_base_url", "route_tag"]),
        ] {
            let findings = Weixin.parse(&settings("main", values)).err().unwrap_or_default();
            assert_eq!(findings.iter().map(|finding| finding.key).collect::<Vec<_>>(), keys, "{values:?}");
        }
    }
}
