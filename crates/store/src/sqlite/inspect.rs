//! A look at a store that is not opened: by a command, while no process has it, or beside the one that has.

use std::collections::BTreeMap;
use std::path::Path;

use moorline_core::{AccountId, Timestamp};
use rusqlite::{Connection, Result};

use super::apply::Prepared;
use super::reader::snapshot;
use super::{list, read, schema, statements as sql};
use crate::data_dir::{DataDir, OpenError};
use crate::listing::ParkedTurn;
use crate::rows::Counts;

/// Most parked turns that are named.
const PARKED: u32 = 100;

/// What is in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The messages of each account that was ever configured.
    pub counts: BTreeMap<AccountId, Counts>,
    /// Turns that were running or interrupted when the last process ended, or are now.
    pub open_turns: u64,
    /// Turns that were given up, as [`Listing::parked`](crate::Listing::parked) has them.
    pub parked: Vec<ParkedTurn>,
    /// The last run of the program.
    pub last_run: Option<LastRun>,
}

/// One run of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// The program's version.
    pub version: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended in an orderly way; `None` when it did not, or still runs.
    pub ended_at: Option<Timestamp>,
}

/// Reads what is in the store of a data directory, without its lock and without a connection that could write: a log
/// that an unclean stop left behind is read along and left as it is. `None` when there is no store yet.
///
/// # Errors
/// When it cannot be read, or another version of the program has to be asked: [`OpenError::TooNew`], and
/// [`OpenError::Database`] for one that the next start brings up to date.
pub fn inspect(data_dir: &Path) -> std::result::Result<Option<Inspection>, OpenError> {
    let file = DataDir::database_in(data_dir);
    if !file.exists() {
        return Ok(None);
    }
    let conn = schema::open_reader(&file)?;
    schema::is_present(&conn, &file)?;
    snapshot(&conn, look).map(Some).map_err(|error| schema::database_error(&file, &error))
}

fn look(conn: &Connection) -> Result<Inspection> {
    Ok(Inspection {
        counts: read::counts(conn)?,
        open_turns: conn.get(sql::TURNS_OPEN, [], |row| row.get::<_, i64>(0))?.unsigned_abs(),
        parked: list::parked(conn, PARKED)?,
        last_run: conn.find(sql::BOOT_LAST, [], |row| {
            Ok(LastRun {
                version: row.get(0)?,
                started_at: Timestamp::from_millis(row.get(1)?),
                ended_at: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_millis),
            })
        })?,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use moorline_core::{BootId, Timestamp};

    use super::*;
    use crate::tx::{Op, Tx};
    use crate::{SqliteStore, Store};

    #[tokio::test]
    async fn an_unclean_store_is_looked_at_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(inspect(dir.path()).unwrap(), None, "nothing was ever here");
        let file = DataDir::database_in(dir.path());
        let store = SqliteStore::inline(Some(&file)).unwrap();
        let at = Timestamp::from_millis(7_000);
        let account: AccountId = "feishu:main".parse().unwrap();
        let begin = Op::BeginBoot { boot: BootId::new("b1"), version: "1.2.3".to_owned() };
        store.commit(Tx::global(at, [begin, Op::TakeOver { account: account.clone() }])).await.unwrap();
        let log = schema::log_of(&file);
        let before = (fs::read(&file).unwrap(), fs::read(&log).unwrap());
        assert!(!before.1.is_empty(), "there is a log");
        // While the other connection is open, and as a killed process leaves it.
        let seen = inspect(dir.path()).unwrap().unwrap();
        std::mem::forget(store);
        assert_eq!(inspect(dir.path()).unwrap().unwrap(), seen);
        assert_eq!(seen.last_run, Some(LastRun { version: "1.2.3".into(), started_at: at, ended_at: None }));
        assert_eq!((seen.open_turns, seen.parked.len()), (0, 0));
        assert_eq!((fs::read(&file).unwrap(), fs::read(&log).unwrap()), before);
    }

    #[test]
    fn another_version_is_said_to_be_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = DataDir::database_in(dir.path());
        let conn = schema::open_writer(&file).unwrap();
        conn.execute_batch("PRAGMA user_version = 999").unwrap();
        assert!(matches!(inspect(dir.path()), Err(OpenError::TooNew { found: 999, .. })));
        conn.execute_batch("PRAGMA user_version = 1").unwrap();
        let error = inspect(dir.path()).unwrap_err().to_string();
        assert!(error.contains("the next start brings it up to date"), "{error}");
        drop(conn);
        fs::write(&file, "no database at all, and long enough to be looked at").unwrap();
        assert!(inspect(dir.path()).is_err());
    }
}
