//! The console over a server made by hand: its layouts, which docs/COMMANDS.md shows, its grammar and its errors.

use super::{Outcome, Reply, commands, stops_the_server};
use crate::config::Config;
use crate::insight::{
    Answers, Change, Cpu, Guest, House, Insight, MethodPicture, Permits, Picture, PortPicture, SessionCounts,
    SessionPicture, SlowCall, Task, TaskState, Whose, WorkerPicture, Workers,
};
use crate::service::Status;
use crate::stats::{CloseReason, Histogram, Parts};
use crate::sync::unordered::AtomicU64;
use crate::sync::{Arc, Mutex, Ordering};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

const INI: &str = "Ports=TCPIP,LAN2\nTCPIP_TCPIPAddress=0,127.0.0.1:1352\nLAN2_TCPIPAddress=0,127.0.0.1:1452\n\
                   DisabledPorts=OLD\nOLD_TCPIPAddress=0,127.0.0.1:1552\nServer_Max_Concurrent_Trans=8\n\
                   Server_Pool_Tasks=10\n";

/// A server of two ports. Its clock is moved by hand, and each second 8 calls of `notes.open` and 2 of
/// `notes.search` are answered at the first.
#[derive(Debug)]
struct Model {
    began: Instant,
    seconds: AtomicU64,
    config: Config,
    done: Mutex<Vec<String>>,
}

impl Model {
    fn insight() -> (Arc<Model>, Insight) {
        let config = Config::from_text(INI, Some(Path::new("/etc/boneyard/server.ini")), 2).unwrap();
        let (began, seconds) = (Instant::now(), AtomicU64::new(0));
        let model = Arc::new(Model { began, seconds, config, done: Mutex::default() });
        let insight = Insight::new(Arc::clone(&model) as _, "Boneyard 0.1.0");
        model.run(&insight, 100);
        (model, insight)
    }

    /// So many seconds pass, and it is looked at in each.
    fn run(&self, insight: &Insight, seconds: u64) {
        for _ in 0..seconds {
            self.seconds.fetch_add(1, Ordering::Relaxed);
            insight.look();
        }
    }

    fn did(&self, what: String) {
        self.done.lock().push(what);
    }
}

fn method(name: &str, count: u64, run: Duration) -> MethodPicture {
    let (times, mut answers) = (Parts::<Histogram>::default(), Answers::default());
    for n in 0..count {
        times.queue_wait.add(Duration::from_micros(90 + n % 20));
        times.permit_wait.add(Duration::from_micros(n % 10));
        times.run.add(run * (1 + (n % 5) as u32));
        answers.0[if n % 50 == 7 { Status::Application } else { Status::Ok }.index()] += 1;
    }
    MethodPicture {
        name: name.into(),
        answers,
        times: times.map(Histogram::distribution),
        whole: times.run.distribution(),
    }
}

fn peer(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 50_000 + u16::from(last)))
}

fn port(name: &str, tcp: u16, workers: Workers, methods: Vec<MethodPicture>) -> PortPicture {
    let mut answers = Answers::default();
    methods.iter().for_each(|method| answers.add(&method.answers));
    let mut closed = [0; CloseReason::ALL.len()];
    closed[CloseReason::PeerClosed.index()] = 30;
    PortPicture {
        name: name.into(),
        address: SocketAddr::from(([127, 0, 0, 1], tcp)),
        open: workers.running > 0,
        workers,
        waiting: u64::from(workers.running),
        queue_limit: 10_000,
        in_flight: 2 * u64::from(workers.running),
        connections: u64::from(workers.running),
        without_permit: Duration::from_millis(1500),
        calls: answers.all() + 4,
        answers,
        closed,
        counters: vec![("accepted", 33), ("would_refuse", 0), ("long_transactions", 1)],
        methods,
    }
}

impl House for Model {
    fn is_draining(&self) -> bool {
        false
    }

