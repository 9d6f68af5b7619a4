//! The verdict on real servers under real load: each limited by something else, and silent where nothing limits.
//!
//! The server looks at itself each second; here it is had look ten times as often, so that a case takes a second or two.
//! `benches/verdict.py` shows the same at the server's own pace, with processes apart.
#![cfg(all(feature = "server", feature = "client"))]

mod common;
mod process;

use boneyard::config::Config;
use boneyard::internal::monitor::{Cause, Interval, Snapshot, Verdict};
use boneyard::internal::wire::FrameKind;
use boneyard::service::{Status, load_service};
use boneyard::{Client, Method, RunningServer, Server};
use common::*;
use process::Directory;
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(100);

/// One case at a time: the processors are those of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Clients that call until they are dropped.
#[derive(Default)]
struct Crowd {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// Each with a connection of its own, and one call after the other.
    fn of(clients: usize, address: SocketAddr, call: impl Fn(&Client) + Clone + Send + 'static) -> Crowd {
        Crowd::default().and(clients, address, call)
    }

    fn and(
        mut self,
        clients: usize,
        address: SocketAddr,
        call: impl Fn(&Client) + Clone + Send + 'static,
    ) -> Crowd {
        for _ in 0..clients {
            let (over, call) = (Arc::clone(&self.over), call.clone());
            self.threads.push(std::thread::spawn(move || {
                let client = Client::new(address).expect("the server listens");
                let client = client.with_deadline(PATIENCE);
                while !over.load(SeqCst) {
                    call(&client);
                }
            }));
        }
        self
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        self.threads.drain(..).for_each(|thread| thread.join().expect("callers do not panic"));
    }
}

fn sleep(ms: u64) -> impl Fn(&Client) + Clone + Send + 'static {
    move |client| client.call(load_service::SLEEP, &ms).expect("nothing is refused")
}

/// Somebody who connects and says Hello: the connection, or what he is told instead.
fn knock(server: &RunningServer) -> Result<TcpStream, Status> {
    let mut stream = connect(server.address());
    stream.write_all(&greeting()).unwrap();
    let frame = read_frame(&mut stream).expect("a Welcome or a GoAway");
    if frame.header.kind == FrameKind::Welcome { Ok(stream) } else { Err(frame.status()) }
}

/// Puts the lines of a verdict in force.
#[track_caller]
fn apply(server: &RunningServer, verdict: &Verdict) {
    for line in &verdict.lines {
        let (key, value) = line.split_once('=').expect("a line is key=value");
        assert!(server.monitor().control().set(key, value).expect("the line is valid").effective, "{line}");
    }
}

/// Takes a sample, with a look at the threads.
fn sample(server: &RunningServer) {
    server.monitor().look(Instant::now(), Duration::from_millis(2));
    server.monitor().sample();
}

/// Looks, until the verdict is what `expected` says.
#[track_caller]
fn look_until(server: &RunningServer, mut expected: impl FnMut(&Verdict) -> bool) -> Verdict {
    let deadline = Instant::now() + PATIENCE;
    loop {
        sample(server);
        let verdict = server.monitor().verdict();
        if expected(&verdict) {
            return verdict;
        }
        assert!(Instant::now() < deadline, "the verdict stays\n{verdict:#?}");
        std::thread::sleep(LOOK);
    }
}

#[track_caller]
fn judged(server: &RunningServer, cause: Cause) -> Verdict {
    look_until(server, |verdict| verdict.cause == cause)
}

/// The same, once enough was seen for its lines.
#[track_caller]
fn judged_with_lines(server: &RunningServer, cause: Cause) -> Verdict {
    look_until(server, |verdict| verdict.cause == cause && !verdict.lines.is_empty())
}

fn tcpip() -> String {
    "TCPIP".to_owned()
}

