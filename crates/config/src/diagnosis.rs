//! Everything that is wrong with a configuration, each with its place.

use std::fmt;
use std::path::PathBuf;

use moorline_core::{AccountId, Finding};

use crate::source::Source;

/// What a problem of an environment variable has in place of a file.
const ENVIRONMENT: &str = "environment";

/// Everything that is wrong, in the order of the file, what concerns the environment last. Prints a line for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Diagnosis(pub Vec<Problem>);

/// One thing that is wrong. Prints as `config/moorline.toml:14:3: admin.listen: expected …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
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
    pub(crate) fn of(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.order().cmp(&b.order()));
        problems.dedup();
        Self(problems)
    }

    /// True when nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Problem {
    /// A problem with an environment variable of ours.
    pub(crate) fn of_variable(name: &str, message: String) -> Self {
        Self { file: ENVIRONMENT.into(), line: None, column: None, key: Some(name.to_owned()), message }
    }

    /// Gives what a channel found wrong with an account's settings its place: the account's own key, else the key
    /// of the channel that it inherits, else the account.
    pub fn locate(source: &Source, account: &AccountId, finding: &Finding) -> Self {
        let (channel, name, key) = (account.channel().as_str(), account.name(), finding.key);
        let places: [(&[&str], String); 2] = [
            (
                &["channels", channel, "accounts", name, key],
                format!("channels.{channel}.accounts.{name}.{key}"),
            ),
            (&["channels", channel, key], format!("channels.{channel}.{key}")),
        ];
        let [own, inherited] = places.map(|(path, key)| source.find(path).map(|at| (at, key)));
        let (position, key) = match own.or(inherited) {
            Some((position, key)) => (Some(position), key),
            None => (
                source.find(&["channels", channel, "accounts", name]),
                format!("channels.{channel}.accounts.{name}.{key}"),
            ),
        };
        Self {
            file: source.path.clone(),
            line: position.map(|at| at.line),
            column: position.map(|at| at.column),
            key: Some(key),
            message: finding.problem.clone(),
        }
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
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.message)
    }
}
