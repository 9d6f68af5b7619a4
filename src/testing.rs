//! Test servers: a real server on a free port of this machine, for the tests of a service and of its callers.

use crate::server::{RunningServer, Server, ServerBuilder, Stopped};
use crate::service::Refusal;
use crate::sync::{Arc, Mutex};
use std::ops::Deref;

/// Workers of a test server, and calls that it runs at once.
const WORKERS: u32 = 8;

/// Starts a server with the handlers that `add` adds, on 127.0.0.1 and a port that the system chooses. It listens when
/// this returns, and stops when the result is dropped. It has 8 workers and no admin server; the other settings are the
/// defaults.
///
/// ```
/// use boneyard::{Client, Method, Status, testing};
/// const DOUBLE: Method<u32, u64> = Method::new("math.double");
///
/// let server = testing::serve(|server| server.handle(DOUBLE, |_, n| Ok(u64::from(n) * 2)));
/// let client = Client::connect(server.address())?;
/// assert_eq!(client.call(DOUBLE, &21)?, 42);
///
/// server.refuse_next(1, Status::QueueFull); // the client makes the call again
/// assert_eq!(client.call(DOUBLE, &21)?, 42);
/// assert_eq!(server.refused(), 1);
/// # Ok::<(), boneyard::ClientError>(())
/// ```
///
/// # Panics
/// If the server does not start.
pub fn serve<State>(add: impl FnOnce(Server) -> Server<State>) -> TestServer {
    serve_with(|settings| settings, add)
}

/// As [`serve`], with other settings: `set` gets those of a test server.
///
/// # Panics
/// If the settings are wrong, or the server does not start.
pub fn serve_with<State>(
    set: impl FnOnce(ServerBuilder) -> ServerBuilder,
    add: impl FnOnce(Server) -> Server<State>,
) -> TestServer {
    let settings = Server::builder()
        .port("TCPIP", "127.0.0.1:0")
        .set("Server_Pool_Tasks", WORKERS)
        .set("Server_Max_Concurrent_Trans", WORKERS)
        .set("Admin_Address", "")
        .set("Admin_Socket", "off");
    let server = set(settings).build().unwrap_or_else(|errors| panic!("settings of a test server: {errors}"));
    let refusals = Arc::<Refusals>::default();
    let asked = Arc::clone(&refusals);
    let server = server.around(move |tx, next| match asked.take() {
        Some(refusal) => Err(refusal),
        None => next.run(tx),
    });
    let running = add(server).start().unwrap_or_else(|error| panic!("a test server does not start: {error}"));
    TestServer { running, refusals }
}

/// A server of a test. Dropped, it stops without waiting for calls in flight.
///
/// Its address is [`RunningServer::address`].
#[derive(Debug)]
pub struct TestServer {
    running: RunningServer,
    refusals: Arc<Refusals>,
}

impl TestServer {
    /// Refuses all calls of its handlers from now on, before their handlers run, with this status or [`Refusal`]: the
    /// latter can have a hint when to retry. Built-in methods are not refused.
    pub fn refuse(&self, refusal: impl Into<Refusal>) {
        self.refusals.set(Refusing::All(refusal.into()));
    }

    /// Refuses the next `calls` of its handlers so, and accepts those after them.
    pub fn refuse_next(&self, calls: u64, refusal: impl Into<Refusal>) {
        self.refusals.set(Refusing::Next(calls, refusal.into()));
    }

    /// Accepts all calls again.
    pub fn accept(&self) {
        self.refusals.set(Refusing::Nothing);
    }

    /// Returns how many calls were refused so.
    pub fn refused(&self) -> u64 {
        self.refusals.0.lock().1
    }

    /// Stops in order, as [`RunningServer::stop`].
    pub fn stop(self) -> Stopped {
        self.running.stop()
    }
}

impl Deref for TestServer {
    type Target = RunningServer;

    fn deref(&self) -> &RunningServer {
        &self.running
    }
}

/// Calls that a test server refuses.
#[derive(Debug, Default)]
enum Refusing {
    #[default]
    Nothing,
    Next(u64, Refusal),
    All(Refusal),
}

/// Calls to refuse, and how many were.
#[derive(Debug, Default)]
struct Refusals(Mutex<(Refusing, u64)>);

impl Refusals {
    fn set(&self, refusing: Refusing) {
        self.0.lock().0 = refusing;
    }

    /// Returns the refusal of the next call, if it is to be refused.
    fn take(&self) -> Option<Refusal> {
        let (refusing, refused) = &mut *self.0.lock();
        let refusal = match refusing {
            Refusing::Nothing | Refusing::Next(0, _) => return None,
            Refusing::Next(left, refusal) => {
                *left -= 1;
                refusal.clone()
            }
            Refusing::All(refusal) => refusal.clone(),
        };
        *refused += 1;
        Some(refusal)
    }
}
