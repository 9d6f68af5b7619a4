//! What a program gives its server besides handlers: settings in code, a state, a value for each worker, middleware,
//! counters, code for the end. On real servers.
#![cfg(all(feature = "admin", feature = "client"))]

mod common;
mod http;

use boneyard::config::Config;
use boneyard::server::{ServiceCounter, StartError, machine};
use boneyard::service::{Refusal, RestOfCall};
use boneyard::testing::{self, TestServer};
use boneyard::{
    ApplicationError, Client, ClientError, ClientOptions, HandlerError, Method, Server, Status, Transaction,
};
use common::gate::Gate;
use common::logged::Lines;
use common::{PATIENCE, wait_until};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

const ADD: Method<u32, u32> = Method::new("test.add");
const WHO: Method<(), (String, usize)> = Method::new("test.who");
const BREAK: Method<(), ()> = Method::new("test.break");

fn client(server: &TestServer) -> Client {
    Client::connect(server.address()).unwrap()
}

/// Makes no call a second time.
fn client_without_retries(server: &TestServer) -> Client {
    Client::with_options(server.address(), ClientOptions::default().retries(0)).unwrap()
}

fn status<T: std::fmt::Debug>(called: Result<T, ClientError>) -> Option<Status> {
    called.unwrap_err().status()
}

#[test]
fn settings_in_code_have_the_checks_and_defaults_of_a_file() {
    let made =
        Server::builder().port("A", "127.0.0.1:0").port("B", "127.0.0.1:0").set("Server_Pool_Tasks", 3);
    let made = made.set("server_pool_tasks", 4).limit("a.b", 2, 7).build().unwrap();
    let lines = "Ports=A,B\nA_TCPIPAddress=127.0.0.1:0\nB_TCPIPAddress=127.0.0.1:0\nServer_Pool_Tasks=4\n\
                 [Limits]\na.b=2,7\n";
    let file = Config::from_text(lines, None, machine::cpus()).unwrap();
    let values = |config: &Config| -> Vec<_> {
        config.effective().into_iter().map(|setting| (setting.key, setting.value)).collect()
    };
    assert_eq!(values(made.config()), values(&file));
    let effective = made.config().effective();
    let source = |key: &str| effective.iter().find(|setting| setting.key == key).unwrap().source.to_string();
    assert_eq!(source("Server_Pool_Tasks"), "set by the program");
    assert_eq!(
        (source("a.b"), source("Server_Queue_Limit")),
        ("set by the program".into(), "default".into())
    );

    let wrong = Server::builder()
        .port("A", "127.0.0.1:1")
        .port("B", "127.0.0.1:1")
        .set("Server_Pool_Task", 3)
        .set("Server_Queue_Limit", "many")
        .set("Log_File", "a\nb")
        .set("Alarm_After", "1;2");
    let lines = "Ports=A,B\nA_TCPIPAddress=127.0.0.1:1\nB_TCPIPAddress=127.0.0.1:1\nServer_Pool_Task=3\n\
                 Server_Queue_Limit=many\nAlarm_After=1;2\n";
    let in_file = Config::from_text(lines, None, machine::cpus()).unwrap_err();
    let in_file: BTreeSet<_> =
        in_file.iter().map(|error| error.message().replace("in line 2", "in the program")).collect();
    let found: BTreeSet<_> = wrong.build().unwrap_err().iter().map(ToString::to_string).collect();
    let more: Vec<_> = found.difference(&in_file).collect();
    assert_eq!(
        more,
        ["Log_File=: control character 0x0A in column 11, expected text without control characters"]
    );
    assert_eq!(in_file.difference(&found).count(), 0, "{found:?} {in_file:?}");
}

#[test]
fn a_port_is_asked_for_by_name() {
    let server = testing::serve_with(|set| set.port("LAN2", "127.0.0.1:0"), |server| server);
    let lan = server.port("lan2").expect("it was added").address();
    assert_ne!(lan, server.address());
    assert_eq!(server.port("TCPIP").map(|port| port.address()), Some(server.address()));
    assert!(server.port("LAN3").is_none());
    Client::connect(lan).unwrap();
}

