//! Logins by a person as files of the data directory: `logins/<channel>.<name>.json`, for nobody else's eyes (F-096).

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use futures_util::future::LocalBoxFuture;
use moorline_channel::SavedLogin;
use moorline_core::{AccountId, ChannelName, Secret, Timestamp, UserId};
use moorline_runtime::{Logins, LoginsError, Saved};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// What belongs to nobody but us.
const PRIVATE: u32 = 0o600;
const PRIVATE_DIRECTORY: u32 = 0o700;

/// The files of one data directory. Reading and writing is done beside the arbiter.
#[derive(Debug, Clone)]
pub struct LoginFiles {
    directory: PathBuf,
}

/// What is in a file.
#[derive(Serialize, Deserialize)]
struct Content {
    /// What the channel keeps: as JSON where it is JSON, else as a text.
    login: Box<RawValue>,
    person: Option<UserId>,
    saved_at: Timestamp,
}

/// Where the logins of a data directory are.
pub fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("logins")
}

/// Every file there.
pub fn files(data_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory(data_dir)).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

impl LoginFiles {
    /// Those of this data directory, which need not have any.
    pub fn new(data_dir: &Path) -> Self {
        Self { directory: directory(data_dir) }
    }

    /// Ids are made of `[a-z0-9_-]`: no file but one of ours can be named by one.
    fn file(&self, account: &AccountId) -> PathBuf {
        self.directory.join(format!("{}.{}.json", account.channel(), account.name()))
    }