    fn picture(&self) -> Picture {
        let seconds = self.seconds.load(Ordering::Relaxed);
        let uptime = Duration::from_secs(seconds);
        let busy = Workers { idle: 7, running: 2, blocked: 1, returning: 0 };
        let methods = vec![
            method("notes.open", 8 * seconds, Duration::from_micros(400)),
            method("notes.search", 2 * seconds, Duration::from_millis(20)),
        ];
        Picture {
            taken: self.began + uptime,
            started: SystemTime::UNIX_EPOCH,
            uptime,
            draining: false,
            cpu: Cpu { cores: 2, used: uptime / 2, ..Cpu::default() },
            permits: Permits { limit: Some(8), out: 2, peak: 8 },
            sessions: SessionCounts {
                opened: 0,
                open: 3,
                peak: 40,
                timed_out: 0,
                displaced: 0,
                restricted: false,
                max: Some(100_000),
            },
            connections: (2, Some(1019)),
            connects_most: None,
            log_left_out: 0,
            buffer_bytes: (12_600, 1 << 30),
            ports: vec![
                port("TCPIP", 1352, busy, methods),
                port("LAN2", 1452, Workers { idle: 10, ..Workers::default() }, Vec::new()),
            ],
        }
    }

    fn workers(&self) -> Vec<WorkerPicture> {
        let task = |state, ms, method: &str| Task {
            state,
            since: Duration::from_millis(ms / 2),
            method: method.into(),
            peer: peer(7),
            call: 4711,
            session: 0,
            ran: Duration::from_millis(ms),
            left_ms: Some(8_500),
            chain: Vec::new(),
        };
        let doing = |port: usize, worker| match (port, worker) {
            (0, 1) => Some(task(TaskState::Running, 31, "notes.search")),
            (0, 2) => Some(task(TaskState::Blocked, 1_204, "notes.fetch")),
            (0, 3) => Some(task(TaskState::Running, 1, "notes.open")),
            _ => None,
        };
        let workers = |(number, port): (usize, &'static str)| {
            (1..=10).map(move |worker| WorkerPicture {
                port: port.into(),
                worker,
                task: doing(number, worker),
            })
        };
        ["TCPIP", "LAN2"].into_iter().enumerate().flat_map(workers).collect()
    }

    fn slow_calls(&self) -> Vec<SlowCall> {
        let call = |method: &str, ago, run| SlowCall {
            port: "TCPIP".into(),
            method: method.into(),
            ago: Duration::from_secs(ago),
            times: Parts {
                queue_wait: Duration::from_millis(40),
                permit_wait: Duration::from_millis(2),
                run: Duration::from_millis(run),
            },
            peer: peer(7),
            call: 1234,
            status: Status::Ok,
            chain: Vec::new(),
        };
        vec![call("notes.search", 61, 100), call("notes.search", 5, 99), call("notes.open", 12, 2)]
    }

    fn guests(&self) -> Vec<Guest> {
        let guest = |id, calls, in_flight| Guest {
            port: "TCPIP".into(),
            id,
            peer: peer(id as u8),
            age: Duration::from_secs(90),
            idle: Duration::from_secs(6),
            calls,
            in_flight,
            bytes: 657 + 4096 * in_flight,
            sessions: 1,
        };
        vec![guest(2, 800, 0), guest(7, 4200, 4)]
    }

    fn sessions(&self) -> Vec<SessionPicture> {
        let session = |id, client: &str, carried| SessionPicture {
            id,
            client: client.to_owned(),
            peer: peer(7),
            age: Duration::from_secs(90),
            idle: Duration::from_secs(6 * id),
            calls: 12 * id,
            carried,
        };
        vec![session(2, "notes/\u{1b}[31m1.4", false), session(1, "notes/1.4", true)]
    }

    fn drop_guests(&self, which: &Whose) -> usize {
        self.did(format!("drop {which:?}"));
        if matches!(which, Whose::Session(_)) { 0 } else { 2 }
    }

