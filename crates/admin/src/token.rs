//! The bearer token: a file that only the user running Moorline can read is what an operator proves himself with.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use moorline_core::Secret;
use subtle::ConstantTimeEq;

/// The token's file in the data directory.
const FILE: &str = "admin.token";

/// Random bytes in a token; written as twice as many hexadecimal digits.
const BYTES: usize = 32;

/// Reads `data_dir/admin.token`, or creates it with 32 random bytes of the operating system, mode 0600 (F-091).
///
/// A file that holds no token is replaced. A file that others may read is kept, and closed to them. The caller
/// holds the lock of the data directory.
///
/// # Errors
/// When the file cannot be read or written, or the system gives no randomness; the message names the file.
pub fn load_or_create(data_dir: &Path) -> io::Result<Secret> {
    let path = data_dir.join(FILE);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    match fs::read(&path) {
        Ok(bytes) => match well_formed(&bytes) {
            Some(token) => {
                close_to_others(&path).map_err(named)?;
                return Ok(token);
            }
            None => tracing::warn!(file = %path.display(), "this file holds no token; it is replaced"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(named(error)),
    }
    create(data_dir, &path).map_err(named)
}

/// Compares in a time that tells nothing of how much of `given` is right.
pub(crate) fn is_same(token: &Secret, given: &str) -> bool {
    token.expose().as_bytes().ct_eq(given.as_bytes()).into()
}

fn well_formed(bytes: &[u8]) -> Option<Secret> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == 2 * BYTES && text.bytes().all(digits)).then(|| Secret::new(text))
}

fn close_to_others(path: &Path) -> io::Result<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    if permissions.mode() & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "others could read the admin token; its file is now closed to them");
        permissions.set_mode(0o600);
        fs::set_permissions(path, permissions)?;
    }
    Ok(())
}

/// Writes a new token beside the file and puts it in place when it is on disk: a reader sees a whole token or none.
fn create(data_dir: &Path, path: &Path) -> io::Result<Secret> {
    let mut random = [0_u8; BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let beside = data_dir.join(".admin.token.new");
    // What a crash left behind may have another mode, and another content.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(data_dir)?.sync_all()?;
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_token_is_created_for_its_owner_only_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let token = load_or_create(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(token.expose().len(), 64);
        assert_eq!(mode(&path), 0o600, "F-091");
        assert_eq!(load_or_create(dir.path()).unwrap(), token);
        assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), token.expose());
        assert_ne!(load_or_create(tempfile::tempdir().unwrap().path()).unwrap(), token);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_no_token_is_replaced() {
        for content in ["", "\n", "hunter2", &"A".repeat(64), &"0".repeat(63), &"0".repeat(65)] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), content).unwrap();
            fs::write(dir.path().join(".admin.token.new"), "left by a crash").unwrap();
            let token = load_or_create(dir.path()).unwrap();
            assert!(well_formed(token.expose().as_bytes()).is_some(), "{content:?}");
            assert_eq!(mode(&dir.path().join(FILE)), 0o600);
        }
    }

    #[test]
    fn a_token_others_can_read_is_closed_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        fs::write(&path, "0123456789abcdef".repeat(4)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(load_or_create(dir.path()).unwrap().expose(), "0123456789abcdef".repeat(4));
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn an_error_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = load_or_create(&dir.path().join("missing")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("missing/admin.token"), "{error}");
    }
}
