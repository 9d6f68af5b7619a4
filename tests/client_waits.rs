//! Calls that wait for a server that is down: which calls wait, how often the client tries to connect, what that
//! costs, and peers that answer in the server's place.
#![cfg(all(feature = "server", feature = "client"))]

mod common;
mod scripted_server;

use boneyard::Client;
use boneyard::client::{Blame, ClientError, ClientOptions};
use boneyard::config::Config;
use boneyard::internal::proto;
use boneyard::internal::wire::body::MethodEntry;
use boneyard::internal::wire::{Codec, Flags, FrameKind, Header};
use boneyard::server::{RunningServer, Server};
use boneyard::service::builtin::{PING, SCHEMA};
use boneyard::service::{Fault, Refusal, Status};
use common::{PATIENCE, wait_until};
use scripted_server::{DOUBLE, ScriptedServer, pair_with};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// An address without a listener until `serve` is called. No other test uses this host.
fn free_address(host: &str) -> SocketAddr {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

fn serve(address: SocketAddr) -> RunningServer {
    let lines = format!("TCPIP_TCPIPAddress=0,{address}\nServer_Pool_Tasks=4\nServer_Shutdown_Timeout=30");
    let mut config = Config::from_text(&lines, None, 2).unwrap_or_else(|errors| panic!("{errors}"));
    config.admin_address.value = None;
    Server::new(config).start().unwrap()
}

fn options() -> ClientOptions {
    ClientOptions::default()
}

fn connect(address: SocketAddr, options: ClientOptions) -> Client {
    Client::with_options(address, options).unwrap()
}

/// Threads that call with one client until they are stopped, and the outcomes of their calls.
struct Callers {
    end: Arc<AtomicBool>,
    answered: Vec<Arc<AtomicU64>>,
    threads: Vec<thread::JoinHandle<Vec<ClientError>>>,
}

impl Callers {
    fn start(client: &Client, count: usize) -> Callers {
        let end = Arc::new(AtomicBool::new(false));
        let answered: Vec<_> = (0..count).map(|_| Arc::new(AtomicU64::new(0))).collect();
        let threads = answered.iter().map(|answered| {
            let (client, end, answered) = (client.clone(), Arc::clone(&end), Arc::clone(answered));
            thread::spawn(move || {
                let mut failed = Vec::new();
                while !end.load(Ordering::SeqCst) && failed.len() < 3 {
                    match client.call(PING, &()) {
                        Ok(()) => drop(answered.fetch_add(1, Ordering::SeqCst)),
                        Err(error) => failed.push(error),
                    }
                }
                failed
            })
        });
        let threads = threads.collect();
        Callers { end, threads, answered }
    }

    /// Waits until each has so many more answers, or one has failed.
    fn go_on(&self, more: u64) {
        let goals: Vec<u64> = self.answered.iter().map(|it| it.load(Ordering::SeqCst) + more).collect();
        wait_until("all are answered", || {
            let there = self.answered.iter().zip(&goals).all(|(it, goal)| it.load(Ordering::SeqCst) >= *goal);
            there || self.threads.iter().any(|thread| thread.is_finished())
        });
    }

    fn end(self) -> Vec<ClientError> {
        self.end.store(true, Ordering::SeqCst);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }
}

/// Twenty threads of one client, and a server that shuts down and restarts `away` later, several times.
fn restarts(host: &str, away: Duration, times: usize) {
    let address = free_address(host);
    let mut server = serve(address);
    // So long that only a failing test, or a suspended machine, sees a deadline.
    let client = connect(address, options().deadline(PATIENCE));
    let callers = Callers::start(&client, 20);
    for _ in 0..times {
        callers.go_on(20);
        assert_eq!(server.stop().lost(), 0);
        thread::sleep(away);
        server = serve(address);
        callers.go_on(1);
    }
    assert_eq!(callers.end(), [], "calls were lost");
    drop(server);
}

#[test]
fn no_call_is_lost_to_a_restart_of_a_second() {
    restarts("127.9.1.10", Duration::from_millis(1200), 2);
}

#[test]
fn no_call_is_lost_to_a_restart_of_three_seconds() {
    restarts("127.9.1.11", Duration::from_secs(3), 1);
}

#[test]
fn a_call_waits_for_a_server_that_has_not_started() {
    let address = free_address("127.9.1.12");
    let client = connect(address, options().deadline(PATIENCE));
    let calling = thread::spawn(move || (client.methods().map(|names| names.len()), client.call(PING, &())));
    thread::sleep(Duration::from_millis(300));
    let _server = serve(address);
    let (methods, called) = calling.join().unwrap();
    assert_eq!(called, Ok(()));
    assert!(methods.unwrap() > 0);
}

#[test]
fn a_call_that_waited_in_vain_has_the_error_of_the_last_attempt() {
    let client = connect(free_address("127.9.1.13"), options());
    let begin = Instant::now();
    let soon = client.with_deadline(Duration::from_millis(300));
    let error = soon.call(PING, &()).unwrap_err();
    assert!(matches!(error, ClientError::Connect { kind: ErrorKind::ConnectionRefused, .. }), "{error:?}");
    assert!(begin.elapsed() >= Duration::from_millis(250), "it has waited");
    assert!(error.never_started() && error.blame() == Blame::Environment);
}

#[test]
fn a_call_that_must_not_wait_fails_at_once() {
    let address = free_address("127.9.1.14");
    let refused = |error: ClientError| {
        assert!(
            matches!(error, ClientError::Connect { kind: ErrorKind::ConnectionRefused, .. }),
            "{error:?}"
        );
    };
    // Each of these would otherwise wait for an hour.
    let options = || options().deadline(Duration::from_secs(3600));
    refused(connect(address, options().wait_for_server(false)).call(PING, &()).unwrap_err());
    refused(connect(address, options().retries(0)).call(PING, &()).unwrap_err());
    refused(connect(address, options().retries(0)).methods().unwrap_err());
    refused(connect(address, options()).start(PING, &()).unwrap_err());
}

#[test]
fn twenty_threads_share_the_attempts_to_connect() {
    const THREADS: u64 = 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = connect(address, options().deadline(Duration::from_secs(4)));
    let over = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&over);
    // Closes each connection without sending anything.
    let closing =
        thread::spawn(move || listener.incoming().take_while(|_| !end.load(Ordering::SeqCst)).count());
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || client.call(PING, &()).unwrap_err())
        })
        .collect();
    for thread in threads {
        let error = thread.join().unwrap();
        assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    }
    over.store(true, Ordering::SeqCst);
    drop(TcpStream::connect(address));
    // One thread alone makes about 15 attempts in this time, and some more when its deadline is near; each may have
    // begun with an attempt of its own. Without sharing there are 300.
    let attempts = closing.join().unwrap();
    assert!((5..=80).contains(&attempts), "{attempts}");
}

