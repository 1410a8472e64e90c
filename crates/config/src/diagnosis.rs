//! Everything that is wrong with a configuration, each with its place.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use moorline_core::{AccountId, Finding};

use crate::fault::{Fault, Severity};
use crate::layers;
use crate::resolved::Account;
use crate::source::{Position, Source};

/// What a problem of an environment variable has in place of a file.
const ENVIRONMENT: &str = "environment";

/// Everything that is wrong, in the order of the file, what concerns the environment last. Prints a line for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Diagnosis(pub Vec<Problem>);

/// One thing that is wrong. Prints as `config/moorline.toml:14:3: admin.listen: expected … (ML0105)`, a warning with
/// `warning: ` before the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stops a start.
    pub severity: Severity,
    /// Its kind, one of [`CODES`](crate::CODES); `docs/errors/` has a page for each.
    pub code: &'static str,
    /// The file; `environment` for a variable.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The column, from 1, in characters.
    pub column: Option<usize>,
    /// The full path of the key, or the name of the variable.
    pub key: Option<String>,
    /// What is wrong and what would be right. Never the value of a secret (F-090).
    pub message: String,
}

impl Diagnosis {
    /// The problems in order, each once: what several accounts inherit is wrong once.
    pub fn of(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.order().cmp(&b.order()));
        problems.dedup();
        Self(problems)
    }

    /// True when there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anything in it stops a start.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }
}

impl Problem {
    pub(crate) fn new(file: PathBuf, at: Option<Position>, key: Option<String>, fault: &Fault) -> Self {
        let (code, severity) = fault.class();
        Self {
            severity,
            code,
            file,
            line: at.map(|at| at.line),
            column: at.map(|at| at.column),
            key,
            message: fault.to_string(),
        }
    }

    /// A problem with an environment variable of ours.
    pub(crate) fn of_variable(name: &str, fault: &Fault) -> Self {
        Self::new(ENVIRONMENT.into(), None, Some(name.to_owned()), fault)
    }

    /// What a channel found wrong with an account's settings, in its place: the account's own key, else the key of the
    /// channel that it inherits, else the account.
    pub fn locate(source: &Source, account: &AccountId, finding: &Finding) -> Self {
        Self::of_account(source, account, finding.key, &Fault::Channel { problem: finding.problem.clone() })
    }

    /// Two accounts with the same credentials (`what` they share), reported at the second: at its
    /// `key` if one key says it all.
    pub fn same_credentials(
        source: &Source,
        first: &Account,
        second: &Account,
        key: Option<&str>,
        what: &str,
    ) -> Self {
        let fault = Fault::Credentials {
            what: what.to_owned(),
            account: second.id.to_string(),
            place: first.position.to_string(),
            other: first.id.to_string(),
        };
        match key {
            Some(key) => Self::of_account(source, &second.id, key, &fault),
            None => Self::at_account(source, second, &fault),
        }
    }

    /// A log filter that the program could not read, at the layer that it is from.
    pub fn log_filter(source: &Source, environment: &BTreeMap<String, String>, error: &str) -> Self {
        let fault = Fault::LogFilter { error: error.to_owned() };
        Self::of_setting(source, environment, ["log", "filter"], &fault)
    }

    /// A proxy that the program cannot use, at the layer that it is from.
    pub fn proxy(source: &Source, environment: &BTreeMap<String, String>) -> Self {
        Self::of_setting(source, environment, ["network", "proxy"], &Fault::Proxy)
    }

    /// Certificates, those of the file with this index, that the program cannot use.
    pub fn extra_roots(source: &Source, index: usize, error: &str) -> Self {
        let (path, at) = source.item(&["network", "extra_roots"], index).unzip();
        let path = format!("{:?}", path.unwrap_or_default());
        let fault = Fault::RootsNotPem { path, error: error.to_owned() };
        Self::new(source.path.clone(), at, Some("network.extra_roots".to_owned()), &fault)
    }

    /// The host of an account could not be reached from here.
    pub fn unreachable(source: &Source, account: &Account, address: &str, error: &str) -> Self {
        let fault = Fault::Unreachable { address: address.to_owned(), error: error.to_owned() };
        Self::at_account(source, account, &fault)
    }

    /// Nobody has logged an account in that a person logs in.
    pub fn not_logged_in(source: &Source, account: &Account) -> Self {
        let fault = Fault::LoginMissing { account: account.id.to_string() };
        Self::at_account(source, account, &fault)
    }

    /// The saved login of an account cannot be read.
    pub fn login_unreadable(source: &Source, account: &Account, why: &str) -> Self {
        let fault = Fault::LoginUnreadable { account: account.id.to_string(), why: why.to_owned() };
        Self::at_account(source, account, &fault)
    }

    /// Others may read a saved login: what was found, and the command that changes it.
    pub fn login_exposed(file: PathBuf, what: &str, command: &str) -> Self {
        let fault = Fault::LoginExposed { what: what.to_owned(), command: command.to_owned() };
        Self::new(file, None, None, &fault)
    }

    /// A file is the saved login of an account that is not configured.
    pub fn login_unused(file: PathBuf, account: &AccountId) -> Self {
        Self::new(file, None, None, &Fault::LoginUnused { account: account.to_string() })
    }

    fn at_account(source: &Source, account: &Account, fault: &Fault) -> Self {
        Self::new(source.path.clone(), Some(account.position), Some(account.id.config_key()), fault)
    }

    fn of_setting(
        source: &Source,
        environment: &BTreeMap<String, String>,
        path: [&str; 2],
        fault: &Fault,
    ) -> Self {
        let key = path.join(".");
        let variable = layers::variable(&key);
        if environment.contains_key(&variable) {
            return Self::of_variable(&variable, fault);
        }
        Self::new(source.path.clone(), source.find(&path), Some(key), fault)
    }

    fn of_account(source: &Source, account: &AccountId, key: &str, fault: &Fault) -> Self {
        let (channel, name) = (account.channel().as_str(), account.name());
        let own = format!("channels.{channel}.accounts.{name}.{key}");
        let places: [(&[&str], String); 2] = [
            (&["channels", channel, "accounts", name, key], own.clone()),
            (&["channels", channel, key], format!("channels.{channel}.{key}")),
        ];
        let mut found = places.into_iter().filter_map(|(path, key)| Some((source.find(path)?, key)));
        let (at, key) = match found.next() {
            Some((at, key)) => (Some(at), key),
            None => (source.find(&["channels", channel, "accounts", name]), own),
        };
        Self::new(source.path.clone(), at, Some(key), fault)
    }

    /// What problems are shown in the order of.
    fn order(&self) -> (bool, Option<usize>, Option<usize>, Option<&str>, &str) {
        let outside = self.file.as_os_str() == ENVIRONMENT;
        (outside, self.line, self.column, self.key.as_deref(), &self.message)
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(problem, f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        if self.severity == Severity::Warning {
            f.write_str(": warning")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {} ({})", self.message, self.code)
    }
}
