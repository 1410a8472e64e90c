//! Login by QR code (§2): codes, what becomes of them on the phone, and the polls that wait for that.

use std::time::Duration;

use moorline_core::{Timestamp, UserId};
use serde::Serialize;
use serde_json::{Value, json};

use super::auth::INVALID;
use super::bot::{Bot, NewBot};
use super::calls::refusal;
use super::ledger::Breach;
use super::platform::{Platform, Timer, TimerKey};
use crate::link::{LinkId, Now, Request};

/// How long a poll is held without a change.
const HOLD: Duration = Duration::from_secs(35);
/// Codes that are remembered.
const LIMIT: usize = 1_000;
/// The most tokens a client may send along.
const LOCAL_TOKENS: usize = 10;

/// A login code as tests and people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoginCode {
    /// The poll key, by which all calls name it.
    pub qrcode: String,
    /// The text of the picture.
    pub content: String,
    /// The tokens the client had already.
    pub local_tokens: Vec<String>,
    /// How far it is.
    pub step: LoginStep,
    /// Who has scanned it.
    pub user: Option<UserId>,
    /// The number that the phone shows, while the client has to enter it.
    pub verify_code: Option<String>,
    /// How often the client was asked for it.
    pub asked: u64,
    /// What the client has entered so far.
    pub entered: Vec<String>,
    /// Where the client has been sent; `Some(None)` for nowhere, as in a redirect without `redirect_host`.
    pub redirect: Option<Option<String>>,
    /// The bot it has made.
    pub bot: Option<Bot>,
    /// When it was made.
    pub created_at: Timestamp,
    /// How often it was polled.
    pub polls: u64,
}

/// How far a login is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginStep {
    /// Nobody has scanned it.
    Waiting,
    /// Scanned, and not confirmed.
    Scanned,
    /// Too many wrong numbers.
    Blocked,
    /// Too old.
    Expired,
    /// The user's bot was one of this client already.
    Bound,
    /// Confirmed.
    Confirmed,
    /// Confirmed, and the answer has no bot id: a failed login.
    ConfirmedWithoutBot,
}

/// Why nothing could be done with a login code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// It was never given out.
    #[error("there is no login code {0} on the simulated platform")]
    Unknown(String),
    /// It has been confirmed, has expired, or is blocked.
    #[error("the login code {0} is over")]
    Over(String),
    /// It cannot be confirmed before it is scanned.
    #[error("nobody has scanned the login code {0}: scan it first")]
    NotScanned(String),
}

/// A login code as the platform keeps it.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) code: LoginCode,
    /// The last status a client was told.
    told: &'static str,
    held: Vec<Held>,
}

/// A status poll that waits for a change.
#[derive(Debug)]
struct Held {
    link: LinkId,
    timer: TimerKey,
    /// Where it was made.
    origin: String,
}

