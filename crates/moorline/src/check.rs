//! `moorline check`: the configuration, and on request the way to every account's host.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use http::uri::Authority;
use moorline_config::{Account, Diagnosis, Network, Problem, Source, reference};
use moorline_runtime::{Exposed, LoginFault};
use moorline_transport::Proxy;
use serde_json::{Value, json};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

use crate::channels;
use crate::cli::{self, Place};
use crate::exit::{Code, Failed};
use crate::output;
use crate::settings::Settings;
use crate::{logins, machine};

/// For the name and the connection of one host together.
const DEADLINE: Duration = Duration::from_secs(5);

/// `moorline check`. As JSON it prints the list of problems and nothing else.
///
/// # Errors
/// Everything that is wrong with the configuration, with exit code 78.
pub fn check(place: &Place, options: &cli::Check, as_json: bool) -> Result<Code> {
    if options.reference {
        output::line(reference(&channels::schemas()).trim_end())?;
        return Ok(Code::Ok);
    }
    if options.openapi {
        output::line(moorline_admin::openapi().trim_end())?;
        return Ok(Code::Ok);
    }
    let settings = match Settings::examine(place) {
        Ok(settings) => settings,
        Err(diagnosis) if as_json => {
            output::json(&listed(&diagnosis))?;
            return Ok(Code::BadConfiguration);
        }
        Err(diagnosis) => return Err(Failed::new(Code::BadConfiguration, diagnosis).into()),
    };
    let source =
        Source::read(&place.config).map_err(|diagnosis| Failed::new(Code::BadConfiguration, diagnosis))?;
    let mut problems = settings.warnings.clone();
    problems.0.extend(saved_logins(&settings, &source));
    let mut answers = Vec::new();
    if options.online {
        for (account, answer) in crate::talk(reach(&settings))? {
            match answer {
                Ok(address) => answers.push(format!("{}: {address} can be reached", account.id)),
                Err((address, error)) => {
                    problems.0.push(Problem::unreachable(&source, account, &address, &error));
                }
            }
        }
    }
    problems = Diagnosis::of(problems.0);
    if as_json {
        output::json(&listed(&problems))?;
    } else {
        for line in problems.0.iter().map(ToString::to_string).chain(answers) {
            output::line(&line)?;
        }
        let ids: Vec<String> =
            settings.config.accounts.iter().map(|account| account.id.to_string()).collect();
        let ids = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
        output::line(&format!("{} is good: accounts {ids}", place.config.display()))?;
    }
    // What is left of the severe ones is no matter of the configuration.
    Ok(if problems.has_errors() { Code::NotHealthy } else { Code::Ok })
}

fn listed(diagnosis: &Diagnosis) -> Value {
    let problem = |problem: &Problem| {
        let Problem { severity, code, file, line, column, key, message } = problem;
        json!({
            "severity": severity.as_str(), "code": code, "file": file, "line": line, "column": column, "key": key,
            "message": message,
        })
    };
    diagnosis.0.iter().map(problem).collect()
}

/// What is wrong with the logins in the data directory. A start is possible all the same.
fn saved_logins(settings: &Settings, source: &Source) -> Vec<Problem> {
    let (config, data_dir) = (&settings.config, &settings.config.data_dir);
    let faults = logins::examine(data_dir, &settings.plans).into_iter();
    let faults = faults.filter_map(|fault| match fault {
        LoginFault::Missing(id) => Some(Problem::not_logged_in(source, config.account(&id)?)),
        LoginFault::Unreadable(id, why) => {
            Some(Problem::login_unreadable(source, config.account(&id)?, &why))
        }
        LoginFault::NotConfigured(id, file) => Some(Problem::login_unused(file, &id)),
    });
    let exposed = machine::exposed_logins(data_dir).into_iter();
    let exposed =
        exposed.map(|(file, Exposed { what, command })| Problem::login_exposed(file, &what, &command));
    faults.chain(exposed).collect()
}

/// An address that was reached, or one that was not and why.
type Reached = Result<String, (String, String)>;

/// Connects once to each host that an account needs, to all of them at the same time.
async fn reach(settings: &Settings) -> Result<Vec<(&Account, Reached)>> {
    let targets: Vec<(&Account, Authority)> = settings
        .config
        .accounts
        .iter()
        .filter_map(|account| Some((account, target(settings, account)?)))
        .collect();
    let mut attempts = JoinSet::new();
    for address in targets.iter().map(|(_, address)| address.to_string()).collect::<BTreeSet<_>>() {
        attempts.spawn(async move {
            let answer = match tokio::time::timeout(DEADLINE, connect(&address)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
            };
            (address, answer)
        });
    }
    let mut answers = BTreeMap::new();
    while let Some(attempt) = attempts.join_next().await {
        let (address, answer) = attempt?;
        answers.insert(address, answer);
    }
    let reached = targets.into_iter().map(|(account, address)| {
        let address = address.to_string();
        let answer = match answers.get(&address) {
            Some(Err(error)) => Err((address, error.clone())),
            Some(Ok(())) | None => Ok(address),
        };
        (account, answer)
    });
    Ok(reached.collect())
}

async fn connect(address: &str) -> Result<(), String> {
    let found =
        lookup_host(address).await.map_err(|error| format!("its name cannot be resolved: {error}"))?;
    let found: Vec<_> = found.collect();
    TcpStream::connect(found.as_slice()).await.map(drop).map_err(|error| error.to_string())
}

/// Where an account's connections go first, with the port: its host, or the proxy in front of it.
fn target(settings: &Settings, account: &Account) -> Option<Authority> {
    let host: Authority = settings.plans.get(&account.id)?.host().parse().ok()?;
    let Network { proxy, no_proxy, .. } = &settings.config.network;
    let direct = no_proxy.iter().any(|entry| {
        let domain = entry.trim_start_matches("*.").trim_start_matches('.');
        domain == "*"
            || host.host().strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    if let Some(proxy) = proxy.as_ref().filter(|_| !direct) {
        let Proxy { host, port, .. } = Proxy::parse(proxy.expose()).ok()?;
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        return format!("{host}:{port}").parse().ok();
    }
    if host.port().is_some() {
        return Some(host);
    }
    let port = if account.settings.text("base_url").starts_with("http://") { 80 } else { 443 };
    format!("{host}:{port}").parse().ok()
}
