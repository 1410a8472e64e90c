//! From text to a configuration, or to everything that is wrong with it.

use std::collections::BTreeMap;

use moorline_core::Schema;
use toml::Spanned;
use toml::de::DeTable;

use crate::diagnosis::{Diagnosis, Problem};
use crate::fault::Fault;
use crate::reader::{Reader, Table};
use crate::resolved::Config;
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
    let content = parse(source)?;
    let mut reader = Reader::new(source, environment);
    let root = Table::root(content.get_ref());
    let globals = layers::read(&mut reader, &root);
    let agents = agent::read(&mut reader, &root, agent_kinds);
    let accounts = account::read(&mut reader, &root, schemas, &agents);
    let warnings = reader.finish()?;
    let config = Config {
        data_dir: globals.data_dir,
        admin: globals.admin,
        log: globals.log,
        network: globals.network,
        runtime: globals.runtime,
        agents: agents.resolved,
        accounts,
    };
    Ok((config, warnings))
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
