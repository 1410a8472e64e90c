//! The daemon: lock, bind, open, start, wait, drain.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use moorline_admin::{Admin, admin_child, token};
use moorline_core::{BootId, Clock};
use moorline_runtime::{ChildFactory, ConfigFile, ExitReason, Handle, Options, Runtime};
use moorline_store::{DataDir, OpenError, SqliteOptions, SqliteStore, Store};
use moorline_transport::{Proxy, Transport};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Place;
use crate::clock::SystemClock;
use crate::exit::{Code, Failed};
use crate::machine::ThisMachine;
use crate::run_file::{Phase, RunFile};
use crate::settings::Settings;

/// `moorline run`.
///
/// # Errors
/// When the configuration is wrong or something cannot be started; nothing is left half started.
pub fn run(place: &Place) -> Result<Code> {
    let settings = Settings::read(place)?;
    crate::log::start(&settings.config.log)?;
    for warning in &settings.warnings.0 {
        tracing::warn!(actor = "config", "{warning}");
    }
    let place = place.clone();
    let path = place.config.clone();
    let load = move || match Settings::read(&place) {
        Ok(settings) => Ok((settings.config, settings.plans)),
        Err(problems) => Err(format!("{problems:#}").lines().map(str::to_owned).collect()),
    };
    serve(settings, Some(ConfigFile { path, load: Arc::new(load) }), None, Vec::new())
}

/// Runs until somebody asks for the end, with more children of the root if there are any.
///
/// # Errors
/// As [`run`].
pub fn serve(
    settings: Settings,
    config_file: Option<ConfigFile>,
    simulator: Option<SocketAddr>,
    mut children: Vec<ChildFactory>,
) -> Result<Code> {
    moorline_supervision::install_panic_hook();
    // Handed over whole below: a thousand accounts are not kept twice.
    let Settings { config, plans, .. } = settings;
    let directory = DataDir::open(&config.data_dir).map_err(refused)?;
    let listener = Admin::bind(&config.admin).map_err(|error| {
        Failed::new(Code::BadConfiguration, format!("{error:#}; change admin.listen or end who uses it"))
    })?;
    let token =
        token::load_or_create(&config.data_dir).context("the admin token could not be read or created")?;
    let store = SqliteStore::open(&directory, SqliteOptions::default()).map_err(refused)?;
    let store = Arc::new(store);
    let address = listener.local_addr();
    children.push(Box::new(admin_child(listener, token)));

    let system = actix_rt::System::new();
    let code = system.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let (boot, seed) = identify(&*clock);
        let data_dir = config.data_dir.clone();
        let grace = config.runtime.shutdown_grace;
        let mut run_file = RunFile {
            pid: std::process::id(),
            address,
            boot: boot.clone(),
            started_at: clock.wall(),
            phase: Phase::Starting,
            simulator,
        };
        run_file.write(&data_dir).context("run.json could not be written")?;
        let accounts = config.accounts.len();
        let machine = ThisMachine::new(&data_dir, config_file.as_ref().map(|file| &*file.path));
        let transport = Transport::new(network_options(&config.network)?)?;
        let runtime = Runtime::start(Options {
            config,
            plans,
            agents: BTreeMap::new(),
            store: Arc::clone(&store) as Arc<dyn Store>,
            network: transport.network(),
            clock,
            boot,
            seed,
            version: env!("CARGO_PKG_VERSION"),
            config_file,
            machine: Arc::new(machine),
            children,
        })
        .await?;
        run_file.phase = Phase::Running;
        run_file.write(&data_dir).context("run.json could not be written")?;
        tracing::info!(%address, pid = run_file.pid, accounts, data_dir = %data_dir.display(), "started");
        let code = wait(&runtime).await?;
        run_file.phase = Phase::Stopping;
        // Only the command line's patience depends on it.
        drop(run_file.write(&data_dir));
        let ended = end(runtime, grace).await;
        RunFile::remove(&data_dir);
        Ok::<Code, anyhow::Error>(ended.unwrap_or(code))
    });
    store.close();
    code
}

/// The network as it is configured. The proxy's address was checked with the rest of the configuration.
fn network_options(network: &moorline_config::Network) -> Result<moorline_transport::Options> {
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

/// Waits for a reason to end; SIGHUP reloads meanwhile.
async fn wait(runtime: &Runtime) -> Result<Code> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let handle = runtime.handle();
    let reason = loop {
        tokio::select! {
            _ = terminate.recv() => { tracing::info!("SIGTERM"); break ExitReason::Shutdown }
            _ = interrupt.recv() => { tracing::info!("SIGINT; a second one ends at once"); break ExitReason::Shutdown }
            reason = handle.exit_requested() => break reason,
            _ = hangup.recv() => reload(&handle).await,
        }
    };
    Ok(match reason {
        ExitReason::Shutdown => Code::Ok,
        // Until the process can replace itself (design §3 rule 7) whoever watches it has to.
        ExitReason::StoreFailed(_) => Code::Internal,
    })
}

async fn reload(handle: &Handle) {
    tracing::info!("SIGHUP: reading the configuration");
    // What came of it is logged where it is known, problems line by line.
    drop(handle.reload().await);
}

/// Drains, unless somebody is in a hurry; then it says so by its code.
async fn end(runtime: Runtime, grace: Duration) -> Option<Code> {
    let hurry = async {
        match signal(SignalKind::interrupt()) {
            Ok(mut interrupt) => drop(interrupt.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = runtime.shutdown(grace) => None,
        () = hurry => {
            tracing::warn!("second SIGINT: ending at once; what is not finished is resumed at the next start");
            Some(Code::Interrupted)
        }
    }
}

/// A name for this run, and a seed: from the time and the process, which no two runs on one machine share.
fn identify(clock: &dyn Clock) -> (BootId, u64) {
    let now = clock.wall();
    let seed = fastrand::u64(..);
    (BootId::new(format!("{}-{}-{:04x}", now.as_millis(), std::process::id(), seed & 0xffff)), seed)
}

fn refused(error: OpenError) -> anyhow::Error {
    let code = match error {
        OpenError::InUse { .. } => Code::AlreadyRunning,
        OpenError::NetworkFileSystem { .. } => Code::BadConfiguration,
        _ => Code::Internal,
    };
    Failed::new(code, error).into()
}
