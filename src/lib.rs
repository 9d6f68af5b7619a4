//! Boneyard.
#![forbid(unsafe_code)]
pub mod port;
pub mod service;
pub mod stats;
mod sync;
pub mod wire;
pub use service::Method;
