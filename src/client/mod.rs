//! The native client: blocking, thread-safe, many calls at once over one connection.
//!
//! ```no_run
//! use boneyard::{Client, Method};
//!
//! const DOUBLE: Method<u32, u64> = Method::new("math.double");
//!
//! # fn main() -> Result<(), boneyard::ClientError> {
//! let client = Client::connect("localhost:1352")?;
//! let eight = client.call(DOUBLE, &4)?; // blocks, at most 10 s
//! let later = client.start(DOUBLE, &5)?; // sent; the reply comes while this thread does other things
//! println!("{eight}, {}", later.wait()?);
//! # Ok(())
//! # }
//! ```
//!
//! The way of a call: [`Client`] describes it (`call_spec`), takes the open connection or makes one (`dialer`,
//! `connector`, `dns_lookup`) and encodes and sends the frame (`send`). The reply is read by the thread that waits for
//! it, or by another that waits, or by the process's reactor thread (`connection`), and decoded by the caller
//! (`pending`). A blocking call is repeated as `retry` allows. Threads: the reactor, one for all clients; one helper
//! while a socket takes no more bytes; one for each name while it is looked up. All end by themselves
//! ([`join_background_threads`]).
//!
//! Invariants: a call's number is used once in the life of a client, whatever the connection; a method's number is
//! looked up on each connection.

mod address;
mod call_spec;
mod canceller;
#[expect(clippy::module_inception, reason = "the file of the type that the module is named for")]
mod client;
mod connection;
mod connector;
mod dialer;
mod dns_lookup;
pub(crate) mod ffi;
pub(crate) mod options;
mod pending;
pub(crate) mod raw;
mod reply;
mod retry;
mod schema_check;
mod send;
mod server_session;
mod session;
mod shared_state;
mod threads;

pub use crate::service::{Blame, ClientError, DeadlineSource};
pub use address::{ServerAddress, ToServerAddress};
pub use canceller::Canceller;
pub use client::Client;
#[cfg(feature = "cli")]
pub(crate) use connector::addresses;
pub use options::ClientOptions;
pub use pending::Pending;
pub use reply::{Reply, Times};
pub use session::Session;
pub use threads::join_background_threads;
