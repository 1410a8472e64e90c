//! Logins by a person as files of the data directory: `logins/<channel>.<name>.json`, for nobody else's eyes (F-096).
//! What has ended a login is in `logins/<channel>.<name>.ended.json`, until there is another one.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use moorline_channel::{Plan, SavedLogin};
use moorline_core::{AccountId, ChannelName, Secret, Timestamp, UserId};
use moorline_runtime::{Ended, LoginFault, Logins, LoginsError, Saved};
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

/// What is kept of a login that another one has ended.
#[derive(Serialize, Deserialize)]
struct End {
    by: AccountId,
    at: Timestamp,
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

/// What is wrong with the logins that these accounts have or should have, and with those of others. Nothing is written.
pub fn examine(data_dir: &Path, plans: &BTreeMap<AccountId, Arc<dyn Plan>>) -> Vec<LoginFault> {
    let kept = LoginFiles::new(data_dir);
    let mut faults = Vec::new();
    for (id, plan) in plans.iter().filter(|(_, plan)| plan.login(&[], 0).is_some()) {
        let file = kept.file(id);
        let unreadable =
            |why: String| LoginFault::Unreadable(id.clone(), format!("{}: {why}", file.display()));
        match kept.look(id) {
            Ok(None) => faults.push(LoginFault::Missing(id.clone())),
            Ok(Some(saved)) => {
                let refused = plan.logged_in(&saved.login).and_then(Result::err);
                faults.extend(refused.map(|failure| unreadable(failure.message)));
            }
            Err(error) => faults.push(unreadable(error.to_string())),
        }
    }
    let others = files(data_dir).into_iter().filter_map(|file| Some((account_of(&file)?, file)));
    let others = others.filter(|(id, _)| !plans.contains_key(id));
    faults.extend(others.map(|(id, file)| LoginFault::NotConfigured(id, file)));
    faults
}

/// Whose login is in a file, by its name.
fn account_of(file: &Path) -> Option<AccountId> {
    let (channel, name) = file.file_name()?.to_str()?.strip_suffix(".json")?.split_once('.')?;
    format!("{channel}:{name}").parse().ok()
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

    /// Where it is kept by what its login was ended.
    fn end_file(&self, account: &AccountId) -> PathBuf {
        self.directory.join(format!("{}.{}.ended.json", account.channel(), account.name()))
    }

    fn read(&self, account: &AccountId) -> io::Result<Option<Saved>> {
        let file = self.file(account);
        let Some(opened) = open(&file)? else { return Ok(None) };
        make_private(&file, &opened)?;
        parse(&io::read_to_string(opened)?).map(Some)
    }

    /// The same, and whoever else could read it still can.
    fn look(&self, account: &AccountId) -> io::Result<Option<Saved>> {
        let Some(opened) = open(&self.file(account))? else { return Ok(None) };
        parse(&io::read_to_string(opened)?).map(Some)
    }

    fn write(&self, account: &AccountId, saved: &Saved) -> io::Result<()> {
        let content = Content {
            login: raw(saved.login.0.expose())?,
            person: saved.person.clone(),
            saved_at: saved.saved_at,
        };
        self.replace(&self.file(account), &content)?;
        remove(&self.end_file(account)).map(drop)
    }

    fn write_end(&self, account: &AccountId, ended: Ended) -> io::Result<()> {
        let Ended { by, at } = ended;
        self.replace(&self.end_file(account), &End { by, at })?;
        remove(&self.file(account))?;
        self.sync()
    }

    fn read_end(&self, account: &AccountId) -> io::Result<Option<Ended>> {
        let Some(opened) = open(&self.end_file(account))? else { return Ok(None) };
        let End { by, at } = serde_json::from_reader(opened)?;
        Ok(Some(Ended { by, at }))
    }

    /// Whole or not at all: a file of another name is written and synced, and then takes the place of the one before it.
    fn replace(&self, file: &Path, content: &impl Serialize) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(&self.directory)?;
        let temporary = file.with_extension("json.new");
        // What a process that was killed has left there is gone first, with the mode it may have had.
        remove(&temporary)?;
        let mut options = OpenOptions::new();
        let mut opened = options.write(true).create_new(true).mode(PRIVATE).open(&temporary)?;
        opened.write_all(&serde_json::to_vec_pretty(content)?)?;
        opened.sync_all()?;
        fs::rename(&temporary, file)?;
        self.sync()
    }

    fn erase(&self, account: &AccountId) -> io::Result<bool> {
        let removed = remove(&self.file(account))?;
        remove(&self.end_file(account))?;
        self.sync()?;
        Ok(removed)
    }