#[test]
fn a_test_server_refuses_as_it_is_told_and_ends_when_it_is_dropped() {
    let server = testing::serve(|server| server.handle(ADD, |_, n| Ok(n + 1)));
    let client = client_without_retries(&server);
    assert_eq!(client.call(ADD, &1).unwrap(), 2);
    server.refuse(Refusal::from(Status::Overloaded).retry_after(Duration::from_millis(70)));
    let refused = client.call(ADD, &1).unwrap_err();
    assert_eq!(refused.status(), Some(Status::Overloaded));
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(70)));
    assert!(client.call_json("server.ping", "null").is_ok(), "a built-in method");
    server.refuse_next(2, Status::QueueFull);
    for _ in 0..2 {
        assert_eq!(status(client.call(ADD, &1)), Some(Status::QueueFull));
    }
    assert_eq!((client.call(ADD, &1).unwrap(), server.refused()), (2, 3));
    server.refuse(Status::Draining);
    server.accept();
    assert_eq!(client.call(ADD, &1).unwrap(), 2);
    let address = server.address();
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err(), "it has stopped");
}

#[test]
fn handlers_share_the_state_without_a_clone_each() {
    #[derive(Default)]
    struct Sum(AtomicUsize);
    impl Sum {
        fn add(&self, _: &Transaction<'_>, n: u32) -> Result<u32, HandlerError> {
            Ok(self.0.fetch_add(n as usize, SeqCst) as u32 + n)
        }
    }
    let server = testing::serve(|server| {
        let server = server.handle(BREAK, |_, ()| Ok(()));
        let server = server.state(Sum::default()).handle(ADD, Sum::add);
        server.handle(WHO, |sum, tx, ()| Ok((tx.method().to_owned(), sum.0.load(SeqCst))))
    });
    let client = client(&server);
    assert_eq!((client.call(ADD, &3).unwrap(), client.call(ADD, &4).unwrap()), (3, 7));
    assert_eq!(client.call(WHO, &()).unwrap(), ("test.who".to_owned(), 7));
    client.call(BREAK, &()).expect("a plain closure before it stays");
}

/// A worker's value, which counts itself.
struct Value {
    number: usize,
    alive: Arc<AtomicUsize>,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, SeqCst);
    }
}

/// Makes values, numbered from 1, and counts those alive.
#[derive(Clone, Default)]
struct Values {
    made: Arc<AtomicUsize>,
    alive: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
}

impl Values {
    fn make(&self) -> Result<Value, &'static str> {
        if self.fails.load(SeqCst) {
            return Err("the database is down");
        }
        self.alive.fetch_add(1, SeqCst);
        Ok(Value { number: self.made.fetch_add(1, SeqCst) + 1, alive: Arc::clone(&self.alive) })
    }

    /// A server with a value for each of its workers.
    fn serve(&self, workers: u32, lines: &[(&str, u32)], add: impl FnOnce(Server) -> Server) -> TestServer {
        let set = |set: boneyard::server::ServerBuilder| {
            let set = set.set("Server_Pool_Tasks", workers);
            lines.iter().fold(set, |set, (key, value)| set.set(key, value))
        };
        let values = self.clone();
        let who = |tx: &Transaction<'_>, ()| {
            let name = thread::current().name().unwrap_or_default().to_owned();
            Ok((name, tx.with_worker(|value: &mut Value| value.number)))
        };
        let stop = |tx: &Transaction<'_>, ()| {
            tx.with_worker(|_: &mut Value| std::panic::resume_unwind(Box::new("on purpose")))
        };
        testing::serve_with(set, |server| {
            add(server.per_worker(move |_| values.make()).handle(WHO, who).handle(BREAK, stop))
        })
    }
}

#[test]
fn each_worker_has_a_value_from_the_start_to_the_drain() {
    let (values, gate) = (Values::default(), Arc::<Gate>::default());
    let held = Arc::clone(&gate);
    let hold = move |tx: &Transaction<'_>, n| {
        let used = |value: &mut Value| {
            let before = value.number;
            tx.blocking(|| held.pass());
            assert_eq!(before, value.number, "no other call has it meanwhile");
            before as u32
        };
        Ok(n + tx.with_worker(used))
    };
    let server = values.serve(3, &[("Server_Max_Concurrent_Trans", 1)], |server| server.handle(ADD, hold));
    assert_eq!((values.made.load(SeqCst), values.alive.load(SeqCst)), (3, 3), "before the first call");
    let client = client(&server);
    let calls: Vec<_> = (0..3).map(|_| client.start(ADD, &0).unwrap()).collect();
    wait_until("all hold their values", || gate.inside() == 3);
    gate.open();
    let numbers: BTreeSet<_> = calls.into_iter().map(|call| call.wait().unwrap()).collect();
    assert_eq!(numbers, BTreeSet::from([1, 2, 3]), "a value for each");
    server.stop();
    assert_eq!((values.made.load(SeqCst), values.alive.load(SeqCst)), (3, 0), "when `stop` returns");
}

