//! `data_dir/run.json`: how the command line finds the process that runs on a data directory.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use moorline_core::{BootId, Timestamp};
use serde::{Deserialize, Serialize};

/// What is in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// The process.
    pub pid: u32,
    /// When the kernel started it, in its own count; the number of a process is used again, this with it is not. It
    /// outlives executing another binary.
    #[serde(default)]
    pub born: Option<u64>,
    /// Where its admin endpoint listens.
    pub address: SocketAddr,
    /// This run of it.
    pub boot: BootId,
    /// When it started.
    pub started_at: Timestamp,
    /// What it is doing.
    pub phase: Phase,
    /// Why it could not start yet, and when it tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The control interface of the simulator, in a demo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulator: Option<SocketAddr>,
}

/// What the process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not everything is up yet.
    Starting,
    /// Everything is up.
    Running,
    /// On its way down.
    Stopping,
    /// On its way down, to be replaced by a fresh process with the same id.
    Restarting,
}

impl RunFile {
    /// Enters a phase, and writes the file.
    ///
    /// # Errors
    /// As [`RunFile::write`].
    pub fn enter(&mut self, phase: Phase, data_dir: &Path) -> std::io::Result<()> {
        self.phase = phase;
        self.write(data_dir)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, data_dir: &Path) -> std::io::Result<()> {
        let temporary = data_dir.join("run.json.new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        drop(file);
        fs::rename(temporary, path(data_dir))
    }

    /// Reads the file; `None` when there is none that can be read.
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path(data_dir)).ok()?).ok()
    }

    /// Removes the file: nothing runs here any more.
    pub fn remove(data_dir: &Path) {
        // A file that is left over names a process that is gone, which readers check.
        drop(fs::remove_file(path(data_dir)));
    }

    /// Whether the process it names still exists: the same one, and not merely its remains.
    pub fn is_alive(&self) -> bool {
        let dir = Path::new("/proc").join(self.pid.to_string());
        match (self.born, born(self.pid)) {
            (Some(then), Some(now)) => then == now,
            // Where the kernel does not say, being there has to do.
            (None, Some(_)) => true,
            (_, None) => dir.exists() && !dir.join("stat").exists(),
        }
    }
}

/// When the kernel started a process; `None` when there is none, or nothing but its remains (proc_pid_stat(5)).
pub fn born(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in brackets, and may have anything in it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if ["Z", "X"].contains(&state) { None } else { fields.nth(18)?.parse().ok() }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("run.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file left over by a crash, with a number that another process has by now, was taken for a running Moorline.
    #[test]
    fn another_process_with_the_same_number_is_not_ours() {
        let ours = std::process::id();
        let mut file = RunFile {
            pid: ours,
            born: born(ours),
            address: "127.0.0.1:1".parse().unwrap(),
            boot: BootId::new("b"),
            started_at: Timestamp::from_millis(0),
            phase: Phase::Running,
            problem: None,
            simulator: None,
        };
        assert!(file.born.is_some() && file.is_alive());
        file.born = file.born.map(|born| born + 1);
        assert!(!file.is_alive());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        file.pid = child.id();
        file.born = born(child.id()).or(Some(0));
        while born(child.id()).is_some() {
            std::thread::yield_now();
        }
        assert!(!file.is_alive(), "what is left of it is no process");
        child.wait().unwrap();
    }
}
