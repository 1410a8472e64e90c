//! From text to a configuration, or to everything that is wrong with it.

use std::collections::BTreeMap;

use moorline_core::Schema;
use toml::Spanned;
use toml::de::DeTable;

use crate::diagnosis::{Diagnosis, Problem};
use crate::fault::{Fault, Severity};
use crate::reader::{Reader, Table};
use crate::resolved::{Account, Config};
use crate::source::Source;
use crate::{account, agent, layers};

/// Reads a configuration.
///
/// `environment` is the process's environment as a value: it overrides settings outside accounts
/// (`MOORLINE__ADMIN__LISTEN`) and holds the secrets that are written `{ env = "NAME" }`. Secret files and
/// certificates are relative to the directory of the file. `schemas` are the channels that there are, `agent_kinds`
/// the kinds of agents, of [`AGENT_KINDS`](crate::AGENT_KINDS), that the program can build.
///
/// # Errors
/// Everything that is wrong, in one go, warnings too; but of a file that is no TOML only that. Warnings alone are no
/// error, and [`load_with_warnings`] gives them.
pub fn load(
    source: &Source,
    environment: &BTreeMap<String, String>,
    schemas: &[&'static Schema],
    agent_kinds: &[&str],
) -> Result<Config, Diagnosis> {
    load_with_warnings(source, environment, schemas, agent_kinds).map(|(config, _)| config)
}

/// As [`load`], with the warnings about a configuration that works.
///
/// # Errors
/// As [`load`].
pub fn load_with_warnings(
    source: &Source,
    environment: &BTreeMap<String, String>,
    schemas: &[&'static Schema],
    agent_kinds: &[&str],
) -> Result<(Config, Diagnosis), Diagnosis> {
    let (config, problems) = load_partly(source, environment, schemas, agent_kinds)?;
    if problems.has_errors() { Err(problems) } else { Ok((config, problems)) }
}

/// As [`load_with_warnings`], for who can find out more about the parts that are right although others are not: the
/// accounts are those about which nothing was found that they depend on themselves.
///
/// # Errors
/// When the text is no TOML: then there are no parts.
pub fn load_partly(
    source: &Source,
    environment: &BTreeMap<String, String>,
    schemas: &[&'static Schema],
    agent_kinds: &[&str],
) -> Result<(Config, Diagnosis), Diagnosis> {
    let content = parse(source)?;
    let mut reader = Reader::new(source, environment);
    let root = Table::root(content.get_ref());
    let globals = layers::read(&mut reader, &root);
    let agents = agent::read(&mut reader, &root, agent_kinds);
    let mut accounts = account::read(&mut reader, &root, schemas, &agents);
    if accounts.is_empty() && !reader.has_errors() {
        reader.report(None, "channels", &Fault::NoAccounts);
    }
    let problems = reader.finish();
    accounts.retain(|account| is_sound(account, &problems));
    let config = Config {
        data_dir: globals.data_dir,
        admin: globals.admin,
        log: globals.log,
        network: globals.network,
        runtime: globals.runtime,
        alerts: globals.alerts,
        agents: agents.resolved,
        accounts,
    };
    Ok((config, problems))
}

/// Whether what an account says of itself, and its channel for it, is right; its agent is another matter.
fn is_sound(account: &Account, problems: &Diagnosis) -> bool {
    let (own, channel) = (account.id.config_key(), format!("channels.{}", account.id.channel()));
    let others = format!("{channel}.accounts.");
    let within = |key: &str, table: &str| {
        key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    !problems.0.iter().any(|problem| {
        let key = problem.key.as_deref().unwrap_or_default();
        problem.severity == Severity::Error
            && !(within(key, &own) && key.ends_with(".agent"))
            && (within(key, &own) || within(key, &channel) && !key.starts_with(&others))
    })
}

fn parse(source: &Source) -> Result<Spanned<DeTable<'_>>, Diagnosis> {
    let (content, errors) = DeTable::parse_recoverable(&source.text);
    let problem = |error: &toml::de::Error| {
        // The message alone: an error's own display quotes the line, which may hold a secret (F-090).
        let fault = Fault::NotToml { error: error.message().replace('\n', ", ") };
        let at = error.span().map(|span| source.position(span.start));
        Problem::new(source.path.clone(), at, None, &fault)
    };
    if errors.is_empty() { Ok(content) } else { Err(Diagnosis::of(errors.iter().map(problem).collect())) }
}
