//! The shell of the server: what touches the machine.

pub mod machine;
