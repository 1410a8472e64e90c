//! Tells an operator of lasting trouble, once, and once that it is over (F-103).
//!
//! What is trouble is what the doctor finds; when to tell of it is decided by a machine without I/O
//! ([`watch::Watch`]); this actor looks, logs and posts. Nothing waits for it: a webhook that hangs or refuses is
//! asked again with back-off, and is a finding itself.

mod notice;
mod post;
mod watch;

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use moorline_config::Alerts as Settings;
use moorline_core::{AccountState, Failure, RetryPolicy, Timestamp, millis};
use moorline_store::{Op, Tx};
use moorline_supervision::Env;

use self::notice::{Notice, NoticeKind};
use self::watch::{Effect, Watch};
use crate::bus::{self, AccountChanged};
use crate::doctor::{Finding, FindingKind, Now, Report};
use crate::handle::Handle;
use crate::services::Services;

/// How often the doctor is asked. Twice this, and a little, is how late an alert may be (F-103: 10 s).
const LOOK_EVERY: Duration = Duration::from_secs(4);

/// Under which name the store keeps what was told.
const MEMO: &str = "alerts";

/// How alerts get to whom they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AlertStatus {
    /// What the last attempt to post one came to, if it failed.
    pub(crate) failing: Option<Failing>,
}

/// An alert that could not be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failing {
    pub(crate) since: Timestamp,
    pub(crate) attempt: u32,
    pub(crate) next_attempt_at: Timestamp,
    pub(crate) why: String,
}

/// Watches the findings.
pub(crate) struct Alerts {
    services: Rc<Services>,
    handle: Handle,
    env: Env,
    watch: Option<Watch>,
    /// The doctor is being asked, or the store for what was told before.
    looking: bool,
    failures: u32,
}

impl AlertStatus {
    /// What the doctor says of it.
    pub(crate) fn finding(&self) -> Option<Finding> {
        let failing = self.failing.as_ref()?;
        let finding = Finding::error(
            FindingKind::AlertFailed,
            None,
            "nobody is told of trouble: the webhook does not take alerts",
            format!("{}, attempt {}", failing.why, failing.attempt),
            "check alerts.webhook and alerts.body; it is tried again by itself, and the log has every alert",
        );
        Some(finding.times(failing.since, Some(failing.next_attempt_at)))
    }
}

impl Alerts {
    pub(crate) fn new(services: Rc<Services>, handle: Handle, env: Env) -> Self {
        Self { services, handle, env, watch: None, looking: false, failures: 0 }
    }

    fn now(&self) -> Now {
        self.handle.moment()
    }

    fn settings(&self) -> Settings {
        self.services.settings().config.alerts.clone()
    }

    /// What was told before this life, so that nothing is told twice and every end is told.
    fn recall(&mut self, ctx: &mut Context<Self>) {
        self.looking = true;
        let recalling = self.services.store.remembered(MEMO);
        ctx.spawn(actix::fut::wrap_future(recalling).map(|told, this: &mut Self, ctx| {
            this.looking = false;
            match told {
                Ok(told) => {
                    this.watch = Some(Watch::recall(told.as_deref().unwrap_or_default(), this.now()));
                    this.look(ctx);
                }
                // The next look asks again.
                Err(error) => {
                    tracing::debug!(actor = "alerts", "what was told before could not be read: {error}");
                }
            }
        }));
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        // On the way down nothing is trouble.
        if self.looking || self.services.draining.get() {
            return;
        }
        if self.watch.is_none() {
            return self.recall(ctx);
        }
        self.looking = true;
        let (handle, guard) = (self.handle.clone(), self.env.in_flight.enter());
        let looking = async move {
            let report = handle.doctor().await;
            drop(guard);
            report
        };
        ctx.spawn(actix::fut::wrap_future(looking).map(|report, this: &mut Self, ctx| {
            this.looking = false;
            // A store that cannot be read says nothing about what is over; its own trouble ends the process.
            if let Ok(report) = report {
                this.looked(&report, ctx);
            }
        }));
    }

