//! The machine under the process, for the doctor: the disk, who may read our files, how many of them may be open.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use moorline_config::{Diagnosis, Problem};
use moorline_runtime::{Disk, Exposed, Machine, MachineFacts};
use moorline_store::DataDir;
use parking_lot::Mutex;

use crate::cli::Place;
use crate::logins;
use crate::settings::Settings;

/// What we keep in a data directory beside the database. All of it is nobody else's business (F-096).
const OURS: &[&str] = &["admin.token", "lock", "run.json"];

/// Warnings that are about who may read a file.
const EXPOSED: &[&str] = &["ML0207", "ML0208"];

/// A warning that the doctor has by another name, with more in it.
const LISTS: &str = "ML0306";

/// Looks at this machine.
pub struct ThisMachine {
    data_dir: PathBuf,
    /// The configuration file, if there is one, and what was last found to be odd about it.
    config: Option<(PathBuf, Mutex<Option<Looked>>)>,
}

/// A configuration file as it was looked at.
struct Looked {
    at: (u64, u64, i64, i64),
    warnings: Diagnosis,
}

impl ThisMachine {
    /// What is under a process that runs with these.
    pub fn new(data_dir: &Path, config: Option<&Path>) -> Self {
        let config = config.map(|path| (path.to_owned(), Mutex::default()));
        Self { data_dir: data_dir.to_owned(), config }
    }

    /// The warnings about the configuration file. It is read again when it has changed, or its mode, and for as long as
    /// there is something to warn of: a secret file that is mended does not change it.
    fn warnings(&self) -> Diagnosis {
        let Some((path, looked)) = &self.config else { return Diagnosis::default() };
        let mut looked = looked.lock();
        let at = fs::metadata(path).as_ref().map(fingerprint).unwrap_or_default();
        if let Some(looked) = looked.as_ref().filter(|looked| looked.at == at && looked.warnings.is_empty()) {
            return looked.warnings.clone();
        }
        let place = Place { config: path.clone(), data_dir: None };
        // One that is wrong is told of by whoever wanted to apply it.
        let warnings = Settings::examine(&place).map(|settings| settings.warnings).unwrap_or_default();
        *looked = Some(Looked { at, warnings: warnings.clone() });
        warnings
    }
}

impl Machine for ThisMachine {
    fn look(&self) -> MachineFacts {
        let mut facts = facts(&self.data_dir);
        add_warnings(&mut facts, self.warnings());
        facts
    }
}

/// What is known of it but for the configuration.
pub fn facts(data_dir: &Path) -> MachineFacts {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let disk = rustix::fs::statvfs(data_dir).ok().map(|disk| Disk {
        path: data_dir.to_owned(),
        free: disk.f_bavail.saturating_mul(disk.f_frsize),
        total: disk.f_blocks.saturating_mul(disk.f_frsize),
    });
    MachineFacts {
        host: host.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
        disk,
        exposed: exposed(data_dir),
        warnings: Vec::new(),
        open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
    }
}

/// Adds what the configuration was found to be like.
pub fn add_warnings(facts: &mut MachineFacts, warnings: Diagnosis) {
    for problem in warnings.0 {
        if EXPOSED.contains(&problem.code) {
            facts.exposed.push(exposed_by(&problem));
        } else if problem.code != LISTS {
            facts.warnings.push(problem.to_string());
        }
    }
}

fn exposed_by(problem: &Problem) -> Exposed {
    let command = problem.message.rsplit_once(": ").map_or("chmod 600", |(_, command)| command);
    Exposed { what: problem.to_string(), command: command.to_owned() }
}

/// What of ours others may read or write.
fn exposed(data_dir: &Path) -> Vec<Exposed> {
    let database = DataDir::database_files(data_dir).into_iter();
    let files = OURS.iter().map(|name| data_dir.join(name)).chain(database).map(|path| (path, "600"));
    let wanted = std::iter::once((data_dir.to_owned(), "700")).chain(files);
    let exposed = wanted.filter_map(|(path, mode)| open_to_others(&path, mode));
    exposed.chain(exposed_logins(data_dir).into_iter().map(|(_, exposed)| exposed)).collect()
}

/// The files of saved logins that others may read or write, and their directory.
pub fn exposed_logins(data_dir: &Path) -> Vec<(PathBuf, Exposed)> {
    let files = logins::files(data_dir).into_iter().map(|path| (path, "600"));
    let wanted = std::iter::once((logins::directory(data_dir), "700")).chain(files);
    wanted.filter_map(|(path, mode)| open_to_others(&path, mode).map(|exposed| (path, exposed))).collect()
}

fn open_to_others(path: &Path, wanted: &str) -> Option<Exposed> {
    let found = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    (found & 0o077 != 0).then(|| Exposed {
        what: format!("{} has mode {found:04o}", path.display()),
        command: format!("chmod {wanted} '{}'", path.display().to_string().replace('\'', r"'\''")),
    })
}

fn fingerprint(metadata: &Metadata) -> (u64, u64, i64, i64) {
    // The time of the last change of what the system keeps of a file covers its mode too.
    (metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_read_ours_is_found_f096() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("it's data");
        assert_eq!(exposed(&dir), [], "nothing is there");
        fs::create_dir(&dir).unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(&dir, 0o700);
        let token = dir.join("admin.token");
        fs::write(&token, "x").unwrap();
        set(&token, 0o600);
        assert_eq!(exposed(&dir), []);
        set(&dir, 0o750);
        set(&token, 0o604);
        let commands: Vec<String> = exposed(&dir).into_iter().map(|one| one.command).collect();
        assert!(
            commands[0].starts_with("chmod 700 '") && commands[0].ends_with(r"/it'\''s data'"),
            "{commands:?}"
        );
        assert!(commands.len() == 2 && commands[1].ends_with("admin.token'"), "{commands:?}");
        assert!(facts(&dir).disk.is_some_and(|disk| disk.free > 0 && disk.total >= disk.free));
    }
}