#[test]
fn a_start_fails_if_a_value_cannot_be_made() {
    let values = Values::default();
    let make = values.clone();
    let server = Server::builder().port("TCPIP", "127.0.0.1:0").set("Server_Pool_Tasks", 3);
    let server = server.set("Admin_Address", "").build().unwrap();
    let failed = server.per_worker(move |place| match place.worker() {
        3 => Err("too many connections"),
        _ => make.make(),
    });
    let failed = failed.start().unwrap_err();
    assert!(matches!(failed, StartError::PerWorker(_)));
    assert_eq!(
        failed.to_string(),
        "the value of worker 3 of port TCPIP cannot be made: too many connections"
    );
    assert_eq!((values.made.load(SeqCst), values.alive.load(SeqCst)), (2, 0), "nothing is left");
}

#[test]
fn a_value_is_made_anew_after_a_panic_in_its_use() {
    let values = Values::default();
    let server = values.serve(1, &[], |server| server);
    let client = client_without_retries(&server);
    let number = || client.call(WHO, &()).map(|(_, number)| number);
    assert_eq!(number().unwrap(), 1);
    assert_eq!(status(client.call(BREAK, &())), Some(Status::Panicked));
    assert_eq!((values.alive.load(SeqCst), number().unwrap()), (0, 2));
    let lines = Lines::collect();
    client.call(BREAK, &()).unwrap_err();
    values.fails.store(true, SeqCst);
    for _ in 0..2 {
        let refused = client.call(WHO, &()).unwrap_err();
        assert_eq!(refused.status(), Some(Status::Internal));
        assert!(!refused.to_string().contains("database"), "{refused}");
    }
    let reason = "test.who: the value of worker 1 of port TCPIP cannot be made: the database is down";
    assert_eq!(lines.with(reason).len(), 2, "the log has the reason");
    values.fails.store(false, SeqCst);
    assert_eq!(number().unwrap(), 3, "it is tried again");
    drop(server);
    assert_eq!(values.alive.load(SeqCst), 0);
}

#[test]
fn a_value_belongs_to_the_place_on_whatever_thread_it_runs() {
    let values = Values::default();
    let server = values.serve(1, &[("Server_Run_Where_Read", 1)], |server| server);
    let client = client(&server);
    let mut threads = BTreeSet::new();
    wait_until("two threads have run it", || {
        let (thread, number) = client.call(WHO, &()).unwrap();
        assert_eq!(number, 1);
        threads.insert(thread);
        threads.len() == 2
    });
    assert_eq!(values.made.load(SeqCst), 1);
}

#[test]
fn what_workers_take_is_compared_with_what_there_is() {
    let lines = Lines::collect();
    let server = || {
        let ports = ["A", "B", "C"].into_iter();
        let server = ports.fold(Server::builder(), |server, name| server.port(name, "127.0.0.1:0"));
        let server = server.set("Server_Pool_Tasks", 40).set("Admin_Address", "").set("Admin_Socket", "off");
        let server = server.build().unwrap().per_worker(|_| Ok::<u8, String>(1));
        server.takes("connections", 1, 100).takes("files", 2, 240)
    };
    let says =
        "3 ports x 40 = 120 workers open 120 connections; 100 are allowed: lower the pools or allow more";
    let found = server().dry_run().unwrap().warnings;
    let found: Vec<_> = found.iter().filter(|warning| warning.code == "per_worker").collect();
    assert_eq!(found.iter().map(|warning| warning.message.as_str()).collect::<Vec<_>>(), [says]);
    drop(server().start().unwrap());
    assert_eq!(lines.with("workers open"), [says], "the start logs it, and only that");
}

