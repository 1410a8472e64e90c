//! What the runtime does with logins, whatever the channel is: in virtual time, on a platform of a few lines.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_channel::SavedLogin;
use moorline_core::{AccountId, AccountState, BlockReason, BootId, ChatId, Clock, Secret, Timestamp, UserId};
use moorline_runtime::{
    AccountStatus, CommandError, FindingKind, Handle, LoginState, LoginView, Logins, MemoryLogins, Options,
    Runtime, Saved,
};
use moorline_store::SqliteStore;
use moorline_tests::phones::Phones;
use moorline_tests::world::VirtualClock;
use moorline_tests::{Logs, in_virtual_time};
use tokio::time::{Instant, sleep};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// Accounts `chat:a`, `chat:b`, … of a platform that people log in to.
pub(super) struct Rig {
    pub(super) phones: Phones,
    pub(super) logins: MemoryLogins,
    pub(super) handle: Handle,
    pub(super) runtime: Option<Runtime>,
    names: Vec<&'static str>,
}

impl Rig {
    pub(super) async fn start(names: &[&'static str], saved: &[(&str, &str)]) -> Self {
        let (phones, logins) = (Phones::default(), MemoryLogins::default());
        for (account, token) in saved {
            phones.issue(token);
            let saved = Saved { login: Phones::login(token), person: None, saved_at: Timestamp::default() };
            logins.save(&id(account), saved).await.unwrap();
        }
        Self::on(phones, logins, names).await
    }

    pub(super) async fn on(phones: Phones, logins: MemoryLogins, names: &[&'static str]) -> Self {
        let front = Rc::new(logins.clone());
        Self::behind(front, phones, logins, names).await
    }

    /// The runtime sees the logins through `front`.
    pub(super) async fn behind(
        front: Rc<dyn Logins>,
        phones: Phones,
        logins: MemoryLogins,
        names: &[&'static str],
    ) -> Self {
        let (config, plans) = phones.configure(names);
        let clock = VirtualClock::start();
        let runtime = Runtime::start(Options {
            config,
            plans,
            agents: BTreeMap::new(),
            store: Arc::new(SqliteStore::inline(None).unwrap()),
            logins: front,
            network: phones.network(),
            clock: clock as Arc<dyn Clock>,
            boot: BootId::new("boot"),
            seed: 7,
            version: "test",
            config_file: None,
            machine: Arc::new(()),
            children: Vec::new(),
        })
        .await
        .unwrap();
        let handle = runtime.handle();
        Self { phones, logins, handle, runtime: Some(runtime), names: names.to_vec() }
    }

    pub(super) fn status(&self, account: &str) -> AccountStatus {
        self.handle.board().account(&id(account)).unwrap()
    }

    pub(super) fn waits(&self, account: &str) -> bool {
        let status = self.status(account);
        status.state == AccountState::Blocked && status.blocked == Some(BlockReason::NeedsLogin)
    }

    pub(super) async fn until(
        &self,
        what: &str,
        limit: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Duration {
        let began = Instant::now();
        while !condition(self) {
            let statuses = || self.names.iter().map(|name| self.status(name)).collect::<Vec<_>>();
            assert!(began.elapsed() < limit, "not within {limit:?}: {what}\n{:#?}", statuses());
            sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }

    pub(super) async fn ready(&self, account: &str) {
        self.until(&format!("{account} ready"), 5 * SECOND, |rig| {
            rig.status(account).state == AccountState::Ready && rig.status(account).identity.id.is_some()
        })
        .await;
    }

    pub(super) async fn begin(&self, account: &str) -> LoginView {
        self.handle.login(&id(account), None).await.unwrap()
    }

    pub(super) async fn typed(&self, account: &str, code: &str) -> Result<LoginView, CommandError> {
        self.handle.login(&id(account), Some(Secret::new(code))).await
    }

    pub(super) async fn view(&self, account: &str) -> LoginView {
        self.handle.login_state(&id(account)).await.unwrap()
    }

    pub(super) async fn state(&self, account: &str, state: LoginState) -> LoginView {
        let began = Instant::now();
        loop {
            let view = self.view(account).await;
            if view.state == state {
                return view;
            }
            assert!(began.elapsed() < MINUTE, "{view:?} instead of {state:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) async fn save(&self, account: &str, login: SavedLogin) {
        let saved = Saved { login, person: None, saved_at: Timestamp::from_millis(1) };
        self.logins.save(&id(account), saved).await.unwrap();
    }

    pub(super) async fn reload(&self) -> moorline_runtime::Applied {
        let (config, plans) = self.phones.configure(&self.names);
        self.handle.apply(config, plans).await.unwrap()
    }
}

pub(super) fn id(account: &str) -> AccountId {
    format!("chat:{account}").parse().unwrap()
}

pub(super) fn qr(view: &LoginView) -> &str {
    view.qr.as_ref().unwrap().expose()
}

#[test]
fn a_login_is_taken_up_at_once_and_touches_no_other_account() {
    in_virtual_time(async {
        let rig = Rig::start(&["a", "b"], &[("b", "tb")]).await;
        rig.ready("b").await;
        rig.until("a waits", SECOND, |rig| rig.waits("a")).await;
        let cause = rig.status("a").cause.unwrap().message;
        assert_eq!(cause, "nobody is logged in: `moorline login chat:a`");
        let before = rig.status("b").generation;
        assert_eq!(rig.view("a").await, LoginView::none());

        let view = rig.begin("a").await;
        assert_eq!((view.state, qr(&view)), (LoginState::Scan, "https://scan.test/qQ7-1"));
        assert!(view.expires_at.is_some());
        assert_eq!(rig.phones.held(), [1], "the platform is told what is held of the channel");
        rig.phones.then("scanned");
        let view = rig.state("a", LoginState::Scanned).await;
        assert_eq!(view.qr, None, "what was scanned is shown to nobody any more");
        rig.phones.then("in ta alice");
        let view = rig.state("a", LoginState::Done).await;
        assert_eq!((view.person, view.message.as_str()), (Some(UserId::new("alice")), "logged in as alice"));
        rig.ready("a").await;
        assert_eq!(rig.status("a").identity.id, Some(UserId::new("ta")));
        let login = rig.status("a").login.unwrap();
        assert_eq!((login.person, login.problem), (Some(UserId::new("alice")), None));
        assert_eq!(rig.status("b").generation, before);
        assert_eq!(rig.logins.load(&id("a")).await.unwrap().unwrap().login, Phones::login("ta"));
    });
}

#[test]
fn a_second_login_joins_the_first_and_one_that_is_given_up_leaves_what_was() {
    in_virtual_time(async {
        let rig = Rig::start(&["a"], &[("a", "ta")]).await;
        rig.ready("a").await;
        let generation = rig.status("a").generation;
        let first = rig.begin("a").await;
        assert_eq!(rig.begin("a").await, first);
        let end = rig.handle.give_login_up(&id("a")).await.unwrap();
        assert_eq!((end.state, end.message.as_str()), (LoginState::Failed, "it was given up"));
        assert_eq!(end.qr, None);
        assert_eq!(rig.handle.give_login_up(&id("a")).await.unwrap(), end, "twice is once");
        let second = rig.begin("a").await;
        assert_eq!(qr(&second), "https://scan.test/qQ7-2");
        rig.phones.then("refused");
        let view = rig.state("a", LoginState::Failed).await;
        assert_eq!(view.message, "the phone said no");
        assert_eq!((rig.status("a").generation, rig.status("a").state), (generation, AccountState::Ready));
    });
}

#[test]
fn a_code_that_expires_is_followed_by_another_and_no_login_lasts_for_ever() {
    in_virtual_time(async {
        let rig = Rig::start(&["a"], &[]).await;
        let first = rig.begin("a").await;
        rig.phones.then("expired");
        let began = Instant::now();
        while rig.view("a").await.qr == first.qr {
            assert!(began.elapsed() < MINUTE);
            sleep(Duration::from_millis(10)).await;
        }
        let second = rig.view("a").await;
        assert_eq!((second.state, qr(&second)), (LoginState::Scan, "https://scan.test/qQ7-2"));
        assert_eq!(first.message, "QR code 1: scan it with the phone");
        assert!(second.message.starts_with("QR code 2: "), "{}", second.message);
        sleep(16 * MINUTE).await;
        let end = rig.view("a").await;
        assert_eq!(
            (end.state, end.message.as_str()),
            (LoginState::Failed, "nobody has logged in within 15 min")
        );
    });
}

#[test]
fn a_number_is_handed_in_when_it_is_asked_for_and_only_then() {
    in_virtual_time(async {
        let rig = Rig::start(&["a"], &[]).await;
        let unasked = Err(CommandError::NoCodeWanted(id("a")));
        assert_eq!(rig.typed("a", "1").await, unasked, "there is no login");
        rig.begin("a").await;
        assert_eq!(rig.typed("a", "1").await, unasked, "it waits for a scan");
        rig.phones.then("code");
        assert_eq!(rig.state("a", LoginState::Code).await.code_wrong, Some(false));
        let view = rig.typed("a", "12").await.unwrap();
        assert_eq!((view.state, view.code_wrong), (LoginState::Scanned, None), "it is asked for no more");
        assert_eq!(rig.typed("a", "12").await, unasked);
        rig.phones.then("wrong");
        assert_eq!(rig.state("a", LoginState::Code).await.code_wrong, Some(true));
        rig.typed("a", "34").await.unwrap();
        rig.phones.then("in ta alice");
        rig.state("a", LoginState::Done).await;
        assert_eq!(rig.phones.typed(), ["12", "34"]);
        rig.ready("a").await;
    });
}

#[test]
fn a_person_has_one_bot_and_the_account_that_loses_its_own_says_why() {
    in_virtual_time(async {
        let logs = Logs::collect();
        let mut rig = Rig::start(&["a", "b", "c"], &[("c", "tc")]).await;
        rig.begin("a").await;
        rig.phones.then("in ta alice");
        rig.state("a", LoginState::Done).await;
        rig.ready("a").await;
        rig.ready("c").await;
        let untouched = rig.status("c").generation;
        rig.begin("b").await;
        rig.phones.then("in tb alice");
        let view = rig.state("b", LoginState::Done).await;
        assert_eq!(view.message, "logged in as alice; this has ended the login of chat:a");
        rig.ready("b").await;
        rig.until("a waits", SECOND, |rig| rig.waits("a")).await;
        let cause = rig.status("a").cause.unwrap().message;
        let ended = rig.logins.ended(&id("a")).await.unwrap().unwrap();
        let why = format!(
            "its person has logged in for chat:b at {}, and can have one bot: `moorline login chat:a`",
            ended.at
        );
        assert_eq!(cause, why);
        assert_eq!(rig.status("a").login.unwrap().problem, Some(why.clone()));
        let told = logs.take("the login has ended");
        assert!(told.len() == 1 && told[0].to_string().contains(&why), "{told:?}");
        assert_eq!(rig.logins.load(&id("a")).await.unwrap(), None);
        assert_eq!(rig.status("c").generation, untouched);

        // The next process knows it too, and so does whoever reads the configuration again.
        rig.runtime.take().unwrap().shutdown(SECOND).await;
        let rig = Rig::on(rig.phones.clone(), rig.logins.clone(), &["a", "b", "c"]).await;
        rig.until("a waits", SECOND, |rig| rig.waits("a")).await;
        assert_eq!(rig.status("a").cause.unwrap().message, why);
        assert!(rig.reload().await.reconnected.is_empty());
        assert_eq!(rig.status("a").login.unwrap().problem, Some(why));
        rig.ready("b").await;
        rig.begin("a").await;
        rig.phones.then("in t3 alice");
        rig.ready("a").await;
        assert_eq!(rig.logins.ended(&id("a")).await.unwrap(), None);
        assert_eq!(rig.logins.ended(&id("b")).await.unwrap().unwrap().by, id("a"));
    });
}

#[test]
fn who_is_logged_in_already_keeps_what_is_saved() {
    in_virtual_time(async {
        let rig = Rig::start(&["a", "b"], &[("a", "ta")]).await;
        rig.ready("a").await;
        let generation = rig.status("a").generation;
        rig.begin("a").await;
        rig.phones.then("bound");
        assert_eq!(rig.state("a", LoginState::Done).await.message, "logged in already");
        sleep(SECOND).await;
        assert_eq!((rig.status("a").generation, rig.status("a").state), (generation, AccountState::Ready));
        rig.begin("b").await;
        rig.phones.then("bound");
        let message = rig.state("b", LoginState::Failed).await.message;
        assert!(message.contains("for another account (chat:a)"), "{message}");
    });
}

#[test]
fn the_login_of_an_account_that_is_gone_is_shown_to_nobody_and_goes_with_its_rows_f055() {
    in_virtual_time(async {
        let rig = Rig::start(&["a", "b", "gone"], &[("b", "tb"), ("gone", "tg")]).await;
        rig.ready("b").await;
        rig.ready("gone").await;
        let configured = rig.handle.discard_rows(&id("gone")).await;
        assert_eq!(configured, Err(CommandError::Configured(id("gone"))));
        let (config, plans) = rig.phones.configure(&["a", "b"]);
        rig.handle.apply(config, plans).await.unwrap();
        rig.begin("a").await;
        assert_eq!(rig.phones.held(), [1], "the platform is asked about b");
        let discarded = rig.handle.discard_rows(&id("gone")).await.unwrap();
        assert!(discarded.done && discarded.login_removed, "{discarded:?}");
        assert_eq!(rig.logins.load(&id("gone")).await.unwrap(), None);
        assert!(rig.logins.load(&id("b")).await.unwrap().is_some());
        assert!(!rig.handle.discard_rows(&id("gone")).await.unwrap().login_removed);
        // Where there is nothing but a login.
        rig.save("other", Phones::login("to")).await;
        assert!(rig.handle.discard_rows(&id("other")).await.unwrap().login_removed);
        let again = rig.handle.discard_rows(&id("other")).await;
        assert_eq!(again, Err(CommandError::UnknownAccount(id("other"))));
    });
}

/// The slow probe looks, and so does whoever asks; a login that is the same changes nothing.
#[test]
fn a_login_that_was_saved_by_others_is_taken_up_before_the_next_attempt() {
    in_virtual_time(async {
        let rig = Rig::start(&["a", "b"], &[]).await;
        rig.until("both wait", SECOND, |rig| rig.waits("a") && rig.waits("b")).await;
        let other = rig.status("b").generation;
        rig.phones.issue("t1");
        rig.save("a", Phones::login("t1")).await;
        let took = rig
            .until("the slow probe", 11 * MINUTE, |rig| rig.status("a").state == AccountState::Ready)
            .await;
        assert!(took > 9 * MINUTE, "{took:?}");
        assert_eq!(rig.status("b").generation, other);

        rig.phones.revoke("t1");
        rig.until("it is revoked", MINUTE, |rig| rig.waits("a")).await;
        let generation = rig.status("a").generation;
        rig.handle.probe(&id("a")).await.unwrap();
        sleep(SECOND).await;
        assert!(rig.waits("a") && rig.status("a").generation == generation, "the same login changes nothing");
        assert_eq!(rig.status("a").cause.unwrap().message, "the token is good no more");
        rig.phones.issue("t2");
        rig.save("a", Phones::login("t2")).await;
        rig.handle.probe(&id("a")).await.unwrap();
        rig.ready("a").await;
        assert_eq!(
            rig.status("a").identity.id,
            Some(UserId::new("t2")),
            "who it was before is forgotten (F-015)"
        );

        rig.phones.revoke("t2");
        rig.until("it is revoked again", MINUTE, |rig| rig.waits("a")).await;
        rig.phones.issue("t3");
        rig.save("a", Phones::login("t3")).await;
        rig.handle.restart(&id("a")).await.unwrap();
        rig.ready("a").await;
    });
}

#[test]
fn a_reload_takes_up_another_login_and_touches_nobody_else() {
    in_virtual_time(async {
        let rig = Rig::start(&["a", "b", "c"], &[("a", "ta"), ("b", "tb")]).await;
        rig.ready("a").await;
        rig.ready("b").await;
        let generations = || ["a", "b"].map(|name| rig.status(name).generation);
        let before = generations();
        let applied = rig.reload().await;
        assert!(applied.reconnected.is_empty() && applied.untouched == 3, "{applied:?}");
        assert_eq!(generations(), before);

        rig.phones.issue("t2");
        rig.save("a", Phones::login("t2")).await;
        let applied = rig.reload().await;
        assert_eq!((applied.reconnected, applied.untouched), (vec![id("a")], 2));
        rig.ready("a").await;
        assert_eq!(rig.status("a").identity.id, Some(UserId::new("t2")));
        assert_eq!(rig.status("b").generation, before[1]);

        rig.logins.remove(&id("b")).await.unwrap();
        assert_eq!(rig.reload().await.reconnected, [id("b")]);
        rig.until("b waits", SECOND, |rig| rig.waits("b")).await;
    });
}

#[test]
fn what_cannot_be_read_is_told_and_keeps_nobody_from_working() {
    in_virtual_time(async {
        let logs = Logs::collect();
        let (phones, logins) = (Phones::default(), MemoryLogins::default());
        let broken = SavedLogin(Secret::new("qQ7 is no login"));
        let saved = |login| Saved { login, person: None, saved_at: Timestamp::default() };
        logins.save(&id("a"), saved(broken.clone())).await.unwrap();
        logins.save(&id("b"), saved(Phones::login("tb"))).await.unwrap();
        phones.issue("tb");
        let rig = Rig::on(phones, logins, &["a", "b"]).await;
        rig.until("a waits", SECOND, |rig| rig.waits("a")).await;
        rig.ready("b").await;
        let why = "the saved login cannot be read: it has no token; `moorline login chat:a` makes another";
        assert_eq!(rig.status("a").cause.unwrap().message, why);
        let report = rig.handle.doctor().await.unwrap();
        let finding = report.findings.iter().find(|finding| finding.account == Some(id("a"))).unwrap();
        assert!(finding.why.contains("the saved login cannot be read"), "{finding:?}");
        let told = logs.take("cannot be read");
        // The alerts have words of their own.
        let told: Vec<_> = told.iter().filter(|line| line["actor"] != "alerts").collect();
        assert_eq!(told.len(), 1, "once, and not by everybody who looks: {told:?}");

        // Somebody breaks a login that is in use: it stays in use.
        let generation = rig.status("b").generation;
        rig.save("b", broken).await;
        let applied = rig.reload().await;
        assert!(applied.reconnected.is_empty());
        assert_eq!((rig.status("b").state, rig.status("b").generation), (AccountState::Ready, generation));
        let problem = rig.status("b").login.unwrap().problem.unwrap();
        assert_eq!(
            problem,
            "the saved login cannot be read: it has no token; `moorline login chat:b` makes another"
        );
        let unread: Vec<_> = applied.unreadable_logins.iter().map(|one| one.account.clone()).collect();
        assert_eq!((unread, &applied.unreadable_logins[1].why), (vec![id("a"), id("b")], &problem));
        let unreadable = async || {
            let found = rig.handle.doctor().await.unwrap().findings;
            found.into_iter().find(|finding| finding.kind == FindingKind::LoginUnreadable)
        };
        let finding = unreadable().await.unwrap();
        assert_eq!((finding.account, finding.why), (Some(id("b")), problem.clone()));
        rig.reload().await;
        let told = logs.take("chat:b");
        let told = told.iter().filter(|line| line["actor"] != "alerts");
        let told: Vec<_> = told.filter(|line| line.to_string().contains("cannot be read")).collect();
        assert_eq!(told.len(), 1, "{told:?}");

        // Also when it has to connect anew.
        let (config, plans) = rig.phones.configure_at("http://chat.test:81", &["a", "b"]);
        let applied = rig.handle.apply(config, plans).await.unwrap();
        assert_eq!((applied.reconnected.len(), applied.unreadable_logins.len()), (2, 2), "{applied:?}");
        rig.ready("b").await;
        assert!(rig.status("b").generation > generation);
        assert_eq!(rig.status("b").identity.id, Some(UserId::new("tb")));
        assert_eq!(rig.status("b").login.unwrap().problem, Some(problem));

        // Until it is mended.
        rig.save("b", Phones::login("tb")).await;
        let (config, plans) = rig.phones.configure_at("http://chat.test:81", &["a", "b"]);
        assert!(rig.handle.apply(config, plans).await.unwrap().reconnected.is_empty());
        assert_eq!(rig.status("b").login.unwrap().problem, None);
        assert_eq!(unreadable().await, None);
        rig.ready("b").await;

        rig.begin("a").await;
        rig.phones.then("in ta alice");
        rig.state("a", LoginState::Done).await;
        rig.ready("a").await;
    });
}

#[test]
fn a_login_heals_an_account_whose_login_was_revoked_and_what_it_has_to_send_goes_out() {
    in_virtual_time(async {
        let rig = Rig::start(&["a"], &[("a", "ta")]).await;
        rig.ready("a").await;
        rig.phones.revoke("ta");
        rig.until("it is revoked", MINUTE, |rig| rig.waits("a")).await;
        assert!(rig.phones.held().is_empty());
        let queued = rig.handle.send(&id("a"), ChatId::new("chat"), "hello".to_owned(), None).await.unwrap();
        rig.begin("a").await;
        assert_eq!(rig.phones.held(), [0], "what it refuses, the platform is not asked about");
        rig.phones.then("in t2 alice");
        rig.state("a", LoginState::Done).await;
        rig.ready("a").await;
        let began = Instant::now();
        loop {
            let row = rig.handle.outbox_row(queued.id).await.unwrap().unwrap();
            if row.state == moorline_store::OutboxState::Sent {
                break;
            }
            assert!(began.elapsed() < MINUTE, "{row:?}");
            sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn the_qr_code_is_shown_to_who_logs_in_and_to_nobody_else_f090() {
    in_virtual_time(async {
        let logs = Logs::collect();
        let mut rig = Rig::start(&["a"], &[]).await;
        let (_, mut events) = rig.handle.events(&moorline_runtime::EventScope::default());
        let view = rig.begin("a").await;
        let text = format!("{view:?}");
        assert!(!text.contains("qQ7"), "{text}");
        rig.phones.then("scanned");
        rig.state("a", LoginState::Scanned).await;
        rig.phones.then("in ta alice");
        rig.state("a", LoginState::Done).await;
        rig.ready("a").await;
        let status = serde_json::to_string(&rig.handle.status().await.unwrap()).unwrap();
        let report = serde_json::to_string(&rig.handle.doctor().await.unwrap()).unwrap();
        let mut told = String::new();
        while let Ok(Ok(event)) = tokio::time::timeout(SECOND, events.next()).await {
            told.push_str(&serde_json::to_string(&*event).unwrap());
        }
        assert!(told.contains("chat:a"), "{told}");
        rig.runtime.take().unwrap().shutdown(SECOND).await;
        assert!(logs.take("qQ7").is_empty());
        for (what, text) in [("status", status), ("doctor", report), ("events", told)] {
            assert!(!text.contains("qQ7") && !text.contains("token="), "{what}: {text}");
        }
    });
}

#[test]
fn a_shutdown_ends_the_logins_under_way() {
    in_virtual_time(async {
        let mut rig = Rig::start(&["a"], &[]).await;
        rig.begin("a").await;
        let began = Instant::now();
        rig.runtime.take().unwrap().shutdown(10 * SECOND).await;
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
        rig.phones.then("in ta alice");
        sleep(MINUTE).await;
        assert_eq!(rig.logins.load(&id("a")).await.unwrap(), None, "nobody waits for it any more");
    });
}

#[test]
fn nobody_logs_in_an_account_that_needs_no_login_or_is_not_there() {
    in_virtual_time(async {
        let world = moorline_tests::World::start(moorline_tests::Setup::default()).await;
        let id = world.id(0);
        let not_needed = Err(CommandError::NoLogins(id.clone()));
        assert_eq!(world.handle.login(&id, None).await, not_needed);
        assert_eq!(world.handle.login_state(&id).await, not_needed);
        assert_eq!(world.handle.give_login_up(&id).await, not_needed);
        assert_eq!(world.status(0).login, None);
        let nobody: AccountId = "chat:nobody".parse().unwrap();
        assert_eq!(world.handle.login(&nobody, None).await, Err(CommandError::UnknownAccount(nobody)));
    });
}
