//! The rules of the workspace itself: who may depend on whom, what may be in the tree, how profiles unwind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Every dependency edge between our crates that there may be, and no others. The binary and the tests may use all.
const EDGES: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("supervision", &["core"]),
    ("store", &["core"]),
    ("config", &["core"]),
    ("channel", &["core"]),
    ("transport", &["channel"]),
    ("feishu", &["channel", "core"]),
    ("weixin", &["channel", "core"]),
    ("agent", &["core", "channel"]),
    ("simulator", &["channel", "core"]),
    ("runtime", &["channel", "agent", "store", "supervision", "config", "core"]),
    ("admin", &["runtime", "config", "core"]),
];

/// Licences a dependency may have; one of an `OR` is enough.
const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "ISC",
    "Zlib",
    "Unlicense",
    "Unicode-3.0",
    "MPL-2.0",
    "CDLA-Permissive-2.0",
    "BSL-1.0",
    "CC0-1.0",
];

/// Crates that must not be in the tree, and why.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "rustls is the one TLS library"),
    ("openssl-sys", "rustls is the one TLS library"),
    ("native-tls", "rustls is the one TLS library"),
    (
        "aws-lc-rs",
        "ring is the one crypto provider: with two in the tree rustls panics at the first connection",
    ),
    ("aws-lc-sys", "ring is the one crypto provider"),
    ("rustls-rustcrypto", "ring is the one crypto provider"),
    ("reqwest", "awc is the one HTTP client, in transport only"),
    ("async-std", "tokio is the one runtime"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--all-features"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The packages that are built for this machine; others are in the metadata for other systems' sake.
fn resolved(metadata: &Value) -> BTreeSet<&str> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    nodes.iter().map(|node| text(node, "id")).collect()
}

#[test]
fn crates_depend_on_each_other_as_the_design_says_and_not_otherwise() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    for package in metadata["packages"].as_array().unwrap() {
        let Some(name) = text(package, "name").strip_prefix("moorline-") else { continue };
        if name == "tests" || !package["source"].is_null() {
            continue;
        }
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in the table of edges"));
        for dependency in package["dependencies"].as_array().unwrap() {
            if let Some(to) = text(dependency, "name").strip_prefix("moorline-") {
                assert!(allowed.contains(&to), "{name} must not depend on {to}");
            }
        }
    }
}

#[test]
fn only_transport_knows_awc_and_only_the_binary_anyhow() {
    let only = [("awc", vec!["moorline-transport"]), ("anyhow", vec!["moorline", "moorline-tests"])];
    let metadata = metadata();
    for package in metadata["packages"].as_array().unwrap() {
        if !package["source"].is_null() {
            continue;
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            for (restricted, users) in &only {
                let uses = text(dependency, "name") == *restricted;
                assert!(
                    !uses || users.contains(&text(package, "name")),
                    "{} uses {restricted}",
                    text(package, "name")
                );
            }
        }
    }
}

#[test]
fn nothing_banned_is_in_the_tree_and_every_licence_is_one_we_can_live_with() {
    let metadata = metadata();
    let resolved = resolved(&metadata);
    for package in metadata["packages"].as_array().unwrap() {
        if !resolved.contains(text(package, "id")) {
            continue;
        }
        let name = text(package, "name");
        for (banned, why) in BANNED {
            assert_ne!(name, *banned, "{why}");
        }
        let licence = text(package, "license").replace('/', " OR ");
        let fine = licence.split(" OR ").any(|option| {
            let option = option.trim_matches(|c| "() ".contains(c));
            option.split(" AND ").all(|part| LICENCES.contains(&part.trim_matches(|c| "() ".contains(c))))
        });
        assert!(fine, "{name} is licensed `{licence}`");
    }
}

#[test]
fn exactly_one_crypto_provider_is_in_the_tree() {
    let metadata = metadata();
    let resolved = resolved(&metadata);
    let providers = ["ring", "aws-lc-rs", "rustls-rustcrypto", "rustls-mbedtls-provider", "rustls-openssl"];
    let found: BTreeSet<&str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| {
            resolved.contains(text(package, "id")) && providers.contains(&text(package, "name"))
        })
        .map(|package| text(package, "name"))
        .collect();
    assert_eq!(found, BTreeSet::from(["ring"]));
}

#[test]
fn every_profile_unwinds_because_supervision_contains_panics() {
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let profiles = manifest["profile"].as_table().unwrap();
    for name in ["dev", "ci", "release", "dist"] {
        assert_eq!(profiles[name]["panic"].as_str(), Some("unwind"), "profile {name}");
    }
    assert!(
        profiles.values().all(|profile| profile.get("panic").is_none_or(|p| p.as_str() == Some("unwind")))
    );
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let crates = std::fs::read_dir(root().join("crates")).unwrap();
    for manifest in
        crates.map(|entry| entry.unwrap().path().join("Cargo.toml")).chain([root().join("tests/Cargo.toml")])
    {
        let table: toml::Table = std::fs::read_to_string(&manifest).unwrap().parse().unwrap();
        let lints =
            table.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(lints, Some(true), "{}", manifest.display());
    }
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    assert_eq!(manifest["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
}

#[test]
fn the_top_level_holds_what_the_design_lists_and_nothing_else() {
    let allowed = ["Cargo.toml", "Cargo.lock", "crates", "config", "docs", "tests", "Makefile", "README.md"];
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let ours = allowed.contains(&name.as_str()) || name.starts_with("LICENSE") || name.starts_with('.');
        // What building and running leaves behind is ignored by git.
        assert!(
            ours || ["target", "data"].contains(&name.as_str()),
            "{name} does not belong at the top level"
        );
    }
}