    fn drop_sessions(&self, which: &Whose) -> usize {
        match which {
            Whose::One(..) => 0,
            Whose::Session(id) => usize::from(*id < 3),
            _ => 3,
        }
    }

    fn stop_port(&self, port: &str) -> Result<(), String> {
        self.did(format!("stop {port}"));
        Ok(())
    }

    fn start_port(&self, port: &str) -> Result<(), String> {
        self.did(format!("start {port}"));
        if port == "LAN2" { Err("Port LAN2: its address is taken".to_owned()) } else { Ok(()) }
    }

    fn set(&self, key: &str, value: &str) -> Result<Change, String> {
        self.did(format!("set {key} to {value}"));
        let at_once = key.eq_ignore_ascii_case("Server_Max_Concurrent_Trans");
        let known = super::grammar::begins(key, "Server_");
        if known {
            Ok(Change { in_force: at_once, written: true, not_kept: None })
        } else {
            Err(format!("no setting {key}"))
        }
    }

    fn config(&self) -> Config {
        self.config.clone()
    }

    fn at_restart(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("Server_Max_Frame_KB".to_owned(), "8192".to_owned())])
    }

    fn tell(&self, service: &str, order: &str) -> Result<String, String> {
        self.did(format!("tell {service} {order}"));
        Ok("The cache is empty.\n\u{1b}[2JSo it is.".to_owned())
    }

    fn quit(&self) -> Result<(), String> {
        self.did("quit".to_owned());
        Ok(())
    }
}

fn said(insight: &Insight, line: &str) -> String {
    let Reply { outcome, text } = insight.command(line);
    assert_eq!(outcome, Outcome::Done, "{line}: {text}");
    text
}

/// Lines whose output the docs show, one for each command at least.
const SHOWN: [&str; 23] = [
    "show server",
    "show verdict",
    "show transactions",
    "show slow notes.s*",
    "show threads",
    "show tasks",
    "show ports",
    "show allports",
    "show port tcpip",
    "show users",
    "show sessions",
    "show stat Server.Trans.*",
    "show performance",
    "show config server_max_",
    "set config Server_Max_Concurrent_Trans=20",
    "drop 10.0.0.7",
    "stop port lan2",
    "start port tcpip",
    "restart port tcpip",
    "tell notes empty cache",
    "help",
    "help show port",
    "quit",
];

const BEGINS: &str = "<!-- console: generated, do not edit -->";
const ENDS: &str = "<!-- end of console -->";

/// The layouts are golden in the docs: each sample there is what the console says. `BLESS=1` writes them.
#[test]
fn the_docs_show_every_command_and_what_it_says() {
    let (_, insight) = Model::insight();
    let mut text = "| Command | Does |\n|---|---|\n".to_owned();
    for (syntax, doc) in commands() {
        text.push_str(&format!("| `{}` | {} |\n", syntax.replace('|', "\\|"), doc.replace('*', "\\*")));
    }
    for line in SHOWN {
        text.push_str(&format!("\n```text\n> {line}\n{}```\n", said(&insight, line)));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/COMMANDS.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once(BEGINS).expect("the page has the marks");
    let (_, after) = rest.split_once(ENDS).expect("the page has the marks");
    let wanted = format!("{before}{BEGINS}\n{text}{ENDS}{after}");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, wanted).unwrap();
        return;
    }
    assert!(page == wanted, "docs/COMMANDS.md shows something else; BLESS=1 writes it:\n{text}");
}

