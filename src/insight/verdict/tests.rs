//! Verdicts on made pictures: each cause, the borders between them, and what time does.

mod borders;
mod change;
mod reel;

use super::*;
use crate::config::Config;
use reel::{Port, Reel, Second, busy, guest};

/// A server and its load, the cause, the lines that should come of it, and a word of what is expected.
type Situation = (&'static str, Reel, Second, Cause, &'static [&'static str], &'static str);

const ONE: &str = "Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=40\n";

fn small(port: Port) -> Second {
    Second { used: 0.1, idle: 1.8, ports: vec![port], ..Second::default() }
}

fn tcpip() -> String {
    "TCPIP".to_owned()
}

/// Ten workers, all busy with calls that wait for a disk.
fn reading() -> Port {
    Port { busy: 10, waiting: 30, ..Port::of(10) }.runs("disk.read", 200, 0.15, 0.05)
}

fn throttled() -> Situation {
    let ini = "Ports=TCPIP,LAN2,LAN3\nLAN2_TCPIPAddress=127.0.0.1:2\nLAN3_TCPIPAddress=127.0.0.1:3\n\
               Server_Pool_Tasks=40\nServer_Max_Concurrent_Trans=20\n";
    let port = |(busy, waiting)| {
        let port = Port { busy, waiting, without_permit: 0.98, ..Port::of(40) };
        port.runs("load.sleep", 1320, 0.046, 0.005)
    };
    let ports = [(7, 61), (7, 60), (6, 59)].map(port).into();
    let second = Second { out: 20, used: 0.2, idle: 1.6, ports, ..Second::default() };
    ("throttle", Reel::new(ini), second, Cause::Throttle, &["Server_Max_Concurrent_Trans=120"], "About 6.0x")
}

/// Something is full, or nothing is.
fn loads() -> Vec<Situation> {
    let spinning = Port { busy: 40, waiting: 60, ..Port::of(40) }.runs("math.spin", 190, 0.3, 0.2);
    let spinning = Second { used: 1.95, out: 40, ..small(spinning) };
    let pool = || Cause::Pool { port: tcpip() };
    let few = "Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=4\n";
    let blocked = small(Port { blocked: 10, ..reading() });
    let guests = vec![guest("192.0.2.1", 30), guest("192.0.2.1", 10), guest("192.0.2.2", 2)];
    let noisy = Second { guests, ..small(reading()) };
    let client = Cause::Client { peer: "192.0.2.1".to_owned() };
    vec![
        ("idle", Reel::new(ONE), small(Port::of(10)), Cause::Nothing, &[], ""),
        ("busy", Reel::new(ONE), small(busy()), Cause::Nothing, &[], ""),
        throttled(),
        ("processors", Reel::new("Server_Pool_Tasks=40\n"), spinning, Cause::Cpu, &[], "would do nothing"),
        ("pool", Reel::new(ONE), small(reading()), pool(), &["TCPIP_Pool_Tasks=40"], "About 4.0x"),
        ("blocked", Reel::new(few), blocked, pool(), &["TCPIP_Pool_Tasks=40"], "About 4.0x"),
        ("client", Reel::new(ONE), noisy, client, &["Server_Session_Calls=2"], "The others wait about"),
    ]
}

/// A method has most of the time.
fn methods() -> Vec<Situation> {
    let method = |name: &str| Cause::Method { port: tcpip(), method: name.to_owned() };
    let heavy = Port { busy: 10, waiting: 30, ..Port::of(10) };
    let heavy = heavy.runs("report.make", 18, 0.1, 0.5).runs("note.read", 200, 0.1, 0.002);
    let locked = Port { busy: 20, waiting: 30, ..Port::of(20) }.runs("note.write", 500, 0.06, 0.04);
    let once = Reel::new("Server_Pool_Tasks=20\n").having_run("note.write", 0.002);
    let line = "only make the line in note.write longer";
    vec![
        ("method", Reel::new(ONE), small(heavy), method("report.make"), &[], "in tx.blocking"),
        ("lock", once, small(locked), method("note.write"), &[], line),
    ]
}

/// Something is refused.
fn refusals() -> Vec<Situation> {
    let port = tcpip;
    let bursts =
        Port { busy: 2, waiting: 1, queue_full: 30, ..Port::of(10) }.runs("note.read", 100, 0.02, 0.02);
    let lone = Port::of(10).runs("note.read", 50, 0.0, 0.001);
    let knocking = || Second { refused_descriptors: 3, ..small(lone.clone()) };
    let short = Reel::new("Server_Pool_Tasks=10\nServer_Queue_Limit=100\n");
    let kept = Reel::new("Server_Descriptor_Reserve=1000\n");
    let full = small(Port { buffers_full: 9, ..lone.clone() });
    let nested = small(Port { nested: 1, ..lone.clone() });
    let queue = Cause::QueueBound { port: port() };
    let room = "Room for 1036 connections instead of 100";
    let memory = "from 112 MiB of messages on instead of 56";
    vec![
        (
            "queue",
            short,
            small(bursts),
            queue,
            &["Server_Queue_Limit=400"],
            "No call of such bursts is refused",
        ),
        ("descriptors", kept, knocking(), Cause::Descriptors, &["Server_Descriptor_Reserve=64"], room),
        ("descriptors, all used", Reel::new(""), knocking(), Cause::Descriptors, &[], "ulimit -H -n"),
        (
            "buffers",
            Reel::new("Server_Buffer_Memory_MB=64\n"),
            full,
            Cause::Buffers,
            &["Server_Buffer_Memory_MB=128"],
            memory,
        ),
        (
            "nested",
            Reel::new("Server_Pool_Tasks=4\n"),
            nested,
            Cause::Nested { port: port() },
            &["Server_Nested_Reserve=1"],
            "a worker of their own",
        ),
    ]
}

#[test]
fn each_cause_is_named_with_lines_that_the_parser_takes_and_health_is_silent() {
    for (name, mut reel, second, cause, lines, expected) in
        [loads(), methods(), refusals()].into_iter().flatten()
    {
        let mut judge = Judge::default();
        let said: Vec<String> = (0..16).flat_map(|_| reel.look(&mut judge, &second)).collect();
        let verdict = judge.verdict();
        assert_eq!(verdict.cause, cause, "{name}: {verdict:#?}");
        assert!(verdict.expected.contains(expected), "{name}: {verdict:#?}");
        assert_eq!(verdict.lines[..lines.len().min(verdict.lines.len())], *lines, "{name}: {verdict:#?}");
        assert_eq!(verdict.lines.is_empty(), lines.is_empty(), "{name}: {verdict:#?}");
        for line in &verdict.lines {
            let alone = Config::from_text(&format!("{line}\n"), None, 2);
            assert!(alone.is_ok(), "{name}: {line}: {alone:?}");
        }
        let told = usize::from(cause != Cause::Nothing);
        assert_eq!(said.len(), told, "{name}: {said:?}");
        assert!((0.5..=1.0).contains(&verdict.sure), "{name}: {}", verdict.sure);
        assert_eq!(verdict.because.is_empty(), cause == Cause::Nothing, "{name}");
        let text = text(verdict);
        assert!(text.starts_with(&verdict.headline) && text.ends_with('\n'), "{text}");
        assert!(verdict.lines.iter().all(|line| text.contains(line)), "{text}");
        let json = serde_json::to_string(verdict).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), *verdict);
    }
}
