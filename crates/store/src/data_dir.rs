//! The data directory: one process at a time, private to its user.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An opened data directory. The kernel's lock on it is held until the last clone, and every store opened in it, is
/// gone; a process that is killed leaves nothing behind that has to be removed by hand (F-071).
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
    lock: Arc<File>,
}

/// Why a data directory or the store in it could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the data directory {path} is in use by {}: stop that process or choose another data_dir",
        .pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process; `None` when it has not written its number yet.
        pid: Option<u32>,
    },
    /// It lies on a network file system, where locks and syncs cannot be relied upon.
    #[error(
        "the data directory {path} is on a network file system ({kind}), where neither locks nor syncs can be relied upon: choose a local disk"
    )]
    NetworkFileSystem {
        /// The directory.
        path: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// A file or directory could not be created, read or locked.
    #[error("the data directory's {path} could not be opened: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// SQLite could not open, configure or migrate the database.
    #[error("the database {path} could not be opened: {message}")]
    Database {
        /// The database's file.
        path: PathBuf,
        /// What SQLite says.
        message: String,
    },
    /// The database was written by a later version of this program.
    #[error(
        "the database {path} has schema version {found}, this program knows {known} at most: start the later version again"
    )]
    TooNew {
        /// The database's file.
        path: PathBuf,
        /// The file's version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The check after an unclean stop found damage.
    #[error(
        "the database {path} is damaged and was left as it is: {finding}; restore a backup, or recover it with sqlite3's .recover"
    )]
    Damaged {
        /// The database's file.
        path: PathBuf,
        /// The first finding.
        finding: String,
    },
}

impl DataDir {
    /// Opens `path`, creating it with mode 0700, and locks it for this process. Never waits.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when another process, or another `DataDir` of this one, has it;
    /// [`OpenError::NetworkFileSystem`] (recognised on Linux only).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        create(path)?;
        if let Some(kind) = network_file_system(path) {
            return Err(OpenError::NetworkFileSystem { path: path.to_owned(), kind });
        }
        Self::lock(path)
    }

    /// [`DataDir::open`], whatever the file system: for an operator who knows better.
    ///
    /// # Errors
    /// As [`DataDir::open`], without `NetworkFileSystem`.
    pub fn open_on_any_file_system(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        create(path.as_ref())?;
        Self::lock(path.as_ref())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database's file.
    pub fn database(&self) -> PathBuf {
        Self::database_in(&self.path)
    }

    /// Every file of the database of a data directory that there may be: it, its log, the log's index.
    pub fn database_files(path: &Path) -> [PathBuf; 3] {
        ["moorline.db", "moorline.db-wal", "moorline.db-shm"].map(|name| path.join(name))
    }

    /// The file that the database of a data directory is in.
    pub(crate) fn database_in(path: &Path) -> PathBuf {
        path.join("moorline.db")
    }

    /// What keeps the directory locked while it lives.
    pub(crate) fn hold(&self) -> Arc<File> {
        Arc::clone(&self.lock)
    }

    fn lock(path: &Path) -> Result<Self, OpenError> {
        let name = path.join("lock");
        let io_error = |source| OpenError::Io { path: name.clone(), source };
        let mut file = private().read(true).open(&name).map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Only for the message: a file we may not read is as good as an empty one.
                let _ = file.read_to_string(&mut text);
                return Err(OpenError::InUse { path: path.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(io_error(source)),
        }
        file.set_len(0)
            .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
            .or_else(out_of_room)
            .map_err(io_error)?;
        Ok(Self { path: path.to_owned(), lock: Arc::new(file) })
    }
}

/// A full disk must not keep the process from starting: it would refuse messages instead of being dead (F-074). The
/// process number in the lock file is a courtesy, the lock itself needs no room.
fn out_of_room(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::StorageFull { Ok(()) } else { Err(error) }
}

/// Creates an empty file with mode 0600 unless it exists; SQLite gives the files it adds the same mode.
pub(crate) fn create_private(path: &Path) -> Result<(), OpenError> {
    private().open(path).map(drop).map_err(|source| OpenError::Io { path: path.to_owned(), source })
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(false).mode(0o600);
    options
}

fn create(path: &Path) -> Result<(), OpenError> {
    let io_error = |source| OpenError::Io { path: path.to_owned(), source };
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(io_error)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        // Somebody else created it meanwhile; the lock decides who may use it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.map_err(io_error),
    }
}

#[cfg(target_os = "linux")]
fn network_file_system(path: &Path) -> Option<&'static str> {
    // statfs(2); the numbers are part of the kernel's interface.
    let magic = rustix::fs::statfs(path).ok()?.f_type;
    let number = magic as u64 & 0xffff_ffff;
    match number {
        0x6969 => Some("nfs"),
        0x517b => Some("smb"),
        0xff53_4d42 => Some("cifs"),
        0xfe53_4d42 => Some("smb2"),
        0x00c3_6400 => Some("ceph"),
        0x0102_1997 => Some("9p"),
        0x5346_414f => Some("afs"),
        0x7375_7245 => Some("coda"),
        _ => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(_path: &Path) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// F-071: refused at once while somebody has it, allowed as soon as it is let go, whatever the file says.
    #[test]
    fn a_data_directory_has_one_owner_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/data");
        let first = DataDir::open(&path).unwrap();
        match DataDir::open(&path) {
            Err(OpenError::InUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        let held = first.hold();
        drop(first);
        assert!(matches!(DataDir::open(&path), Err(OpenError::InUse { .. })), "a store still holds it");
        drop(held);
        fs::write(path.join("lock"), "1\n").unwrap();
        DataDir::open(&path).unwrap();
        assert_eq!(fs::read_to_string(path.join("lock")).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn nobody_else_may_read_it() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path().join("data")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o700);
        assert_eq!(mode(&dir.path().join("lock")), 0o600);
    }
}
