//! The settings outside accounts: defaults, under the file, under `MOORLINE__…` environment variables.
//!
//! Each layer is checked by itself, where its places are known; `config` then puts them on top of each other. It
//! only ever sees what passed, and nothing of an account: variables fold case and would make a second account
//! beside the first.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use config::builder::DefaultState;
use config::{ConfigBuilder, Environment};

use crate::diagnosis::Problem;
use crate::fault::Fault;
use crate::nearest::hint;
use crate::reader::{Reader, Table};
use crate::resolved::{Admin, AlertBody, Alerts, Log, LogFormat, Network, Runtime};
use crate::setting::{self, Section, Setting};
use crate::source::Span;
use crate::value::{Datum, from_text};

/// What variables of ours begin with; behind it, `__` stands for the dot in a key's name.
const PREFIX: &str = "MOORLINE";
const SEPARATOR: &str = "__";

/// The tables of accounts and agents, by name.
const NAMED: [&str; 2] = ["agents", "channels"];

/// The settings outside accounts, put together.
pub(crate) struct Globals {
    pub(crate) data_dir: PathBuf,
    pub(crate) admin: Admin,
    pub(crate) log: Log,
    pub(crate) network: Network,
    pub(crate) runtime: Runtime,
    pub(crate) alerts: Alerts,
}

/// The layers on top of each other.
struct Layers {
    merged: config::Config,
    /// What the file says of the settings that are no scalars to `config`: lists, and secrets that are kept elsewhere.
    held: BTreeMap<String, Datum>,
    /// Where the file says what it says.
    file: BTreeMap<String, Span>,
    /// The variables that are in effect.
    variables: BTreeMap<String, String>,
}

/// Reads all layers.
pub(crate) fn read(reader: &mut Reader<'_>, root: &Table<'_>) -> Globals {
    let layers = Layers::read(reader, root);
    let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let globals = Globals {
        data_dir: layers.value("data_dir").and_then(Datum::text).unwrap_or_default().into(),
        admin: Admin {
            listen: layers.value("admin.listen").and_then(Datum::address).unwrap_or(loopback),
            allow_remote: layers.value("admin.allow_remote").and_then(Datum::flag).unwrap_or_default(),
        },
        log: Log {
            format: layers
                .value("log.format")
                .and_then(Datum::text)
                .and_then(|word| LogFormat::from_word(&word))
                .unwrap_or(LogFormat::Pretty),
            filter: layers.value("log.filter").and_then(Datum::text),
        },
        network: Network {
            proxy: layers.value("network.proxy").and_then(Datum::secret),
            no_proxy: layers.value("network.no_proxy").and_then(Datum::list).unwrap_or_default(),
            extra_roots: layers.value("network.extra_roots").and_then(Datum::files).unwrap_or_default(),
        },
        runtime: Runtime {
            turn_timeout: layers.duration("runtime.turn_timeout"),
            shutdown_grace: layers.duration("runtime.shutdown_grace"),
            hold_limit: layers.duration("runtime.hold_limit"),
            held_reply_limit: layers.duration("runtime.held_reply_limit"),
            retention: layers.duration("runtime.retention"),
        },
        alerts: Alerts {
            webhook: layers.value("alerts.webhook").and_then(Datum::secret),
            body: layers
                .value("alerts.body")
                .and_then(Datum::text)
                .and_then(|word| AlertBody::from_word(&word))
                .unwrap_or(AlertBody::Json),
            after: layers.duration("alerts.after"),
            warnings: layers.value("alerts.warnings").and_then(Datum::flag).unwrap_or_default(),
        },
    };
    let Admin { listen, allow_remote } = globals.admin;
    if !listen.ip().is_loopback() && !allow_remote {
        layers.report(reader, "admin.listen", &Fault::Exposed { address: listen.to_string() });
    }
    globals
}

