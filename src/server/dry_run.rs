//! Dry run of a start, for `check`: the same steps by the same code as [`Server::start`], but nothing listens and
//! nothing is left.
//!
//! An address in use is no failure here: most likely the server that runs with this very file has it. In that case no
//! threads are made either, since that server has its own.

use super::bind::{self, Purpose, Silence};
#[cfg(feature = "admin")]
use super::bind_admin::bind_admin_server;
use super::builder::Server;
use super::derived_settings::{check_limits, connections_max};
use super::error::StartError;
use super::machine;
use super::start::PreparedServer;
#[cfg(feature = "admin")]
use crate::config::Config;
use crate::config::requirements::{THREADS_BASE, THREADS_SPARE, alarm_threads};
use crate::config::{ConfigErrors, Warning};
use crate::service::builtin::Info;
use crate::service::load_service;
use crate::sync::{Sender, bounded};
use std::io::{Error, ErrorKind};
#[cfg(feature = "admin")]
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

/// Threads that a program makes before its server starts: those of the log and of the stop.
const PROGRAM_THREADS: u64 = 2;

/// Findings of a dry run that do not prevent a start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DryRun {
    /// Each port or socket whose address is in use at present: `port TCPIP: 127.0.0.1:1352`.
    pub taken: Vec<String>,
    /// One for each part that the server would start without.
    pub warnings: Vec<Warning>,
    /// Listening sockets beyond one for each port.
    pub sockets: u64,
}

impl<State> Server<State> {
    /// Tries what [`Server::start`] does: limits, addresses, threads, the admin server's address, socket and token.
    /// Nothing listens, no file is made or removed, and no value of [`Server::per_worker`] is made. Blocks while host
    /// names are resolved.
    ///
    /// Raises the soft limit of this process's descriptors as far as the hard limit allows.
    ///
    /// # Errors
    /// The error that [`Server::start`] would return. Of a server without handlers a line of `[Limits]` for a method
    /// that is not built in is a warning.
    pub fn dry_run(self) -> Result<DryRun, StartError> {
        let Server { config, mut services, worker_needs, product, .. } = self;
        let knows_methods = services.names().next().is_some();
        if config.load_service.value {
            load_service::add(&mut services);
        }
        let unknown_methods = check_limits(&config, &services).err();
        if let Some(errors) = unknown_methods.clone().filter(|_| knows_methods) {
            return Err(errors.into());
        }
        let descriptors = machine::raise_descriptors();
        connections_max(&config, descriptors, 0)?;
        let mut found = DryRun::default();
        found.warnings.extend(worker_needs.iter().filter_map(|need| need.excess(&config)));
        // The file may be that of a program with methods of its own.
        found.warnings.extend(
            unknown_methods
                .iter()
                .flat_map(ConfigErrors::iter)
                .map(|error| Warning { code: "unknown_method", message: format!("[Limits] {error}") }),
        );
        let (mut ports, resolved) = (Vec::new(), bind::resolve(&config)?);
        for (port, addresses) in config.ports.iter().zip(&resolved) {
            match bind::bind(port, addresses, Silence::of(&config), Purpose::Rehearse) {
                Err(StartError::Bind { port, address, error }) if error.kind() == ErrorKind::AddrInUse => {
                    found.taken.push(format!("port {port}: {address}"));
                }
                bound => ports.push(bound?),
            }
        }
        found.sockets = ports.iter().map(|port| port.addresses.len() as u64 - 1).sum();
        if found.taken.is_empty() {
            // In the order of a start: under a tight limit of memory the order decides what fails.
            let _program = WaitingThreads::start(PROGRAM_THREADS)?;
            let _server =
                PreparedServer::new(&product, &config, services, Info::default, descriptors, ports)?;
            let others = THREADS_BASE - THREADS_SPARE - PROGRAM_THREADS - 1 + alarm_threads(&config);
            let _others = WaitingThreads::start(others)?;
        }
        #[cfg(feature = "admin")]
        found.try_admin(&config, &resolved.concat())?;
        Ok(found)
    }
}

#[cfg(feature = "admin")]
impl DryRun {
    /// `ports` are the addresses of the ports.
    fn try_admin(&mut self, config: &Config, ports: &[SocketAddr]) -> Result<(), StartError> {
        match bind_admin_server(config, ports, Purpose::Rehearse) {
            Err(StartError::Admin { address, error }) if error.kind() == ErrorKind::AddrInUse => {
                self.taken.push(format!("Admin_Address: {address}"));
            }
            Err(StartError::AdminSocket { path, error }) if error.kind() == ErrorKind::AddrInUse => {
                self.taken.push(format!("Admin_Socket: {}", path.display()));
            }
            claimed => {
                // The server that has a port has these too.
                let runs = !self.taken.is_empty();
                let unavailable = claimed?.unavailable.into_iter();
                let unavailable = unavailable.filter(|default| !(runs && default.is_taken));
                self.warnings.extend(unavailable.map(|default| default.warning));
            }
        }
        Ok(())
    }
}

/// Threads that do nothing until this is dropped.
struct WaitingThreads {
    /// Dropped, it ends them.
    end: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl WaitingThreads {
    fn start(count: u64) -> Result<WaitingThreads, StartError> {
        let (end, ended) = bounded::<()>(1);
        let mut waiting = WaitingThreads { end: Some(end), threads: Vec::new() };
        for _ in 0..count {
            let ended = ended.clone();
            // Nothing is ever sent: the error says that the sender was dropped.
            let thread = thread::Builder::new().spawn(move || _ = ended.recv().ok());
            let cannot = |error: Error| Error::new(error.kind(), format!("cannot make a thread: {error}"));
            waiting.threads.push(thread.map_err(cannot)?);
        }
        Ok(waiting)
    }
}

impl Drop for WaitingThreads {
    fn drop(&mut self) {
        drop(self.end.take());
        self.threads.drain(..).for_each(|thread| _ = thread.join());
    }
}
