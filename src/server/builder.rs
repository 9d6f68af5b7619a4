//! [`Server`]: settings, handlers and the embedding program's hooks, collected until the start.

use super::bind::{self, Purpose, Silence};
use super::control::AdminHooks;
use super::derived_settings::{check_limits, connections_max};
use super::error::StartError;
use super::load::load;
use super::machine;
use super::running::RunningServer;
use super::server_info::ServerInfo;
use super::start::PreparedServer;
use crate::config::{Config, ConfigErrors, PortConfig};
use crate::service::{ErrorList, HandlerError, Method, ServicesBuilder, Transaction, load_service};
use crate::sync::Arc;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::OnceLock;

/// A server that has not started: settings and handlers.
///
/// ```no_run
/// # use boneyard::{Method, Server};
/// const DOUBLE: Method<u32, u64> = Method::new("math.double");
/// let server = Server::from_ini("server.ini")?.handle(DOUBLE, |_, n| Ok(u64::from(n) * 2)).start()?;
/// server.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    pub(super) config: Config,
    pub(super) services: ServicesBuilder,
    hooks: AdminHooks,
}

impl Server {
    /// Makes a server with these settings and the built-in methods.
    pub fn new(config: Config) -> Server {
        Server { config, services: ServicesBuilder::default(), hooks: AdminHooks::default() }
    }

    /// Makes a server with the settings of an INI file. Blocks while it reads the file.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn from_ini(path: impl AsRef<Path>) -> Result<Server, ConfigErrors> {
        load(path.as_ref()).map(Server::new)
    }

    /// Returns the settings.
    pub fn config(&self) -> &Config {
        &self.config
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
    pub fn on_tell<F>(mut self, service: &str, run: F) -> Server
    where
        F: Fn(&str) -> Result<String, String> + Send + Sync + 'static,
    {
        self.hooks.on_tell(service, Arc::new(run));
        self
    }

    /// Sets what an administrator's `quit` does. `run` must neither block nor wait for the server's end: the server
    /// itself calls it. Without it, `quit` is refused.
    pub fn on_quit(mut self, run: impl Fn() + Send + Sync + 'static) -> Server {
        self.hooks.quit = Some(Box::new(run));
        self
    }

    /// Sets what is done when an administrator changes `Log_Level`. Without it, the change takes effect after a
    /// restart.
    pub fn on_log_level(mut self, run: impl Fn(log::LevelFilter) + Send + Sync + 'static) -> Server {
        self.hooks.log_level = Some(Box::new(run));
        self
    }

    /// Binds all ports, makes all threads, and serves. Blocks while host names are resolved.
    ///
    /// Raises the soft limit of this process's descriptors as far as the hard limit allows.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start(self) -> Result<RunningServer, StartError> {
        let Server { config, mut services, hooks } = self;
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
        let mut running = PreparedServer::new(&config, services, info, descriptors, bound)?.serve(&config);
        running.start_sampler(&config, hooks)?;
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
