//! Tencent's package for WeChat as a client of the WeChat simulator: its API, login, upload and download modules,
//! inside a small bot (`weixin/bot.js`). docs/interop.md says what each step shows, and what is not driven.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use moorline_core::UserId;
use moorline_simulator::server::{Options, Server};
use moorline_simulator::weixin::{
    Answer, Bot, Counters, Cursor, Endpoint, Expiry, Fault, Item, KeyForm, LoginCode, LoginStep, Media,
    NewMessage, Pushed, Simulator, Times, Visible,
};
use moorline_tests::process::{pause, signal};
use tokio::time::Instant;

use crate::client::{installed, log_tail};

/// A step: its name, and what it does.
type Step = (&'static str, fn(&mut Flow) -> anyhow::Result<()>);

/// All of them, in order.
pub(crate) const STEPS: [Step; 15] = [
    ("QR code, verify code", Flow::logs_in),
    ("notifystart, held poll", Flow::connects),
    ("text, id beyond 2^53", Flow::text),
    ("ids as text", Flow::ids_as_text),
    ("idle poll ends", Flow::idle),
    ("three in one answer", Flow::several),
    ("typing", Flow::typing),
    ("voice, file, images", Flow::receives_media),
    ("sends file and image", Flow::sends_media),
    ("upload answered 503", Flow::uploads_again),
    ("11th send refused", Flow::quota),
    ("-14, notifystart", Flow::stale),
    ("cut, message replayed", Flow::cut),
    ("already bound", Flow::bound),
    ("notifystop, ends", Flow::ends),
];

const ALICE: &str = "alice@im.wechat";
const NAME: &str = "weixin";
/// How long anything may take. The package pauses for a second between two looks at a login.
const LIMIT: Duration = Duration::from_secs(20);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How it went.
pub(crate) struct Outcome {
    /// How long each step took, and why it failed; fewer than there are steps after a failure.
    pub(crate) steps: Vec<(Duration, Result<(), String>)>,
    /// What the ledgers have that nobody expected, and the other way round.
    pub(crate) differences: Vec<String>,
    pub(crate) summary: String,
}

/// The bot on its way through the steps.
pub(crate) struct Flow {
    simulator: Simulator,
    server: Server,
    bot: Option<Process>,
    login: Option<Bot>,
    /// Every text a user has to see, each exactly once.
    expected: Vec<String>,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // By its id, and only this one; already gone is fine.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Name and version of what is installed.
///
/// # Errors
/// When it is not installed.
pub(crate) fn version() -> anyhow::Result<String> {
    let missing = "the package for WeChat is not there: `make interop` installs it";
    let package = fs::read_to_string(package().join("package.json")).context(missing)?;
    let package: serde_json::Value = serde_json::from_str(&package).context(missing)?;
    let text = |key: &str| package.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    Ok(format!("{} {}", text("name").rsplit('/').next().unwrap_or_default(), text("version")))
}

/// Takes the bot through the steps, up to the first that fails.
///
/// # Errors
/// When the platform cannot be started.
pub(crate) fn run() -> anyhow::Result<Outcome> {
    let simulator = Simulator::new(2026);
    let server = Server::start(&simulator, Options::default())?;
    let mut flow = Flow { simulator, server, bot: None, login: None, expected: Vec::new() };
    let mut steps = Vec::new();
    for (_, step) in STEPS {
        let began = Instant::now();
        let result = step(&mut flow).map_err(|error| format!("{error:#}\n{}", log_tail(&log())));
        let failed = result.is_err();
        steps.push((began.elapsed(), result));
        if failed {
            break;
        }
    }
    let whole = steps.len() == STEPS.len() && steps.iter().all(|(_, result)| result.is_ok());
    Ok(Outcome {
        differences: if whole { flow.differences() } else { Vec::new() },
        summary: flow.summary(),
        steps,
    })
}

impl Flow {
    /// A wrong number, the right one, and the user's yes.
    fn logs_in(&mut self) -> anyhow::Result<()> {
        let state = installed().join("weixin-state");
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        fs::create_dir_all(&state)?;
        let log = File::create(log())?;
        let child = Command::new("node")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/weixin/bot.js"))
            .env("PLATFORM", self.server.base_url())
            .env("PACKAGE", package())
            .env("OPENCLAW_STATE_DIR", state)
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.bot = Some(Process(child));
        let alice = UserId::new(ALICE);
        let qrcode = self.new_code(1)?.qrcode;
        self.simulator.require_code(&qrcode, "42")?;
        self.simulator.scan(&qrcode, &alice)?;
        for (entered, number) in ["41", "42"].into_iter().enumerate() {
            self.until("asked for the number", |flow| {
                flow.code(&qrcode).is_some_and(|code| code.asked > entered as u64)
            })?;
            self.type_in(number)?;
        }
        self.until("the right number", |flow| {
            flow.code(&qrcode).is_some_and(|code| code.verify_code.is_none())
        })?;
        self.login = self.simulator.confirm(&qrcode)?;
        let entered = self.code(&qrcode).map(|code| code.entered).unwrap_or_default();
        ensure!(entered == ["41", "42"], "entered: {entered:?}");
        Ok(())
    }

    fn connects(&mut self) -> anyhow::Result<()> {
        self.until("notifystart and a held poll", |flow| {
            let counters = flow.counters();
            counters.notifystarts == 1 && counters.open_polls == 1
        })
    }

    fn text(&mut self) -> anyhow::Result<()> {
        self.converse("hello, 你好")
    }

    fn ids_as_text(&mut self) -> anyhow::Result<()> {
        self.simulator.set_rules(|rules| rules.ids_as_text = true);
        self.converse("an id as text")?;
        self.simulator.set_rules(|rules| rules.ids_as_text = false);
        Ok(())
    }

    /// The platform ends a poll without a message, and the next one comes at once.
    fn idle(&mut self) -> anyhow::Result<()> {
        self.simulator.set_rules(|rules| rules.hold = Duration::from_millis(300));
        self.converse("the next poll is short")?;
        let polls = self.polls();
        self.until("three more polls", |flow| flow.polls() >= polls + 3)?;
        self.simulator.set_rules(|rules| rules.hold = Duration::from_secs(35));
        self.converse("and the next one is not")
    }

    fn several(&mut self) -> anyhow::Result<()> {
        // The bot is busy while they are written.
        self.fault(Fault::Answer(Endpoint::SendMessage, Answer::Delay(Duration::from_millis(500))))?;
        let pushed: Vec<_> =
            ["first", "second", "third", "fourth"].map(|text| (self.push(text), text)).into();
        for (pushed, text) in pushed {
            self.answered(pushed?, text)?;
        }
        Ok(())
    }

    fn typing(&mut self) -> anyhow::Result<()> {
        let pushed = self.push("/typing")?;
        self.visible("typed", &pushed)?;
        self.until("typing, taken back", |flow| {
            flow.simulator.read_ledger(|ledger| {
                ledger.typing().count() == 1 && ledger.typing().all(|sign| sign.off.is_some())
            })
        })
    }

    /// Every form in which a key is told (§7.2).
    fn receives_media(&mut self) -> anyhow::Result<()> {
        let media = |text: &str| Media::new(text.as_bytes());
        let voice = Item::Voice { transcript: Some("what was said".to_owned()), media: media("sound") };
        let file = Item::File { name: "a.txt".to_owned(), media: media("a file of a user") };
        let image = |key: KeyForm| Item::Image(media(&format!("pixels {key:?}")).with_key(key));
        let mut items = vec![(voice, "what was said".to_owned()), (file, "a file of a user".to_owned())];
        for key in [KeyForm::Hex, KeyForm::Raw, KeyForm::Item, KeyForm::None] {
            items.push((image(key), format!("pixels {key:?}")));
        }
        for (item, text) in items {
            let pushed = self.write(NewMessage::new(ALICE, item))?;
            self.answered(pushed, &text)?;
        }
        Ok(())
    }

    fn sends_media(&mut self) -> anyhow::Result<()> {
        let pushed = self.push("/file")?;
        self.media("sent.txt", b"a file of a bot", &pushed)?;
        let pushed = self.push("/image")?;
        self.visible("caption", &pushed)?;
        self.media("", b"pixels of a bot", &pushed)
    }

    fn uploads_again(&mut self) -> anyhow::Result<()> {
        self.fault(Fault::Answer(Endpoint::Upload, Answer::Status(503)))?;
        let pushed = self.push("/file")?;
        self.media("sent.txt", b"a file of a bot", &pushed)
    }

    fn quota(&mut self) -> anyhow::Result<()> {
        let pushed = self.push("/flood")?;
        for number in 1..=10 {
            self.visible(&format!("flood {number}"), &pushed)?;
        }
        self.until("the 11th refused", |flow| flow.counters().no_window == 1)?;
        self.converse("and then again")
    }

    fn stale(&mut self) -> anyhow::Result<()> {
        let login = self.login()?;
        let starts = self.counters().notifystarts;
        self.simulator.expire(&login.bot_id, Expiry::until_notifystart())?;
        self.until("notifystart and a held poll", |flow| {
            let counters = flow.counters();
            counters.notifystarts == starts + 1 && counters.open_polls == 1
        })?;
        self.converse("back again")
    }

    /// The answer breaks off, and the old cursor brings the message again.
    fn cut(&mut self) -> anyhow::Result<()> {
        self.simulator.set_cursor_behaviour(Cursor::Replay);
        self.fault(Fault::LoseAnswer(Endpoint::GetUpdates, Answer::CutBody))?;
        self.converse("cut off")?;
        self.simulator.set_cursor_behaviour(Cursor::Consumed);
        Ok(())
    }

    /// The package sends the token it has along, and is told so.
    fn bound(&mut self) -> anyhow::Result<()> {
        let login = self.login()?;
        let pushed = self.push("/login")?;
        let code = self.new_code(2)?;
        ensure!(code.local_tokens == [login.token], "the token was not sent along");
        self.simulator.scan(&code.qrcode, &login.user_id)?;
        self.simulator.confirm(&code.qrcode)?;
        self.visible("already connected", &pushed)?;
        let step = self.code(&code.qrcode).map(|code| code.step);
        ensure!(step == Some(LoginStep::Bound), "{step:?}");
        Ok(())
    }

    fn ends(&mut self) -> anyhow::Result<()> {
        self.until("a held poll", |flow| flow.counters().open_polls == 1)?;
        let Some(Process(bot)) = &mut self.bot else { bail!("not started") };
        signal(bot.id(), "TERM");
        let began = Instant::now();
        let status = loop {
            if let Some(status) = bot.try_wait()? {
                break status;
            }
            ensure!(began.elapsed() < LIMIT, "it does not end");
            pause(LOOK_EVERY);
        };
        ensure!(status.success(), "ended with {status}");
        self.bot = None;
        self.until_settled("notifystop, no open poll", |flow| {
            let counters = flow.counters();
            counters.notifystops == 1 && counters.open_polls == 0
        })
    }

    /// What differs from the expectation, in both directions.
    fn differences(&self) -> Vec<String> {
        let mut found = Vec::new();
        let ledger = self.simulator.ledger();
        let violations = ledger.violations().map(|violation| format!("{violation:?}"));
        found.extend(violations);
        let seen: Vec<&str> = ledger.visible().map(|visible| visible.text.as_str()).collect();
        let copies = |texts: &[&str], text: &str| texts.iter().filter(|seen| **seen == text).count();
        let expected: Vec<&str> = self.expected.iter().map(String::as_str).collect();
        for text in expected.iter().chain(&seen) {
            let (expected, seen) = (copies(&expected, text), copies(&seen, text));
            if expected != seen {
                found.push(format!("visible {seen} times, not {expected}: {text:?}"));
            }
        }
        found.sort();
        found.dedup();
        for message in ledger.messages().filter(|message| !message.is_acked() || message.lost_by_platform) {
            found.push(format!("never read: {message:?}"));
        }
        let ids: std::collections::BTreeSet<&str> = ledger.visible().map(|v| v.client_id.as_str()).collect();
        if ids.len() != seen.len() {
            found.push("a client_id was used twice".to_owned());
        }
        let counters = self.counters();
        if counters.max_open_polls != 1 {
            found.push(format!("{} polls at a time, not 1", counters.max_open_polls));
        }
        found
    }

    fn summary(&self) -> String {
        self.simulator.read_ledger(|ledger| {
            format!(
                "{} calls, {} messages, {} visible",
                ledger.calls().count(),
                ledger.messages().count(),
                ledger.visible().count()
            )
        })
    }

    /// A message and its answer: the id that was read, and the text.
    fn converse(&mut self, text: &str) -> anyhow::Result<()> {
        let pushed = self.push(text)?;
        self.answered(pushed, text)
    }

    fn answered(&mut self, pushed: Pushed, text: &str) -> anyhow::Result<()> {
        self.visible(&format!("{}: {text}", pushed.message_id), &pushed)
    }

    /// Waits for a text that is sent with the token of this message.
    fn visible(&mut self, text: &str, pushed: &Pushed) -> anyhow::Result<()> {
        self.seen(text, pushed, |visible| visible.item_type == 1)
    }

    /// The same with a file and its content.
    fn media(&mut self, name: &str, content: &[u8], pushed: &Pushed) -> anyhow::Result<()> {
        self.seen(name, pushed, |visible| visible.media.as_deref() == Some(content))
    }

    fn seen(&mut self, text: &str, pushed: &Pushed, is: impl Fn(&Visible) -> bool) -> anyhow::Result<()> {
        self.expected.push(text.to_owned());
        let answers = Some(pushed.message_id);
        self.until(&format!("visible: {text:?}"), |flow| {
            let is = |visible: &Visible| visible.answers == answers && visible.text == text && is(visible);
            flow.simulator.read_ledger(|ledger| ledger.visible().rev().any(is))
        })
    }

    /// The newest of so many login codes, once it is there.
    fn new_code(&mut self, count: usize) -> anyhow::Result<LoginCode> {
        self.until("a login code", |flow| flow.simulator.login_codes().len() == count)?;
        self.simulator.login_codes().pop().context("no login code")
    }

    fn code(&self, qrcode: &str) -> Option<LoginCode> {
        self.simulator.login_codes().into_iter().find(|code| code.qrcode == qrcode)
    }

    fn type_in(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.bot.as_mut().and_then(|Process(bot)| bot.stdin.as_mut());
        writeln!(input.context("not started")?, "{line}")?;
        Ok(())
    }

    fn push(&self, text: &str) -> anyhow::Result<Pushed> {
        self.write(NewMessage::text(ALICE, text))
    }

    fn write(&self, message: NewMessage) -> anyhow::Result<Pushed> {
        Ok(self.simulator.push(&self.login()?.bot_id, message)?)
    }

    fn fault(&self, fault: Fault) -> anyhow::Result<()> {
        Ok(self.simulator.set_fault(&self.login()?.bot_id, fault, Times::Count(1))?)
    }

    fn login(&self) -> anyhow::Result<Bot> {
        self.login.clone().context("not logged in")
    }

    fn polls(&self) -> u64 {
        self.counters().calls.get(&Endpoint::GetUpdates).copied().unwrap_or_default()
    }

    fn counters(&self) -> Counters {
        let login = self.login.as_ref();
        login.and_then(|login| self.simulator.counters(&login.bot_id).ok()).unwrap_or_default()
    }

    fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let Some(Process(bot)) = &mut self.bot else { bail!("not started") };
        if let Some(status) = bot.try_wait()? {
            bail!("the process ended by itself with {status}");
        }
        self.until_settled(what, condition)
    }

    fn until_settled(&self, what: &str, condition: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !condition(self) {
            if began.elapsed() > LIMIT {
                bail!("not within {LIMIT:?}: {what}; {:?}", self.counters());
            }
            pause(LOOK_EVERY);
        }
        Ok(())
    }
}

fn package() -> PathBuf {
    installed().join("weixin/node_modules/@tencent-weixin/openclaw-weixin")
}

fn log() -> PathBuf {
    installed().join(format!("{NAME}.log"))
}
