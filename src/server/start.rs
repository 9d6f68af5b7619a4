//! The start of a server: makes its shared parts and its threads from bound sockets.
//!
//! Invariants: all threads exist before the first connection is accepted; workers are made before listeners, and
//! listeners wait at a gate. A [`PreparedServer`] that is dropped before it serves ends its threads.

use super::bind::Bound;
use super::client_calls::ClientCalls;
use super::connection::PortContext;
use super::connection_limiter::ConnectionLimiter;
use super::derived_settings::{
    body_bytes_max, codel_rules, connections_max, lingering_places, method_limit, permits_max, timeout_limits,
};
use super::error::StartError;
use super::listener::{Acceptor, LingeringClose, Listener, ListenerParts, Timeouts, Watchdog};
use super::running::{PortHandle, RunningServer};
use super::sessions::Registry;
use crate::config::Config;
use crate::pool::{
    AllBuffers, Buffers, PoolSizes, PortListener, PortShared, PortWorkers, Queue, QueueSizes, Shared,
    Throttle, TurnOutcome, listen_and_work, start_deputy, start_thread, start_workers,
};
use crate::proto::welcome;
use crate::service::builtin::Info;
use crate::service::{Services, ServicesBuilder, builtin_handlers};
use crate::sync::{Arc, Receiver, Sender, bounded};
use crate::wire::limits::REPLY_PRELUDE_BYTES;
use std::thread;
use std::time::{Duration, Instant};

/// How long a failed start waits for its workers to end.
const EXIT_MAX: Duration = Duration::from_secs(10);

/// A server with all its threads, which wait. Dropped, it ends them.
pub(super) struct PreparedServer {
    workers: WorkerGuard,
    /// Lets the listeners serve. They end if it is dropped unused.
    gate: Sender<()>,
    shared: Arc<Shared>,
    connection_limiter: Arc<ConnectionLimiter>,
    sessions: Arc<Registry>,
    client_calls: Arc<ClientCalls>,
    ports: Vec<PortHandle>,
    /// Name and version of the software.
    product: Arc<str>,
}

impl PreparedServer {
    /// Makes the shared parts and all threads. `product` is the name and version of the software, `descriptors` the
    /// limit of the process, `info` the answer of `server.info`.
    pub(super) fn new(
        product: &str,
        config: &Config,
        mut services: ServicesBuilder,
        info: impl Fn() -> Info + Send + Sync + 'static,
        descriptors: Option<u64>,
        bound: Vec<Bound>,
    ) -> Result<PreparedServer, StartError> {
        let extra_sockets = bound.iter().map(|port| port.addresses.len() as u64 - 1).sum();
        let connections_max = connections_max(config, descriptors, extra_sockets)?;
        let log_limiter = || Arc::clone(services.log_limiter());
        let connection_limiter = Arc::new(ConnectionLimiter::new(config, connections_max, log_limiter()));
        let first_listener = Arc::clone(&bound[0].listener);
        let sessions = Arc::new(Registry::new(config, first_listener, log_limiter(), Instant::now()));
        builtin_handlers::add(&mut services, info, Arc::clone(&sessions) as _);
        let (shared, ports) = make_pools(config, services.build()?);
        set_method_limits(config, &shared, &ports);
        let workers = start_all_workers(config, &shared, &ports)?;
        let (opener, gate) = bounded::<()>(bound.len());
        let mut prepared = PreparedServer {
            workers,
            gate: opener,
            shared,
            connection_limiter,
            sessions,
            client_calls: ClientCalls::new(config.client_calls.value),
            ports: Vec::new(),
            product: product.into(),
        };
        let services = prepared.shared.services.table();
        let welcome: Arc<[u8]> = welcome(product.to_owned(), body_bytes_max(config), services).into();
        for (port, bound) in ports.into_iter().zip(bound) {
            prepared.start_listener(config, port, bound, Arc::clone(&welcome), gate.clone())?;
        }
        Ok(prepared)
    }

    fn start_listener(
        &mut self,
        config: &Config,
        port: Arc<PortShared>,
        Bound { poll, sockets, addresses, listener: listener_handle }: Bound,
        welcome: Arc<[u8]>,
        gate: Receiver<()>,
    ) -> Result<(), StartError> {
        // The listener of the first port also checks the sessions.
        let sessions = self.ports.is_empty().then(|| Arc::clone(&self.sessions));
        let listener = Listener::new(ListenerParts {
            poll,
            acceptor: Acceptor::new(sockets),
            handle: Arc::clone(&listener_handle),
            context: PortContext {
                port: Arc::clone(&port),
                shared: Arc::clone(&self.shared),
                sessions: Arc::clone(&self.sessions),
                welcome,
                client_calls: Arc::clone(&self.client_calls),
                body_bytes_max: body_bytes_max(config) as usize,
                session_calls_max: config.session_calls.value.unwrap_or(usize::MAX),
                run_where_read: config.run_where_read.value,
            },
            connection_limiter: Arc::clone(&self.connection_limiter),
            lingering_close: LingeringClose::new(lingering_places(config)),
            timeouts: Timeouts::new(timeout_limits(config), Instant::now()),
            watchdog: Watchdog::new(config.long_transaction.value, sessions),
            unsent_bytes_max: config.send_buffer_bytes.value,
        });
        let workers = self.shared.throttle.workers(port.index);
        start_listening(config, &self.shared, &port, Box::new(listener), gate)
            .map_err(|error| no_thread(&port, workers, workers, error))?;
        self.ports.push(PortHandle {
            port,
            shared: Arc::clone(&self.shared),
            addresses: addresses.into(),
            workers,
            listener: listener_handle,
        });
        Ok(())
    }

