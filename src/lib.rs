//! Boneyard.
#![forbid(unsafe_code)]

pub mod config;
#[cfg(feature = "server")]
pub mod server;