#[test]
fn permits_that_are_too_few_are_named_and_the_change_is_measured_after_a_restart() {
    let _alone = alone();
    let file = std::env::temp_dir().join(format!("boneyard-verdict-{}.ini", std::process::id()));
    let note = file.with_extension("ini.verdict");
    let ini = |throttle: u32| {
        format!(
            "TCPIP_TCPIPAddress=127.0.0.1:0\nAdmin_Address=\nLoad_Service=1\nServer_Pool_Tasks=24\n\
             Server_Max_Concurrent_Trans={throttle}\n"
        )
    };
    let start = |throttle| {
        std::fs::write(&file, ini(throttle)).unwrap();
        Server::from_ini(&file).expect("valid").start().expect("starts")
    };
    let server = start(4);
    let crowd = Crowd::of(40, server.address(), sleep(20));
    let verdict = judged_with_lines(&server, Cause::Throttle);
    assert_eq!(verdict.lines, ["Server_Max_Concurrent_Trans=24"], "{verdict:#?}");
    look_until(&server, |_| note.exists());
    drop(crowd);
    server.stop();

    let server = start(24);
    let crowd = Crowd::of(40, server.address(), sleep(20));
    let verdict = look_until(&server, |verdict| {
        verdict.effect.as_ref().is_some_and(|effect| effect.contains("measured"))
    });
    drop(crowd);
    server.stop();
    [&file, &note].into_iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let effect = verdict.effect.unwrap();
    assert!(effect.starts_with("Since Server_Max_Concurrent_Trans 4 -> 24: expected "), "{effect}");
    let (_, measured) = effect.split_once("measured ").unwrap();
    let measured: f64 = measured.split_once('x').unwrap().0.parse().unwrap();
    assert!(measured > 2.0, "six times the permits: {effect}");
}

#[test]
fn a_change_while_the_server_runs_is_measured_too() {
    let _alone = alone();
    let server = load_server("Server_Pool_Tasks=24\nServer_Max_Concurrent_Trans=4\n");
    let _crowd = Crowd::of(40, server.address(), sleep(20));
    let verdict = judged_with_lines(&server, Cause::Throttle);
    apply(&server, &verdict);
    let verdict = look_until(&server, |verdict| {
        verdict.effect.as_ref().is_some_and(|effect| effect.contains("measured"))
    });
    let effect = verdict.effect.unwrap();
    assert!(effect.starts_with("Since Server_Max_Concurrent_Trans 4 -> 24: expected "), "{effect}");
}

#[test]
fn a_client_that_leaves_the_others_little_is_named() {
    let _alone = alone();
    let server = load_server("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=40\n");
    let mut loud: Vec<Raw> = (0..4).map(|_| Raw::connect(server.address())).collect();
    let quiet = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    quiet.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    quiet.connect(&server.address().into()).unwrap();
    let mut quiet = Raw::greet(quiet.into());
    // More than is done meanwhile: they wait until the server stops.
    for (client, calls) in loud.iter_mut().map(|client| (client, 400)).chain([(&mut quiet, 50)]) {
        let calls: Vec<u8> = (0..calls).flat_map(|_| client.frame("load.sleep", &20u64, 0).1).collect();
        client.stream.write_all(&calls).unwrap();
    }
    let verdict = judged(&server, Cause::Client { peer: "127.0.0.1".to_owned() });
    let line = verdict.lines.first().expect("a line that fits calls out on few connections");
    assert!(line.starts_with("Server_Client_Calls="), "{verdict:#?}");
    assert!(Config::from_text(line, None, 2).is_ok(), "{line}");
    server.stop_within(Duration::ZERO);
}

#[test]
fn a_pool_that_is_too_small_is_named_whether_its_handlers_keep_their_permits_or_not() {
    for block in [false, true] {
        let _alone = alone();
        let throttle = if block { 2 } else { 40 };
        let server = load_server(&format!("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans={throttle}\n"));
        let call = move |client: &Client| {
            let method = if block { load_service::BLOCK } else { load_service::SLEEP };
            client.call(method, &20).expect("nothing is refused");
        };
        let _crowd = Crowd::of(20, server.address(), call);
        let verdict = judged_with_lines(&server, Cause::Pool { port: tcpip() });
        let config = Config::from_text(&verdict.lines.join("\n"), None, 2).expect("the line is valid");
        assert!((8..=20).contains(&config.ports[0].pool_tasks.value), "for 20 clients: {verdict:#?}");
        let blocked = verdict.because.iter().any(|because| because.contains("tx.blocking, without a permit"));
        assert_eq!(blocked, block, "{verdict:#?}");
    }
}

