//! The documentation of the error codes, compared with the table of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::code::Code;

#[test]
fn every_code_has_its_page_and_every_page_its_code() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors/api");
    let mut pages = BTreeMap::new();
    for file in fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        pages.insert(name, fs::read_to_string(&path).unwrap());
    }
    for code in Code::ALL {
        let page = pages.remove(code.name()).unwrap_or_else(|| panic!("{} has no page", code.name()));
        let title = format!("# {} ({})\n", code.name(), code.status().as_u16());
        assert!(page.starts_with(&title), "the page of {} begins with {title}", code.name());
        for section in ["\n## What happened\n", "\n## What to do\n"] {
            assert!(page.contains(section), "{} lacks{section}", code.name());
        }
    }
    assert_eq!(pages.into_keys().collect::<Vec<_>>(), Vec::<String>::new(), "pages without a code");
    let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Code::ALL.len(), "a code has one meaning");
}

#[test]
fn the_table_of_codes_in_the_docs_is_that_of_the_code() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.md");
    let page = fs::read_to_string(page).unwrap();
    let told: Vec<_> = page.lines().filter(|line| line.contains("](errors/api/")).collect();
    let row = |code: &Code| {
        let name = code.name();
        format!("| [{name}](errors/api/{name}.md) | {} |", code.status().as_u16())
    };
    assert_eq!(told, Code::ALL.iter().map(row).collect::<Vec<_>>());
}
