//! The daemon: lock, bind, open, start, wait, drain; and what comes after it: an end, or a fresh process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use moorline_admin::{Listener, admin_child, token};
use moorline_core::{BootId, Clock};
use moorline_runtime::{ChildFactory, ConfigFile, ExitReason, Handle, Options, Runtime};
use moorline_store::{DataDir, OpenError, SqliteOptions, SqliteStore, Store};
use moorline_transport::{Proxy, Transport};

use crate::cli::Place;
use crate::client::data_dir;
use crate::clock::SystemClock;
use crate::exit::{Code, Failed, at_latest, code_of};
use crate::logins::LoginFiles;
use crate::machine::ThisMachine;
use crate::replace::{Birth, Heir};
use crate::run_file::{Phase, RunFile, born};
use crate::settings::Settings;
use crate::signals::{Asked, Signals};
use crate::systemd::Manager;
use crate::{output, waiting_room};

/// How much longer than its grace a drain may take, for goodbyes and the last words to the store (F-070).
const LAST_STEPS: Duration = Duration::from_millis(1_200);

/// How long closing everything may take before a fresh process can take over.
const MAKES_WAY_WITHIN: Duration = Duration::from_secs(30);

/// How long closing everything may take once nobody wants to wait.
const HURRY: Duration = Duration::from_millis(800);

/// `moorline run`.
///
/// # Errors
/// When the configuration is wrong or something cannot be started; nothing is left half started. A process that replaces
/// another one tries again instead, for nobody may be watching it.
pub fn run(place: &Place) -> Result<Code> {
    let mut birth = Birth::take()?;
    let mut last = String::new();
    loop {
        let delay = birth.delay();
        if !delay.is_zero() {
            note_problem(place, &last);
            let manager = Manager::of_this_process();
            manager.waiting(delay);
            if let Some(code) = waiting_room::wait(birth.socket(), delay)? {
                leave(place);
                return Ok(code);
            }
            manager.starting();
        }
        match start(place, &mut birth) {
            Ok(ended) => return ended.finish(),
            // Somebody else has taken over; or nobody was here before, and whoever started us reads this.
            Err(error) if !birth.is_replacement() || code_of(&error) == Code::AlreadyRunning => {
                return Err(error);
            }
            Err(error) => {
                birth.failed();
                let seconds = birth.delay().as_secs();
                last = format!("the start failed and is tried again in {seconds} s: {error:#}");
                if tracing::dispatcher::has_been_set() {
                    tracing::error!(attempts = birth.failures(), "{last}");
                } else {
                    output::note(&last);
                }
            }
        }
    }
}

/// One attempt at it.
fn start(place: &Place, birth: &mut Birth) -> Result<Ended> {
    let settings = Settings::read(place)?;
    if !tracing::dispatcher::has_been_set() {
        crate::log::start(&settings.config.log)?;
    }
    for warning in &settings.warnings.0 {
        tracing::warn!(actor = "config", "{warning}");
    }
    let place = place.clone();
    let path = place.config.clone();
    let load = move || match Settings::read(&place) {
        Ok(settings) => Ok((settings.config, settings.plans)),
        Err(problems) => Err(format!("{problems:#}").lines().map(str::to_owned).collect()),
    };
    serve(settings, Some(ConfigFile { path, load: Arc::new(load) }), None, Vec::new(), birth)
}

/// How a run came to its end.
pub enum Ended {
    /// For good.
    Over(Code),
    /// A fresh process takes over.
    Replaced(Box<Heir>),
}

impl Ended {
    /// Ends, one way or the other.
    ///
    /// # Errors
    /// When there is to be a fresh process and cannot be.
    pub fn finish(self) -> Result<Code> {
        match self {
            Self::Over(code) => Ok(code),
            Self::Replaced(heir) => Err(heir.succeed().into()),
        }
    }
}

/// Runs until somebody asks for the end, with more children of the root if there are any.
///
/// # Errors
/// As [`run`].
pub fn serve(
    settings: Settings,
    config_file: Option<ConfigFile>,
    simulator: Option<SocketAddr>,
    children: Vec<ChildFactory>,
    birth: &mut Birth,
) -> Result<Ended> {
    moorline_supervision::install_panic_hook();
    let directory = DataDir::open(&settings.config.data_dir).map_err(refused)?;
    let listener = birth.listener(&settings.config.admin).map_err(|error| {
        Failed::new(Code::BadConfiguration, format!("{error:#}; change admin.listen or end who uses it"))
    })?;
    let clock = Arc::new(SystemClock::new());
    let (boot, seed) = identify(&*clock);
    let run_file = RunFile {
        pid: std::process::id(),
        born: born(std::process::id()),
        address: listener.local_addr(),
        boot,
        started_at: clock.wall(),
        phase: Phase::Starting,
        problem: None,
        simulator,
    };
    birth.came_from(directory.path());
    // First of all: from now on it is known that somebody is here, and to be waited for.
    run_file.write(directory.path()).context("run.json could not be written")?;
    let ended =
        Daemon { settings, config_file, children, directory: directory.clone(), run_file, clock, seed }
            .run(listener, birth);
    let goes_on = match &ended {
        Ok(Ended::Replaced(_)) => true,
        Ok(Ended::Over(_)) => false,
        Err(_) => birth.is_replacement(),
    };
    if !goes_on {
        RunFile::remove(directory.path());
    }
    ended
}

