//! The real binary, with its real transport, store and admin endpoint, and the platform behind a socket on loopback.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use moorline_channel::SavedLogin;
use moorline_core::{AccountId, ChatId};
use serde_json::{Value, json};

use super::{Hold, Stage, Wish, base, configuration};
use crate::process::{Process, Settings, binary, signal};
use crate::syncs::SyncCounter;

/// How long a process may take until its admin endpoint answers.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// See [`super::Mount::Sockets`].
pub struct OnSockets {
    settings: Settings,
    /// Between the process and the disk.
    disk: SyncCounter,
    process: Option<Process>,
    /// How many syncs there were when commits were held, if they are.
    held: Option<(Hold, usize)>,
}

/// Puts a login where `moorline login` would have put it (docs/weixin.md).
fn log_in(settings: &Settings, account: &AccountId, login: &SavedLogin) {
    let directory = settings.data().join("logins");
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join(format!("{}.{}.json", account.channel(), account.name()));
    let login: Value = serde_json::from_str(login.0.expose()).unwrap();
    let content = json!({ "login": login, "person": null, "saved_at": "2026-11-20T12:00:00.000Z" });
    fs::write(&file, content.to_string()).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
}

impl OnSockets {
    pub(super) fn open(stage: &mut dyn Stage, wish: &Wish) -> Self {
        let base = base(stage.serve());
        let settings =
            Settings::from_text(|data| configuration(stage, wish, &data.display().to_string(), &base));
        for n in 0..wish.accounts {
            if let Some(login) = stage.login(n, &base) {
                log_in(&settings, &stage.account(n), &login);
            }
        }
        let mut house = Self { settings, disk: SyncCounter::build(), process: None, held: None };
        house.start();
        house
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("nobody asks a process that is not there")
    }

    pub(super) fn get(&self, path: &str) -> Value {
        self.process.as_ref().map(|process| process.get(path)).unwrap_or_default()
    }

    pub(super) fn gaps(&self, id: &AccountId) -> Vec<Value> {
        let page = self.get(&format!("/v1/gaps?account={id}&limit=500"));
        page["gaps"].as_array().cloned().unwrap_or_default()
    }

    pub(super) fn list(&self, path: &str) -> Vec<Value> {
        self.get(path)["messages"].as_array().cloned().unwrap_or_default()
    }

    pub(super) fn send(&self, id: &AccountId, to: &ChatId, text: &str, key: &str) {
        let body = json!({ "to": to, "text": text, "idempotency_key": key });
        let answer = self.process().call("POST", &format!("/v1/accounts/{id}/messages"), Some(&body));
        let answer = answer.expect("the process answers");
        assert!(answer.status < 300, "{}", answer.text);
    }

    pub(super) fn hurry(&self, id: &AccountId) {
        let post = |path: String| drop(self.process().call("POST", &path, None));
        post(format!("/v1/accounts/{id}/probe"));
        for row in self.list(&format!("/v1/outbox?account={id}&limit=500")) {
            if ["ready", "unknown"].iter().any(|waits| row["state"] == *waits) {
                post(format!("/v1/outbox/{}/retry", row["id"]));
            }
        }
    }

    /// A process that is stopped takes nothing from its sockets; one whose syncs do not return has written its commit,
    /// and learns nothing of it.
    pub(super) fn hold(&mut self, hold: Hold) {
        self.held = Some((hold, self.disk.fdatasyncs()));
        match hold {
            Hold::BeforeTheCommit => signal(self.process().pid(), "STOP"),
            Hold::AfterTheCommit => self.disk.hold(),
        }
    }

    pub(super) fn is_held(&self) -> bool {
        match self.held {
            Some((Hold::BeforeTheCommit, _)) => true,
            Some((Hold::AfterTheCommit, before)) => self.disk.fdatasyncs() > before,
            None => false,
        }
    }

    pub(super) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
        if let Some((Hold::AfterTheCommit, _)) = self.held.take() {
            self.disk.release();
        }
    }

    pub(super) fn start(&mut self) {
        let mut process = self.settings.start_with(&binary(), &self.disk.environment());
        process.until("its endpoint answers", STARTS_WITHIN, |process| {
            process.call("GET", "/healthz", None).is_some_and(|answer| answer.status == 200)
        });
        self.process = Some(process);
    }

    pub(super) fn log_tail(&self) -> String {
        self.process.as_ref().map(Process::log_tail).unwrap_or_default()
    }
}
