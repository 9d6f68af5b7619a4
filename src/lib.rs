//! Boneyard.
#![forbid(unsafe_code)]
// The layers below the server are compiled without it too, and are then not used up.
#![cfg_attr(not(feature = "server"), allow(dead_code, unused_imports))]
#[cfg(feature = "cli")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
#[cfg(feature = "server")]
mod pool;
pub mod port;
#[cfg(feature = "server")]
pub mod server;
pub mod service;
pub mod stats;
mod sync;
pub mod wire;
#[cfg(feature = "client")]
pub use client::{Client, ClientError, Pending};
#[cfg(feature = "server")]
pub use server::Server;
pub use service::Method;
