//! What is seen of a server's workers while they are stuck, and what its log is told when a port stands still.
#![cfg(feature = "server")]

mod common;

use boneyard::internal::monitor::{HandlerState, Task, ThreadState, WorkerSnapshot};
use boneyard::service::Status;
use boneyard::{Method, RunningServer};
use common::gate::Gate;
use common::*;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Waits at the first gate, without its permit.
const BLOCK: Method<(), ()> = Method::new("test.block");
/// Waits at the second gate, and keeps its permit.
const HOLD: Method<(), ()> = Method::new("test.hold");

fn start(lines: &str) -> (RunningServer, Arc<Gate>, Arc<Gate>) {
    let (blocked, held) = (Arc::<Gate>::default(), Arc::<Gate>::default());
    let (block, hold) = (Arc::clone(&blocked), Arc::clone(&held));
    let server = server(lines)
        .handle(BLOCK, move |tx, ()| {
            tx.blocking(|| block.pass());
            Ok(())
        })
        .handle(HOLD, move |_, ()| {
            hold.pass();
            Ok(())
        });
    (server.start().unwrap(), blocked, held)
}

fn tasks(server: &RunningServer) -> Vec<Option<Task>> {
    server.monitor().control().workers().into_iter().map(|worker| worker.task).collect()
}

fn of(server: &RunningServer, method: &str) -> Option<Task> {
    tasks(server).into_iter().flatten().find(|task| &*task.method == method)
}

#[test]
fn a_worker_is_seen_to_run_to_block_and_to_return() {
    let (server, blocked, held) = start("Server_Pool_Tasks=3\nServer_Max_Concurrent_Trans=1");
    assert_eq!(tasks(&server).len(), 3);
    assert!(tasks(&server).iter().all(Option::is_none));
    let state = |method| of(&server, method).map(|task| task.state);
    let mut client = Raw::connect(server.address());
    client.send("test.block", &());
    wait_until("it waits", || state("test.block") == Some(HandlerState::Blocked));
    let (hold, frame) = client.frame("test.hold", &(), 60_000);
    std::io::Write::write_all(&mut client.stream, &frame).unwrap();
    wait_until("the other has the permit", || held.inside() == 1);

    let holds = of(&server, "test.hold").expect("it runs");
    assert_eq!((holds.state, holds.call, holds.session), (HandlerState::Running, hold, 0));
    assert_eq!(holds.peer, client.stream.local_addr().unwrap());
    assert!(holds.left_ms.is_some_and(|ms| (1..=60_000).contains(&ms)) && holds.chain.is_empty());
    assert_eq!(of(&server, "test.block").expect("it waits").left_ms, None);

    blocked.open();
    wait_until("it stands in line", || state("test.block") == Some(HandlerState::Returning));
    let returns = of(&server, "test.block").expect("it stands in line");
    assert!(returns.since < returns.ran, "it has done something else before");
    let text = server.monitor().threads();
    assert!(
        text.starts_with("Threads after 00:00:") && text.contains("1 of 1 permits out, peak 1"),
        "{text}"
    );
    assert!(text.contains("3 workers: 1 idle, 1 running, 0 blocked, 1 returning"), "{text}");
    let oldest = text.find("returning  ").expect("its line");
    assert!(oldest < text.find("running    ").expect("its line"), "{text}");

    held.open();
    (0..2).for_each(|_| assert_eq!(client.read().expect("a reply").status(), Status::Ok));
    wait_until("all sleep", || tasks(&server).iter().all(Option::is_none));
}

#[test]
fn it_is_seen_while_every_worker_of_every_port_is_stuck() {
    let lines = ports(&["A", "B"]) + "Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=-1";
    let (server, _, held) = start(&lines);
    let mut clients: Vec<_> = server.ports().iter().map(|port| Raw::connect(port.address())).collect();
    for client in &mut clients {
        (0..6).for_each(|_| _ = client.send("test.hold", &()));
    }
    wait_until("all are stuck", || held.inside() == 8);
    wait_until("the others are queued", || server.ports().iter().all(|port| port.queued() == 2));
    assert!(tasks(&server).into_iter().flatten().all(|task| &*task.method == "test.hold"));
    let text = server.monitor().threads();
    for port in ["A", "B"] {
        assert!(text.contains(&format!("Port {port} at 127.0.0.1:")), "{text}");
        assert!((1..=4).all(|n| text.contains(&format!("\n  {port}-{n}     running  "))), "{text}");
    }
    assert_eq!(text.matches("\n  4 run test.hold, the longest for ").count(), 2, "{text}");
    // All workers are busy, so the server looks at their threads by itself.
    let looked =
        || server.monitor().threads().matches(" looks of the last 10 s: 4.0 on average, ").count() == 2;
    wait_until("it has looked at them more than once", looked);
    held.open();
    for client in &mut clients {
        (0..6).for_each(|_| assert_eq!(client.read().expect("a reply").status(), Status::Ok));
    }
}

