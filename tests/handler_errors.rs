//! The errors of handlers, as callers and the log get them: real servers, and real clients that repeat their calls.
#![cfg(all(feature = "client", feature = "server"))]

mod common;
mod scripted_server;

use boneyard::client::{ClientError, ClientOptions};
use boneyard::internal::proto;
use boneyard::internal::wire::body::MethodEntry;
use boneyard::service::builtin::{MethodSchema, SCHEMA};
use boneyard::service::{Status, builtin};
use boneyard::{ApplicationError, Blame, Client, HandlerError, Method, Refusal, RunningServer, Server};
use common::gate::Gate;
use common::wait_until;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const HINT: Duration = Duration::from_millis(20);

boneyard::application_errors! {
    /// Errors of tickets.
    pub enum TicketError {
        NotFound = 1 => "no such ticket",
        Closed = 2 => "the ticket is closed",
    }
}

const TICKET: Method<u32, u32, TicketError> = Method::new("tickets.read");
const ASK: Method<u32, u32> = Method::new("test.ask");
/// The same to its clients, who may repeat it.
const ASK_AGAIN: Method<u32, u32> = ASK.idempotent();
const NEXT: Method<u32, u32> = Method::new("test.next");

fn client(server: &RunningServer) -> Client {
    Client::new(server.address()).unwrap().with_deadline(common::PATIENCE)
}

fn options() -> ClientOptions {
    ClientOptions::default().deadline(common::PATIENCE)
}

fn answered(server: &RunningServer, status: Status) -> u64 {
    server.ports()[0].stats().answered(status)
}

/// An error type of a service, which is no `std::error::Error`.
enum OwnError {
    Missing(u32),
    Disk(io::Error),
}

impl From<io::Error> for OwnError {
    fn from(error: io::Error) -> OwnError {
        OwnError::Disk(error)
    }
}

impl From<OwnError> for HandlerError {
    fn from(error: OwnError) -> HandlerError {
        match error {
            OwnError::Missing(_) => ApplicationError::from(error).into(),
            OwnError::Disk(error) => error.into(),
        }
    }
}

/// Both conversions stand beside each other.
impl From<OwnError> for ApplicationError {
    fn from(error: OwnError) -> ApplicationError {
        match error {
            OwnError::Missing(id) => ApplicationError::new(7, format!("{id} is missing")),
            OwnError::Disk(_) => ApplicationError::new(8, "the disk fails"),
        }
    }
}

fn disk(id: u32) -> io::Result<u32> {
    if id == 0 { Err(io::Error::other("no file /srv/secret-path\nnot a line")) } else { Ok(id) }
}

fn own(id: u32) -> Result<u32, OwnError> {
    if id == 9 { Err(OwnError::Missing(id)) } else { Ok(disk(id)?) }
}

#[test]
fn the_text_of_a_foreign_error_goes_into_the_log_and_not_to_the_caller() {
    const LEAK: Method<u32, u32> = Method::new("test.leak");
    let lines = common::logged::Lines::collect();
    let server = common::server("").handle(LEAK, |_, id| Ok(disk(id)?)).start().unwrap();
    let failed = client(&server).call(LEAK, &0).unwrap_err();
    assert_eq!(failed, ClientError::Internal("the server's log says why".to_owned()));
    assert_eq!((failed.blame(), failed.never_started()), (Blame::Server, false));
    assert!(!failed.to_string().contains("secret"), "{failed}");
    let in_json = client(&server).call_json(LEAK.name(), "0").unwrap_err();
    assert_eq!(in_json, failed);
    let logged = || lines.with("test.leak: handler failed: ");
    wait_until("both are logged", || logged().len() == 2);
    for line in logged() {
        assert!(line.contains("no file /srv/secret-path") && line.contains(", peer=127.0.0.1:"), "{line}");
        assert!(line.contains(" call="), "{line}");
    }
    assert_eq!(answered(&server, Status::Internal), 2);
    assert_eq!(client(&server).call(LEAK, &5), Ok(5));
}

#[test]
fn an_error_whose_text_or_drop_panics_is_an_answer_too() {
    #[derive(Debug)]
    struct Spiteful;
    impl std::fmt::Display for Spiteful {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            std::panic::resume_unwind(Box::new("in its text"))
        }
    }
    impl std::error::Error for Spiteful {}
    impl Drop for Spiteful {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("in its drop"))
        }
    }
    let server = common::server("").handle(ASK, |_, _| Err(Spiteful)?).start().unwrap();
    for _ in 0..3 {
        assert!(matches!(client(&server).call(ASK, &0), Err(ClientError::Panicked(_))));
    }
    assert_eq!(answered(&server, Status::Panicked), 3);
}