#[test]
fn waiting_for_a_server_costs_no_budget() {
    let server = ScriptedServer::new();
    let client = server.client_with(options());
    let calling = {
        let client = client.clone();
        thread::spawn(move || client.call(DOUBLE, &21))
    };
    // More than the budget and the retries allow.
    (0..15).for_each(|_| drop(server.accept_raw()));
    let mut peer = server.accept();
    let call = peer.call();
    peer.answer(&call, &42u64);
    assert_eq!(calling.join().unwrap(), Ok(42));
    // The whole budget is left: ten calls are repeated.
    for _ in 0..10 {
        let client = client.clone();
        let calling = thread::spawn(move || client.call(DOUBLE, &1));
        let call = peer.call();
        peer.refuse(&call, Status::QueueFull, Fault { code: 0, retry_after_ms: 0, message: String::new() });
        let call = peer.call();
        peer.answer(&call, &2u64);
        assert_eq!(calling.join().unwrap(), Ok(2));
    }
}

/// A GoAway of any number.
fn goaway(status: u16) -> Vec<u8> {
    let mut body = Vec::new();
    let fault = Fault { code: 0, retry_after_ms: 0, message: "come later".to_owned() };
    Codec::Bincode.encode(&fault, &mut body).unwrap();
    let body_bytes = body.len() as u32;
    let header = Header { body_bytes, kind: FrameKind::GoAway, flags: Flags::NONE, code: status, call: 0 };
    [&header.write()[..], &body].concat()
}

/// Peers that may answer in a server's place: a name, the bytes, whether it resets the connection.
fn impostors() -> Vec<(&'static str, Vec<u8>, bool)> {
    let mut draining = Vec::new();
    proto::goaway(&Refusal::new(Status::Draining, "bye"), &mut draining);
    vec![
        ("503", b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec(), false),
        ("SSH", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec(), false),
        ("short banner", b"220 ok\r\n".to_vec(), false),
        ("TLS alert", vec![0x15, 3, 1, 0, 2, 2, 40], false),
        ("noise", vec![0xee; 100], false),
        ("unknown GoAway", goaway(999), false),
        ("GoAway Ok", goaway(0), false),
        ("GoAway Application", goaway(Status::Application.code()), false),
        ("GoAway Panicked", goaway(Status::Panicked.code()), false),
        ("GoAway TooSlow", goaway(Status::TooSlow.code()), false),
        ("GoAway Draining", draining, false),
        ("half a Welcome", scripted_server::welcome()[..20].to_vec(), false),
        ("nothing", Vec::new(), false),
        ("reset", Vec::new(), true),
    ]
}

/// Answers one connection as such a peer.
fn answer(server: &ScriptedServer, bytes: &[u8], reset: bool) {
    let mut stream = server.accept_raw();
    // Reads all of the Hello, since unread bytes would reset the connection.
    assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
    stream.write_all(bytes).unwrap();
    if reset {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    } else {
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).ok();
    }
}

