//! A start that is only tried, for `check`: the same steps by the same code as [`Server::start`], but nothing listens
//! and nothing is left.
//!
//! An address that is taken is no failure here: most likely the server that runs with this very file has it. Then no
//! threads are tried either, since that server has its own.

use super::bind::{self, Purpose, Silence};
#[cfg(feature = "admin")]
use super::running::claim_admin;
use super::{Info, Server, ServerControl, StartError, connections_max, machine};
use crate::config::requirements::{THREADS_BASE, THREADS_SPARE};
use crate::config::{Config, Warning};
use crate::sync::{Sender, bounded};
use std::io::{Error, ErrorKind};
#[cfg(feature = "admin")]
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

/// Threads that a program has made before its server starts: those of the log and of the stop.
const PROGRAM_THREADS: u64 = 2;

/// What a rehearsed start found that does not hinder it for good.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DryRun {
    /// What has its address taken at present: `port TCPIP: 127.0.0.1:1352`.
    pub taken: Vec<String>,
    /// What the server would go without.
    pub warnings: Vec<Warning>,
    /// Listening sockets beside one for each port.
    pub sockets: u64,
}

impl Server {
    /// Tries what [`Server::start`] does: limits, addresses, threads, the admin server's address, socket and token.
    /// Nothing listens, and nothing is made or removed.
    ///
    /// Raises the soft limit of this process's descriptors as far as the hard limit allows.
    ///
    /// # Errors
    /// What [`Server::start`] would fail with.
    pub fn rehearse(self) -> Result<DryRun, StartError> {
        let Server { config, services, .. } = self;
        let descriptors = machine::raise_descriptors();
        connections_max(&config, descriptors, 0)?;
        let mut rehearsed = DryRun::default();
        let (mut ports, resolved) = (Vec::new(), bind::resolve(&config)?);
        for (port, addresses) in config.ports.iter().zip(&resolved) {
            match bind::bind(port, addresses, Silence::of(&config), Purpose::Rehearse) {
                Err(StartError::Bind { port, address, error }) if error.kind() == ErrorKind::AddrInUse => {
                    rehearsed.taken.push(format!("port {port}: {address}"));
                }
                bound => ports.push(bound?),
            }
        }
        rehearsed.sockets = ports.iter().map(|port| port.addresses.len() as u64 - 1).sum();
        if rehearsed.taken.is_empty() {
            // In the order of a start: under a tight limit of memory it matters what is there first.
            let _program = Threads::make(PROGRAM_THREADS)?;
            let control = ServerControl::found(&config, services, Info::default, descriptors, ports)?;
            let _made = control.make_threads(&config)?;
            let _others = Threads::make(THREADS_BASE - THREADS_SPARE - PROGRAM_THREADS - 1)?;
        }
        #[cfg(feature = "admin")]
        rehearsed.try_admin(&config, &resolved.concat())?;
        Ok(rehearsed)
    }
}

#[cfg(feature = "admin")]
impl DryRun {
    /// `ports` are the addresses of the ports.
    fn try_admin(&mut self, config: &Config, ports: &[SocketAddr]) -> Result<(), StartError> {
        match claim_admin(config, ports, Purpose::Rehearse) {
            Err(StartError::Admin { address, error }) if error.kind() == ErrorKind::AddrInUse => {
                self.taken.push(format!("Admin_Address: {address}"));
            }
            Err(StartError::AdminSocket { path, error }) if error.kind() == ErrorKind::AddrInUse => {
                self.taken.push(format!("Admin_Socket: {}", path.display()));
            }
            claimed => {
                // The server that has a port has these, too.
                let runs = !self.taken.is_empty();
                let without = claimed?.without.into_iter().filter(|without| !(runs && without.is_taken));
                self.warnings.extend(without.map(|without| without.warning));
            }
        }
        Ok(())
    }
}

/// Threads that wait until this is dropped.
struct Threads {
    hold: Option<Sender<()>>,
    made: Vec<JoinHandle<()>>,
}

impl Threads {
    fn make(count: u64) -> Result<Threads, StartError> {
        let (hold, held) = bounded::<()>(1);
        let mut threads = Threads { hold: Some(hold), made: Vec::new() };
        for _ in 0..count {
            let held = held.clone();
            // An error is what it waits for: the far end is gone.
            let made = thread::Builder::new().spawn(move || _ = held.recv().ok());
            let cannot = |error: Error| Error::new(error.kind(), format!("cannot make a thread: {error}"));
            threads.made.push(made.map_err(cannot)?);
        }
        Ok(threads)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.hold.take());
        self.made.drain(..).for_each(|thread| _ = thread.join());
    }
}
