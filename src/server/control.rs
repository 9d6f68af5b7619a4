//! The server as an administrator observes and changes it: snapshots, commands, settings, and the hooks of the program
//! around it.
//!
//! Knows all parts of a running server. A snapshot waits for no listener and no worker, so it works when all of them
//! are stuck; the sampler's thread takes one each second.

mod hooks;
mod live_control;
mod live_settings;
mod sampler;
mod settings;
mod settings_file;
mod snapshot;

pub(super) use hooks::AdminHooks;
pub(super) use live_control::{LiveControl, ManagedPort};
pub(super) use sampler::Sampler;
