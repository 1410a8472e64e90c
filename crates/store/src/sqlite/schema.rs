//! Opening the database: settings, migrations, and the check after an unclean stop.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::statements as sql;
use crate::data_dir::{OpenError, create_private};

/// The steps from an empty file to the present schema. Forward only: a released step is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema/listing.sql"),
    include_str!("schema/operator.sql"),
    include_str!("schema/retention.sql"),
    include_str!("schema/requests.sql"),
    include_str!("schema/doctor.sql"),
    include_str!("schema/cron.sql"),
    include_str!("schema/replies.sql"),
    include_str!("schema/gaps.sql"),
    include_str!("schema/sends.sql"),
];

/// How long a statement waits for a lock that another connection holds for a moment.
const BUSY: Duration = Duration::from_secs(5);

/// Opens the connection that writes, brings the schema up to date, and checks the file if the last process that
/// had it did not end in an orderly way.
pub(super) fn open_writer(file: &Path) -> Result<Connection, OpenError> {
    create_private(file)?;
    let conn = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .and_then(|conn| settle(conn, file))
    .map_err(|error| database_error(file, &error))?;
    // The file's name must survive a power cut as well as its content.
    if let Some(parent) = file.parent() {
        File::open(parent)
            .and_then(|dir| dir.sync_all())
            .map_err(|source| OpenError::Io { path: parent.to_owned(), source })?;
    }
    migrate(&conn, file, MIGRATIONS)?;
    check_after_unclean_stop(&conn, file)?;
    Ok(conn)
}

/// The connection of a store without a checkpointer: commits carry the log over themselves.
pub(super) fn open_alone(file: &Path) -> Result<Connection, OpenError> {
    let conn = open_writer(file)?;
    conn.pragma_update(None, "wal_autocheckpoint", 1000).map_err(|error| database_error(file, &error))?;
    Ok(conn)
}

/// A database that ends with its connection.
pub(super) fn open_in_memory() -> Result<Connection, OpenError> {
    let file = Path::new(":memory:");
    let conn = Connection::open_in_memory().map_err(|error| database_error(file, &error))?;
    common(&conn).map_err(|error| database_error(file, &error))?;
    migrate(&conn, file, MIGRATIONS)?;
    Ok(conn)
}

/// Opens a connection for checkpoints, which has to wait for nobody for long.
pub(super) fn open_checkpointer(file: &Path) -> Result<Connection, OpenError> {
    let open = || {
        let conn = Connection::open_with_flags(
            file,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        durable(&conn)?;
        conn.busy_timeout(Duration::from_millis(250))?;
        Ok(conn)
    };
    open().map_err(|error| database_error(file, &error))
}

/// Opens a connection that cannot write.
pub(super) fn open_reader(file: &Path) -> Result<Connection, OpenError> {
    let open = || {
        let conn = Connection::open_with_flags(
            file,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        common(&conn)?;
        Ok(conn)
    };
    open().map_err(|error| database_error(file, &error))
}

pub(super) fn log_of(file: &Path) -> PathBuf {
    suffixed(file, "-wal")
}

fn settle(conn: Connection, file: &Path) -> rusqlite::Result<Connection> {
    // Only possible while the file is empty; lets room be given back later without rewriting the file.
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(file = %file.display(), mode, "the database's journal is not a write-ahead log");
    }
    common(&conn)?;
    durable(&conn)?;
    Ok(conn)
}

fn common(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    // Plans must not depend on what is bound: a statement would be prepared anew for each new value (docs/decisions.md).
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(96);
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "cache_size", -16 * 1024)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "mmap_size", 0)
}

fn durable(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "synchronous", "FULL")?;
    // On macOS fsync alone leaves the data in the drive's cache; elsewhere these change nothing.
    conn.pragma_update(None, "fullfsync", cfg!(target_os = "macos"))?;
    conn.pragma_update(None, "checkpoint_fullfsync", cfg!(target_os = "macos"))?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
    // What is forgotten is overwritten: a page that nobody uses would keep people's words for ever (F-096).
    conn.pragma_update(None, "secure_delete", true)?;
    // A store that failed must not carry its log over on its way out.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}

/// Applies the steps the file has not seen, each in one transaction with its number. A file with content is copied
/// beside itself first.
fn migrate(conn: &Connection, file: &Path, steps: &[&str]) -> Result<(), OpenError> {
    let fail = |error: &rusqlite::Error| database_error(file, error);
    let found: u32 =
        conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|error| fail(&error))?;
    let known = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(OpenError::TooNew { path: file.to_owned(), found, known });
    }
    if found > 0 && found < known {
        back_up(conn, file, found)?;
    }
    for (version, step) in (1_u32..).zip(steps).skip(found as usize) {
        let all = format!("BEGIN IMMEDIATE; {step}; PRAGMA user_version = {version}; COMMIT;");
        if let Err(error) = conn.execute_batch(&all) {
            if !conn.is_autocommit() {
                conn.execute_batch(sql::ROLLBACK).map_err(|error| fail(&error))?;
            }
            return Err(fail(&error));
        }
        tracing::info!(file = %file.display(), version, "the database's schema was brought up to date");
    }
    Ok(())
}

fn back_up(conn: &Connection, file: &Path, version: u32) -> Result<(), OpenError> {
    let copy = suffixed(file, &format!(".v{version}.bak"));
    let io_error = |source| OpenError::Io { path: copy.clone(), source };
    // A copy that is there already is one of an attempt that did not get further than this.
    if copy.exists() {
        fs::remove_file(&copy).map_err(io_error)?;
    }
    create_private(&copy)?;
    conn.execute("VACUUM INTO ?1", [copy.to_string_lossy()]).map_err(|error| database_error(file, &error))?;
    File::open(&copy).and_then(|copy| copy.sync_all()).map_err(io_error)?;
    tracing::info!(file = %file.display(), copy = %copy.display(), "the database was copied before its schema changes");
    Ok(())
}

fn check_after_unclean_stop(conn: &Connection, file: &Path) -> Result<(), OpenError> {
    let ended = conn
        .query_row(sql::BOOT_LAST_ENDED, [], |row| row.get(0))
        .optional()
        .map_err(|error| database_error(file, &error))?;
    if ended.unwrap_or(true) {
        return Ok(());
    }
    let finding: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| OpenError::Damaged { path: file.to_owned(), finding: error.to_string() })?;
    match finding.as_str() {
        "ok" => Ok(()),
        _ => Err(OpenError::Damaged { path: file.to_owned(), finding }),
    }
}

/// Whether the schema is the present one: others cannot be read by somebody who may not bring them up to date.
pub(super) fn is_present(conn: &Connection, file: &Path) -> Result<(), OpenError> {
    let found: u32 = conn
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| database_error(file, &error))?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(OpenError::TooNew { path: file.to_owned(), found, known });
    }
    if found < known {
        let message = format!("its schema is version {found}, and the next start brings it up to date");
        return Err(OpenError::Database { path: file.to_owned(), message });
    }
    Ok(())
}

pub(super) fn database_error(file: &Path, error: &rusqlite::Error) -> OpenError {
    OpenError::Database { path: file.to_owned(), message: error.to_string() }
}

fn suffixed(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