    fn looked(&mut self, report: &Report, ctx: &mut Context<Self>) {
        let (now, settings) = (self.now(), self.settings());
        if settings.webhook.is_none() {
            self.settle(None);
        }
        let Some(watch) = &mut self.watch else { return };
        let effects = watch.step(now, &report.findings, &settings);
        self.carry_out(effects, &settings, ctx);
    }

    fn carry_out(&mut self, effects: Vec<Effect>, settings: &Settings, ctx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Log(notice) => log(&notice),
                Effect::Post(notice) => self.post(notice, settings, ctx),
                Effect::Keep(told) => self.keep(told, ctx),
            }
        }
    }

    fn post(&mut self, notice: Notice, settings: &Settings, ctx: &mut Context<Self>) {
        let Some(webhook) = settings.webhook.clone() else { return };
        let (http, body, guard) =
            (Rc::clone(&self.services.network.http), settings.body, self.env.in_flight.enter());
        let handle = self.handle.clone();
        let posting = async move {
            let host = handle.machine.look().await.host;
            let posted = post::post(&*http, &webhook, body, &notice, host.as_deref()).await;
            drop(guard);
            posted
        };
        ctx.spawn(
            actix::fut::wrap_future(posting).map(|posted, this: &mut Self, ctx| this.posted(posted, ctx)),
        );
    }

    fn posted(&mut self, posted: Result<(), Failure>, ctx: &mut Context<Self>) {
        let wait = self.settle(posted.as_ref().err());
        let (now, settings) = (self.now(), self.settings());
        let Some(watch) = &mut self.watch else { return };
        let effects = watch.posted(now, wait);
        self.carry_out(effects, &settings, ctx);
    }

    /// Notes what an attempt came to; the wait before the next one, if it failed.
    fn settle(&mut self, failed: Option<&Failure>) -> Option<Duration> {
        let Some(failure) = failed else {
            self.failures = 0;
            self.services.board.set_alerts(AlertStatus::default());
            return None;
        };
        self.failures = self.failures.saturating_add(1);
        let wait = RetryPolicy::STANDARD.delay(failure, self.failures, self.services.random.unit());
        tracing::warn!(
            actor = "alerts",
            attempt = self.failures,
            next_in_ms = millis(wait),
            "alert not posted, trying again: {failure}"
        );
        let now = self.services.clock.wall();
        let since = self.services.board.alerts().failing.map_or(now, |failing| failing.since);
        let (attempt, why) = (self.failures, failure.to_string());
        let failing = Failing { since, attempt, next_attempt_at: now + wait, why };
        self.services.board.set_alerts(AlertStatus { failing: Some(failing) });
        Some(wait)
    }

    /// A store that refuses keeps nothing: then an alert may come twice, over a restart.
    fn keep(&self, told: String, ctx: &mut Context<Self>) {
        let op = Op::Remember { name: MEMO.to_owned(), value: told };
        let keeping = self.services.store.commit(Tx::global(self.services.clock.wall(), [op]));
        ctx.spawn(actix::fut::wrap_future(keeping).map(|kept, _, _| {
            if let Err(error) = kept {
                tracing::warn!(actor = "alerts", "what was told could not be stored: {error}");
            }
        }));
    }
}

/// One line for each notice, whatever it tells of: what is told elsewhere is in the log too.
fn log(notice: &Notice) {
    let (findings, text) = (notice.items.len(), notice.text());
    match notice.kind {
        NoticeKind::Alert => tracing::warn!(actor = "alerts", findings, "alert: {text}"),
        NoticeKind::AllClear => tracing::info!(actor = "alerts", findings, "all clear: {text}"),
    }
}

impl Actor for Alerts {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        bus::follow(&self.services.bus, None, ctx);
        self.look(ctx);
        ctx.run_interval(LOOK_EVERY, |this, ctx| this.look(ctx));
    }
}

/// What needs an operator need not wait for the next look.
impl Handler<AccountChanged> for Alerts {
    type Result = ();

    fn handle(&mut self, event: AccountChanged, ctx: &mut Context<Self>) {
        if event.state == AccountState::Blocked {
            self.look(ctx);
        }
    }
}