#[test]
fn processors_that_are_full_are_named_and_no_line_is_given() {
    let _alone = alone();
    let server = load_server("Server_Pool_Tasks=20\nServer_Max_Concurrent_Trans=20\n");
    let _crowd = Crowd::of(30, server.address(), |client| {
        client.call(load_service::SPIN, &5000).expect("nothing is refused");
    });
    let verdict = judged(&server, Cause::Cpu);
    assert!(verdict.lines.is_empty() && verdict.expected.contains("would do nothing"), "{verdict:#?}");
}

#[test]
fn a_method_that_holds_the_others_up_is_named() {
    let _alone = alone();
    let server = load_server("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=40\n");
    let echo = |client: &Client| {
        drop(client.call(load_service::ECHO, &boneyard::service::Bytes::default()).expect("runs"))
    };
    let _crowd = Crowd::of(6, server.address(), sleep(40)).and(24, server.address(), echo);
    let verdict =
        judged_with_lines(&server, Cause::Method { port: tcpip(), method: "load.sleep".to_owned() });
    assert!(!verdict.lines.is_empty() && verdict.expected.contains("tx.blocking"), "{verdict:#?}");
    assert!(verdict.gain.is_some_and(|gain| gain >= 1.1), "{verdict:#?}");
}

#[test]
fn a_method_whose_calls_wait_for_one_lock_is_named() {
    const WRITE: Method<(), ()> = Method::new("note.write");
    let _alone = alone();
    // Whoever waits longest has it next. Where a thread may have the lock again at once, as it may on some machines with
    // that of std, a tenth of the calls are short, and the verdict takes those for calls of another kind.
    let lock = parking_lot::FairMutex::new(());
    let server = Server::new(config("Server_Pool_Tasks=16\nServer_Max_Concurrent_Trans=40\n"));
    let server = server.handle(WRITE, move |_, ()| {
        let _held = lock.lock();
        std::thread::sleep(Duration::from_millis(2));
        Ok(())
    });
    let server = server.start().expect("starts");
    // Alone. The shortest is what one takes, whatever else the machine does meanwhile.
    let client = Client::new(server.address()).unwrap();
    (0..20).for_each(|_| client.call(WRITE, &()).expect("nothing is refused"));
    let _crowd =
        Crowd::of(32, server.address(), |client| client.call(WRITE, &()).expect("nothing is refused"));
    let verdict = judged(&server, Cause::Method { port: tcpip(), method: "note.write".to_owned() });
    assert!(verdict.expected.contains("would only make the line"), "{verdict:#?}");
}

#[test]
fn a_queue_that_is_too_short_for_bursts_is_named() {
    let _alone = alone();
    let start =
        |limit: &str| load_server(&format!("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=40\n{limit}\n"));
    // Forty calls at once, in one read.
    let burst = |client: &mut Raw| {
        let calls: Vec<u8> = (0..40).flat_map(|_| client.frame("load.sleep", &1u64, 0).1).collect();
        client.stream.write_all(&calls).unwrap();
        (0..40).filter(|_| client.read().unwrap().status() == Status::QueueFull).count()
    };
    let server = start("Server_Queue_Limit=8");
    let mut client = Raw::connect(server.address());
    let verdict = look_until(&server, |verdict| {
        // Several times between two looks.
        let refused: usize = (0..5).map(|_| burst(&mut client)).sum();
        assert!(refused > 0, "40 calls at once are more than 8 places and 4 workers");
        verdict.cause == Cause::QueueBound { port: tcpip() }
    });
    let config = Config::from_text(&verdict.lines.join("\n"), None, 2).expect("the line is valid");
    assert!(config.queue_limit.value <= 80, "forty places are enough: {verdict:#?}");
    let server = start(&verdict.lines[0]);
    let mut client = Raw::connect(server.address());
    let refused: usize = (0..50).map(|_| burst(&mut client)).sum();
    assert_eq!(refused, 0, "{verdict:#?}");
}