#[test]
fn middleware_sees_who_calls_and_the_outcome_and_may_refuse() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let around = |name: &'static str| {
        let seen = Arc::clone(&seen);
        move |tx: &Transaction<'_>, next: RestOfCall<'_>| {
            let timed = tx.time_left().is_some();
            let (method, session) = (tx.method().to_owned(), tx.session());
            assert!(tx.peer().ip().is_loopback());
            if name == "inner" && method == "test.break" && session > 0 {
                return Err(Refusal::new(Status::Restricted, "not in a session"));
            }
            let outcome = next.run(tx);
            let status = outcome.as_ref().err().map_or(Status::Ok, |refusal| refusal.status);
            seen.lock().unwrap().push((name, method, timed, status));
            outcome
        }
    };
    let server = testing::serve(|server| {
        let server = server.around(around("outer")).around(around("inner"));
        let fail = |_: &Transaction<'_>, n| match n {
            0 => Err(ApplicationError::new(7, "none").into()),
            n => Ok(n + 1),
        };
        server.handle(ADD, fail).handle(BREAK, |_, ()| std::panic::resume_unwind(Box::new("on purpose")))
    });
    let client = client_without_retries(&server);
    assert_eq!(client.call(ADD, &1).unwrap(), 2);
    assert!(matches!(client.call(ADD, &0), Err(ClientError::Application { code: 7, .. })));
    assert_eq!(status(client.with_deadline(None).call(BREAK, &())), Some(Status::Panicked));
    let session = client.session().unwrap();
    assert_eq!(status(session.call(BREAK, &())), Some(Status::Restricted));
    client.call_json("server.ping", "null").expect("a built-in method has nothing around it");
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let add = |name, status| (name, "test.add".to_owned(), true, status);
    let broken = |name, timed, status| (name, "test.break".to_owned(), timed, status);
    let expected = [
        add("inner", Status::Ok),
        add("outer", Status::Ok),
        add("inner", Status::Application),
        add("outer", Status::Application),
        broken("inner", false, Status::Panicked),
        broken("outer", false, Status::Panicked),
        broken("outer", true, Status::Restricted),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_panic_in_middleware_is_answered_and_its_worker_goes_on() {
    let server = testing::serve_with(
        |set| set.set("Server_Pool_Tasks", 1),
        |server| {
            let server = server.handle(ADD, |_, n| Ok(n + 1)).handle(BREAK, |_, ()| Ok(()));
            server.around(|tx, next| {
                let outcome = next.run(tx);
                match tx.method() {
                    "test.break" => std::panic::resume_unwind(Box::new("on purpose")),
                    _ => outcome,
                }
            })
        },
    );
    let client = client_without_retries(&server);
    assert_eq!(status(client.call(BREAK, &())), Some(Status::Panicked));
    assert_eq!(client.call(ADD, &1).unwrap(), 2);
}

static CREATED: ServiceCounter = ServiceCounter::new("tickets_created_total", "Tickets made.");

#[test]
fn counters_of_the_program_are_shown_with_those_of_the_server() {
    static OTHER: ServiceCounter = ServiceCounter::new("tickets_created_total", "The same name.");
    let server = testing::serve_with(
        |set| set.set("Admin_Address", "127.0.0.1:0"),
        |server| {
            server.counter(&CREATED).handle(ADD, |_, n| {
                CREATED.add(n.into());
                Ok(n)
            })
        },
    );
    client(&server).call(ADD, &1234).unwrap();
    let shown = server.monitor().command("show stat service.*").text;
    assert!(shown.contains("Service.tickets_created = 1,234\n"), "{shown}");
    let metrics = http::get(server.admin_address().unwrap(), "/metrics", &[]).body;
    let lines = "# HELP tickets_created_total Tickets made.\n# TYPE tickets_created_total counter\n\
                 tickets_created_total 1234\n";
    assert!(metrics.contains(lines), "{metrics}");
    let twice = Server::builder().port("TCPIP", "127.0.0.1:0").set("Admin_Address", "").build().unwrap();
    let error = twice.counter(&CREATED).counter(&OTHER).start().unwrap_err();
    assert_eq!(error.to_string(), "two counters have the name tickets_created_total");
}

#[test]
fn code_for_the_end_runs_once_after_the_drain() {
    let lines = Lines::collect();
    let (sender, receiver) = mpsc::channel();
    let (values, gate) = (Values::default(), Arc::<Gate>::default());
    let (make, held, ended) = (values.clone(), Arc::clone(&gate), Arc::new(AtomicBool::new(false)));
    let end = Arc::clone(&ended);
    let (seen, alive) = (Arc::clone(&ended), Arc::clone(&values.alive));
    let server = testing::serve(move |server| {
        let server = server.per_worker(move |_| make.make());
        let server = server.handle(BREAK, move |_, ()| {
            held.pass();
            end.store(true, SeqCst);
            Ok(())
        });
        let (first, second) = (sender.clone(), sender);
        let server = server.on_stop(move || {
            first.send((1, seen.load(SeqCst), alive.load(SeqCst))).unwrap();
            panic!("code for the end fails");
        });
        server.on_stop(move || second.send((2, true, 0)).unwrap())
    });
    let call = client(&server).start(BREAK, &()).unwrap();
    wait_until("it runs", || gate.inside() == 1);
    let stop = thread::spawn(move || server.stop());
    assert!(receiver.try_recv().is_err(), "a call is in flight");
    gate.open();
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok((1, true, 0)), "the handler has ended, no value is left");
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok((2, true, 0)), "in order, though the first panicked");
    call.wait().unwrap();
    assert_eq!(stop.join().unwrap().lost(), 0);
    assert!(receiver.recv().is_err(), "once");
    assert_eq!(lines.with("on_stop panicked: code for the end fails").len(), 1);
}
