//! Where secrets are kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// No credential is longer; what is longer is some other file.
const LARGEST_FILE: u64 = 64 * 1024;

/// The text of the variable `name`.
///
/// # Errors
/// When it is not set or empty. Names the variable, if what was written can be a variable's name at all: somebody
/// may have put the secret itself in its place.
pub(crate) fn from_environment(environment: &BTreeMap<String, String>, name: &str) -> Result<String, String> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err("expected the name of an environment variable".to_owned());
    }
    match environment.get(name) {
        Some(text) if !text.is_empty() => Ok(text.clone()),
        Some(_) => Err(format!("the environment variable {name} is empty")),
        None => Err(format!("the environment variable {name} is not set")),
    }
}

/// The text of a file relative to `directory`, without the line break at its end.
///
/// # Errors
/// When it cannot be read, is not text, is empty or too large for a secret. Names the path.
pub(crate) fn from_file(directory: &Path, path: &str) -> Result<String, String> {
    let text = read(&directory.join(path))
        .map_err(|error| format!("cannot read the secret file {path:?}: {error}"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(format!("the secret file {path:?} is empty"));
    }
    Ok(text.to_owned())
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    if read as u64 > LARGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too large for a secret"));
    }
    Ok(text)
}
