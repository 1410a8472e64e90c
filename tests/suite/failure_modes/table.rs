//! docs/failure-modes.md names tests; a name that stands for nothing would be worse than none.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// `module::test` of every test below a directory. The module is the file's, or the folder's for its `mod.rs`;
/// tests beside the code they test are called by the file's name, and those in a `tests.rs` or `mod tests` by `tests`.
fn tests_below(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let names = text.lines().filter_map(|line| {
                let line = line.trim_start().trim_start_matches("async ");
                line.strip_prefix("fn ")?.split(['(', '<']).next()
            });
            found.extend(names.flat_map(|name| [format!("{module}::{name}"), format!("tests::{name}")]));
        }
    }
}

#[test]
fn every_test_that_the_table_names_exists() {
    let mut existing = BTreeSet::new();
    for directory in ["tests/suite", "crates"] {
        tests_below(&root().join(directory), &mut existing);
    }
    let table = fs::read_to_string(root().join("docs/failure-modes.md")).unwrap();
    let named: BTreeSet<&str> = table
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.contains("::") && *name != "module::test")
        .collect();
    assert!(named.len() > 60, "{}", named.len());
    let missing: Vec<&&str> = named.iter().filter(|name| !existing.contains(**name)).collect();
    assert!(missing.is_empty(), "named in docs/failure-modes.md and nowhere else: {missing:#?}");
}
