//! [`Server`]: settings, handlers and the embedding program's hooks, collected until the start.

use super::bind::{self, Purpose, Silence};
use super::control::AdminHooks;
use super::derived_settings::{check_limits, connections_max};
use super::error::StartError;
use super::load::load;
use super::machine;
use super::running::RunningServer;
use super::server_info::{SERVER_NAME, ServerInfo};
use super::start::PreparedServer;
use super::stop_hooks::{StopHook, StopHooks};
use super::worker_needs::WorkerNeed;
use crate::config::{Config, ConfigErrors, PortConfig};
use crate::monitor::ServiceCounter;
use crate::service::{
    ErrorList, Handled, HandlerError, Method, Middleware, Refusal, RestOfCall, ServicesBuilder, Transaction,
    WorkerPlace, WorkerValues, load_service,
};
use crate::sync::Arc;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

/// A server that has not started: settings and handlers.
///
/// `State` says what handlers get besides the transaction and the request: nothing at first, the program's own value
/// after [`Server::state`].
///
/// ```no_run
/// # use boneyard::{Method, Server};
/// const DOUBLE: Method<u32, u64> = Method::new("math.double");
/// let server = Server::from_ini("server.ini")?.handle(DOUBLE, |_, n| Ok(u64::from(n) * 2)).start()?;
/// server.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server<State = Stateless> {
    pub(super) config: Config,
    pub(super) services: ServicesBuilder,
    pub(super) worker_needs: Vec<WorkerNeed>,
    worker_values: WorkerValues,
    middleware: Vec<Middleware>,
    hooks: ProgramHooks,
    pub(super) product: String,
    state: State,
}

/// Handlers of the server get no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stateless(());

/// Handlers of the server get a reference to this value, which all of them share.
#[derive(Debug)]
pub struct WithState<S>(Arc<S>);

impl Server {
    /// Makes a server with these settings and the built-in methods.
    pub fn new(config: Config) -> Server {
        Server {
            config,
            services: ServicesBuilder::default(),
            worker_needs: Vec::new(),
            worker_values: WorkerValues::default(),
            middleware: Vec::new(),
            hooks: ProgramHooks::default(),
            product: SERVER_NAME.to_owned(),
            state: Stateless(()),
        }
    }

    /// Makes a server with the settings of an INI file. Blocks while it reads the file.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn from_ini(path: impl AsRef<Path>) -> Result<Server, ConfigErrors> {
        load(path.as_ref()).map(Server::new)
    }

    /// Adds a method. `run` is ordinary blocking code. It is called on a worker thread that holds a permit, by as many
    /// workers at once as the settings allow; a handler that waits can give its permit back meanwhile, see
    /// [`Transaction::blocking`]. A panic in it answers the call and harms nothing else. Its errors are the caller's as
    /// [`HandlerError`] says.
    /// A second handler for the same method is an error of [`Server::start`].
    pub fn handle<Request, Response, Error, F>(
        mut self,
        method: Method<Request, Response, Error>,
        run: F,
    ) -> Server
    where
        Request: DeserializeOwned,
        Response: Serialize,
        Error: ErrorList,
        F: Fn(&Transaction<'_>, Request) -> Result<Response, HandlerError> + Send + Sync + 'static,
    {
        self.services.add(method, run);
        self
    }
}

impl<S: Send + Sync + 'static> Server<WithState<S>> {
    /// Adds a method whose handler gets the state besides; otherwise as [`Server::handle`] without a state. `run` may
    /// be a method of the state: `fn create(&self, tx: &Transaction<'_>, note: Note) -> ...`.
    pub fn handle<Request, Response, Listed, F>(
        mut self,
        method: Method<Request, Response, Listed>,
        run: F,
    ) -> Self
    where
        Request: DeserializeOwned,
        Response: Serialize,
        Listed: ErrorList,
        F: Fn(&S, &Transaction<'_>, Request) -> Result<Response, HandlerError> + Send + Sync + 'static,
    {
        let WithState(state) = &self.state;
        let state = Arc::clone(state);
        self.services.add(method, move |tx, request| run(&state, tx, request));
        self
    }
}

