//! Verdicts on made snapshots: each cause, the borders between them, and their course in time.

mod borders;
mod change;
mod docs;
mod snapshot_script;
mod waits;

use super::diagnoser::Diagnoser;
use super::rules::RULES;
use super::verdict::{Cause, Verdict, text};
use crate::config::Config;
use crate::monitor::snapshot::{SessionCounts, ThreadState};
use snapshot_script::{Port, Second, SnapshotScript, busy, connection};

/// Name, settings, what happens in a second, the cause, the expected lines, and a part of the expectation.
type Situation = (&'static str, &'static str, Second, Cause, &'static [&'static str], &'static str);

const ONE: &str = "Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=40\n";

fn pool() -> Cause {
    Cause::Pool { port: "TCPIP".to_owned() }
}

fn second(ports: Vec<Port>) -> Second {
    Second { out: 10, used: 0.1, idle: 1.8, ports, ..Second::default() }
}

fn verdict_after(ini: &str, second: &Second) -> Verdict {
    let (mut script, mut diagnoser) = (SnapshotScript::new(ini), Diagnoser::new(None));
    (0..14).for_each(|_| drop(script.sample(&mut diagnoser, second)));
    diagnoser.verdict().clone()
}

fn small(port: Port) -> Second {
    Second { used: 0.1, idle: 1.8, ports: vec![port], ..Second::default() }
}

fn sleeping() -> Port {
    Port { busy: 10, waiting: 30, ..Port::of(10) }.runs("disk.read", 200, 0.15, 0.05)
}

fn lone() -> Port {
    Port::of(10).runs("note.read", 50, 0.0, 0.001)
}

/// Nothing is full, or a setting or the processors are.
fn of_places() -> Vec<Situation> {
    let three = "Ports=TCPIP,LAN2,LAN3\nLAN2_TCPIPAddress=127.0.0.1:2\nLAN3_TCPIPAddress=127.0.0.1:3\n\
                 Server_Pool_Tasks=40\nServer_Max_Concurrent_Trans=20\n";
    let starved = |busy, waiting| Port { busy, waiting, without_permit: 0.98, ..Port::of(40) };
    let throttled = Second {
        out: 20,
        used: 0.2,
        idle: 1.6,
        ports: [(7, 61), (7, 60), (6, 59)]
            .map(|(n, w)| starved(n, w).runs("load.sleep", 1320, 0.046, 0.005))
            .into(),
        ..Second::default()
    };
    let spinning = Port { busy: 40, waiting: 60, ..Port::of(40) }.runs("math.spin", 190, 0.3, 0.2);
    let spinning = Second { used: 1.95, out: 40, ..small(spinning) };
    let blocked = small(Port { blocked: 10, ..sleeping() });
    let few_permits = "Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=4\n";
    let throttle = &["Server_Max_Concurrent_Trans=120"];
    vec![
        ("idle", ONE, small(Port::of(10)), Cause::Nothing, &[], ""),
        ("busy", ONE, small(busy()), Cause::Nothing, &[], ""),
        ("throttle", three, throttled, Cause::Throttle, throttle, "the throughput"),
        ("processors", "Server_Pool_Tasks=40\n", spinning, Cause::Cpu, &[], "would do nothing"),
        ("pool", ONE, small(sleeping()), pool(), &["TCPIP_Pool_Tasks=40"], "the throughput"),
        ("blocked", few_permits, blocked, pool(), &["TCPIP_Pool_Tasks=40"], "the throughput"),
    ]
}

/// A method or a client is the cause.
fn of_calls() -> Vec<Situation> {
    let heavy = Port { busy: 10, waiting: 30, ..Port::of(10) };
    let heavy = heavy.runs("report.make", 18, 0.1, 0.5).runs("note.read", 200, 0.1, 0.002);
    let threads = vec![("note.write", ThreadState::Socket); 20];
    let locked = Port { busy: 20, waiting: 30, threads, ..Port::of(20) }.runs("note.write", 500, 0.06, 0.04);
    let connections =
        vec![connection("192.0.2.1", 30), connection("192.0.2.1", 10), connection("192.0.2.2", 2)];
    let noisy = Second { connections, ..small(sleeping()) };
    let client = Cause::Client { peer: "192.0.2.1".to_owned() };
    let method = |method: &str| Cause::Method { port: "TCPIP".to_owned(), method: method.to_owned() };
    let limit = &["[Limits]", "report.make=5,100"];
    let longer = "only make the line in note.write longer";
    vec![
        ("method", ONE, small(heavy), method("report.make"), limit, "in tx.blocking"),
        ("lock", "Server_Pool_Tasks=20\n", small(locked), method("note.write"), &[], longer),
        ("client", ONE, noisy, client, &["Server_Client_Calls=5"], "The others wait about"),
    ]
}