#[test]
fn whatever_answers_in_place_of_a_welcome_no_call_was_started() {
    for (name, bytes, reset) in impostors() {
        let server = ScriptedServer::new();
        let client = server.client();
        let calling = thread::spawn(move || client.call(DOUBLE, &21));
        answer(&server, &bytes, reset);
        let error = calling.join().unwrap().unwrap_err();
        assert!(error.never_started(), "{name}: {error:?}");
        assert_ne!(error.blame(), Blame::Server, "{name}: {error:?}");
    }
}

#[test]
fn whatever_answers_in_place_of_a_welcome_the_call_succeeds_when_the_server_is_back() {
    for (name, bytes, reset) in impostors() {
        let server = ScriptedServer::new();
        let client = server.client_with(options());
        let calling = thread::spawn(move || client.call(DOUBLE, &21));
        answer(&server, &bytes, reset);
        answer(&server, &bytes, reset);
        let serving = server.accept();
        let serving = thread::spawn(move || serving.serve());
        assert_eq!(calling.join().unwrap(), Ok(42), "{name}");
        assert_eq!(serving.join().unwrap(), 1);
    }
}

#[test]
fn each_call_waits_for_a_stopping_server_whichever_other_call_tries_meanwhile() {
    let mut draining = Vec::new();
    proto::goaway(&Refusal::new(Status::Draining, "bye"), &mut draining);
    let server = ScriptedServer::new();
    // A call that took its error for a refusal would be repeated only once.
    let client = server.client_with(options().retries(1));
    let over = Arc::new(AtomicBool::new(false));
    // Begins the next attempt as soon as one has ended.
    let trying: Vec<_> = (0..4)
        .map(|_| {
            let (client, over) = (client.clone(), Arc::clone(&over));
            thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    assert!(client.start(DOUBLE, &1).is_err(), "nobody welcomes it");
                }
            })
        })
        .collect();
    let calling: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            let calling = thread::spawn(move || client.call(DOUBLE, &21));
            answer(&server, &draining, false);
            calling
        })
        .collect();
    over.store(true, Ordering::SeqCst);
    while !trying.iter().all(thread::JoinHandle::is_finished) {
        if let Some(stream) = server.try_accept() {
            (&stream).write_all(&draining).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            (&stream).read_to_end(&mut Vec::new()).ok();
        }
        thread::sleep(Duration::from_millis(1));
    }
    trying.into_iter().for_each(|trying| trying.join().unwrap());
    let serving = server.accept();
    let serving = thread::spawn(move || serving.serve());
    for calling in calling {
        assert_eq!(calling.join().unwrap(), Ok(42));
    }
    drop(client);
    assert_eq!(serving.join().unwrap(), 100);
}

#[test]
fn a_failed_query_of_the_servers_types_says_that_the_call_was_not_sent() {
    let entry = |number, name: &str, fingerprint| MethodEntry { number, name: name.to_owned(), fingerprint };
    let methods = || vec![entry(1, DOUBLE.name(), 12345), entry(2, SCHEMA.name(), 0)];
    for status in [999, Status::Panicked.code(), Status::BadResponse.code(), Status::Ok.code()] {
        let welcome = proto::welcome("hand".to_owned(), scripted_server::BODY_BYTES_MAX, methods());
        let (_server, client, mut peer) = pair_with(options().retries(0), welcome);
        let calling = thread::spawn(move || client.call(DOUBLE, &1).unwrap_err());
        let question = peer.call();
        assert_eq!(question.method, 2, "it asks for the types first");
        peer.answer_bytes(&question, status, b"whatever");
        let error = calling.join().unwrap();
        assert!(error.never_started(), "{status}: {error:?}");
    }
}

#[test]
fn the_error_for_a_peer_that_is_no_server_quotes_its_first_line() {
    let server = ScriptedServer::new();
    let address = server.address();
    let client = server.client();
    let calling = thread::spawn(move || client.call(DOUBLE, &21));
    let noise =
        [b"HTTP/1.1 503 Service \x1b[31mUnavailable", &b"x".repeat(500)[..], b"\r\nDate: now\r\n"].concat();
    answer(&server, &noise, false);
    let said = calling.join().unwrap().unwrap_err().to_string();
    let expected = format!(
        "cannot connect to {address}: not a Boneyard server: it answered \
         \"HTTP/1.1 503 Service \\x1b[31mUnavailablexxx"
    );
    assert!(said.starts_with(&expected) && said.len() < 300 && !said.contains("Date"), "{said}");
}

#[test]
fn a_call_without_a_deadline_does_not_wait_for_ever_for_a_server() {
    let client = connect(free_address("127.9.1.15"), options().deadline(None));
    // The failure bound of the test: the call itself waits ten seconds.
    let calling = thread::spawn(move || client.call(PING, &()));
    wait_until("it ends", || calling.is_finished());
    assert!(matches!(calling.join().unwrap(), Err(ClientError::Connect { .. })));
}