#[test]
fn an_error_type_of_the_service_converts_by_itself() {
    let server = common::server("").handle(ASK, |_, id| Ok(own(id)?)).start().unwrap();
    let client = client(&server);
    let missing = ClientError::Application { code: 7, message: "9 is missing".to_owned() };
    assert_eq!(client.call(ASK, &9), Err(missing));
    assert!(matches!(client.call(ASK, &0), Err(ClientError::Internal(_))));
    assert_eq!(ApplicationError::from(OwnError::Disk(io::Error::other("x"))).code, 8);
}

fn tickets(server: Server) -> Server {
    server.handle(TICKET, |_, id| match id {
        1 => Err(TicketError::NotFound)?,
        2 => Err(ApplicationError { message: "closed by Ada".to_owned(), ..TicketError::Closed.into() })?,
        3 => Err(ApplicationError::new(99, "not in the list"))?,
        id => Ok(id),
    })
}

#[test]
fn a_listed_error_arrives_as_its_variant() {
    let server = tickets(common::server("")).start().unwrap();
    let client = client(&server);
    let error = |id: u32| client.call(TICKET, &id).expect_err("these fail");
    assert_eq!(TICKET.error_of(&error(1)), Some(TicketError::NotFound));
    assert_eq!(error(1).to_string(), "no such ticket (code 1)");
    assert_eq!(TICKET.error_of(&error(2)), Some(TicketError::Closed));
    assert_eq!(error(2), ClientError::Application { code: 2, message: "closed by Ada".to_owned() });
    assert_eq!(TICKET.error_of(&error(3)), None);
    assert_eq!(TICKET.error_of(&ClientError::Cancelled), None);
    assert_eq!(client.call(TICKET, &4), Ok(4));
    let listed = client.call(builtin::ERRORS, &TICKET.name().to_owned()).unwrap();
    assert_eq!(listed.to_string(), "TicketError <NotFound = 1 | Closed = 2>");
    assert_eq!(listed.codes[0].text, "no such ticket");
    assert!(client.call(builtin::ERRORS, &builtin::PING.name().to_owned()).unwrap().is_empty());
    let unknown = client.call(builtin::ERRORS, &"no.such".to_owned());
    assert!(matches!(unknown, Err(ClientError::UnknownMethod { .. })), "{unknown:?}");
}

#[test]
fn a_server_of_an_earlier_build_is_called_by_a_client_with_a_list() {
    let unlisted = Method::<u32, u32>::new(TICKET.name()).schema();
    let entry = |number, name: &str, fingerprint| MethodEntry { number, name: name.to_owned(), fingerprint };
    let methods = vec![
        entry(1, SCHEMA.name(), SCHEMA.schema().fingerprint()),
        entry(2, TICKET.name(), unlisted.fingerprint()),
    ];
    let welcome = proto::welcome("earlier".to_owned(), scripted_server::BODY_BYTES_MAX, methods);
    let (_server, client, mut peer) = scripted_server::pair_with(options().retries(0), welcome);
    let calling = std::thread::spawn(move || client.call(TICKET, &4));
    let question = peer.call();
    assert_eq!((question.method, question.decode::<String>().as_str()), (1, TICKET.name()));
    peer.answer(&question, &MethodSchema::from(&unlisted));
    let call = peer.call();
    assert_eq!((call.method, call.decode::<u32>()), (2, 4), "it has no method for lists, so it is not asked");
    peer.answer(&call, &5u32);
    assert_eq!(calling.join().unwrap(), Ok(5));
}

/// A server whose handler is busy for the first `times` calls, and the count of its calls.
fn busy(times: u32) -> (RunningServer, Arc<AtomicU32>) {
    let calls = Arc::<AtomicU32>::default();
    let counted = Arc::clone(&calls);
    let server = common::server("").handle(NEXT, move |_, n| {
        if counted.fetch_add(1, Ordering::Relaxed) < times {
            return Err(Refusal::busy().retry_after(HINT).into());
        }
        Ok(n + 1)
    });
    (server.start().unwrap(), calls)
}

