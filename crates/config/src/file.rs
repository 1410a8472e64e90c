//! Files that the configuration names: secrets, certificates and programs.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::fault::Fault;

/// No credential is longer; what is longer is some other file.
const LARGEST_SECRET: u64 = 64 * 1024;

/// Some hundred certificates.
const LARGEST_ROOTS: u64 = 1024 * 1024;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The text of a secret file relative to `directory`, without the line break at its end; and what is risky about the
/// file.
///
/// # Errors
/// When it cannot be read, is not text, is empty or too large for a secret. Names the path.
pub(crate) fn secret(directory: &Path, path: &str) -> Result<(String, Option<Fault>), Fault> {
    let file = directory.join(path);
    let shown = format!("{path:?}");
    let unreadable =
        |error: io::Error| Fault::SecretUnreadable { path: shown.clone(), error: error.to_string() };
    let bytes = read(&file, LARGEST_SECRET, "a secret").map_err(unreadable)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8")))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Fault::SecretFileEmpty { path: shown });
    }
    let exposed =
        exposure(&file).map(|(mode, command)| Fault::SecretExposed { path: shown.clone(), mode, command });
    Ok((text.to_owned(), exposed))
}

/// The bytes of a file of PEM certificates relative to `directory`.
///
/// # Errors
/// When it cannot be read, or is not of one or more blocks of Base64 between the lines that PEM has for certificates.
/// What is in the blocks is for the TLS library to judge. Names the path.
pub(crate) fn certificates(directory: &Path, path: &str) -> Result<Vec<u8>, Fault> {
    let shown = format!("{path:?}");
    let bytes = read(&directory.join(path), LARGEST_ROOTS, "certificates")
        .map_err(|error| Fault::RootsUnreadable { path: shown.clone(), error: error.to_string() })?;
    match pem(&bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(Fault::RootsNotPem { path: shown, error }),
    }
}

/// The mode of a file that others than its owner may read, and the command that changes that (F-096). `None` for one
/// that is private, or is none: a configuration need not come from a file.
pub(crate) fn exposure(path: &Path) -> Option<(String, String)> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    let shown = path.display().to_string();
    let plain = shown.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c));
    let quoted = if plain { shown } else { format!("'{}'", shown.replace('\'', r"'\''")) };
    (mode & 0o044 != 0).then(|| (format!("{mode:04o}"), format!("chmod 600 {quoted}")))
}

/// Whether a program of this name can be run here: a path, relative to the working directory, or a name that is looked
/// for in the directories of `path`.
pub(crate) fn is_program(name: &str, path: Option<&str>) -> bool {
    let runs = |file: &Path| {
        std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return runs(Path::new(name));
    }
    std::env::split_paths(path.unwrap_or_default()).any(|directory| runs(&directory.join(name)))
}

fn read(path: &Path, largest: u64, what: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(largest + 1).read_to_end(&mut bytes)?;
    if read as u64 > largest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("too large for {what}")));
    }
    Ok(bytes)
}

/// Text outside of the blocks is allowed: bundles carry the names of their certificates there.
fn pem(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let (mut inside, mut content, mut blocks) = (false, false, 0_u32);
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        let base64 = line.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
        match (line, inside) {
            (BEGIN, false) => (inside, content) = (true, false),
            (END, true) if content => (inside, blocks) = (false, blocks + 1),
            (END, true) => return Err(format!("the block that ends in line {number} is empty")),
            (BEGIN | END, _) => return Err(format!("line {number} is out of place")),
            (_, true) if base64 => content |= !line.is_empty(),
            (_, true) => return Err(format!("line {number} is not Base64")),
            // A private key, for one, which has no business here.
            (_, false) if line.starts_with("-----BEGIN ") => {
                return Err(format!("line {number} begins something else than a certificate"));
            }
            (_, false) => {}
        }
    }
    match (inside, blocks) {
        (true, _) => Err(format!("the last block has no line {END}")),
        (false, 0) => Err(format!("it has no line {BEGIN}")),
        (false, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_blocks_of_certificates_pass() {
        let block = "-----BEGIN CERTIFICATE-----\r\nMIIB+/==\r\n-----END CERTIFICATE-----\r\n";
        let good = [block.to_owned(), format!("# Our authority\n{block}\n{block}")];
        for text in good {
            assert_eq!(pem(text.as_bytes()), Ok(()), "{text}");
        }
        let rows: &[(&str, &str)] = &[
            ("", "it has no line -----BEGIN CERTIFICATE-----"),
            ("MIIB", "it has no line -----BEGIN CERTIFICATE-----"),
            (&block.replace("MIIB+/==\r\n", ""), "the block that ends in line 2 is empty"),
            (&block.replace("MIIB", "MI B"), "line 2 is not Base64"),
            (
                &block.replace("-----END CERTIFICATE-----", ""),
                "the last block has no line -----END CERTIFICATE-----",
            ),
            (&format!("{BEGIN}\n{block}"), "line 2 is out of place"),
            (&format!("{block}{END}"), "line 4 is out of place"),
            (&block.replace("CERTIFICATE", "PRIVATE KEY"), "line 1 begins something else than a certificate"),
        ];
        for (text, problem) in rows {
            assert_eq!(pem(text.as_bytes()), Err((*problem).to_owned()), "{text}");
        }
        assert_eq!(pem(&[0x30, 0x82, 0xff]), Err("it is not text".to_owned()), "DER");
    }
}