impl<State> Server<State> {
    /// Sets the state that the handlers which are added after this get, in place of the one before. It is dropped with
    /// the server, once no handler runs.
    ///
    /// ```
    /// # use boneyard::{HandlerError, Method, Server, Transaction, config::Config};
    /// # use std::sync::Mutex;
    /// const ADD: Method<String, usize> = Method::new("words.add");
    /// const LIST: Method<(), Vec<String>> = Method::new("words.list");
    ///
    /// #[derive(Default)]
    /// struct Words(Mutex<Vec<String>>);
    ///
    /// impl Words {
    ///     fn add(&self, _: &Transaction<'_>, word: String) -> Result<usize, HandlerError> {
    ///         let mut words = self.0.lock().expect("no handler panics with it");
    ///         words.push(word);
    ///         Ok(words.len())
    ///     }
    /// }
    ///
    /// # let config = Config::default_with(1);
    /// let server = Server::new(config)
    ///     .state(Words::default())
    ///     .handle(ADD, Words::add)
    ///     .handle(LIST, |words, _, ()| Ok(words.0.lock().expect("no handler panics with it").clone()));
    /// ```
    pub fn state<S: Send + Sync + 'static>(self, state: S) -> Server<WithState<S>> {
        Server {
            config: self.config,
            services: self.services,
            worker_needs: self.worker_needs,
            worker_values: self.worker_values,
            middleware: self.middleware,
            hooks: self.hooks,
            product: self.product,
            state: WithState(Arc::new(state)),
        }
    }

    /// Sets the name and version that the server shows: to its clients, in `server.info`, on the status page, in
    /// `show server`, in `/metrics`. Without it they are Boneyard's.
    pub fn named(mut self, name: &str, version: &str) -> Self {
        self.product = format!("{name} {version}");
        self
    }

    /// Returns the settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Gives each worker a value of its own, such as a connection to a database, which handlers reach by
    /// [`Transaction::with_worker`]. `make` is called on the thread that starts the server, for each worker of each
    /// port in turn, before the first call is served; if one fails, the start fails with that error. It is called on a
    /// worker's thread, with the call's permit, where a panic has ended the value before.
    ///
    /// A value belongs to the worker's place and not to its thread: with `Server_Run_Where_Read` the thread of a place
    /// may change between two calls. Values are dropped at the stop, once no call is in flight, before
    /// [`RunningServer::stop`] returns; one that a call uses by then is dropped with the use. The stop waits for their
    /// `Drop`, and a panic in it is logged. [`Server::dry_run`] makes none.
    ///
    /// Values of several types can be declared. A second declaration for the same type replaces the first.
    ///
    /// ```
    /// # use boneyard::{Method, Server, config::Config};
    /// # use std::fs::File;
    /// const LENGTH: Method<(), u64> = Method::new("file.length");
    /// # let config = Config::default_with(1);
    /// let server = Server::new(config)
    ///     .per_worker(|_| File::open("data.bin"))
    ///     .takes("files", 1, 100)
    ///     .handle(LENGTH, |tx, ()| Ok(tx.with_worker(|file: &mut File| file.metadata())?.len()));
    /// ```
    pub fn per_worker<T, E, F>(mut self, make: F) -> Self
    where
        T: Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
        F: Fn(&WorkerPlace) -> Result<T, E> + Send + Sync + 'static,
    {
        self.worker_values.declare(make);
        self
    }

    /// Declares that each worker opens `each` of something, and that `available` of it are allowed: connections to a
    /// database, for example. If the workers of all ports open more, a start logs a warning, and [`Server::dry_run`]
    /// returns it. `what` is a word in the plural.
    pub fn takes(mut self, what: &str, each: u32, available: u32) -> Self {
        self.worker_needs.push(WorkerNeed { what: what.to_owned(), each, available });
        self
    }

    /// Puts `run` around each call of the server's handlers, the built-in methods excepted: for authorization, an
    /// audit, measurements. It is blocking code on the worker's thread and sees who calls (`tx.peer()`,
    /// `tx.session()`), the method and the deadline; it refuses with an error, or runs the rest of the call by
    /// [`RestOfCall::run`] and sees its outcome, panics included. A result that is larger than a frame may be is found
    /// only after it. Of several, the first is the outermost. A panic in it is answered as one of the handler's.
    ///
    /// ```
    /// # use boneyard::{Server, Status, config::Config};
    /// # use boneyard::service::Refusal;
    /// # let config = Config::default_with(1);
    /// let server = Server::new(config).around(|tx, next| {
    ///     if tx.method().starts_with("admin.") && !tx.peer().ip().is_loopback() {
    ///         return Err(Refusal::new(Status::Restricted, "only from this machine"));
    ///     }
    ///     let outcome = next.run(tx);
    ///     let status = outcome.as_ref().err().map_or(Status::Ok, |refusal| refusal.status);
    ///     log::info!("{} of {}: {status:?}", tx.method(), tx.peer());
    ///     outcome
    /// });
    /// ```
    pub fn around<F>(mut self, run: F) -> Self
    where
        F: Fn(&Transaction<'_>, RestOfCall<'_>) -> Result<Handled, Refusal> + Send + Sync + 'static,
    {
        self.middleware.push(Box::new(run));
        self
    }

    /// Shows a counter of the program in `/metrics` and `show stat`. Two counters of one name are an error of
    /// [`Server::start`].
    ///
    /// ```
    /// # use boneyard::{Server, config::Config, server::ServiceCounter};
    /// static CREATED: ServiceCounter = ServiceCounter::new("tickets_created_total", "Tickets made.");
    ///
    /// # let config = Config::default_with(1);
    /// let server = Server::new(config).counter(&CREATED);
    /// CREATED.add(1); // in a handler
    /// ```
    pub fn counter(mut self, counter: &'static ServiceCounter) -> Self {
        self.hooks.admin.counters.push(counter);
        self
    }

    /// Runs `run` when the server has stopped: no call is in flight, the connections are closed, the values of
    /// [`Server::per_worker`] are dropped; handlers that did not end in time go on. [`RunningServer::stop`], or the
    /// drop of the server, waits for it. A panic in it is logged. Several run in the order in which they were added. If
    /// the server does not start, none runs.
    pub fn on_stop(mut self, run: impl FnOnce() + Send + 'static) -> Self {
        self.hooks.on_stop.push(Box::new(run));
        self
    }

    /// Lets a service take an administrator's orders (`tell`). `run` gets the text after the service's name and returns
    /// the text that the administrator reads. It runs on a thread of its own, one order at a time, without a worker or
    /// a permit. The administrator waits for at most 10 s; `run` goes on after that. A panic in it is an answer, too. A
    /// later call for the same service, whatever the case of its letters, replaces the earlier one.
    ///
    /// ```no_run
    /// # use boneyard::{Server, config::Config};
    /// # let server = Server::new(Config::default_with(2));
    /// let server = server.on_tell("notes", |order| match order {
    ///     "compact" => Ok("compacted".to_owned()),
    ///     _ => Err("notes understands: compact".to_owned()),
    /// });
    /// ```
    pub fn on_tell<F>(mut self, service: &str, run: F) -> Self
    where
        F: Fn(&str) -> Result<String, String> + Send + Sync + 'static,
    {
        self.hooks.admin.on_tell(service, Arc::new(run));
        self
    }

    /// Sets what an administrator's `quit` does. `run` must neither block nor wait for the server's end: the server
    /// itself calls it. Without it, `quit` is refused.
    pub fn on_quit(mut self, run: impl Fn() + Send + Sync + 'static) -> Self {
        self.hooks.admin.quit = Some(Box::new(run));
        self
    }

    /// Sets what is done when an administrator changes `Log_Level`. Without it, the change takes effect after a
    /// restart.
    pub fn on_log_level(mut self, run: impl Fn(log::LevelFilter) + Send + Sync + 'static) -> Self {
        self.hooks.admin.log_level = Some(Box::new(run));
        self
    }

    /// Binds all ports, makes all threads, and serves. Blocks while host names are resolved.
    ///
    /// Raises the soft limit of this process's descriptors as far as the hard limit allows.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start(self) -> Result<RunningServer, StartError> {
        let Server { config, mut services, worker_needs, worker_values, middleware, hooks, product, .. } =
            self;
        check_counters(&hooks.admin.counters)?;
        services.surround(middleware);
        if config.load_service.value {
            load_service::add(&mut services);
        }
        check_limits(&config, &services)?;
        let info_source = Arc::new(OnceLock::<ServerInfo>::new());
        let source = Arc::clone(&info_source);
        let info = move || source.get().map(ServerInfo::info).unwrap_or_default();
        let descriptors = machine::raise_descriptors();
        connections_max(&config, descriptors, 0)?;
        let addresses = bind::resolve(&config)?;
        let bind = |(port, addresses): (&PortConfig, &Vec<_>)| {
            bind::bind(port, addresses, Silence::of(&config), Purpose::Serve)
        };
        let bound = config.ports.iter().zip(&addresses).map(bind).collect::<Result<Vec<_>, _>>()?;
        let ports = config.ports.iter().map(|port| (port.name.as_str(), port.pool_tasks.value as usize));
        services.set_worker_values(worker_values.make(ports)?);
        let mut running =
            PreparedServer::new(&product, &config, services, info, descriptors, bound)?.serve(&config);
        running.start_sampler(&config, hooks.admin)?;
        running.set_stop_hooks(StopHooks::new(hooks.on_stop));
        worker_needs
            .iter()
            .filter_map(|need| need.excess(&config))
            .for_each(|warning| log::warn!("{}", warning.message));
        // It is set nowhere else.
        info_source.set(running.info_source()).ok();
        if let Some(limit) = descriptors {
            let connections = running.connections_max();
            log::info!(
                "Descriptors: {limit} for this process, room for {connections} connections over all ports"
            );
        }
        Ok(running)
    }
}

/// Checks that no two counters have one name.
fn check_counters(counters: &[&'static ServiceCounter]) -> Result<(), StartError> {
    let mut names: Vec<_> = counters.iter().map(|counter| counter.name()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(StartError::Counter(pair[0].clone())),
        None => Ok(()),
    }
}

impl<State> fmt::Debug for Server<State> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("services", &self.services).finish_non_exhaustive()
    }
}

/// Hooks that the program has set.
#[derive(Default)]
struct ProgramHooks {
    admin: AdminHooks,
    on_stop: Vec<StopHook>,
}