#[test]
fn a_busy_handler_is_called_again_after_its_hint() {
    let (server, calls) = busy(2);
    // The method is not idempotent: the handler says that it did nothing.
    assert_eq!(client(&server).call(NEXT, &1), Ok(2));
    assert_eq!((calls.load(Ordering::Relaxed), answered(&server, Status::ServiceBusy)), (3, 2));

    let (server, calls) = busy(u32::MAX);
    let once = Client::with_options(server.address(), options().retries(0)).unwrap();
    let error = once.call(NEXT, &1).unwrap_err();
    assert_eq!((error.status(), error.retry_after()), (Some(Status::ServiceBusy), Some(HINT)));
    assert_eq!((error.blame(), error.never_started()), (Blame::Overload, true));
    assert_eq!(error.to_string(), "the service is busy; try again in 20 ms");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

/// A server whose handler makes a call of another server by a client that repeats nothing.
fn asking(
    next: &RunningServer,
    ask: impl Fn(&Client, u32) -> Result<u32, HandlerError> + Send + Sync + 'static,
) -> RunningServer {
    let next = Client::with_options(next.address(), options().retries(0)).unwrap();
    common::server("").handle(ASK, move |_, n| ask(&next, n)).start().unwrap()
}

#[test]
fn a_refused_nested_call_stays_a_refusal_with_its_hint() {
    let (next, calls) = busy(u32::MAX);
    let server = asking(&next, |next, n| Ok(next.call(NEXT, &n)? + 1));
    let once = Client::with_options(server.address(), options().retries(0)).unwrap();
    let error = once.call(ASK, &1).unwrap_err();
    let message = "the service is busy".to_owned();
    let refused =
        ClientError::NestedRefused { status: Status::ServiceBusy, message, retry_after: Some(HINT) };
    assert_eq!(error, refused);
    assert_eq!((error.blame(), error.never_started()), (Blame::Overload, false));
    assert_eq!((calls.load(Ordering::Relaxed), answered(&server, Status::NestedRefused)), (1, 1));
}

#[test]
fn a_refused_nested_call_is_repeated_by_the_outermost_client_of_an_idempotent_method() {
    let (next, calls) = busy(2);
    let server = asking(&next, |next, n| Ok(next.call(NEXT, &n)? + 1));
    assert_eq!(client(&server).call(ASK_AGAIN, &1), Ok(3));
    assert_eq!((calls.load(Ordering::Relaxed), answered(&server, Status::NestedRefused)), (3, 2));

    let (next, calls) = busy(1);
    let server = asking(&next, |next, n| Ok(next.call(NEXT, &n)? + 1));
    let error = client(&server).call(ASK, &1).unwrap_err();
    assert!(matches!(error, ClientError::NestedRefused { .. }), "{error:?}");
    assert_eq!(calls.load(Ordering::Relaxed), 1, "the handler may have done a part");
}

#[test]
fn a_handler_that_did_nothing_has_any_method_repeated() {
    let (next, calls) = busy(2);
    let server = asking(&next, |next, n| Ok(next.call(NEXT, &n).map_err(HandlerError::nothing_done)? + 1));
    assert_eq!(client(&server).call(ASK, &1), Ok(3));
    assert_eq!((calls.load(Ordering::Relaxed), answered(&server, Status::ServiceBusy)), (3, 2));
}

#[test]
fn a_full_queue_and_a_lost_server_are_told_apart() {
    const HOLD: Method<u32, u32> = Method::new("test.hold");
    let gate = Arc::<Gate>::default();
    let pass = Arc::clone(&gate);
    let lines = "Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1\nServer_Queue_Limit=1";
    let next = common::server(lines).handle(HOLD, move |_, n| {
        pass.pass();
        Ok(n)
    });
    let next = next.start().unwrap();
    let server = asking(&next, |next, n| Ok(next.call(HOLD, &n)?));
    let held: Vec<_> = (0..2).map(|n| client(&next).start(HOLD, &n).unwrap()).collect();
    wait_until("one runs and one is queued", || gate.inside() == 1 && next.ports()[0].queued() == 1);
    let once = Client::with_options(server.address(), options().retries(0)).unwrap();
    let refused = once.call(ASK, &1).unwrap_err();
    assert!(matches!(&refused, ClientError::NestedRefused { status: Status::QueueFull, .. }), "{refused:?}");
    gate.open();
    assert!(held.into_iter().all(|pending| pending.wait().is_ok()));
    next.stop();
    let gone = client(&server).with_deadline(Duration::from_secs(2)).call(ASK, &1).unwrap_err();
    assert!(matches!(gone, ClientError::Internal(_)), "{gone:?}");
}

#[test]
fn a_nested_call_that_ends_with_the_callers_deadline_says_so() {
    let gate = Arc::<Gate>::default();
    let pass = Arc::clone(&gate);
    let next = common::server("").handle(NEXT, move |_, n| {
        pass.pass();
        Ok(n)
    });
    let next = next.start().unwrap();
    let server = asking(&next, |next, n| Ok(next.call(NEXT, &n)?));
    let mut raw = common::Raw::connect(server.address());
    let (_, frame) = raw.frame(ASK.name(), &1u32, 300);
    raw.stream.write_all(&frame).unwrap();
    let (status, fault) = raw.read().expect("a reply").result::<u32>().unwrap_err();
    assert_eq!((status, fault.code), (Status::NestedRefused, Status::DeadlineExceeded.code().into()));

    // Its own, shorter deadline is the handler's affair.
    let own = asking(&next, |next, n| Ok(next.with_deadline(Duration::from_millis(5)).call(NEXT, &n)?));
    let error = client(&own).call(ASK, &1).unwrap_err();
    assert!(matches!(error, ClientError::Internal(_)), "{error:?}");
    gate.open();
}
