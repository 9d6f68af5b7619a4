//! Boneyard: a thread-pool RPC server and native client whose limits mean exactly what they say.
//!
//! Handlers are ordinary blocking code. Each port of the INI file has one listener thread and a fixed pool of workers;
//! one throttle over all ports limits what runs at once. Begin with [`Server`] and [`Client`], or with [`cli::main`]
//! for a program that has the whole command line.
//!
//! ```text
//! main.rs   examples/
//! cli/                        the command line: arguments, signals, log
//! server/  client/  bench/    shells: sockets, clocks
//! admin/                      the admin server: HTTP
//! monitor/                    observation: snapshots, history, statistics, verdict, console
//! pool/                       threads, no sockets: workers, throttle, queue
//! proto/  admission/          protocol logic and early refusal, sans-IO
//! metrics/  service/          counters; methods, statuses, handlers
//! config/  wire/  schema/     settings and sizing; frames as bytes; shapes of types
//! files.rs  tcp.rs  sync.rs   files; socket options; locks, channels, threads
//! ```
//! Imports run downward only. `docs/ARCHITECTURE.md` has the threads and the way of one transaction.
//!
//! Cargo features, all on by default:
//!
//! | feature | adds |
//! |---|---|
//! | `client` | the native client |
//! | `server` | the server; needs no `client` |
//! | `admin` | the admin server: status page, `/metrics`, health, console; includes `server` |
//! | `cli` | the command line and the load generator; includes `admin` and `client` |
//! | `top` | the live view in a terminal; includes `cli` |
//!
//! Without any, the protocol and the settings remain, which touch no socket.
#![forbid(unsafe_code)]
// The layers below server and client are compiled without them too, and are then not used up.
#![cfg_attr(not(all(feature = "server", feature = "client")), allow(dead_code, unused_imports))]

#[cfg(feature = "admin")]
mod admin;
mod admission;
#[cfg(feature = "cli")]
mod bench;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
mod files;
mod metrics;
#[cfg(feature = "server")]
mod monitor;
#[cfg(feature = "server")]
mod pool;
mod proto;
mod schema;
#[cfg(feature = "server")]
pub mod server;
pub mod service;
mod sync;
#[cfg(any(feature = "client", feature = "server"))]
mod tcp;
mod wire;

/// What the tests, the benches, and the C and Python libraries need besides the interface. It changes without notice.
#[doc(hidden)]
pub mod internal {
    #[cfg(feature = "admin")]
    pub mod admin {
        pub use crate::admin::*;
    }
    pub mod admission {
        pub use crate::admission::*;
    }
    #[cfg(feature = "client")]
    pub mod client {
        pub use crate::client::ffi::{TrySend, UnsentCall};
        pub use crate::client::options::{ADDRESSES_MAX, NAME_BYTES_MAX};
        pub use crate::client::raw::RawMethod;
    }
    #[cfg(feature = "cli")]
    pub mod bench {
        pub use crate::bench::*;
    }
    pub mod config {
        pub use crate::config::document::{TABLE_BEGINS, TABLE_ENDS, server_ini, settings_table};
        pub use crate::config::report::Report;
    }
    pub mod metrics {
        pub use crate::metrics::*;
    }
    #[cfg(feature = "server")]
    pub mod monitor {
        pub use crate::monitor::*;
    }
    pub mod proto {
        pub use crate::proto::*;
    }
    pub mod schema {
        pub use crate::schema::*;
    }
    pub mod wire {
        pub use crate::wire::*;
    }
    #[cfg(all(feature = "server", not(any(loom, shuttle))))]
    pub use crate::pool::{BenchPool, BenchThrottle};
}

#[cfg(feature = "client")]
pub use client::{Blame, Client, ClientError, ClientOptions, Pending, Session};
#[cfg(feature = "server")]
pub use server::{RunningServer, Server};
pub use service::{ApplicationError, Method, Status, Transaction};

/// The programs of the README, compiled.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../README.md")]
struct Readme;
