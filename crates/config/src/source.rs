//! A configuration file's text and the places in it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnosis::{Diagnosis, Problem};
use crate::fault::Fault;

/// A configuration file as it was read. Its `Debug` shows the path only: the text may hold secrets (F-090).
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it was read from, as it is shown in problems.
    pub path: PathBuf,
    /// What was read.
    pub text: String,
}

/// A place in a file, both numbers from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Bytes of the text.
pub(crate) type Span = Range<usize>;

impl Source {
    /// Reads the file.
    ///
    /// # Errors
    /// One problem without a position, when it cannot be read or is not UTF-8.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, Diagnosis> {
        let path = path.into();
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self { path, text }),
            Err(error) => {
                let fault = Fault::Unreadable { error: error.to_string() };
                Err(Diagnosis(vec![Problem::new(path, None, None, &fault)]))
            }
        }
    }

    /// The directory that secret files are relative to.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// The place of a byte of the text; the end of the text for a byte beyond it.
    pub(crate) fn position(&self, offset: usize) -> Position {
        Lines::of(self).position(offset)
    }

    /// Where `path` is written in the text; `None` when it is not, or when the text is not TOML.
    pub(crate) fn find(&self, path: &[&str]) -> Option<Position> {
        self.look(path, |found| Some(self.position(found.span().start)))
    }

    /// The text of an item of the list at `path`, and where it is.
    pub(crate) fn item(&self, path: &[&str], index: usize) -> Option<(String, Position)> {
        self.look(path, |found| {
            let item = found.get_ref().as_array()?.get(index)?;
            Some((item.get_ref().as_str()?.to_owned(), self.position(item.span().start)))
        })
    }

    fn look<T>(&self, path: &[&str], take: impl FnOnce(&Spanned<DeValue<'_>>) -> Option<T>) -> Option<T> {
        let root = DeTable::parse(&self.text).ok()?;
        let (first, rest) = path.split_first()?;
        let mut found: &Spanned<DeValue<'_>> = root.get_ref().get(*first)?;
        for key in rest {
            found = found.get_ref().as_table()?.get(*key)?;
        }
        take(found)
    }
}

/// Where the lines of a text begin: makes a thousand places cost no thousand readings.
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(source: &'a Source) -> Self {
        let breaks = source.text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text: &source.text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// The place of a byte of the text; the end of the text for a byte beyond it.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|&start| start <= offset.min(self.text.len()));
        let start = line.checked_sub(1).and_then(|index| self.starts.get(index)).copied().unwrap_or(0);
        let before = self.text.get(start..).unwrap_or_default().char_indices();
        let column = before.take_while(|&(at, _)| start + at < offset).count() + 1;
        Position { line, column }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.path.display())
    }
}
