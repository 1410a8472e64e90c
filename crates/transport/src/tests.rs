//! Over real sockets, on the loopback interface, in real time: what awc really does is the point of these tests.

mod calls;
mod connecting;
mod families;
mod many;
mod peer;
mod proxies;
mod sockets;
mod stale;

/// The table in `lib.rs` names tests that are there.
#[test]
fn the_table_of_the_crate_names_tests() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: &str| std::fs::read_to_string(here.join(path)).unwrap_or_default();
    let table = read("lib.rs");
    let named: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with("//! |"))
        .flat_map(|line| line.split('`').filter_map(|word| word.split_once("::")))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for (module, test) in named {
        let sources = [format!("tests/{module}.rs"), format!("{module}/tests.rs"), format!("{module}.rs")];
        let start = format!("fn {test}()");
        assert!(sources.iter().any(|path| read(path).contains(&start)), "{module}::{test}");
    }
}
