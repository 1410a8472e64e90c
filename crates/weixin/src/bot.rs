//! What a login leaves, and the calls that need it (protocol §1.1, §8).

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use moorline_channel::{Http, HttpRequest, SavedLogin};
use moorline_core::{Failure, FailureClass, Fingerprint, Secret};
use serde_json::{Value, json};

use crate::api::{self, Answer, BOT_AGENT, CHANNEL_VERSION, Endpoint, Uins};
use crate::class::Judge;
use crate::site::{Base, Site, sha256_hex};

/// A bot that somebody is logged in as.
pub(crate) struct Bot {
    /// `<12 hex>@im.bot`. Another login gives another one, also for the same person (protocol §1.4).
    pub(crate) id: String,
    /// The token, for whoever must not quote it.
    pub(crate) token: Secret,
    /// Where the API is, as the login said.
    pub(crate) base: Base,
    /// The rest of the configuration.
    pub(crate) site: Site,
    authorization: HeaderValue,
    /// Of the calls that are not the receiving machine's.
    uins: Uins,
    /// Whether a poll was held and came to nothing, and none was answered since. It outlives the connection, which ends
    /// because of it.
    held_in_vain: AtomicBool,
}

/// What everything says of an account that nobody is logged in to.
pub(crate) fn needs_login(phase: &str) -> Failure {
    Failure::new(FailureClass::NeedsLogin, format!("{phase}: nobody is logged in; run `moorline login`"))
}

/// What is kept of a login: all of it, as one credential.
pub(crate) fn save(token: &str, base: &Base, bot_id: &str, user_id: Option<&str>) -> SavedLogin {
    let saved = json!({ "token": token, "base_url": base.as_str(), "bot_id": bot_id, "user_id": user_id });
    SavedLogin(Secret::new(saved.to_string()))
}

/// The token in a saved login.
pub(crate) fn token_of(login: &SavedLogin) -> Option<String> {
    field(&serde_json::from_str(login.0.expose()).ok()?, "token").map(str::to_owned)
}

fn field<'a>(saved: &'a Value, key: &str) -> Option<&'a str> {
    saved.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// The header that a token makes; nothing for a token that no header can carry.
pub(crate) fn authorization(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    (!token.trim().is_empty()).then_some(value)
}

impl Bot {
    /// Reads what [`save`] wrote.
    ///
    /// # Errors
    /// [`FailureClass::NeedsLogin`], naming what is missing and quoting nothing.
    pub(crate) fn read(site: &Site, login: &SavedLogin) -> Result<Self, Failure> {
        let unusable = |what: &str| {
            let message = format!("saved login: {what}; run `moorline login` again");
            Failure::new(FailureClass::NeedsLogin, message)
        };
        let saved: Value = serde_json::from_str(login.0.expose()).map_err(|_| unusable("it is no JSON"))?;
        let token = field(&saved, "token").ok_or_else(|| unusable("it has no token"))?;
        let id = field(&saved, "bot_id").ok_or_else(|| unusable("it has no bot_id"))?;
        let base = field(&saved, "base_url").and_then(|base| Base::parse(base).ok());
        Ok(Self {
            id: id.to_owned(),
            token: Secret::new(token),
            base: base.ok_or_else(|| unusable("it has no usable base_url"))?,
            site: site.clone(),
            authorization: authorization(token).ok_or_else(|| unusable("its token fits into no header"))?,
            // Beginning somewhere else in each process, so that the first of one is not the last of the one before.
            uins: Uins::new(RandomState::new().build_hasher().finish()),
            held_in_vain: AtomicBool::new(false),
        })
    }

