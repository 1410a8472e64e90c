//! `moorline demo`: the real runtime on a simulated platform, with a few faults to watch it recover from.

mod say;
mod story;

pub use say::say;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use moorline_config::{Diagnosis, Source};
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{NewApp, Redelivery};
use moorline_simulator::server::{Options, Server};

use crate::cli::{DEFAULT_CONFIG, Place};
use crate::exit::{Code, Failed};
use crate::output;
use crate::replace::Birth;
use crate::run::serve;
use crate::settings::Settings;
use story::Story;

/// The demo's configuration: three accounts whose platform is the simulator.
const CONFIGURATION: &str = include_str!("../../../config/demo.toml");

/// What the simulator's ledgers keep of what is settled: a demo may be left running.
const LEDGER: usize = 10_000;

/// Runs simulator and runtime together until somebody ends it.
///
/// # Errors
/// When one of them cannot be started; mostly because a port is in use.
pub fn demo(place: &Place, calm: bool) -> Result<Code> {
    let mut birth = Birth::take()?;
    let mut settings = source(place)
        .and_then(|source| Settings::from_source(&source))
        .map_err(|diagnosis| Failed::new(Code::BadConfiguration, diagnosis))?;
    if let Some(dir) = &place.data_dir {
        settings.config.data_dir.clone_from(dir);
    }
    crate::log::start(&settings.config.log)?;
    // Another seed each time: the platform must not give the ids of the last demo again, which are remembered.
    let simulator = Simulator::new(fastrand::u64(..));
    simulator.set_retain(LEDGER);
    populate(&simulator, &settings)?;
    let platform = platform_address(&settings)?;
    let control = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::start(&simulator, Options { listen: vec![platform], control: Some(control) })
        .map_err(|error| Failed::new(Code::BadConfiguration, format!("{error}; is another demo running?")))?;
    welcome(&settings, platform)?;
    let story = Story::child(simulator, calm);
    let ended = serve(settings, None, server.control_address(), vec![story], &mut birth);
    server.stop();
    ended?.finish()
}

/// The demo's own configuration, or another one whose accounts are all on one platform on this machine.
fn source(place: &Place) -> Result<Source, Diagnosis> {
    if place.config == Path::new(DEFAULT_CONFIG) {
        return Ok(Source { path: PathBuf::from("config/demo.toml"), text: CONFIGURATION.to_owned() });
    }
    Source::read(&place.config)
}

/// An app for each account, with the account's credentials, and a platform that repeats sooner than the real one: after
/// 5, 10, 30 and 60 s.
fn populate(simulator: &Simulator, settings: &Settings) -> Result<()> {
    for account in &settings.config.accounts {
        let secret = account.settings.secret("app_secret").context("a demo account has no secret")?;
        let app = NewApp::named(format!("{} bot", account.id.name()));
        simulator.add_app(app.with_credentials(account.settings.text("app_id"), secret.expose()));
    }
    simulator.set_redelivery(Redelivery {
        ladder: [5, 10, 30, 60].map(Duration::from_secs).to_vec(),
        ..Redelivery::default()
    });
    Ok(())
}

fn platform_address(settings: &Settings) -> Result<SocketAddr> {
    let base = settings.config.accounts.first().map_or("", |account| account.settings.text("base_url"));
    base.strip_prefix("http://")
        .and_then(|address| address.trim_end_matches('/').parse().ok())
        .context("a demo's accounts need a base_url of the form http://127.0.0.1:port, where the simulator will listen")
}

fn welcome(settings: &Settings, platform: SocketAddr) -> Result<()> {
    let program = std::env::args().next().unwrap_or_else(|| "moorline".to_owned());
    let dir = settings.config.data_dir.display();
    // Only what is not the demo's own place has to be said.
    let own = settings.config.data_dir == Path::new(say::DATA_DIR);
    let also = if own { String::new() } else { format!(" --data-dir {dir}") };
    let admin = settings.config.admin.listen;
    output::line(&format!(
        "\
Moorline demo: three bots on a simulated Feishu at {platform}.

The log below is the real runtime's; [demo] says what is being done to it. In another terminal, try:

  write to a bot, see its reply
      {program}{also} demo say main \"hello\"
  every account, and the evidence that it lives
      {program} --data-dir {dir} status
  every actor: generation, restarts, last exit
      {program} --data-dir {dir} tree
  what a load balancer would ask
      curl http://{admin}/readyz

Ctrl-C ends it; whatever was not finished is resumed by the next `demo`.
"
    ))
}