    fn sync(&self) -> io::Result<()> {
        open(&self.directory)?.map_or(Ok(()), |directory| directory.sync_all())
    }

    fn list(&self, channel: &ChannelName) -> io::Result<Vec<(AccountId, Saved)>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for entry in entries {
            let account = account_of(&entry?.path()).filter(|account| account.channel() == channel);
            let Some(account) = account else { continue };
            match self.read(&account) {
                Ok(saved) => all.extend(saved.map(|saved| (account, saved))),
                // Its account says so, by its status and in the log.
                Err(error) => {
                    tracing::debug!(%account, actor = "logins", "a saved login cannot be read: {error}")
                }
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    fn beside<T: Send + 'static>(
        &self,
        path: &Path,
        what: &'static str,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> LocalBoxFuture<'static, Result<T, LoginsError>> {
        let (files, path) = (self.clone(), path.display().to_string());
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || work(&files)).await {
                Ok(done) => done.map_err(|error| LoginsError(format!("{path}{what}: {error}"))),
                Err(_) => Err(LoginsError(format!("{path}{what}: a fault in Moorline"))),
            }
        })
    }
}

impl Logins for LoginFiles {
    fn load(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<Option<Saved>, LoginsError>> {
        let account = account.clone();
        self.beside(&self.file(&account), "", move |files| files.read(&account))
    }

    fn save(&self, account: &AccountId, saved: Saved) -> LocalBoxFuture<'static, Result<(), LoginsError>> {
        let account = account.clone();
        self.beside(&self.file(&account), " cannot be written", move |files| files.write(&account, &saved))
    }

    fn remove(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<bool, LoginsError>> {
        let account = account.clone();
        self.beside(&self.file(&account), " cannot be removed", move |files| files.erase(&account))
    }

    fn end(&self, account: &AccountId, ended: Ended) -> LocalBoxFuture<'static, Result<(), LoginsError>> {
        let account = account.clone();
        self.beside(&self.file(&account), " cannot be removed", move |files| files.write_end(&account, ended))
    }

    fn ended(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<Option<Ended>, LoginsError>> {
        let account = account.clone();
        self.beside(&self.end_file(&account), "", move |files| files.read_end(&account))
    }

    fn all(
        &self,
        channel: &ChannelName,
    ) -> LocalBoxFuture<'static, Result<Vec<(AccountId, Saved)>, LoginsError>> {
        let channel = channel.clone();
        self.beside(&self.directory, "", move |files| files.list(&channel))
    }
}

/// A file, or nothing where there is none.
fn open(file: &Path) -> io::Result<Option<File>> {
    match File::open(file) {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
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

/// Whether it was there.
fn remove(file: &Path) -> io::Result<bool> {
    match fs::remove_file(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
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
        assert!(files.erase(&main).unwrap());
        assert!(!files.erase(&main).unwrap());
        assert_eq!(files.read(&main).unwrap(), None);
    }

    #[test]
    fn by_what_a_login_was_ended_is_known_until_the_next_one() {
        let data = tempfile::tempdir().unwrap();
        let files = LoginFiles::new(data.path());
        let (main, other) = (account("chat:main"), account("chat:other"));
        let ended = Ended { by: other, at: Timestamp::from_millis(1_795_176_000_123) };
        files.write(&main, &saved("{}")).unwrap();
        assert_eq!(files.read_end(&main).unwrap(), None);
        files.write_end(&main, ended.clone()).unwrap();
        assert_eq!((files.read(&main).unwrap(), files.read_end(&main).unwrap()), (None, Some(ended.clone())));
        assert_eq!(files.list(main.channel()).unwrap(), [], "it is no login");
        assert_eq!(mode(&data.path().join("logins/chat.main.ended.json")), 0o600);
        files.write(&main, &saved("{}")).unwrap();
        assert_eq!(files.read_end(&main).unwrap(), None);
        files.write_end(&main, ended).unwrap();
        assert!(!files.erase(&main).unwrap(), "there was no login");
        assert_eq!(files.read_end(&main).unwrap(), None);
        assert_eq!(super::files(data.path()), Vec::<PathBuf>::new(), "nothing is left");
    }

    #[test]
    fn what_cannot_be_done_names_the_file() {
        let data = tempfile::tempdir().unwrap();
        let files = LoginFiles::new(data.path());
        let main = account("chat:main");
        files.write(&main, &saved("{}")).unwrap();
        fs::write(data.path().join("logins/chat.main.json"), "{").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = runtime.block_on(Logins::load(&files, &main)).unwrap_err().to_string();
        assert!(error.contains("/logins/chat.main.json: it is not a saved login"), "{error}");
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
