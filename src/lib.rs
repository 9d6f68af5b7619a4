//! Boneyard: a thread-pool RPC server and native client whose limits mean exactly what they say.
//!
//! Handlers are ordinary blocking code. Each port of the INI file gets one listener thread and a fixed pool of
//! workers; one throttle over all ports caps what runs at once. Begin with [`Server`] and [`Client`], or with
//! [`cli::main`] for a program that has the whole command line.
//!
//! ```text
//! main.rs   examples/
//! cli/                          command line: arguments, signals, log
//! testing.rs                    servers for tests
//! server/  client/  bench/      sockets and clocks: server, client, load generator
//! admin/                        HTTP endpoint for administrators
//! monitor/                      snapshots, history, verdict, console commands, metrics
//! pool/                         threads without sockets: workers, throttle, queue
//! proto/                        protocol of both sides, sans-IO
//! admission/                    limits on calls and connections, pure
//! metrics/  service/  config/   counters; methods, statuses, handlers; settings
//! wire/  schema/                frames as bytes; shapes of types
//! files.rs  tcp.rs  sync.rs     files; socket options; locks, channels, threads
//! ```
//! Imports run downward only. `docs/ARCHITECTURE.md` has the threads and the way of one transaction.
//!
//! Cargo features, all on by default: `client` and `server` (neither needs the other), `admin` (the HTTP endpoint of
//! the server), `cli` (the command line: both sides, the admin endpoint and the load generator), `top` (the command of
//! that name). Without any of them methods and statuses remain.
#![forbid(unsafe_code)]

#[cfg(feature = "admin")]
mod admin;
#[cfg(feature = "server")]
mod admission;
#[cfg(feature = "cli")]
mod bench;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
mod files;
#[cfg(feature = "server")]
mod metrics;
#[cfg(feature = "server")]
mod monitor;
#[cfg(feature = "server")]
mod pool;
#[cfg(any(feature = "client", feature = "server"))]
mod proto;
mod schema;
#[cfg(feature = "server")]
pub mod server;
pub mod service;
mod sync;
#[cfg(any(feature = "client", feature = "server"))]
mod tcp;
#[cfg(feature = "server")]
pub mod testing;
mod wire;

/// Items for the project's tests and benches and its C and Python libraries. Not part of the interface: they change
/// without notice.
#[doc(hidden)]
pub mod internal {
    #[cfg(feature = "admin")]
    pub mod admin {
        pub use crate::admin::*;
    }
    #[cfg(feature = "server")]
    pub mod admission {
        pub use crate::admission::*;
    }
    #[cfg(feature = "cli")]
    pub mod bench {
        pub use crate::bench::{Arrivals, BenchError, BenchReport, Latency, Pacing, Plan, Target, run};
    }
    #[cfg(feature = "client")]
    pub mod client {
        pub use crate::client::ffi::{TrySend, UnsentCall};
        pub use crate::client::options::{ADDRESSES_MAX, NAME_BYTES_MAX};
        pub use crate::client::raw::RawMethod;
    }
    #[cfg(feature = "server")]
    pub mod config {
        pub use crate::config::document::{TABLE_BEGINS, TABLE_ENDS, server_ini, settings_table};
        pub use crate::config::report::CheckReport;
    }
    #[cfg(feature = "server")]
    pub mod metrics {
        pub use crate::metrics::*;
    }
    #[cfg(feature = "server")]
    pub mod monitor {
        pub use crate::monitor::*;
    }
    #[cfg(any(feature = "client", feature = "server"))]
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
pub use config::Config;
#[cfg(feature = "server")]
pub use server::{RunningServer, Server, StartError};
#[cfg(feature = "server")]
pub use service::Transaction;
pub use service::{ApplicationError, HandlerError, Method, Refusal, Status};

/// The programs of the README, compiled.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../README.md")]
struct Readme;
