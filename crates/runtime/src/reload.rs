//! Watches the configuration file and applies what changed in it (F-075…F-079).
//!
//! The file is looked at, not listened to: replaced by a rename, mounted from elsewhere, or written in place, it is
//! the same to a look twice a second. It is read when it has stopped changing, so that half of a write is not taken
//! for the whole; and what cannot be read changes nothing, and is shown until it can.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use moorline_channel::Plan;
use moorline_config::Config;
use moorline_core::{AccountId, Timestamp};
use moorline_supervision::{ActorRef, Env};
use parking_lot::RwLock;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::accounts::{Accounts, Applied, Apply};
use crate::events::{Events, Sort, What};
use crate::handle::CommandError;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks without a change after which a write counts as whole.
const QUIET_LOOKS: u32 = 2;

/// For applying a configuration: every account that goes may take its goodbye.
const APPLY_DEADLINE: Duration = Duration::from_secs(30);

/// How long after a configuration could not be applied, though nothing is wrong with it, it is read again.
const APPLY_AGAIN: Duration = Duration::from_secs(10);

/// What reading the configuration gives: it and its plans, or everything that is wrong with it, one line each.
pub type Loaded = Result<(Config, BTreeMap<AccountId, Arc<dyn Plan>>), Vec<String>>;

/// Where the configuration comes from.
#[derive(Clone)]
pub struct ConfigFile {
    /// The file that is watched.
    pub path: PathBuf,
    /// Reads and checks it, by the same function as the start (F-079). May block.
    pub load: Arc<dyn Fn() -> Loaded + Send + Sync>,
}

/// Read the configuration now, and apply what changed.
#[derive(Debug, Message)]
#[rtype(result = "Result<Applied, ReloadError>")]
pub(crate) struct Reload;

/// Why nothing was reloaded; what was in use still is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// The file is wrong.
    #[error("the configuration is wrong and was not applied, the old one stays in use: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// This process was started without one.
    #[error("there is no configuration file to read: this process was started without one")]
    NoFile,
    /// It could not be applied.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// What is known of the configuration file, for the status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ConfigStatus {
    /// What is wrong with the file as it is now; empty when it is the one in use.
    pub problems: Vec<String>,
    /// The file is right, and could not be applied just then: it is tried again by itself.
    #[serde(skip)]
    pub again: bool,
    /// When a configuration was last applied.
    pub applied_at: Option<Timestamp>,
}

/// Shared by the watcher and the status.
pub(crate) type SharedConfigStatus = Arc<RwLock<ConfigStatus>>;

/// Watches one file.
pub(crate) struct ConfigWatch {
    file: ConfigFile,
    accounts: ActorRef<Accounts>,
    status: SharedConfigStatus,
    events: Events,
    clock: Arc<dyn moorline_core::Clock>,
    env: Env,
    seen: Option<Fingerprint>,
    /// Looks since the file last changed; `None` when what it holds was read.
    quiet: Option<u32>,
    /// Reads what could not be applied again.
    again: Option<SpawnHandle>,
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fingerprint {
    modified: Option<Timestamp>,
    length: u64,
    inode: u64,
}

impl ConfigWatch {
    pub(crate) fn new(
        file: ConfigFile,
        accounts: ActorRef<Accounts>,
        status: SharedConfigStatus,
        events: Events,
        clock: Arc<dyn moorline_core::Clock>,
        env: Env,
    ) -> Self {
        // Looked at for the first time by the first look; read then too, in case it changed before.
        Self { file, accounts, status, events, clock, env, seen: None, quiet: None, again: None }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let path = self.file.path.clone();
        let looking = async move { tokio::task::spawn_blocking(move || fingerprint(&path)).await };
        ctx.spawn(actix::fut::wrap_future(looking).map(|now, this: &mut Self, ctx| {
            if let Ok(now) = now {
                this.looked(now, ctx);
            }
        }));
    }

    fn looked(&mut self, now: Option<Fingerprint>, ctx: &mut Context<Self>) {
        if now != self.seen {
            self.seen = now;
            self.quiet = Some(0);
        } else if let Some(looks) = &mut self.quiet {
            *looks += 1;
            if *looks >= QUIET_LOOKS {
                self.quiet = None;
                self.read(None, ctx);
            }
        }
    }

