//! Reads the tables of the file against their settings, and collects what is wrong with them.

use std::collections::BTreeMap;

use moorline_core::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnosis::{Diagnosis, Problem};
use crate::fault::{Fault, Severity};
use crate::file;
use crate::nearest::hint;
use crate::secret;
use crate::setting::{self, Kind, Section, Setting};
use crate::source::{Lines, Position, Source, Span};
use crate::value::{self, Datum};

/// Goes through the file once. Reading goes on after a problem, so that all of them are found.
pub(crate) struct Reader<'a> {
    source: &'a Source,
    environment: &'a BTreeMap<String, String>,
    problems: Vec<Problem>,
    lines: Lines<'a>,
    /// The first secret that is written in the file itself, with its key.
    literal: Option<(Span, String)>,
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
        Self { source, environment, problems: Vec::new(), lines: Lines::of(source), literal: None }
    }

    /// The place of a byte of the file.
    pub(crate) fn position(&self, offset: usize) -> Position {
        self.lines.position(offset)
    }

    pub(crate) fn environment(&self) -> &'a BTreeMap<String, String> {
        self.environment
    }

    /// Reports a problem of the file.
    pub(crate) fn report(&mut self, span: Option<&Span>, key: &str, fault: &Fault) {
        let at = span.map(|span| self.position(span.start));
        let key = Some(key.to_owned()).filter(|key| !key.is_empty());
        self.report_problem(Problem::new(self.source.path.clone(), at, key, fault));
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
                self.report(Some(&key.span()), &path, &Fault::UnknownKey { hint: hint(name, known) });
            }
        }
        Entries { settings, said }
    }

    /// Reports what `table` has to say and does not, and defaults that are no values: those of a channel come from
    /// outside of this crate.
    pub(crate) fn require(&mut self, table: &Table<'_>, entries: &Entries) {
        for setting in entries.settings.iter().filter(|setting| entries.get(setting.key).is_none()) {
            let fault = match setting.default {
                None if setting.required => Fault::Missing { expected: setting.kind.expected() },
                Some(text) => match value::from_text(setting.kind, text) {
                    Ok(_) => continue,
                    Err(fault) => Fault::ChannelDefault { fault: fault.to_string() },
                },
                None => continue,
            };
            self.report(table.span.as_ref(), &table.join(setting.key), &fault);
        }
    }

    /// Whether anything is wrong so far.
    pub(crate) fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Everything that was found.
    pub(crate) fn finish(mut self) -> Diagnosis {
        if let Some((span, key)) = self.literal.take()
            && let Some((mode, command)) = file::exposure(&self.source.path)
        {
            self.report(Some(&span), &key, &Fault::FileExposed { mode, command });
        }
        Diagnosis::of(self.problems)
    }

    fn as_table<'t>(&mut self, path: String, value: &'t Spanned<DeValue<'t>>) -> Option<Table<'t>> {
        match value.get_ref() {
            DeValue::Table(content) => Some(Table { path, span: Some(value.span()), content }),
            other => {
                self.report(
                    Some(&value.span()),
                    &path,
                    &Fault::wrong("a table", Some(value::type_name(other))),
                );
                None
            }
        }
    }

    fn value(&mut self, kind: Kind, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Datum> {
        match (kind, value.get_ref()) {
            (Kind::Command, DeValue::Array(items)) if items.is_empty() => {
                self.ok(Err(value::mismatch(kind, "an empty list")), &value.span(), path)
            }
            (Kind::List | Kind::Command, DeValue::Array(items)) => {
                let texts: Vec<Option<String>> = items
                    .iter()
                    .map(|item| match self.value(Kind::Text, path, item) {
                        Some(Datum::One(Value::Text(text))) => Some(text),
                        _ => None,
                    })
                    .collect();
                texts.into_iter().collect::<Option<_>>().map(Datum::Many)
            }
            (Kind::Certificates, DeValue::Array(items)) => {
                let files: Vec<Option<Vec<u8>>> = items
                    .iter()
                    .map(|item| match self.value(Kind::Text, path, item) {
                        Some(Datum::One(Value::Text(file))) => {
                            let read = file::certificates(self.source.directory(), &file);
                            self.ok(read, &item.span(), path)
                        }
                        _ => None,
                    })
                    .collect();
                files.into_iter().collect::<Option<_>>().map(Datum::Files)
            }
            (Kind::Secret | Kind::Proxy | Kind::Webhook, DeValue::Table(place)) => {
                self.secret(kind, path, value.span(), place)
            }
            (_, other) => {
                let read = value::written(kind, other).and_then(|text| value::from_text(kind, &text));
                if read.is_ok() && is_secret(kind, other) {
                    self.literal.get_or_insert_with(|| (value.span(), path.to_owned()));
                }
                self.ok(read, &value.span(), path)
            }
        }
    }

    /// A secret that is kept elsewhere.
    fn secret(&mut self, kind: Kind, path: &str, span: Span, place: &DeTable<'_>) -> Option<Datum> {
        let mut entries = place.iter();
        let (Some((key, written)), None) = (entries.next(), entries.next()) else {
            self.report(Some(&span), path, &Fault::wrong(kind.expected(), None));
            return None;
        };
        let name: &str = key.get_ref();
        let text = match (name, written.get_ref()) {
            ("env", DeValue::String(name)) => secret::from_environment(self.environment, name),
            ("file", DeValue::String(file)) => {
                file::secret(self.source.directory(), file).map(|(text, exposed)| {
                    if let Some(fault) = exposed {
                        self.report(Some(&written.span()), path, &fault);
                    }
                    text
                })
            }
            ("env" | "file", other) => Err(value::mismatch(Kind::Text, value::type_name(other))),
            _ => {
                let fault = Fault::UnknownKey { hint: hint(name, ["env", "file"]) };
                self.report(Some(&key.span()), &join(path, name), &fault);
                return None;
            }
        };
        let read = text.and_then(|text| value::from_text(kind, &text));
        self.ok(read, &written.span(), path)
    }

    fn ok<T>(&mut self, read: Result<T, Fault>, span: &Span, path: &str) -> Option<T> {
        read.map_err(|fault| self.report(Some(span), path, &fault)).ok()
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

/// Whether a value that is written in the file is one that others must not read. A proxy's address is none while it
/// names nobody.
fn is_secret(kind: Kind, value: &DeValue<'_>) -> bool {
    matches!(kind, Kind::Secret | Kind::Webhook)
        || kind == Kind::Proxy && value.as_str().is_some_and(|text| text.contains('@'))
}

/// `path.key`, with quotes around a key that TOML wants them for.
fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