    /// Lets the listeners serve.
    pub(super) fn serve(mut self, config: &Config) -> RunningServer {
        for _ in &self.ports {
            self.gate.send(()).expect("the gate has a place for each listener, and the listeners wait at it");
        }
        self.workers.started = true;
        let parts = (self.connection_limiter, self.sessions, self.client_calls);
        RunningServer::new(self.product, self.shared, parts, self.ports, config)
    }
}

fn make_pools(config: &Config, services: Services) -> (Arc<Shared>, Vec<Arc<PortShared>>) {
    let now = Instant::now();
    let cores = super::machine::cpus() as usize;
    let (mut workers_of_ports, mut ports) = (Vec::new(), Vec::new());
    let all_buffers = AllBuffers::new(config.buffer_memory_bytes.value, config.ports.len());
    for (index, port) in config.ports.iter().enumerate() {
        let workers = port.pool_tasks.value as usize;
        let (calls_max, reserve) = (config.queue_limit.value as usize, config.nested_reserve.value as usize);
        let queue = Arc::new(Queue::new(QueueSizes { calls_max, workers, reserve, cores }, now));
        workers_of_ports.push(PortWorkers::new(Arc::clone(&queue), workers));
        let (name, rules) = (port.name.clone(), codel_rules(config));
        let buffers = Buffers::new(Arc::clone(&all_buffers));
        let sizes = PoolSizes { workers, methods: services.len(), slow_calls: config.slow_calls.value };
        ports.push(Arc::new(PortShared::new(index, name, queue, sizes, rules, buffers, now)));
    }
    let throttle = Throttle::new(permits_max(config), workers_of_ports);
    let shared = Shared::new(services, throttle, body_bytes_max(config) as usize - REPLY_PRELUDE_BYTES);
    (Arc::new(shared), ports)
}

fn set_method_limits(config: &Config, shared: &Shared, ports: &[Arc<PortShared>]) {
    for line in &config.method_limits {
        if let Some(method) = shared.services.find(&line.method) {
            let ports = ports.iter().map(Arc::as_ref);
            shared.limit_method(ports, method, method_limit(line));
        }
    }
}

fn start_all_workers(
    config: &Config,
    shared: &Arc<Shared>,
    ports: &[Arc<PortShared>],
) -> Result<WorkerGuard, StartError> {
    let mut guard = WorkerGuard { shared: Arc::clone(shared), count: 0, started: false };
    for port in ports {
        let workers = shared.throttle.workers(port.index);
        let started = start_workers(shared, port, config.thread_stack_bytes.value);
        guard.count += started.as_ref().map_or_else(|failed| failed.started, |()| workers);
        started.map_err(|failed| no_thread(port, failed.started, workers, failed.error))?;
    }
    if config.run_where_read.value {
        let (port, workers) = (&ports[0], shared.throttle.workers(ports[0].index));
        start_deputy(shared).map_err(|error| no_thread(port, workers, workers, error))?;
    }
    Ok(guard)
}

/// Starts the thread that listens to a port once the gate opens, and runs calls if it may.
fn start_listening(
    config: &Config,
    shared: &Arc<Shared>,
    port: &Arc<PortShared>,
    mut listener: Box<Listener>,
    gate: Receiver<()>,
) -> std::io::Result<()> {
    let name = format!("{}-listen", port.name);
    // An error means that the start failed: the listener ends without having served.
    if config.run_where_read.value {
        let (shared, port) = (Arc::clone(shared), Arc::clone(port));
        let serve = || listen_and_work(shared, port, listener);
        let run = move || gate.recv().map_or((), |()| serve());
        return start_thread(name, config.thread_stack_bytes.value, run);
    }
    let mut serve = move || while listener.turn() != TurnOutcome::Ended {};
    thread::Builder::new().name(name).spawn(move || gate.recv().map_or((), |()| serve())).map(drop)
}

fn no_thread(port: &PortShared, made: usize, workers: usize, error: std::io::Error) -> StartError {
    StartError::Threads { port: port.name.clone(), made, wanted: workers + 1, error }
}

/// Ends the workers if the start fails after they were made.
struct WorkerGuard {
    shared: Arc<Shared>,
    count: usize,
    /// The start succeeded.
    started: bool,
}

impl Drop for WorkerGuard {
    fn drop(&mut self) {
        if !self.started {
            self.shared.throttle.close();
            self.shared.await_exits(self.count, Instant::now() + EXIT_MAX);
        }
    }
}
