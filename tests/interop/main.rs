//! `make interop`: Feishu's official SDKs and our own binary as clients of the simulator, one after the other, through
//! the same steps; then Tencent's package for WeChat as a client of the other simulator, through steps of its own. What an SDK does with the simulator is evidence about the simulator: where they disagree, the
//! simulator is wrong. docs/interop.md says what each step shows.

use std::process::ExitCode;
use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{ConfigShape, Fault, NewApp, Redelivery, Times};
use moorline_simulator::server::{Options, Server};
use serde_json::json;
use tokio::time::Instant;

mod book;
mod client;
mod flow;
mod report;
mod weixin;

use client::{Client, Kind};
use flow::Flow;
use report::Report;

/// The waits before a repetition: two, so that what is refused is seen to come again and to be given up.
pub(crate) const LADDER: [Duration; 2] = [Duration::from_millis(300); 2];
/// Seconds between pings by the endpoint's word, and by that of the first pong.
pub(crate) const PING_INTERVAL: (u64, u64) = (3, 1);

fn main() -> ExitCode {
    let outcome = run();
    let mut report = outcome.unwrap_or_else(|error| Report::broken(&error));
    if report.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run() -> anyhow::Result<Report> {
    let began = Instant::now();
    // All of them are looked for before anything starts: what is missing fails at once, and by its name.
    let versions = Kind::ALL.map(Kind::version).into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let weixin = weixin::version()?;
    let simulator = Simulator::new(2026);
    simulator.set_redelivery(Redelivery {
        ladder: LADDER.to_vec(),
        offline_attempts_count: false,
        ..Redelivery::default()
    });
    let server = Server::start(&simulator, Options::default())?;
    let mut report = Report::new(&versions);
    for kind in Kind::ALL {
        let app = simulator.add_app(NewApp::named(kind.name()));
        // Real ones are 90 s and more; these make the clients come back, and show the pong's word, within seconds.
        let config = |ping| json!({ "ReconnectCount": -1, "ReconnectInterval": 1, "ReconnectNonce": 0, "PingInterval": ping });
        let endpoint = Fault::ClientConfig(ConfigShape::Json(config(PING_INTERVAL.0)));
        simulator.set_fault(&app.app_id, endpoint, Times::UntilCleared)?;
        let pong = Fault::PongPayload(config(PING_INTERVAL.1).to_string());
        simulator.set_fault(&app.app_id, pong, Times::UntilCleared)?;

        let flow = Flow::new(simulator.clone(), Client::new(kind, app, server.address()));
        report.add(flow.run());
    }
    report.compare(&simulator.ledger(), began.elapsed());
    report.add_weixin(weixin, weixin::run()?);
    Ok(report)
}
