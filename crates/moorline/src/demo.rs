//! `moorline demo`: the real runtime on a simulated platform, with a few faults to watch it recover from.

mod say;
mod story;

pub use say::say;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use moorline_config::Source;
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{NewApp, Redelivery};
use moorline_simulator::server::{Options, Server};

use crate::exit::{Code, Failed};
use crate::output;
use crate::run::serve;
use crate::settings::Settings;
use story::Story;

/// The demo's configuration: three accounts whose platform is the simulator.
const CONFIGURATION: &str = include_str!("../../../config/demo.toml");

/// Runs simulator and runtime together until somebody ends it.
///
/// # Errors
/// When one of them cannot be started; mostly because a port is in use.
pub fn demo(calm: bool) -> Result<Code> {
    let source = Source { path: PathBuf::from("config/demo.toml"), text: CONFIGURATION.to_owned() };
    let settings =
        Settings::from_source(&source).map_err(|diagnosis| Failed::new(Code::BadConfiguration, diagnosis))?;
    crate::log::start(&settings.config.log)?;
    // Another seed each time: the platform must not give the ids of the last demo again, which are remembered.
    let simulator = Simulator::new(fastrand::u64(..));
    populate(&simulator, &settings)?;
    let platform = platform_address(&settings)?;
    let control = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::start(&simulator, Options { listen: vec![platform], control: Some(control) })
        .map_err(|error| Failed::new(Code::BadConfiguration, format!("{error}; is another demo running?")))?;
    welcome(&settings, platform)?;
    let story = Story::child(simulator, calm);
    let code = serve(settings, None, server.control_address(), vec![story]);
    server.stop();
    code
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
        .context("the demo's base_url is not http://address:port")
}

fn welcome(settings: &Settings, platform: SocketAddr) -> Result<()> {
    let program = std::env::args().next().unwrap_or_else(|| "moorline".to_owned());
    let dir = settings.config.data_dir.display();
    let admin = settings.config.admin.listen;
    output::line(&format!(
        "\
Moorline demo: three bots on a simulated Feishu at {platform}.

The log below is the real runtime's; [demo] says what is being done to it. In another terminal, try:

  {program} demo say main \"hello\"          write to a bot, see its reply
  {program} --data-dir {dir} status       every account, and the evidence that it lives
  {program} --data-dir {dir} tree         every actor: generation, restarts, last exit
  {program} --data-dir {dir} account stop feishu:sales
  curl http://{admin}/readyz               what a load balancer would ask

Ctrl-C ends it; whatever was not finished is resumed by the next `demo`.
"
    ))
}