impl Platform {
    /// `get_bot_qrcode`.
    pub(crate) fn get_qrcode(&mut self, link: LinkId, request: &Request, now: Now) {
        self.app_headers(link, request, now);
        self.uin(link, request, now);
        self.unwanted_token(link, request, now);
        let body = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
        let tokens = body["local_token_list"].as_array().map(|tokens| {
            tokens.iter().map(|token| token.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        let tokens = tokens.flatten().filter(|tokens| tokens.len() <= LOCAL_TOKENS);
        let (Some(local_tokens), Some("3")) = (tokens, request.query("bot_type")) else {
            self.breach(link, Breach::Field, now);
            return self.answer(link, refusal(INVALID, "invalid argument"), now);
        };
        let qrcode = self.hex(32);
        let code = LoginCode {
            content: format!("https://liteapp.weixin.qq.com/q/{}?qrcode={qrcode}&bot_type=3", self.hex(6)),
            qrcode: qrcode.clone(),
            local_tokens,
            step: LoginStep::Waiting,
            user: None,
            verify_code: None,
            asked: 0,
            entered: Vec::new(),
            redirect: None,
            bot: None,
            created_at: now.wall,
            polls: 0,
        };
        let answer = json!({ "ret": 0, "qrcode": code.qrcode, "qrcode_img_content": code.content });
        self.set_timer(now.monotonic + self.rules.code_lifetime, Timer::ExpireCode { qrcode });
        if self.logins.len() >= LIMIT {
            self.logins.remove(0);
        }
        self.logins.push(Login { code, told: "", held: Vec::new() });
        self.answer_effect(link, answer, now);
    }

    /// `get_qrcode_status`.
    pub(crate) fn qrcode_status(&mut self, link: LinkId, request: &Request, now: Now) {
        self.app_headers(link, request, now);
        self.unwanted_token(link, request, now);
        let Some(index) =
            self.logins.iter().position(|login| request.query("qrcode") == Some(&login.code.qrcode))
        else {
            self.breach(link, Breach::Field, now);
            return self.answer(link, refusal(INVALID, "invalid argument"), now);
        };
        let limit = self.rules.verify_attempts;
        let origin = request.origin();
        let Some(login) = self.logins.get_mut(index) else { return };
        login.code.polls += 1;
        if let Some(entered) = request.query("verify_code") {
            login.enter(entered, limit);
        }
        let status = login.status(&origin);
        // Whoever knows it already has to wait for something new.
        if status == "wait" || (status == login.told && matches!(status, "scaned" | "scaned_but_redirect")) {
            let timer = self.set_timer(now.monotonic + HOLD, Timer::EndStatus { link });
            if let Some(login) = self.logins.get_mut(index) {
                login.held.push(Held { link, timer, origin });
            }
        } else {
            self.tell(index, link, &origin, now);
        }
    }

    /// A call that carries no token by its nature has one: it went where it should not have gone.
    fn unwanted_token(&mut self, link: LinkId, request: &Request, now: Now) {
        if request.header("authorization").is_some() {
            self.breach(link, Breach::UnwantedToken, now);
        }
    }

    /// The hold of a status poll is over.
    pub(crate) fn end_status(&mut self, link: LinkId, now: Now) {
        let found = self.logins.iter_mut().enumerate().find_map(|(index, login)| {
            let held = login.held.iter().position(|held| held.link == link)?;
            Some((index, login.held.remove(held)))
        });
        if let Some((index, held)) = found {
            self.tell(index, link, &held.origin, now);
        }
    }

    /// The client of a held status poll is gone.
    pub(crate) fn forget_status(&mut self, link: LinkId) {
        let timers: Vec<TimerKey> = self
            .logins
            .iter()
            .flat_map(|login| &login.held)
            .filter(|held| held.link == link)
            .map(|held| held.timer)
            .collect();
        for timer in timers {
            self.clear_timer(timer);
        }
        for login in &mut self.logins {
            login.held.retain(|held| held.link != link);
        }
    }

    /// A code that nobody has confirmed is too old.
    pub(crate) fn expire_login(&mut self, qrcode: &str, now: Now) {
        let _ = self.change(qrcode, now, |login| {
            login.code.step = LoginStep::Expired;
            Ok(())
        });
    }

    fn tell(&mut self, index: usize, link: LinkId, origin: &str, now: Now) {
        let base_url = self.rules.base_url.clone().unwrap_or_else(|| origin.to_owned());
        let Some(login) = self.logins.get_mut(index) else { return };
        let status = login.status(origin);
        login.told = status;
        login.code.asked += u64::from(status == "need_verifycode");
        let mut answer = json!({ "ret": 0, "status": status });
        if let (Some(Some(host)), "scaned_but_redirect") = (&login.code.redirect, status) {
            answer["redirect_host"] = host.as_str().into();
        }
        if let (Some(bot), "confirmed") = (&login.code.bot, status) {
            answer["bot_token"] = bot.token.as_str().into();
            answer["ilink_user_id"] = bot.user_id.as_str().into();
            answer["baseurl"] = base_url.into();
            if login.code.step == LoginStep::Confirmed {
                answer["ilink_bot_id"] = bot.bot_id.as_str().into();
            }
        }
        self.answer_effect(link, answer, now);
    }

    /// Changes a code that is not over, and answers whoever waits for that.
    fn change(
        &mut self,
        qrcode: &str,
        now: Now,
        change: impl FnOnce(&mut Login) -> Result<(), LoginError>,
    ) -> Result<(), LoginError> {
        let index = self.logins.iter().position(|login| login.code.qrcode == qrcode);
        let Some((index, login)) = index.and_then(|index| Some((index, self.logins.get_mut(index)?))) else {
            return Err(LoginError::Unknown(qrcode.to_owned()));
        };
        if !matches!(login.code.step, LoginStep::Waiting | LoginStep::Scanned) {
            return Err(LoginError::Over(qrcode.to_owned()));
        }
        change(login)?;
        for held in std::mem::take(&mut login.held) {
            self.clear_timer(held.timer);
            self.tell(index, held.link, &held.origin, now);
        }
        Ok(())
    }
}

/// The test's side: what [`super::Simulator`] offers under the same names.
impl Platform {
    /// Every login code, the newest last.
    pub fn login_codes(&self) -> Vec<LoginCode> {
        self.logins.iter().map(|login| login.code.clone()).collect()
    }

    /// Somebody scans the code.
    ///
    /// # Errors
    /// When there is no such code, or it is over.
    pub fn scan(&mut self, qrcode: &str, user: &UserId, now: Now) -> Result<(), LoginError> {
        self.change(qrcode, now, |login| {
            login.code.user = Some(user.clone());
            login.code.step = LoginStep::Scanned;
            Ok(())
        })
    }

    /// The phone shows this number, and the client has to enter it.
    ///
    /// # Errors
    /// When there is no such code, or it is over.
    pub fn require_code(&mut self, qrcode: &str, number: &str, now: Now) -> Result<(), LoginError> {
        self.change(qrcode, now, |login| {
            login.code.verify_code = Some(number.to_owned());
            Ok(())
        })
    }

    /// Sends the client to another host; `None` sends it nowhere.
    ///
    /// # Errors
    /// When there is no such code, or it is over.
    pub fn redirect(&mut self, qrcode: &str, host: Option<&str>, now: Now) -> Result<(), LoginError> {
        self.change(qrcode, now, |login| {
            login.code.redirect = Some(host.map(str::to_owned));
            Ok(())
        })
    }

    /// The code is too old, or blocked, from now on.
    ///
    /// # Errors
    /// When there is no such code, or it is over already.
    pub fn end_code(&mut self, qrcode: &str, step: LoginStep, now: Now) -> Result<(), LoginError> {
        self.change(qrcode, now, |login| {
            login.code.step = step;
            Ok(())
        })
    }

    /// The user says yes. A new bot is made and the user's earlier one dies, unless that belongs to this client.
    ///
    /// # Errors
    /// When there is no such code, it is over, or nobody has scanned it.
    pub fn confirm(&mut self, qrcode: &str, with_bot_id: bool, now: Now) -> Result<Option<Bot>, LoginError> {
        let code = self.logins.iter().map(|login| &login.code).find(|code| code.qrcode == qrcode);
        let code = code.ok_or_else(|| LoginError::Unknown(qrcode.to_owned()))?;
        if !matches!(code.step, LoginStep::Waiting | LoginStep::Scanned) {
            return Err(LoginError::Over(qrcode.to_owned()));
        }
        let user = code.user.clone().ok_or_else(|| LoginError::NotScanned(qrcode.to_owned()))?;
        let live = self.bot_of(&user).filter(|bot| code.local_tokens.contains(&bot.token));
        let (step, bot) = match (live, with_bot_id) {
            (Some(_), _) => (LoginStep::Bound, None),
            (None, true) => (LoginStep::Confirmed, Some(self.add_bot(NewBot::of(&user), now))),
            (None, false) => (LoginStep::ConfirmedWithoutBot, Some(self.add_bot(NewBot::of(&user), now))),
        };
        let made = bot.clone();
        self.change(qrcode, now, |login| {
            login.code.verify_code = None;
            login.code.step = step;
            login.code.bot = made;
            Ok(())
        })?;
        Ok(bot)
    }
}

impl Login {
    /// The client enters a number.
    fn enter(&mut self, entered: &str, limit: u32) {
        let Some(right) = &self.code.verify_code else { return };
        self.code.entered.push(entered.to_owned());
        if right == entered {
            self.code.verify_code = None;
        } else if u32::try_from(self.code.entered.len()).is_ok_and(|count| count >= limit) {
            self.code.step = LoginStep::Blocked;
        }
    }

    /// What a client that asks at this address is told.
    fn status(&self, origin: &str) -> &'static str {
        let elsewhere = match &self.code.redirect {
            Some(Some(host)) => origin.split_once("://").map(|(_, here)| here) != Some(host.as_str()),
            Some(None) => self.code.step == LoginStep::Scanned,
            None => false,
        };
        match self.code.step {
            LoginStep::Blocked => "verify_code_blocked",
            LoginStep::Expired => "expired",
            _ if elsewhere => "scaned_but_redirect",
            LoginStep::Waiting => "wait",
            _ if self.code.verify_code.is_some() => "need_verifycode",
            LoginStep::Scanned => "scaned",
            LoginStep::Bound => "binded_redirect",
            LoginStep::Confirmed | LoginStep::ConfirmedWithoutBot => "confirmed",
        }
    }
}