#[test]
fn every_command_is_shown_is_in_the_help_and_is_known_by_its_words() {
    let (_, insight) = Model::insight();
    let help = said(&insight, "help");
    for (syntax, doc) in commands() {
        assert!(help.contains(&syntax) && help.contains(doc), "{syntax}");
        let words: Vec<_> =
            syntax.split(' ').take_while(|word| word.chars().all(|c| c.is_ascii_lowercase())).collect();
        let shown =
            |line: &&str| words.iter().zip(line.split(' ')).all(|(word, start)| word.starts_with(start));
        assert!(SHOWN.iter().any(shown), "{syntax} is not shown in the docs");
    }
    let wanted = "show server, show port NAME, show ports, show allports, show users, show sessions, show tasks, \
                  show threads, show slow, show verdict, show transactions, show stat, show performance, \
                  show config, drop, set config, stop port, start port, restart port, tell, help, quit";
    for line in wanted.split(", ") {
        assert!(help.contains(line), "{line}");
    }
}

#[test]
fn words_may_be_cut_where_they_stay_unique() {
    let (model, insight) = Model::insight();
    for (short, long) in [
        ("SH TA", "show tasks"),
        ("sh serv", "show server"),
        ("Show Port TCPIP", "show port tcpip"),
        ("sh tr", "show transactions"),
        ("h stop", "help stop port"),
    ] {
        assert_eq!(said(&insight, short), said(&insight, long), "{short}");
    }
    said(&insight, "se c server_pool_tasks = 12");
    said(&insight, r#"SET CONFIG "Server_Restricted=1""#);
    said(&insight, "drop all");
    assert_eq!(said(&insight, "drop tcpip/7"), "2 connections closed.\n");
    assert_eq!(said(&insight, "drop 2001:DB8:0:7::/64"), "2 connections and 3 sessions closed.\n");
    assert_eq!(said(&insight, "drop 2"), "1 session closed.\n");
    assert_eq!(insight.command("drop 3").text, "No such session\n");
    let done = model.done.lock();
    assert_eq!(
        done[..4],
        ["set server_pool_tasks to 12", "set Server_Restricted to 1", "drop All", "drop One(\"TCPIP\", 7)"]
    );
    assert!(
        done[4].starts_with("drop Client(") && done[5..] == ["drop Session(2)", "drop Session(3)"],
        "{done:?}"
    );
}

#[test]
fn what_is_not_understood_says_why_and_does_nothing() {
    let (model, insight) = Model::insight();
    for (line, says) in [
        ("frobnicate", "Command or option is not recognized: frobnicate\n"),
        ("show nothing", "Command or option is not recognized: nothing\n"),
        ("sh po", "Command or option is ambiguous: po could be ports, port\n"),
        ("st port TCPIP", "Command or option is ambiguous: st could be stop, start\n"),
        ("show", "Insufficient arguments.  Enter 'HELP' for the correct syntax.\n"),
        (
            "drop",
            "Insufficient arguments.  Enter 'HELP' for the correct syntax.\nSyntax: drop ALL|ADDRESS|PORT/ID|SESSION\n",
        ),
        ("quit now", "Too many arguments.  Enter 'HELP' for the correct syntax.\nSyntax: quit\n"),
        ("show port \"", "A quotation mark is not closed.\n"),
        ("stop port LAN3", "Unable to find port LAN3\n"),
        ("start port old", "Port OLD is disabled: it takes a place in Ports and a restart\n"),
        (
            "drop me",
            "me is not ALL, an IP address, PORT/ID as show users names it, or a number that show sessions has\n",
        ),
        (
            "drop TCPIP/",
            "TCPIP/ is not ALL, an IP address, PORT/ID as show users names it, or a number that show sessions has\n",
        ),
        ("show config Sever_Pool", "No setting Sever_Pool\n"),
        (
            "set config Server_Pool_Tasks",
            "Insufficient arguments.  Enter 'HELP' for the correct syntax.\n\
          Syntax: set configuration KEY=VALUE\n",
        ),
        ("\u{1b}[2J", "Command or option is not recognized: \\u{1b}[2J\n"),
        ("show server\nquit", "A command is one line\n"),
        ("show server\rquit", "A command is one line\n"),
        ("help me", "Command or option is not recognized: me\n"),
        ("show transactions now", "Command or option is not recognized: now\n"),
    ] {
        let reply = insight.command(line);
        assert_eq!((reply.outcome, reply.text.as_str()), (Outcome::NotUnderstood, says), "{line}");
    }
    assert!(model.done.lock().is_empty());
    assert_eq!(insight.command(" \t"), Reply { outcome: Outcome::Done, text: String::new() });
}

#[test]
fn what_the_server_refuses_is_told() {
    let (model, insight) = Model::insight();
    let reply = insight.command("restart port lan2");
    assert_eq!((reply.outcome, reply.text.as_str()), (Outcome::Refused, "Port LAN2: its address is taken\n"));
    assert_eq!(*model.done.lock(), ["stop LAN2", "start LAN2"]);
    assert_eq!(insight.command("set config a=b").outcome, Outcome::Refused);
}

#[test]
fn transactions_are_counted_from_the_reset_on() {
    let (model, insight) = Model::insight();
    let count = |insight: &Insight| {
        let text = said(insight, "show transactions");
        let line = text.lines().find(|line| line.trim().starts_with("notes.open ")).map(str::to_owned);
        line.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap())
    };
    assert_eq!(count(&insight), Some(800));
    said(&insight, "show tr res");
    assert_eq!(count(&insight), None);
    model.run(&insight, 2);
    assert_eq!(count(&insight), Some(16));
}

