//! A configuration file's text and the places in it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnosis::{Diagnosis, Problem};

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
            Err(error) => Err(Diagnosis(vec![Problem {
                file: path,
                line: None,
                column: None,
                key: None,
                message: format!("cannot be read: {error}"),
            }])),
        }
    }

    /// The directory that secret files are relative to.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// The place of a byte of the text; the end of the text for a byte beyond it.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let mut before = self.text.char_indices().take_while(|&(at, _)| at < offset).map(|(_, c)| c);
        let start = Position { line: 1, column: 1 };
        before.by_ref().fold(start, |at, c| match c {
            '\n' => Position { line: at.line + 1, column: 1 },
            _ => Position { column: at.column + 1, ..at },
        })
    }

    /// Where `path` is written in the text; `None` when it is not, or when the text is not TOML.
    pub(crate) fn find(&self, path: &[&str]) -> Option<Position> {
        let root = DeTable::parse(&self.text).ok()?;
        let (first, rest) = path.split_first()?;
        let mut found: &Spanned<DeValue<'_>> = root.get_ref().get(*first)?;
        for key in rest {
            found = found.get_ref().as_table()?.get(*key)?;
        }
        Some(self.position(found.span().start))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.path.display())
    }
}