/// Something is refused, again and again.
fn of_refusals() -> Vec<Situation> {
    let bursts = Port { busy: 2, waiting: 1, queue_full: 60, queue_filled: 2, ..Port::of(10) }.runs(
        "note.read",
        100,
        0.02,
        0.02,
    );
    let no_descriptors = || Second { refused_descriptors: 3, ..small(lone()) };
    let (port, buffers) = ("TCPIP".to_owned(), Port { buffers_full: 9, ..lone() });
    vec![
        (
            "queue",
            "Server_Pool_Tasks=10\nServer_Queue_Limit=100\n",
            small(bursts),
            Cause::QueueBound { port: port.clone() },
            &["Server_Queue_Limit=140"],
            "No call of such bursts is refused",
        ),
        (
            "descriptors",
            "Server_Descriptor_Reserve=1000\n",
            no_descriptors(),
            Cause::Descriptors,
            &["Server_Descriptor_Reserve=64"],
            "Room for 1036 connections instead of 100",
        ),
        ("descriptors, all used", "", no_descriptors(), Cause::Descriptors, &[], "ulimit -H -n"),
        (
            "buffers",
            "Server_Buffer_Memory_MB=64\n",
            small(buffers),
            Cause::Buffers,
            &["Server_Buffer_Memory_MB=128"],
            "from 112 MiB of messages on instead of 56",
        ),
        (
            "nested",
            "Server_Pool_Tasks=4\n",
            small(Port { nested: 1, ..lone() }),
            Cause::Nested { port },
            &["Server_Nested_Reserve=1"],
            "a worker of their own",
        ),
    ]
}

/// New clients are refused.
fn of_clients() -> Vec<Situation> {
    let full = SessionCounts { open: 40, max: Some(40), ..SessionCounts::default() };
    let full = Second { sessions: full, ..small(Port { over_max_users: 1, ..lone() }) };
    let kept = SessionCounts { open: 985, max: Some(1000), ..SessionCounts::default() };
    let kept = Second { sessions: kept, ..full.clone() };
    let crowd = Second { ports: vec![Port { over_max_users: 500, ..lone() }], ..full.clone() };
    let restricted = SessionCounts { open: 40, restricted: true, ..SessionCounts::default() };
    let restricted = Second { sessions: restricted, ..small(Port { restricted: 5, ..lone() }) };
    let connecting = Second { refused_connects: 7, ..small(lone()) };
    let out = |session_limit| small(Port { session_limit, ..lone() });
    let users = "Server_MaxUsers=40\nServer_MaxSessions=30\n";
    vec![
        ("users", users, full, Cause::Users, &["Server_MaxUsers=50"], "Room for 10 more, and "),
        (
            "users, but the last places",
            "Server_MaxUsers=1000\nServer_MaxSessions=30\n",
            kept,
            Cause::Users,
            &["Server_MaxUsers=1010"],
            "Room for 10 more, and ",
        ),
        ("users, many", users, crowd, Cause::Users, &["Server_MaxUsers=80"], "measure anew"),
        (
            "restricted",
            "Server_Restricted=2\n",
            restricted,
            Cause::Restricted,
            &["Server_Restricted=0"],
            "Leave it as long as it is intended",
        ),
        (
            "connects",
            "Server_Max_Connects_Per_Minute=20\n",
            connecting,
            Cause::Connects,
            &["Server_Max_Connects_Per_Minute=120"],
            "Where many clients are behind the address",
        ),
        (
            "session calls",
            "Server_Session_Calls=8\n",
            out(32),
            Cause::SessionCalls,
            &["Server_Session_Calls=40"],
            "Room for the 32 calls more",
        ),
        (
            "session calls, many",
            "Server_Session_Calls=8\n",
            out(900),
            Cause::SessionCalls,
            &["Server_Session_Calls=0"],
            "over 512 wait",
        ),
    ]
}

#[test]
fn each_cause_is_named_with_lines_that_the_parser_accepts_and_health_is_silent() {
    let situations = [of_places(), of_calls(), of_refusals(), of_clients()].into_iter().flatten();
    for (name, settings, second, cause, lines, expected) in situations {
        let (mut script, mut diagnoser) = (SnapshotScript::new(settings), Diagnoser::new(None));
        if name == "lock" {
            script = script.having_run("note.write", 0.002);
        }
        let logged: Vec<String> = (0..16).flat_map(|_| script.sample(&mut diagnoser, &second)).collect();
        let verdict = diagnoser.verdict();
        assert_eq!(verdict.cause, cause, "{name}: {verdict:#?}");
        assert!(verdict.expected.contains(expected), "{name}: {verdict:#?}");
        assert_eq!(verdict.lines[..lines.len().min(verdict.lines.len())], *lines, "{name}: {verdict:#?}");
        assert_eq!(verdict.lines.is_empty(), lines.is_empty(), "{name}: {verdict:#?}");
        let pasted = Config::from_text(&format!("{}\n", verdict.lines.join("\n")), None, 2);
        assert!(pasted.is_ok(), "{name}: {:?}: {pasted:?}", verdict.lines);
        let expected_lines = usize::from(cause != Cause::Nothing);
        assert_eq!(logged.len(), expected_lines, "{name}: {logged:?}");
        let looks = if cause == Cause::Nothing { (0, 0) } else { (5, 5) };
        assert_eq!((verdict.agreeing, verdict.looks), looks, "{name}: {verdict:#?}");
        assert_eq!(verdict.unless.is_empty(), cause == Cause::Nothing, "{name}: {verdict:#?}");
        let kind = serde_json::to_value(verdict).unwrap()["kind"].clone();
        assert!(cause == Cause::Nothing || RULES.iter().any(|rule| kind == rule.kind), "{name}: {kind}");
        assert_eq!(verdict.because.is_empty(), cause == Cause::Nothing, "{name}");
        let text = text(verdict);
        assert!(text.starts_with(&verdict.headline) && text.ends_with('\n'), "{text}");
        assert!(verdict.lines.iter().all(|line| text.contains(line)), "{text}");
        let json = serde_json::to_string(verdict).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), *verdict);
    }
}
