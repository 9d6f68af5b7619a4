//! The package as it is published: its content, its size, and the Rust it needs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything at the top of the package. `Cargo.toml.orig` and the state of the repository are Cargo's own.
const TOP: [&str; 10] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "docs",
    "examples",
    "server.ini",
    "src",
];
const CARGOS_OWN: [&str; 2] = [".cargo_vcs_info.json", "Cargo.toml.orig"];
/// Endings of all its files.
const ENDINGS: [&str; 8] = ["html", "ini", "lock", "md", "py", "rs", "toml", "ts"];
const PACKAGE_BYTES_MAX: u64 = 1 << 20;

/// Standard output of cargo, which uses no network.
fn cargo(arguments: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    let output =
        cargo.args(arguments).arg("--offline").current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn files() -> BTreeSet<PathBuf> {
    let list = cargo(&["package", "--list", "--allow-dirty"]);
    list.lines().filter(|file| !CARGOS_OWN.contains(file)).map(PathBuf::from).collect()
}

#[test]
fn the_package_has_what_is_needed_to_build_and_read_and_no_more() {
    let files = files();
    let top: BTreeSet<_> = files.iter().filter_map(|file| file.iter().next()?.to_str()).collect();
    assert_eq!(top, BTreeSet::from(TOP));
    let endings: BTreeSet<_> = files.iter().filter_map(|file| file.extension()?.to_str()).collect();
    assert_eq!(endings, BTreeSet::from(ENDINGS));

    // What the sources include by its path is in it.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for source in files.iter().filter(|file| file.starts_with("src")) {
        let text = std::fs::read_to_string(root.join(source)).unwrap();
        for included in text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let path = root.join(source).with_file_name("").join(included).canonicalize().unwrap();
            assert!(files.contains(path.strip_prefix(root).unwrap()), "{}: {included}", source.display());
        }
    }
}

#[test]
fn the_package_is_small() {
    let target = env!("CARGO_TARGET_TMPDIR");
    cargo(&["package", "--no-verify", "--allow-dirty", "--target-dir", target]);
    let name = concat!("package/boneyard-", env!("CARGO_PKG_VERSION"), ".crate");
    let bytes = std::fs::metadata(Path::new(target).join(name)).unwrap().len();
    assert!(bytes <= PACKAGE_BYTES_MAX, "{bytes} bytes");
}

/// 1.90 and 1.90.0 as (1, 90).
fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap_or(0))
}

/// Clippy's `incompatible_msrv` compares the sources with `rust-version`; this compares what they are built with.
#[test]
fn no_dependency_needs_a_newer_rust_than_the_package_says() {
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    let platform = "x86_64-unknown-linux-gnu";
    let said = cargo(&["metadata", "--format-version=1", "--locked", "--filter-platform", platform]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let packages = said["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "{}", packages.len());
    let needs = |package: &serde_json::Value| package["rust_version"].as_str().map(version);
    let newer: Vec<_> =
        packages.iter().filter(|package| needs(package) > Some(ours)).map(|package| &package["id"]).collect();
    assert!(newer.is_empty(), "{newer:?}");
    for page in ["README.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let sentence = format!("Rust {} or newer", env!("CARGO_PKG_RUST_VERSION"));
        assert!(text.contains(&sentence), "{page} has no {sentence:?}");
    }
}