#[test]
fn a_limit_of_sessions_that_turns_clients_away_is_named_and_the_line_lets_them_in() {
    let _alone = alone();
    let server = load_server("Server_MaxUsers=20\n");
    let _here: Vec<_> = (0..19).map(|_| knock(&server).expect("all but the last may come")).collect();
    let verdict = look_until(&server, |verdict| {
        (0..3).for_each(|_| assert_eq!(knock(&server).unwrap_err(), Status::MaxUsers));
        verdict.cause == Cause::Users
    });
    let config = Config::from_text(&verdict.lines.join("\n"), None, 2).expect("the line is valid");
    let max = config.max_users.value.expect("a limit");
    assert!((23..=40).contains(&max), "room for the three, and no more than a step: {verdict:#?}");
    apply(&server, &verdict);
    let _there: Vec<_> = (0..3).map(|_| knock(&server).expect("there is room now")).collect();
    judged(&server, Cause::Nothing);
}

#[test]
fn a_restriction_that_turns_clients_away_is_named_until_it_is_lifted() {
    let _alone = alone();
    let server = load_server("");
    server.restrict(true);
    let verdict = look_until(&server, |verdict| {
        assert_eq!(knock(&server).unwrap_err(), Status::Restricted);
        verdict.cause == Cause::Restricted
    });
    assert_eq!(verdict.lines, ["Server_Restricted=0"], "{verdict:#?}");
    assert!(verdict.expected.contains("The program has asked for it"), "{verdict:#?}");
    apply(&server, &verdict);
    knock(&server).expect("it is lifted");
    judged(&server, Cause::Nothing);
}

#[test]
fn an_address_that_connects_too_often_is_named_with_how_often_it_does() {
    let _alone = alone();
    let server = load_server("Server_Max_Connects_Per_Minute=10\n");
    let mut knocks = 0;
    let verdict = look_until(&server, |verdict| {
        // A Welcome, a GoAway, or an end at once where many were refused just now.
        knocks += 1;
        drop(connect(server.address()).write_all(&greeting()));
        verdict.cause == Cause::Connects
    });
    assert!(
        verdict.headline.starts_with("127.0.0.1 connects more often than Server_Max_Connects_Per_Minute=10")
    );
    let config = Config::from_text(&verdict.lines.join("\n"), None, 2).expect("the line is valid");
    let often = config.max_connects.value.expect("a limit");
    assert!((11..=2 * knocks).contains(&often), "{knocks} knocks: {verdict:#?}");
}

#[test]
fn calls_refused_for_those_a_connection_has_out_are_named_while_workers_are_idle() {
    let _alone = alone();
    let start = |limit: &str| load_server(&format!("Server_Pool_Tasks=60\n{limit}\n"));
    let burst = |client: &mut Raw| {
        let calls: Vec<u8> = (0..40).flat_map(|_| client.frame("load.sleep", &1u64, 0).1).collect();
        client.stream.write_all(&calls).unwrap();
        (0..40).filter(|_| client.read().unwrap().status() == Status::SessionLimit).count()
    };
    let server = start("Server_Session_Calls=8");
    let mut client = Raw::connect(server.address());
    let verdict = look_until(&server, |verdict| {
        assert!(burst(&mut client) > 0, "forty are more than eight");
        verdict.cause == Cause::SessionCalls
    });
    let server = start(&verdict.lines[0]);
    let mut client = Raw::connect(server.address());
    assert_eq!((0..20).map(|_| burst(&mut client)).sum::<usize>(), 0, "{verdict:#?}");
}

