//! `include/boneyard.h` is what the sources say; `BLESS=1 cargo test --test header` writes it.

use cbindgen::{Braces, Config, DocumentationStyle, ExportConfig, Language};
use std::path::Path;

const HEAD: &str = "\
/* The Boneyard client for C and C++. Written from capi/src by capi/tests/header.rs: change that, not this.
 *
 * Every function that can fail returns a status; boneyard_last_error tells the rest, for each thread its own last
 * failure. Handles are numbers, 0 is none. One that was freed, or is of another kind, gives BONEYARD_INVALID_HANDLE.
 * docs/C.md has an example and the rules in short. */";

#[test]
fn the_header_is_written_from_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = Config {
        language: Language::C,
        header: Some(HEAD.to_owned()),
        include_guard: Some("BONEYARD_H".to_owned()),
        cpp_compat: true,
        usize_is_size_t: true,
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        documentation_style: DocumentationStyle::Doxy,
        braces: Braces::SameLine,
        line_length: 110,
        tab_width: 4,
        // What the library calls of C's.
        export: ExportConfig {
            exclude: ["atexit", "pthread_setcancelstate"].map(str::to_owned).into(),
            ..ExportConfig::default()
        },
        ..Config::default()
    };
    let mut header = Vec::new();
    cbindgen::generate_with_config(root, config).expect("the sources can be read").write(&mut header);
    // Rust's heading for what the caller promises.
    let header =
        String::from_utf8(header).expect("the sources are text").replace("# Safety", "The caller promises:");
    let path = root.join("include/boneyard.h");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &header).expect("the header can be written");
    }
    let checked_in = std::fs::read_to_string(&path).expect("the header is checked in");
    assert!(header == checked_in, "include/boneyard.h is not what the sources say: BLESS=1 writes it");
}
