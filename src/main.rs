//! The ready server: see the `cli` of the library.
fn main() {}