/// Everything a run is made of, but its socket.
struct Daemon {
    settings: Settings,
    config_file: Option<ConfigFile>,
    children: Vec<ChildFactory>,
    directory: DataDir,
    run_file: RunFile,
    clock: Arc<SystemClock>,
    seed: u64,
}

impl Daemon {
    fn run(self, listener: Listener, birth: &Birth) -> Result<Ended> {
        let Self { settings, config_file, mut children, directory, mut run_file, clock, seed } = self;
        // Handed over whole below: a thousand accounts are not kept twice.
        let Settings { config, plans, .. } = settings;
        let began = clock.now();
        let system = actix_rt::System::new();
        let mut signals = system.block_on(async { Signals::listen() })?;
        let token = token::load_or_create(directory.path())
            .context("the admin token could not be read or created")?;
        let store = Arc::new(SqliteStore::open(&directory, SqliteOptions::default()).map_err(refused)?);
        let handed_on = birth.heir(&listener, directory.clone())?;
        children.push(Box::new(admin_child(listener, token)));
        let reason = system.block_on(async {
            let grace = config.runtime.shutdown_grace;
            let accounts = config.accounts.len();
            let machine = ThisMachine::new(directory.path(), config_file.as_ref().map(|file| &*file.path));
            let transport = Transport::new(network_options(&config.network)?)?;
            let runtime = Runtime::start(Options {
                config,
                plans,
                agents: BTreeMap::new(),
                store: Arc::clone(&store) as Arc<dyn Store>,
                logins: Rc::new(LoginFiles::new(directory.path())),
                network: transport.network(),
                clock: Arc::clone(&clock) as Arc<dyn Clock>,
                boot: run_file.boot.clone(),
                seed,
                version: env!("CARGO_PKG_VERSION"),
                config_file,
                machine: Arc::new(machine),
                children,
            })
            .await?;
            run_file.enter(Phase::Running, directory.path()).context("run.json could not be written")?;
            tracing::info!(
                address = %run_file.address,
                pid = run_file.pid,
                accounts,
                data_dir = %directory.path().display(),
                "started"
            );
            let manager = Manager::of_this_process();
            let mut watch = manager.watch(runtime.handle());
            let (reason, by_signal) = watch.beside(wait(&runtime, &mut signals)).await;
            match reason {
                ExitReason::Shutdown => manager.stopping(grace),
                ExitReason::Restart | ExitReason::StoreFailed(_) => manager.restarting(),
            }
            let (phase, grace) = match reason {
                ExitReason::Shutdown => (Phase::Stopping, grace),
                ExitReason::Restart => (Phase::Restarting, grace),
                // Nothing that is under way can be stored any more.
                ExitReason::StoreFailed(_) => (Phase::Restarting, Duration::ZERO),
            };
            // Only the command line's patience depends on it.
            drop(run_file.enter(phase, directory.path()));
            let for_good = || {
                drop(run_file.enter(Phase::Stopping, directory.path()));
                manager.stopping(grace);
            };
            let drained = watch.beside(drain(runtime, grace, &mut signals, by_signal, for_good)).await;
            let came_late = signals.leave().await;
            Ok::<_, anyhow::Error>(drained.map(|reason| came_late.map_or(reason, |_| ExitReason::Shutdown)))
        })?;
        let code = match &reason {
            Ok(ExitReason::Shutdown) => Some(Code::Ok),
            Ok(ExitReason::Restart | ExitReason::StoreFailed(_)) => None,
            Err(in_a_hurry) => Some(in_a_hurry.code()),
        };
        match code {
            Some(code) => at_latest(HURRY, code),
            // A disk that does not answer: whoever watches us starts us again.
            None => at_latest(MAKES_WAY_WITHIN, Code::Internal),
        }
        // With it go the programs of agents, and whatever else was still held.
        drop(system);
        store.close();
        Ok(match reason {
            Ok(ExitReason::Restart) => {
                tracing::info!("restarting: the fresh process takes over");
                Ended::Replaced(Box::new(handed_on))
            }
            Ok(ExitReason::StoreFailed(why)) => {
                let failures = birth.failures_after(clock.now().since(began));
                tracing::error!(failures, "the store failed, a fresh process takes over: {why}");
                Ended::Replaced(Box::new(handed_on.after(failures)))
            }
            Ok(ExitReason::Shutdown) | Err(_) => Ended::Over(code.unwrap_or(Code::Ok)),
        })
    }
}