impl Layers {
    fn read(reader: &mut Reader<'_>, root: &Table<'_>) -> Self {
        let mut below: BTreeMap<String, String> =
            globals().filter_map(|(path, setting)| Some((path, setting.default?.to_owned()))).collect();
        let mut file = BTreeMap::new();
        let mut held = BTreeMap::new();
        for (section, name) in Section::GLOBAL {
            let table = if name.is_empty() { Some(root.clone()) } else { reader.table(root, name) };
            let Some(table) = table else { continue };
            let inner: Vec<&str> = match section {
                Section::Root => Section::GLOBAL.iter().skip(1).map(|(_, name)| *name).chain(NAMED).collect(),
                _ => Vec::new(),
            };
            let entries = reader.entries(&table, setting::of(section).collect(), &inner);
            for setting in setting::of(section) {
                // What is wrong has been reported, and what is not written has its default.
                let Some(entry) = entries.get(setting.key) else { continue };
                let Some(datum) = entry.value.clone() else { continue };
                file.insert(entry.path.clone(), entry.span.clone());
                match table.written(&setting) {
                    Some(text) => drop(below.insert(entry.path.clone(), text)),
                    None => drop(held.insert(entry.path.clone(), datum)),
                }
            }
        }
        let variables = variables(reader);
        let merged = merge(&below, &variables).unwrap_or_else(|error| {
            reader.report(None, "", &Fault::Layers { error: error.to_string() });
            config::Config::default()
        });
        Self { merged, held, file, variables }
    }

    fn value(&self, path: &str) -> Option<Datum> {
        let (_, setting) = globals().find(|(known, _)| known == path)?;
        if let Some(datum) = self.held.get(path).filter(|_| !self.variables.contains_key(&variable(path))) {
            return Some(datum.clone());
        }
        from_text(setting.kind, &self.merged.get_string(path).ok()?).ok()
    }

    fn duration(&self, path: &str) -> Duration {
        self.value(path).and_then(Datum::duration).unwrap_or_default()
    }

    /// Reports a problem at the layer that the value is from.
    fn report(&self, reader: &mut Reader<'_>, path: &str, fault: &Fault) {
        match self.variables.get_key_value(&variable(path)) {
            Some((name, _)) => reader.report_problem(Problem::of_variable(name, fault)),
            None => reader.report(self.file.get(path), path, fault),
        }
    }
}

/// The variables of ours that can be used; the others are reported.
fn variables(reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let known: BTreeMap<String, Setting> =
        globals().map(|(path, setting)| (variable(&path), setting)).collect();
    let mut usable = BTreeMap::new();
    for (name, text) in reader.environment() {
        let Some(rest) = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix(SEPARATOR)) else {
            continue;
        };
        let problem = match known.get(name) {
            Some(setting) => from_text(setting.kind, text).err(),
            None => {
                let table = rest.split(SEPARATOR).next().unwrap_or_default().to_ascii_lowercase();
                Some(if NAMED.contains(&table.as_str()) {
                    Fault::FileOnly { table }
                } else {
                    Fault::UnknownVariable { hint: hint(name, known.keys().map(String::as_str)) }
                })
            }
        };
        match problem {
            Some(fault) => reader.report_problem(Problem::of_variable(name, &fault)),
            None => {
                usable.insert(name.clone(), text.clone());
            }
        }
    }
    usable
}

fn merge(
    below: &BTreeMap<String, String>,
    variables: &BTreeMap<String, String>,
) -> Result<config::Config, config::ConfigError> {
    let mut builder = ConfigBuilder::<DefaultState>::default();
    for (path, text) in below {
        builder = builder.set_default(path, text.as_str())?;
    }
    let variables = variables.iter().map(|(name, text)| (name.clone(), text.clone())).collect();
    let environment = Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .source(Some(variables));
    builder.add_source(environment).build()
}

/// All settings outside accounts, by their full names.
fn globals() -> impl Iterator<Item = (String, Setting)> {
    Section::GLOBAL
        .into_iter()
        .flat_map(|(section, name)| setting::of(section).map(move |setting| (path(name, &setting), setting)))
}

fn path(table: &str, setting: &Setting) -> String {
    if table.is_empty() { setting.key.to_owned() } else { format!("{table}.{}", setting.key) }
}

/// The variable that overrides a key.
pub(crate) fn variable(path: &str) -> String {
    format!("{PREFIX}{SEPARATOR}{}", path.replace('.', SEPARATOR)).to_ascii_uppercase()
}