    /// Reads, and applies what can be; answers whoever asked.
    fn read(
        &mut self,
        asked: Option<oneshot::Sender<Result<Applied, ReloadError>>>,
        ctx: &mut Context<Self>,
    ) {
        let load = Arc::clone(&self.file.load);
        let accounts = self.accounts.clone();
        let guard = self.env.in_flight.enter();
        let reading = async move {
            let loaded = tokio::task::spawn_blocking(move || load()).await;
            let applied = match loaded {
                Ok(Ok((config, plans))) => apply(&accounts, config, plans).await,
                Ok(Err(problems)) => Err(ReloadError::Invalid(problems)),
                Err(_) => Err(ReloadError::Invalid(vec!["reading it failed inside Moorline".to_owned()])),
            };
            drop(guard);
            applied
        };
        ctx.spawn(actix::fut::wrap_future(reading).map(move |applied, this: &mut Self, ctx| {
            this.note(&applied);
            this.read_again(&applied, ctx);
            if let Some(asked) = asked {
                // Whoever asked may have gone.
                asked.send(applied).ok();
            }
        }));
    }

    /// What stood in the way of a configuration passes: nobody has to touch the file for it. It may have been applied by
    /// now, after we had stopped waiting for it; then there is nothing to do but to say so.
    fn read_again(&mut self, applied: &Result<Applied, ReloadError>, ctx: &mut Context<Self>) {
        if let Some(again) = self.again.take() {
            ctx.cancel_future(again);
        }
        if matches!(applied, Err(ReloadError::Command(_))) {
            self.again = Some(ctx.run_later(APPLY_AGAIN, |this, ctx| {
                this.again = None;
                this.read(None, ctx);
            }));
        }
    }

    fn note(&self, applied: &Result<Applied, ReloadError>) {
        let mut status = self.status.write();
        let before = std::mem::take(&mut status.problems);
        match applied {
            Ok(applied) => {
                status.applied_at = Some(self.clock.wall());
                if applied.is_empty() && !before.is_empty() {
                    // The file says again what is in use: nothing else would tell that it is right.
                    let event = || What::ReloadApplied { applied: applied.clone() };
                    self.events.tell(Sort::Lifecycle, event);
                }
            }
            Err(ReloadError::Invalid(problems)) => {
                for problem in problems {
                    tracing::error!(
                        actor = "config",
                        "not applied, the old configuration stays in use: {problem}"
                    );
                }
                status.problems.clone_from(problems);
                status.again = false;
            }
            Err(error) => {
                let problem = format!("not applied, and tried again in {} s: {error}", APPLY_AGAIN.as_secs());
                tracing::error!(actor = "config", "{problem}");
                status.problems = vec![problem];
                status.again = true;
            }
        }
        if !status.problems.is_empty() && status.problems != before {
            let event = || What::ReloadFailed { problems: status.problems.clone() };
            self.events.tell(Sort::Lifecycle, event);
        }
    }
}

/// Hands a configuration to the accounts.
pub(crate) async fn apply(
    accounts: &ActorRef<Accounts>,
    config: Config,
    plans: BTreeMap<AccountId, Arc<dyn Plan>>,
) -> Result<Applied, ReloadError> {
    let applying = async {
        let (_, accounts) = accounts.ready().await;
        accounts.send(Apply { config, plans }).await
    };
    match tokio::time::timeout(APPLY_DEADLINE, applying).await {
        Ok(Ok(applied)) => Ok(applied?),
        Ok(Err(_)) | Err(_) => Err(CommandError::Busy.into()),
    }
}

/// Reads the file and applies nothing.
pub(crate) async fn check(file: &ConfigFile) -> Result<(), ReloadError> {
    let load = Arc::clone(&file.load);
    match tokio::time::timeout(APPLY_DEADLINE, tokio::task::spawn_blocking(move || load())).await {
        Ok(Ok(Ok(_))) => Ok(()),
        Ok(Ok(Err(problems))) => Err(ReloadError::Invalid(problems)),
        Ok(Err(_)) => Err(ReloadError::Invalid(vec!["reading it failed inside Moorline".to_owned()])),
        Err(_) => Err(CommandError::Busy.into()),
    }
}

fn fingerprint(path: &std::path::Path) -> Option<Fingerprint> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    let since_epoch = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok();
    let modified =
        since_epoch.map(|since| Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(0)));
    Some(Fingerprint { modified, length: metadata.len(), inode: metadata.ino() })
}

impl Actor for ConfigWatch {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(LOOK_EVERY, |this, ctx| this.look(ctx));
    }
}

impl Handler<Reload> for ConfigWatch {
    type Result = ResponseFuture<Result<Applied, ReloadError>>;

    fn handle(&mut self, _: Reload, ctx: &mut Context<Self>) -> Self::Result {
        let (asked, answer) = oneshot::channel();
        self.read(Some(asked), ctx);
        Box::pin(async { answer.await.unwrap_or(Err(ReloadError::Command(CommandError::Busy))) })
    }
}