/// The network as it is configured. The proxy's address was checked with the rest of the configuration.
///
/// # Errors
/// When the proxy's address cannot be used after all.
pub fn network_options(network: &moorline_config::Network) -> Result<moorline_transport::Options> {
    let proxy = match &network.proxy {
        Some(address) => {
            let mut proxy = Proxy::parse(address.expose())?;
            proxy.bypass.clone_from(&network.no_proxy);
            Some(proxy)
        }
        None => None,
    };
    let extra_roots = network.extra_roots.iter().map(|pem| pem.clone().into()).collect();
    Ok(moorline_transport::Options { extra_roots, proxy, ..moorline_transport::Options::default() })
}

/// Waits for a reason to end; SIGHUP reloads meanwhile. Says whether the reason was a signal.
async fn wait(runtime: &Runtime, signals: &mut Signals) -> (ExitReason, bool) {
    let handle = runtime.handle();
    let mut reloading = false;
    loop {
        let asked = tokio::select! {
            biased;
            reason = handle.exit_requested() => return (reason, false),
            asked = signals.next() => asked,
            () = reload(&handle), if reloading => { reloading = false; continue }
        };
        match asked {
            // A reload that is under way is begun anew: the file may have changed meanwhile.
            Asked::Reload => {
                tracing::info!("SIGHUP: reading the configuration");
                reloading = true;
            }
            end => {
                tracing::info!("{end}; a second one ends at once");
                handle.shutdown();
                return (ExitReason::Shutdown, true);
            }
        }
    }
}

/// What came of it is logged where it is known, problems line by line.
async fn reload(handle: &Handle) {
    drop(handle.reload().await);
}

/// Drains, and says what is to come after it, which may have changed meanwhile; unless somebody is in a hurry and says
/// so by one more signal.
async fn drain(
    runtime: Runtime,
    grace: Duration,
    signals: &mut Signals,
    mut asked_before: bool,
    mut for_good: impl FnMut(),
) -> Result<ExitReason, Asked> {
    let handle = runtime.handle();
    let limit = grace + LAST_STEPS;
    let mut draining = pin!(tokio::time::timeout(limit, runtime.shutdown(grace)));
    loop {
        tokio::select! {
            in_time = &mut draining => {
                if in_time.is_err() {
                    tracing::warn!("not everything ended within {} ms", limit.as_millis());
                }
                return Ok(handle.exit_reason().unwrap_or(ExitReason::Shutdown));
            }
            asked = signals.end() => {
                if asked_before {
                    tracing::warn!("{asked} again: ending at once; what is not finished is resumed at the next start");
                    return Err(asked);
                }
                asked_before = true;
                tracing::warn!("{asked}: it is ending already, and for good; one more ends it at once");
                for_good();
                handle.shutdown();
            }
        }
    }
}

/// Shows in run.json why it is not up yet.
fn note_problem(place: &Place, problem: &str) {
    let Some((dir, mut run)) = own_run_file(place) else { return };
    run.problem = Some(problem.to_owned()).filter(|problem| !problem.is_empty());
    drop(run.enter(Phase::Starting, &dir));
}

/// The end of a process that never came up.
fn leave(place: &Place) {
    if let Some((dir, _)) = own_run_file(place) {
        RunFile::remove(&dir);
    }
}

/// run.json, if it names this process: while it waits it does not hold the data directory.
fn own_run_file(place: &Place) -> Option<(std::path::PathBuf, RunFile)> {
    let dir = data_dir(place).ok()?;
    let run = RunFile::read(Path::new(&dir)).filter(|run| run.pid == std::process::id())?;
    Some((dir, run))
}

/// A name for this run, and a seed: from the time and the process, which no two runs on one machine share.
fn identify(clock: &dyn Clock) -> (BootId, u64) {
    let now = clock.wall();
    let seed = fastrand::u64(..);
    (BootId::new(format!("{}-{}-{:04x}", now.as_millis(), std::process::id(), seed & 0xffff)), seed)
}

/// Why a data directory was not opened, with the exit code for it.
pub fn refused(error: OpenError) -> anyhow::Error {
    let code = match error {
        OpenError::InUse { .. } => Code::AlreadyRunning,
        OpenError::NetworkFileSystem { .. } => Code::BadConfiguration,
        _ => Code::Internal,
    };
    Failed::new(code, error).into()
}
