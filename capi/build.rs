//! Gives the shared library the name that programs ask the loader for: its ABI's, not its version's.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libboneyard.so.1");
    }
}