#[test]
fn a_look_says_what_the_threads_of_handlers_wait_in() {
    let (server, blocked, held) = start("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=-1");
    let mut client = Raw::connect(server.address());
    (0..2).for_each(|_| _ = client.send("test.hold", &()));
    client.send("test.block", &());
    wait_until("all wait", || held.inside() == 2 && blocked.inside() == 1);
    let addresses = |workers: Vec<WorkerSnapshot>| -> Vec<(String, u64)> {
        let address = |task: Task| match task.thread? {
            ThreadState::Lock { address } => Some((task.method.to_string(), address)),
            _ => None,
        };
        workers.into_iter().filter_map(|worker| address(worker.task?)).collect()
    };
    let control = server.monitor().control();
    let mut seen = Vec::new();
    wait_until("they wait for conditions", || {
        seen = addresses(control.look(Duration::from_secs(1)));
        seen.len() == 3
    });
    let at = |method: &str| -> Vec<u64> {
        seen.iter().filter(|(of, _)| of == method).map(|(_, address)| *address).collect()
    };
    assert_eq!(at("test.hold")[0], at("test.hold")[1], "one gate holds both");
    assert_ne!(at("test.hold")[0], at("test.block")[0]);
    assert!(addresses(control.workers()).is_empty(), "nothing was looked at");

    // Without a budget each look reads one thread, the next in turn.
    let mut turns = HashSet::new();
    for _ in 0..3 {
        let workers = control.look(Duration::ZERO);
        let looked =
            |worker: &&WorkerSnapshot| worker.task.as_ref().is_some_and(|task| task.thread.is_some());
        turns.extend(workers.iter().filter(looked).map(|worker| worker.worker));
    }
    assert_eq!(turns.len(), 3);

    server.monitor().look(Instant::now(), Duration::from_secs(1));
    let text = server.monitor().threads();
    assert!(text.contains("  2 run test.hold, the longest for "), "{text}");
    assert!(text.contains("% lock ("), "{text}");
    let numbers = ["lock 1  ", "lock 2  "].map(|lock| text.matches(lock).count());
    assert!(numbers == [1, 2] || numbers == [2, 1], "{text}");
    assert!(!text.contains(&format!("{:x}", at("test.hold")[0])), "no address is shown: {text}");
    [&blocked, &held].into_iter().for_each(|gate| gate.open());
    (0..3).for_each(|_| assert_eq!(client.read().expect("a reply").status(), Status::Ok));
}

/// The log of this process.
struct Log(Mutex<Vec<String>>);

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }
    fn flush(&self) {}
}

/// How many lines of it contain this.
fn logged(text: &str) -> usize {
    static LOG: OnceLock<&'static Log> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let log: &'static Log = Box::leak(Box::new(Log(Mutex::default())));
        log::set_logger(log).expect("nobody else sets one");
        log::set_max_level(log::LevelFilter::Info);
        log
    });
    log.0.lock().unwrap().iter().filter(|line| line.contains(text)).count()
}

#[test]
fn a_port_that_stands_still_is_told_of_once_and_when_it_goes_on() {
    assert_eq!(logged("stall"), 0);
    let lines = "Ports=STALL,FREE\nSTALL_TCPIPAddress=127.0.0.1:1\nFREE_TCPIPAddress=127.0.0.1:2\n\
                 Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=-1\nServer_Stall_Seconds=1";
    let (server, _, held) = start(lines);
    let monitor = server.monitor();
    let mut client = Raw::connect(server.address());
    (0..2).for_each(|_| _ = client.send("test.hold", &()));
    wait_until("both workers are stuck", || held.inside() == 2);
    (0..100).for_each(|_| monitor.sample());
    assert_eq!(logged("port STALL: "), 0, "nothing waits");

    // All at once, so that no look comes between them.
    let calls: Vec<u8> = (0..3).flat_map(|_| client.frame("test.hold", &(), 0).1).collect();
    std::io::Write::write_all(&mut client.stream, &calls).unwrap();
    wait_until("the log is told", || {
        monitor.sample();
        logged("port STALL: stalled, waiting=3 no call finished for ") > 0
    });
    assert_eq!(logged(" s (Server_Stall_Seconds)"), 1);
    assert!(logged("  2 run test.hold, the longest for ") == 1 && logged("  STALL-2  running  ") == 1);
    (0..100).for_each(|_| monitor.sample());
    assert_eq!((logged("port STALL: "), logged("Threads after ")), (1, 1), "once");

    held.open();
    (0..5).for_each(|_| assert_eq!(client.read().expect("a reply").status(), Status::Ok));
    monitor.sample();
    assert_eq!((logged("port STALL: resumed after a stall of "), logged("port STALL: ")), (1, 2));
    assert_eq!(logged("port FREE: "), 0);
}