#[test]
fn the_note_is_kept_and_nothing_is_written_where_others_have_put_links() {
    let _alone = alone();
    let directory = Directory::new();
    let victim = directory.file("victim", "mine");
    let linked = |name: &str| symlink(&victim, directory.path().join(name)).unwrap();
    ["server.ini.verdict", "server.ini.verdict-new", ".server.ini.verdict"].into_iter().for_each(linked);
    let ini = "TCPIP_TCPIPAddress=127.0.0.1:0\nAdmin_Address=\nLoad_Service=1\nServer_Pool_Tasks=24\n\
               Server_Max_Concurrent_Trans=4\n";
    let file = directory.file("server.ini", ini);
    let server = Server::from_ini(&file).expect("valid").start().expect("starts");
    let crowd = Crowd::of(40, server.address(), sleep(20));
    judged(&server, Cause::Throttle);
    drop(crowd);
    judged(&server, Cause::Nothing);
    server.stop();
    let note = directory.path().join("server.ini.verdict");
    let about = std::fs::symlink_metadata(&note).unwrap();
    assert!(about.is_file() && about.permissions().mode() & 0o777 == 0o600, "{about:?}");
    let kept = std::fs::read_to_string(&note).unwrap();
    assert!(kept.contains("Server_Max_Concurrent_Trans"), "{kept}");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
}

#[test]
fn handlers_that_wait_for_their_own_pool_are_named() {
    const OUTER: Method<(), bool> = Method::new("nested.outer");
    const INNER: Method<(), ()> = Method::new("nested.inner");
    let _alone = alone();
    let own = Arc::new(OnceLock::<Client>::new());
    let inner = Arc::clone(&own);
    let server = Server::new(config("Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=40\n"));
    let server = server.handle(INNER, |_, ()| Ok(())).handle(OUTER, move |_, ()| {
        Ok(inner.get().expect("set before the first call").call(INNER, &()).is_ok())
    });
    let server = server.start().expect("starts");
    own.set(Client::new(server.address()).unwrap()).expect("set once");
    let _crowd = Crowd::of(8, server.address(), |client| drop(client.call(OUTER, &())));
    let verdict = judged(&server, Cause::Nested { port: tcpip() });
    assert_eq!(verdict.lines, ["Server_Nested_Reserve=1"], "{verdict:#?}");
}

#[test]
fn a_healthy_server_is_silent_idle_and_busy() {
    let _alone = alone();
    // Where others have the processors, these limit any server, and it says so: then it is looked at anew.
    let deadline = Instant::now() + PATIENCE;
    while let Err(taken) = silent_idle_and_busy() {
        assert!(Instant::now() < deadline, "others have the processors all the time: {taken:#?}");
    }
}

/// `Err`: that others had the processors.
fn silent_idle_and_busy() -> Result<(), Box<Verdict>> {
    let server = load_server("Server_Pool_Tasks=20\nServer_Max_Concurrent_Trans=20\n");
    let mut snapshots = Vec::new();
    let mut silent = || {
        for _ in 0..12 {
            sample(&server);
            snapshots.push(Arc::new(server.monitor().control().snapshot()));
            let verdict = server.monitor().verdict();
            if verdict.cause == Cause::Cpu && others_have_the_processors(&snapshots) {
                return Err(Box::new(verdict));
            }
            assert_eq!(verdict.cause, Cause::Nothing, "{verdict:#?}");
            std::thread::sleep(LOOK);
        }
        Ok(())
    };
    silent()?;
    // Ten of twenty workers are busy nearly all the time.
    let crowd = Crowd::of(10, server.address(), sleep(50));
    silent()?;
    drop(crowd);
    let shown = server.monitor().overview().expect("it has looked").verdict;
    assert_eq!(shown, Verdict::default());
    Ok(())
}

/// Over the looks that a verdict is of others, or the host, took half of the processors, and left none idle.
fn others_have_the_processors(snapshots: &[Arc<Snapshot>]) -> bool {
    let period =
        Interval::of(&snapshots[snapshots.len().saturating_sub(8)..]).expect("a verdict takes two looks");
    let cores = f64::from(period.cores);
    let (idle, _) = period.cores_idle_and_stolen.expect("this system says what is idle");
    idle <= 0.1 * cores && cores - idle - period.cores_used >= 0.5 * cores
}
