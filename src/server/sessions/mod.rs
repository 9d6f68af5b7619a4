//! The sessions of all ports: their limits, the connections that carry them, and their ends.
//!
//! `table.rs` has the rules, `registry.rs` the lock, the clock and the log. The listener of the first port checks the
//! table when that is due, and is woken when that time comes nearer; it is never due while no session has been opened
//! and there are not too many.
//!
//! Does not know ports and connections; a connection is a [`SessionHolder`].

mod client_shares;
mod registry;
mod table;

pub(super) use registry::Registry;
pub(super) use table::SessionHolder;
