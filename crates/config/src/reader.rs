//! Reads the tables of the file against their settings, and collects what is wrong with them.

use std::collections::BTreeMap;

use moorline_core::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnosis::{Diagnosis, Problem};
use crate::nearest::hint;
use crate::secret;
use crate::setting::{self, Kind, Section, Setting};
use crate::source::{Source, Span};
use crate::value::{self, Datum};

/// Goes through the file once. Reading goes on after a problem, so that all of them are found.
pub(crate) struct Reader<'a> {
    source: &'a Source,
    environment: &'a BTreeMap<String, String>,
    problems: Vec<Problem>,
}

/// A table of the file.
#[derive(Clone)]
pub(crate) struct Table<'t> {
    /// Its full name; empty for the whole file.
    pub(crate) path: String,
    /// Its head.
    pub(crate) span: Option<Span>,
    content: &'t DeTable<'t>,
}

/// What a table of the file says.
#[derive(Clone, Default)]
pub(crate) struct Entries {
    settings: Vec<Setting>,
    said: BTreeMap<String, Entry>,
}

/// One thing that a table of the file says.
#[derive(Clone)]
pub(crate) struct Entry {
    /// The full name of the key.
    pub(crate) path: String,
    /// Where the value is.
    pub(crate) span: Span,
    /// The value; `None` when it is wrong, which has been reported.
    pub(crate) value: Option<Datum>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a Source, environment: &'a BTreeMap<String, String>) -> Self {
        Self { source, environment, problems: Vec::new() }
    }

    pub(crate) fn source(&self) -> &'a Source {
        self.source
    }

    pub(crate) fn environment(&self) -> &'a BTreeMap<String, String> {
        self.environment
    }

    /// Reports a problem of the file.
    pub(crate) fn report(&mut self, span: Option<&Span>, key: &str, message: String) {
        let position = span.map(|span| self.source.position(span.start));
        self.report_problem(Problem {
            file: self.source.path.clone(),
            line: position.map(|at| at.line),
            column: position.map(|at| at.column),
            key: Some(key.to_owned()).filter(|key| !key.is_empty()),
            message,
        });
    }

    /// Reports a problem.
    pub(crate) fn report_problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The table `key` of `parent`, if it is there.
    pub(crate) fn table<'t>(&mut self, parent: &Table<'t>, key: &str) -> Option<Table<'t>> {
        let value = parent.content.get(key)?;
        self.as_table(parent.join(key), value)
    }

    /// The tables in `parent`, which holds nothing else, by their names and with the place of these.
    pub(crate) fn tables<'t>(&mut self, parent: &Table<'t>) -> Vec<(&'t str, Span, Table<'t>)> {
        let content = parent.content;
        content
            .iter()
            .filter_map(|(key, value)| {
                let name: &'t str = key.get_ref();
                Some((name, key.span(), self.as_table(parent.join(name), value)?))
            })
            .collect()
    }

    /// What `table` says of `settings`. Everything else that it says is reported, except for the tables `inner`.
    pub(crate) fn entries(&mut self, table: &Table<'_>, settings: Vec<Setting>, inner: &[&str]) -> Entries {
        let mut said = BTreeMap::new();
        for (key, value) in table.content {
            let name: &str = key.get_ref();
            let path = table.join(name);
            if let Some(setting) = settings.iter().find(|setting| setting.key == name) {
                let datum = self.value(setting.kind, &path, value);
                said.insert(name.to_owned(), Entry { path, span: value.span(), value: datum });
            } else if !inner.contains(&name) {
                let known = settings.iter().map(|setting| setting.key).chain(inner.iter().copied());
                self.report(Some(&key.span()), &path, format!("unknown key{}", hint(name, known)));
            }
        }
        Entries { settings, said }
    }

    /// Reports what `table` has to say and does not, and defaults that are no values: those of a channel come from
    /// outside of this crate.
    pub(crate) fn require(&mut self, table: &Table<'_>, entries: &Entries) {
        for setting in entries.settings.iter().filter(|setting| entries.get(setting.key).is_none()) {
            let message = match setting.default {
                None if setting.required => format!("missing, expected {}", setting.kind.expected()),
                Some(text) => match value::from_text(setting.kind, text) {
                    Ok(_) => continue,
                    Err(message) => format!("has a default that is no value: {message}"),
                },
                None => continue,
            };
            self.report(table.span.as_ref(), &table.join(setting.key), message);
        }
    }

    /// Whether anything was wrong.
    pub(crate) fn finish(self) -> Result<(), Diagnosis> {
        if self.problems.is_empty() { Ok(()) } else { Err(Diagnosis::of(self.problems)) }
    }

    fn as_table<'t>(&mut self, path: String, value: &'t Spanned<DeValue<'t>>) -> Option<Table<'t>> {
        match value.get_ref() {
            DeValue::Table(content) => Some(Table { path, span: Some(value.span()), content }),
            other => {
                self.report(
                    Some(&value.span()),
                    &path,
                    format!("expected a table, got {}", value::type_name(other)),
                );
                None
            }
        }
    }

    fn value(&mut self, kind: Kind, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Datum> {
        match (kind, value.get_ref()) {
            (Kind::List, DeValue::Array(items)) => {
                let texts: Vec<Option<String>> = items
                    .iter()
                    .map(|item| match self.value(Kind::Text, path, item) {
                        Some(Datum::One(Value::Text(text))) => Some(text),
                        _ => None,
                    })
                    .collect();
                texts.into_iter().collect::<Option<_>>().map(Datum::Many)
            }
            (Kind::Secret, DeValue::Table(place)) => self.secret(path, value.span(), place),
            (_, other) => {
                let read = value::written(kind, other).and_then(|text| value::from_text(kind, &text));
                self.ok(read, &value.span(), path)
            }
        }
    }

    /// A secret that is kept elsewhere.
    fn secret(&mut self, path: &str, span: Span, place: &DeTable<'_>) -> Option<Datum> {
        let mut entries = place.iter();
        let (Some((key, written)), None) = (entries.next(), entries.next()) else {
            self.report(Some(&span), path, format!("expected {}", Kind::Secret.expected()));
            return None;
        };
        let name: &str = key.get_ref();
        let text = match (name, written.get_ref()) {
            ("env", DeValue::String(name)) => secret::from_environment(self.environment, name),
            ("file", DeValue::String(file)) => secret::from_file(self.source.directory(), file),
            ("env" | "file", other) => Err(value::mismatch(Kind::Text, value::type_name(other))),
            _ => {
                let message = format!("unknown key{}", hint(name, ["env", "file"]));
                self.report(Some(&key.span()), &join(path, name), message);
                return None;
            }
        };
        let read = text.and_then(|text| value::from_text(Kind::Secret, &text));
        self.ok(read, &written.span(), path)
    }

    fn ok(&mut self, read: Result<Datum, String>, span: &Span, path: &str) -> Option<Datum> {
        read.map_err(|message| self.report(Some(span), path, message)).ok()
    }
}

