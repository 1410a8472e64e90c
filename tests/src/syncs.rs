//! Stands between a process and the disk, at the C library's door: counts syncs, makes them fail, and holds them up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// Notes every `fsync` and `fdatasync` in a file, one byte each, and passes them on, or fails them.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void note(char which) {
    const char *path = getenv("SYNC_COUNT_FILE");
    if (!path) return;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0) return;
    if (write(fd, &which, 1) != 1) { }
    close(fd);
}

int fsync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    note('s');
    return real(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    const char *fail = getenv("SYNC_FAIL_FILE");
    const char *hold = getenv("SYNC_HOLD_FILE");
    note('d');
    while (hold && access(hold, F_OK) == 0) usleep(1000);
    if (fail && access(fail, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}
"#;

/// A library to be preloaded, and the file in which it counts.
pub struct SyncCounter {
    directory: TempDir,
}

impl SyncCounter {
    /// Compiles the library, once in a program's life, with the C compiler that building the binary needs as well.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn build() -> Self {
        static LIBRARY: OnceLock<Vec<u8>> = OnceLock::new();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("counter.so"), LIBRARY.get_or_init(compile)).unwrap();
        Self { directory }
    }

    /// What a process whose calls are to be counted is started with.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        BTreeMap::from([
            ("LD_PRELOAD".to_owned(), path("counter.so")),
            ("SYNC_COUNT_FILE".to_owned(), path("count")),
            ("SYNC_FAIL_FILE".to_owned(), path("fail")),
            ("SYNC_HOLD_FILE".to_owned(), path("hold")),
        ])
    }

    /// From now on every `fdatasync` fails as a broken disk makes it fail.
    pub fn break_disk(&self) {
        std::fs::write(self.directory.path().join("fail"), []).unwrap();
    }

    /// From now on it works again.
    pub fn mend_disk(&self) {
        std::fs::remove_file(self.directory.path().join("fail")).unwrap();
    }

    /// From now on every `fdatasync` waits: what it is to sync is written already.
    pub fn hold(&self) {
        std::fs::write(self.directory.path().join("hold"), []).unwrap();
    }

    /// From now on it returns again.
    pub fn release(&self) {
        std::fs::remove_file(self.directory.path().join("hold")).unwrap();
    }

    /// Calls of `fsync` so far.
    #[must_use]
    pub fn fsyncs(&self) -> usize {
        self.count(b's')
    }

    /// Calls of `fdatasync` so far.
    #[must_use]
    pub fn fdatasyncs(&self) -> usize {
        self.count(b'd')
    }

    fn count(&self, kind: u8) -> usize {
        let file: PathBuf = self.directory.path().join("count");
        std::fs::read(file).unwrap_or_default().into_iter().filter(|&byte| byte == kind).count()
    }
}

/// The library's bytes.
fn compile() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let (source, library) = (directory.path().join("counter.c"), directory.path().join("counter.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .status();
    assert!(compiled.unwrap().success(), "cc failed");
    std::fs::read(library).unwrap()
}