    fn read(&self, account: &AccountId) -> io::Result<Option<Saved>> {
        let file = self.file(account);
        match File::open(&file) {
            Ok(opened) => {
                make_private(&file, &opened)?;
                parse(&io::read_to_string(opened)?).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whole or not at all: a file of another name is written and synced, and then takes the place of the one before it.
    fn write(&self, account: &AccountId, saved: &Saved) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(&self.directory)?;
        let content = Content {
            login: raw(saved.login.0.expose())?,
            person: saved.person.clone(),
            saved_at: saved.saved_at,
        };
        let file = self.file(account);
        let temporary = file.with_extension("json.new");
        // What a process that was killed has left there is gone first, with the mode it may have had.
        remove(&temporary)?;
        let mut options = OpenOptions::new();
        let mut opened = options.write(true).create_new(true).mode(PRIVATE).open(&temporary)?;
        opened.write_all(&serde_json::to_vec_pretty(&content)?)?;
        opened.sync_all()?;
        fs::rename(&temporary, &file)?;
        File::open(&self.directory)?.sync_all()
    }

    fn erase(&self, account: &AccountId) -> io::Result<()> {
        remove(&self.file(account))?;
        match File::open(&self.directory) {
            Ok(directory) => directory.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn list(&self, channel: &ChannelName) -> io::Result<Vec<(AccountId, Saved)>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let account = name.to_str().and_then(|name| {
                let (of, name) = name.strip_suffix(".json")?.split_once('.')?;
                AccountId::new(channel, name).ok().filter(|_| of == channel.as_str())
            });
            let Some(account) = account else { continue };
            match self.read(&account) {
                Ok(saved) => all.extend(saved.map(|saved| (account, saved))),
                Err(error) => {
                    tracing::warn!(%account, actor = "logins", "a saved login cannot be read: {error}")
                }
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    fn beside<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> LocalBoxFuture<'static, Result<T, LoginsError>> {
        let files = self.clone();
        Box::pin(async move {
            let path = files.directory.display().to_string();
            match tokio::task::spawn_blocking(move || work(&files)).await {
                Ok(done) => done.map_err(|error| LoginsError(format!("{path} cannot be {what}: {error}"))),
                Err(_) => Err(LoginsError(format!("{path} cannot be {what}: a fault in Moorline"))),
            }
        })
    }
}

impl Logins for LoginFiles {
    fn load(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<Option<Saved>, LoginsError>> {
        let account = account.clone();
        self.beside("read", move |files| files.read(&account))
    }

    fn save(&self, account: &AccountId, saved: Saved) -> LocalBoxFuture<'static, Result<(), LoginsError>> {
        let account = account.clone();
        self.beside("written", move |files| files.write(&account, &saved))
    }

    fn remove(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<(), LoginsError>> {
        let account = account.clone();
        self.beside("written", move |files| files.erase(&account))
    }

    fn all(
        &self,
        channel: &ChannelName,
    ) -> LocalBoxFuture<'static, Result<Vec<(AccountId, Saved)>, LoginsError>> {
        let channel = channel.clone();
        self.beside("read", move |files| files.list(&channel))
    }
}

fn raw(login: &str) -> io::Result<Box<RawValue>> {
    match RawValue::from_string(login.to_owned()) {
        Ok(json) if json.get().starts_with('{') => Ok(json),
        _ => Ok(to_raw_value(login)?),
    }
}

/// What is wrong is told by its place: a parser's words may quote what stands there (F-090).
fn parse(text: &str) -> io::Result<Saved> {
    let unreadable = |error: serde_json::Error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        io::Error::new(io::ErrorKind::InvalidData, format!("it is not a saved login: {place}"))
    };
    let Content { login, person, saved_at } = serde_json::from_str(text).map_err(unreadable)?;
    let login = match login.get() {
        text if text.starts_with('"') => serde_json::from_str(text).map_err(unreadable)?,
        json => Secret::new(json),
    };
    Ok(Saved { login: SavedLogin(login), person, saved_at })
}

/// Takes a file away from whoever else could read or write it.
fn make_private(path: &Path, file: &File) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            actor = "logins",
            "{} had mode {mode:04o}, so others could read a login: it has {PRIVATE:04o} now; log in again if they did",
            path.display()
        );
        file.set_permissions(Permissions::from_mode(PRIVATE))?;
    }
    Ok(())
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: &str) -> AccountId {
        id.parse().unwrap()
    }

    fn saved(login: &str) -> Saved {
        Saved {
            login: SavedLogin(Secret::new(login)),
            person: Some(UserId::new("alice@im.test")),
            saved_at: Timestamp::from_millis(1_795_176_000_123),
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_login_is_kept_to_the_letter_for_nobody_elses_eyes_f096() {
        let data = tempfile::tempdir().unwrap();
        let files = LoginFiles::new(data.path());
        let main = account("chat:main");
        assert_eq!(files.read(&main).unwrap(), None);
        for login in [r#"{"b":1.10,"a":18446744073709551615}"#, "no json", r#""quoted""#, "", "[1]"] {
            files.write(&main, &saved(login)).unwrap();
            assert_eq!(files.read(&main).unwrap(), Some(saved(login)), "{login}");
        }
        let file = data.path().join("logins/chat.main.json");
        assert_eq!((mode(&file), mode(&data.path().join("logins"))), (0o600, 0o700));
        files.erase(&main).unwrap();
        files.erase(&main).unwrap();
        assert_eq!(files.read(&main).unwrap(), None);
    }

    #[test]
    fn what_a_killed_process_left_of_a_login_changes_nothing_f096() {
        let data = tempfile::tempdir().unwrap();
        let files = LoginFiles::new(data.path());
        let main = account("chat:main");
        files.write(&main, &saved("{}")).unwrap();
        // Killed in the middle of the next login, by a process with another idea of modes.
        let left = data.path().join("logins/chat.main.json.new");
        fs::write(&left, r#"{"login": {"tok"#).unwrap();
        fs::set_permissions(&left, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(files.read(&main).unwrap(), Some(saved("{}")));
        assert_eq!(files.list(main.channel()).unwrap(), [(main.clone(), saved("{}"))]);
        files.write(&main, &saved("{\"new\":1}")).unwrap();
        assert_eq!(files.read(&main).unwrap(), Some(saved("{\"new\":1}")));
        assert!(!left.exists());
        assert_eq!(mode(&data.path().join("logins/chat.main.json")), 0o600);
    }

    #[test]
    fn a_file_that_others_could_read_is_taken_from_them_f096() {
        let data = tempfile::tempdir().unwrap();
        let files = LoginFiles::new(data.path());
        let main = account("chat:main");
        files.write(&main, &saved("{}")).unwrap();
        let file = data.path().join("logins/chat.main.json");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert!(files.read(&main).unwrap().is_some());
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn of_a_channel_all_is_listed_that_can_be_read_and_nothing_of_it_is_quoted_f090() {
        let data = tempfile::tempdir().unwrap();
        let files = LoginFiles::new(data.path());
        assert_eq!(files.list(account("chat:x").channel()).unwrap(), []);
        for id in ["chat:b", "chat:a", "other:a", "chat:broken"] {
            files.write(&account(id), &saved("{}")).unwrap();
        }
        fs::write(data.path().join("logins/chat.broken.json"), r#"{"login": qQ7secret}"#).unwrap();
        fs::write(data.path().join("logins/notes.txt"), "x").unwrap();
        let listed = files.list(account("chat:x").channel()).unwrap();
        let ids: Vec<String> = listed.iter().map(|(id, _)| id.to_string()).collect();
        assert_eq!(ids, ["chat:a", "chat:b"]);
        let error = files.read(&account("chat:broken")).unwrap_err().to_string();
        assert_eq!(error, "it is not a saved login: line 1, column 11");
    }
}