#[test]
fn the_performance_line_is_switched() {
    let (model, insight) = Model::insight();
    let line = || insight.console.performance(600, &model.picture());
    assert_eq!(line(), None);
    assert_eq!(said(&insight, "show perf"), "Server Performance Monitoring is now enabled.\n");
    assert_eq!(line().as_deref(), Some("600 Transactions/Minute, 3 Sessions"));
    assert_eq!(said(&insight, "show perf"), "Server Performance Monitoring is now disabled.\n");
    assert_eq!(line(), None);
    said(&insight, "show perf");
    said(&insight, "set config Server_Show_Performance=0");
    assert!(line().is_some(), "it is not in force at once");
}

#[test]
fn lines_for_completion_are_commands_with_what_may_follow() {
    let (_, insight) = Model::insight();
    let lines = said(&insight, "words");
    for line in
        ["show server", "show transactions", "show transactions reset", "stop port LAN2", "tell", "drop all"]
    {
        assert!(lines.lines().any(|other| other == line), "{line}");
    }
    assert!(lines.contains("\nset configuration LAN2_Pool_Tasks=\n"));
    assert!(lines.contains("\nshow configuration Server_Pool_Tasks\n"));
    assert!(!lines.lines().any(|line| line == "stop port"));
}

#[test]
fn quit_is_known_beforehand() {
    for (line, stops) in
        [("quit", true), (" QU ", true), ("quit now", true), ("show server", false), ("", false)]
    {
        assert_eq!(stops_the_server(line), stops, "{line}");
    }
}

#[test]
fn no_line_panics_and_nothing_foreign_reaches_the_terminal() {
    let (_, insight) = Model::insight();
    let parts = "show sh s port TCPIP drop tell set config = == \" / * ** .* a/1 é \u{1b}]0;x\u{7} \u{0} \
                 \u{202e} reset slow stat help words ::1 -1 % {} 99999999999999999999 server users sessions \
                 threads verdict transactions Server.Trans.*";
    let parts: Vec<_> = parts.split(' ').collect();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for _ in 0..1000 {
        let mut line = String::new();
        for _ in 0..next(6) {
            line.push_str(parts[next(parts.len())]);
            line.push_str([" ", "", "  ", "\t"][next(4)]);
        }
        let text = insight.command(&line).text;
        let wrong = |char: char| char.is_control() && char != '\n' || char == '\u{202e}';
        assert!(!text.contains(wrong), "{line:?} says {text:?}");
        assert!(text.is_empty() || text.ends_with('\n'), "{line:?} says {text:?}");
    }
}
