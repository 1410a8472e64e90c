//! The stores under test, and what makes each of them special.

use std::path::PathBuf;

use moorline_store::{DataDir, ModelStore, SqliteOptions, SqliteStore, Store};
use tempfile::TempDir;

/// Where a store keeps its rows.
enum Place {
    Memory,
    Inline(PathBuf),
    Directory(PathBuf),
}

/// A store that can be closed and opened again.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    place: Place,
    sqlite: Option<SqliteStore>,
    model: Option<ModelStore>,
    _directory: TempDir,
}

impl Subject {
    pub(crate) fn store(&self) -> &dyn Store {
        match (&self.sqlite, &self.model) {
            (Some(sqlite), _) => sqlite,
            (None, Some(model)) => model,
            (None, None) => unreachable!("a subject is one of the two"),
        }
    }

    pub(crate) fn sqlite(&self) -> Option<&SqliteStore> {
        self.sqlite.as_ref()
    }

    /// Closes and opens the file; what is only in memory stays as it is.
    pub(crate) fn reopen(&mut self) {
        if !matches!(self.place, Place::Memory) {
            self.sqlite = None;
            self.sqlite = open(&self.place);
        }
    }
}

fn open(place: &Place) -> Option<SqliteStore> {
    match place {
        Place::Memory => Some(SqliteStore::inline(None).unwrap()),
        Place::Inline(file) => Some(SqliteStore::inline(Some(file)).unwrap()),
        Place::Directory(path) => {
            let directory = DataDir::open(path).unwrap();
            Some(SqliteStore::open(&directory, SqliteOptions::default()).unwrap())
        }
    }
}

/// The model alone.
pub(crate) fn model() -> Subject {
    Subject {
        name: "model",
        place: Place::Memory,
        sqlite: None,
        model: Some(ModelStore::new()),
        _directory: tempfile::tempdir().unwrap(),
    }
}

/// The model first: the others are compared with it.
pub(crate) fn all() -> Vec<Subject> {
    let subject = |name, place: fn(PathBuf) -> Place| {
        let directory = tempfile::tempdir().unwrap();
        let place = place(directory.path().join("data"));
        Subject { name, sqlite: open(&place), model: None, place, _directory: directory }
    };
    vec![
        model(),
        subject("sqlite in memory", |_| Place::Memory),
        subject("sqlite inline", Place::Inline),
        subject("sqlite on threads", Place::Directory),
    ]
}