    /// Stands for token, id and base.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        // A NUL occurs in none of the three, so no two triples join to the same bytes.
        let joined = format!("{}\0{}\0{}", self.id, self.token.expose(), self.base.as_str());
        Fingerprint::new(sha256_hex(joined.as_bytes()))
    }

    /// A call of this bot. `uins` are the caller's own where it must be repeatable.
    pub(crate) fn request(&self, endpoint: &Endpoint, uins: Option<&Uins>, mut body: Value) -> HttpRequest {
        body["base_info"] = json!({ "channel_version": CHANNEL_VERSION, "bot_agent": BOT_AGENT });
        let uins = uins.unwrap_or(&self.uins);
        let mut request = api::post(&self.site, &self.base, endpoint, uins, &body);
        request.headers.insert(AUTHORIZATION, self.authorization.clone());
        request
    }

    /// Makes a call. `secrets` are what must not be quoted beside the token.
    ///
    /// # Errors
    /// As [`api::read`].
    pub(crate) async fn call(&self, http: &dyn Http, call: Call<'_>) -> Result<Answer, Failure> {
        let request = self.request(call.endpoint, None, call.body);
        let secrets: Vec<&str> =
            call.secrets.iter().copied().chain(std::iter::once(self.token.expose())).collect();
        api::read(call.phase, http.call(request).await, call.judge, &secrets)
    }

    /// Whether a poll that is held says that the platform is there: not after one that was held in vain, until a poll is
    /// answered (F-019).
    pub(crate) fn may_trust_held_polls(&self) -> bool {
        !self.held_in_vain.load(Relaxed)
    }

    /// A poll was answered, or was held in vain.
    pub(crate) fn polled(&self, answered: bool) {
        self.held_in_vain.store(!answered, Relaxed);
    }

    /// The shortest time in which a dead connection can be told from a quiet one is the time of one poll, the longest
    /// that of two.
    pub(crate) fn patience(&self, poll: Duration) -> Duration {
        const GRACE: Duration = Duration::from_secs(5);
        let (one, two) = (poll + GRACE, poll * 2 + GRACE);
        self.site.liveness.map_or(two, |liveness| liveness.clamp(one, two))
    }
}

/// One call and how its refusals are judged.
pub(crate) struct Call<'a> {
    /// What is being done, as failures name it: `send`, `typing`, …
    pub(crate) phase: &'static str,
    /// Which call.
    pub(crate) endpoint: &'static Endpoint,
    /// Its body, without `base_info`.
    pub(crate) body: Value,
    /// What must never be quoted back, beside the token.
    pub(crate) secrets: Vec<&'a str>,
    /// The table of [`crate::class`] that applies.
    pub(crate) judge: Judge,
}

/// Shows whose it is, and nothing else.
impl fmt::Debug for Bot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bot {} at {}", self.id, self.base.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    fn read(text: &str) -> Result<Bot, Failure> {
        Bot::read(&fake::site(), &SavedLogin(Secret::new(text)))
    }

    #[test]
    fn what_is_saved_reads_back_and_shows_nothing_f090() {
        let base = Base::parse("http://127.0.0.1:9/x").unwrap();
        let saved = save(fake::TOKEN, &base, fake::BOT, Some(fake::USER));
        let bot = Bot::read(&fake::site(), &saved).unwrap();
        assert_eq!(
            (bot.id.as_str(), bot.token.expose(), bot.base.as_str()),
            (fake::BOT, fake::TOKEN, base.as_str())
        );
        assert_eq!(token_of(&saved).as_deref(), Some(fake::TOKEN));
        let shown = format!("{bot:?} {saved:?} {:?}", bot.fingerprint());
        assert!(!shown.contains(fake::TOKEN), "{shown}");
    }

    #[test]
    fn a_login_that_cannot_be_used_needs_another_one() {
        for (text, says) in [
            ("", "no JSON"),
            ("[]", "no token"),
            (r#"{"token": ""}"#, "no token"),
            (r#"{"token": 7}"#, "no token"),
            (r#"{"token": "canary"}"#, "no bot_id"),
            (r#"{"token": "canary", "bot_id": "b"}"#, "no usable base_url"),
            (r#"{"token": "canary", "bot_id": "b", "base_url": "ftp://canary"}"#, "no usable base_url"),
            (r#"{"token": "canary\n", "bot_id": "b", "base_url": "http://a.test"}"#, "no header"),
        ] {
            let failure = read(text).unwrap_err();
            assert_eq!(failure.class, FailureClass::NeedsLogin, "{text}");
            assert!(failure.message.contains(says) && !failure.message.contains("canary"), "{failure}");
        }
    }

    #[test]
    fn the_fingerprint_changes_with_each_part() {
        let print = |token: &str, base: &str, id: &str| {
            let saved = save(token, &Base::parse(base).unwrap(), id, None);
            Bot::read(&fake::site(), &saved).unwrap().fingerprint()
        };
        let first = print("t", "https://a.test", "b");
        assert_eq!(first, print("t", "https://a.test", "b"));
        for other in [
            print("u", "https://a.test", "b"),
            print("t", "https://b.test", "b"),
            print("t", "https://a.test", "c"),
        ] {
            assert_ne!(first, other);
        }
    }

    /// F-019: `[channels.weixin] liveness` cannot ask for less than a poll takes.
    #[test]
    fn patience_is_between_one_poll_and_two() {
        let poll = Duration::from_secs(43);
        for (liveness, patience) in [(None, 91), (Some(1), 48), (Some(60), 60), (Some(600), 91)] {
            let mut bot = fake::bot();
            bot.site.liveness = liveness.map(Duration::from_secs);
            assert_eq!(bot.patience(poll).as_secs(), patience);
        }
    }
}