impl<'t> Table<'t> {
    /// The whole file.
    pub(crate) fn root(content: &'t DeTable<'t>) -> Self {
        Self { path: String::new(), span: None, content }
    }

    /// A string of the table, with its place, before it is judged.
    pub(crate) fn text(&self, key: &str) -> Option<(&'t str, Span)> {
        let value = self.content.get(key)?;
        Some((value.get_ref().as_str()?, value.span()))
    }

    /// A single value of the table as text, if it is of the setting's type.
    pub(crate) fn written(&self, setting: &Setting) -> Option<String> {
        value::written(setting.kind, self.content.get(setting.key)?.get_ref()).ok()
    }

    /// The full name of a key of the table.
    pub(crate) fn join(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

impl Entries {
    /// What a table says that is not there.
    pub(crate) fn empty(section: Section) -> Self {
        Self { settings: setting::of(section).collect(), said: BTreeMap::new() }
    }

    /// What is said under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.said.get(key)
    }

    /// Takes over what only `base` says: the more special table wins, key by key.
    pub(crate) fn inherit(&mut self, base: &Self) {
        for (key, entry) in &base.said {
            self.said.entry(key.clone()).or_insert_with(|| entry.clone());
        }
    }

    /// The value under a key, else its default; `None` when there is neither, or a wrong one.
    pub(crate) fn value(&self, key: &str) -> Option<Datum> {
        match self.get(key) {
            Some(entry) => entry.value.clone(),
            None => self.settings.iter().find(|setting| setting.key == key)?.default_value(),
        }
    }
}

/// `path.key`, with quotes around a key that TOML wants them for.
fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
