//! The command line as its users meet it: real processes, real signals, exit codes.

mod process;

use boneyard::client::{Client, ClientError, Pending};
use boneyard::service::builtin::{INFO, Info, PING};
use process::*;
use rustix::process::Signal;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const BONEYARD: &str = env!("CARGO_BIN_EXE_boneyard");

fn boneyard(arguments: &[&str]) -> Command {
    let mut command = command(BONEYARD);
    command.args(arguments);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test directories have plain names")
}

/// A server with the rehearsal service and these settings.
fn serve(lines: &str) -> (Running, String, Directory) {
    let directory = Directory::new();
    let load = if lines.contains("Load_Service=") { "" } else { "Load_Service=1\n" };
    let file = directory.file("server.ini", &on_free_port(&format!("{load}{lines}")));
    let server = Running::start(&mut boneyard(&["serve", text(&file)]));
    let address = server.address();
    (server, address, directory)
}

fn call(address: &str, arguments: &[&str]) -> Said {
    run(boneyard(&["call", address]).args(arguments))
}

fn info(address: &str) -> Info {
    Client::new(address).unwrap().call(INFO, &()).unwrap()
}

/// A call that has been admitted when this returns, and runs so long.
fn sleep(address: &str, ms: u32) -> Pending<String> {
    let client = Client::new(address).unwrap().with_deadline(None);
    let sleep = client.start_json("load.sleep", &ms.to_string()).unwrap();
    // Calls of one connection are admitted in their order.
    client.call(PING, &()).unwrap();
    sleep
}

#[test]
fn serve_says_where_it_listens_and_what_its_settings_mean() {
    let lines = "Ports=TCPIP,LAN2\nLAN2_TCPIPAddress=0,127.0.0.1:0\nServer_Pool_Tasks=3\nLAN2_Pool_Tasks=1\n\
                 Server_Max_Concurrent_Trans=2";
    let (mut server, _, _directory) = serve(lines);
    assert!(server.line("on TCPIP at 127.0.0.1:").ends_with(", 3 workers"));
    assert!(server.line("on LAN2 at 127.0.0.1:").ends_with(", 1 worker"));
    server.line("Throttle: at most 2 transactions at once over all ports (line 7)");
    server.line("workers_wait: TCPIP 3 + LAN2 1 = 4 workers, 2 may run at once: 2 can only wait");
    assert_eq!(server.stop(), Some(0));
    server.line("SIGTERM: stopping; 0 transactions in flight");
    server.line("Stopped, 0 lost");
}

#[test]
fn without_arguments_it_serves_with_server_ini_of_the_directory() {
    let directory = Directory::new();
    let missing = run(boneyard(&[]).current_dir(directory.path()));
    assert_eq!(missing.code, Some(2));
    assert!(
        missing.err.contains("server.ini does not exist; `boneyard check --template > server.ini`"),
        "{missing:?}"
    );
    directory.file("server.ini", &on_free_port(""));
    let mut server = Running::start(boneyard(&[]).current_dir(directory.path()));
    assert_eq!(call(&server.address(), &["server.ping"]).out, "null\n");
    server.signal(Signal::INT);
    assert_eq!(server.wait(), Some(0));
    server.line("SIGINT: stopping");
}

#[test]
fn a_file_with_errors_shows_all_of_them_and_starts_nothing() {
    let directory = Directory::new();
    let lines = "Server_Pool_Tasks=forty\nServer_Queue_Limt=5\njunk";
    let file = directory.file("bad.ini", &on_free_port(lines));
    let said = run(&mut boneyard(&["serve", text(&file)]));
    assert_eq!(said.code, Some(2));
    let found: Vec<_> = said.err.lines().collect();
    assert!(found[0].contains("bad.ini:2: Server_Pool_Tasks=forty: "), "{said:?}");
    assert!(
        found[1].contains("bad.ini:3: ") && found[1].contains("did you mean Server_Queue_Limit?"),
        "{said:?}"
    );
    assert!(found[2].contains("bad.ini:4: junk: "), "{said:?}");
    assert_eq!(found[3..], ["3 errors: server not started"], "and nothing listens");
}

#[test]
fn check_says_what_a_server_would_do() {
    let directory = Directory::new();
    let good = directory.file("good.ini", &on_free_port("Server_Pool_Tasks=7"));
    let said = run(&mut boneyard(&["check", text(&good)]));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(said.out.contains("good.ini: a server would start") && said.out.contains("Server_Pool_Tasks=7"));

    let bad = directory.file("bad.ini", "Server_Pool_Tasks=0\nnonsense=1");
    let said = run(&mut boneyard(&["check", text(&bad)]));
    assert_eq!(said.code, Some(2));
    assert!(
        said.out.contains("bad.ini:1: ") && said.out.ends_with("2 errors: a server would not start\n"),
        "{said:?}"
    );

    for (file, code, errors) in [(&good, 0, 0), (&bad, 2, 2)] {
        let said = run(&mut boneyard(&["check", "--json", text(file)]));
        let report: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
        assert_eq!(said.code, Some(code));
        assert_eq!(report["errors"].as_array().unwrap().len(), errors);
        assert_eq!(report["file"], text(file));
    }

    let said = run(&mut boneyard(&["check", text(&directory.path().join("none.ini"))]));
    assert_eq!(said.code, Some(2));
    assert!(
        said.out.contains("none.ini: cannot be read") && said.err.contains("none.ini does not exist; "),
        "{said:?}"
    );
}

#[test]
fn the_template_is_a_file_that_passes_the_check() {
    let directory = Directory::new();
    let said = run(&mut boneyard(&["check", "--template"]));
    assert_eq!(said.code, Some(0));
    let file = directory.file("server.ini", &said.out);
    assert_eq!(run(&mut boneyard(&["check", text(&file)])).code, Some(0));
}

#[test]
fn what_is_wrong_is_told_with_what_would_be_right_and_no_file_that_only_the_sources_have() {
    let directory = Directory::new();
    let file = directory.file("server.ini", &on_free_port("Server_Queue_Limt=5\nNonsense=1"));
    let (_server, address, _directory) = serve("");
    for (said, right) in [
        (run(&mut boneyard(&["check", text(&file)])), "did you mean Server_Queue_Limit?"),
        (run(&mut boneyard(&["serve", text(&file)])), "a key that `check --template` explains"),
        (call(&address, &["server.pign"]), "did you mean \"server.ping\"?"),
        (call(&address, &["no.such"]), &format!("`boneyard methods {address}` lists")),
        (
            run(&mut boneyard(&["bench", &address, "--method", "server.ehco"])),
            "the server has no method \"server.ehco\"; did you mean \"server.echo\"?",
        ),
        (call(&address, &["server.echo", "--prety"]), "did you mean \"--pretty\"?"),
        (call(&address, &["server.echo", "--timout", "1"]), "'--timout' for '[JSON]'"),
        (call(&address, &["server.echo", "--timout=1"]), "did you mean \"--timeout\"?"),
        (call(&address, &["server.echo", "1", "2"]), "unexpected argument \"2\""),
        (
            run(&mut boneyard(&["bench", &address, "--method", "no.such"])),
            &format!("`boneyard methods {address}` lists"),
        ),
        (run(&mut boneyard(&["check", "--tempalte"])), "'--template'"),
        (call("[fe80::1%]:1", &["server.ping"]), "as in fe80::1%eth0"),
    ] {
        let told = said.out.clone() + &said.err;
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(told.contains(right), "{right}: {said:?}");
        assert!(!told.contains("docs/") && !told.contains("src/") && !told.contains(".md"), "{said:?}");
    }
    let template = run(&mut boneyard(&["check", "--template"])).out;
    assert!(!template.contains("docs/") && !template.contains("src/") && !template.contains(".md"));
}

#[test]
fn a_call_waits_for_its_server_if_it_is_told_to_and_is_refused_at_once_if_not() {
    // Taken and given back, so that nobody is there; and kept for nobody else by its host.
    let host = own_address(3);
    let address = TcpListener::bind((host.as_str(), 0)).unwrap().local_addr().unwrap().to_string();
    let refused = call(&address, &["server.ping", "--timeout", "3600"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("Connection refused") && !refused.err.contains("no response"),
        "{refused:?}"
    );
    let in_vain = call(&address, &["server.ping", "--wait", "--timeout", "0.3"]);
    assert_eq!(in_vain.code, Some(1), "{in_vain:?}");
    assert!(in_vain.err.contains("Connection refused"), "{in_vain:?}");
    let mut waiting = boneyard(&["call", &address, "server.ping", "--wait", "--timeout", "60"]);
    let mut waiting = Running::start(&mut waiting);
    let directory = Directory::new();
    let file = directory.file("server.ini", &format!("TCPIP_TCPIPAddress=0,{address}\n"));
    let server = Running::start(&mut boneyard(&["serve", text(&file)]));
    server.line("Listen for connect requests");
    assert_eq!((waiting.wait(), waiting.output().as_str()), (Some(0), "null\n"), "{:?}", waiting.lines());
}

#[test]
fn a_server_that_does_not_welcome_in_time_is_no_connection_and_is_named() {
    // The system completes the connection; nobody says a word over it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let expected = format!("no connection: cannot connect to {address}: not connected in time\n");
    for said in [
        call(&address, &["server.ping", "--timeout", "0.2"]),
        call(&address, &["server.ping", "--timeout", "0.2", "--wait"]),
        run(&mut boneyard(&["methods", &address, "--timeout", "0.2"])),
        run(&mut boneyard(&["stubs", &address, "--lang", "python", "--timeout", "0.2"])),
    ] {
        assert_eq!((said.code, said.err.as_str()), (Some(1), expected.as_str()), "{said:?}");
    }
}

#[test]
fn who_wants_a_load_method_of_a_server_without_them_is_told_the_key() {
    let (_server, address, _directory) = serve("Load_Service=0");
    for said in [run(&mut boneyard(&["bench", &address])), call(&address, &["load.sleep", "1"])] {
        let right = "the setting Load_Service=1 adds the load.* methods\n`boneyard methods";
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains(right), "{said:?}");
    }
}

#[test]
fn bench_says_why_a_server_takes_no_connection() {
    let (_server, address, _directory) = serve("Server_Max_Connects_Per_Minute=1\n");
    assert_eq!(call(&address, &["server.ping"]).code, Some(0));
    let said = run(&mut boneyard(&["bench", &address, "--method", "server.echo", "--connections", "1"]));
    assert_eq!((said.code, said.out.as_str()), (Some(3), ""), "{said:?}");
    let told = format!("{address}: the server takes no connection: ConnectLimit: ");
    assert!(said.err.starts_with(&told) && said.err.lines().count() == 1, "{said:?}");
}

#[test]
fn a_port_in_use_fails_the_start_and_leaves_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = Directory::new();
    let lines = format!("Ports=TCPIP,LAN2\nLAN2_TCPIPAddress=0,{}", taken.local_addr().unwrap());
    let file = directory.file("server.ini", &on_free_port(&lines));
    let said = run(&mut boneyard(&["serve", text(&file)]));
    assert_eq!(said.code, Some(1));
    let expected = format!("cannot start: port LAN2 cannot listen on {}: ", taken.local_addr().unwrap());
    assert!(said.err.starts_with(&expected) && said.err.lines().count() == 1, "{said:?}");
}

#[test]
fn any_method_of_a_server_can_be_called() {
    let (_server, address, _directory) = serve("");
    let said = run(&mut boneyard(&["methods", &address]));
    let names = "load.block\nload.echo\nload.sleep\nload.spin\nserver.echo\nserver.errors\nserver.info\nserver.methods\n\
                 server.ping\nserver.schema\nsession.attach\nsession.close\nsession.open\n";
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), names, ""));
    let said = run(&mut boneyard(&["methods", &address, "--json"]));
    let array: Vec<String> = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(array.join("\n") + "\n", names);

    let said = call(&address, &["server.info"]);
    assert_eq!((said.code, said.out.lines().count()), (Some(0), 1));
    assert_eq!(serde_json::from_str::<Info>(&said.out).unwrap().ports[0].address, address);
    let pretty = call(&address, &["server.info", "--pretty"]).out;
    assert!(
        pretty.starts_with("{\n  \"server\": \"Boneyard") && serde_json::from_str::<Info>(&pretty).is_ok()
    );

    let said = call(&address, &["server.echo", "-1.50", "--times"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "-1.50\n"));
    for part in ["queue wait ", ", permit wait ", ", run "] {
        assert!(said.err.contains(part), "{said:?}");
    }
    let said = run_with_input(&mut boneyard(&["call", &address, "server.echo", "-"]), "[\"ä\"]\n");
    assert_eq!((said.code, said.out.as_str()), (Some(0), "[\"ä\"]\n"));
}

#[test]
fn what_is_wrong_with_a_call_is_said_by_whose_fault_it_is() {
    let (_server, address, _directory) = serve("");
    for (arguments, code, parts) in [
        (
            &["server.pign"][..],
            2,
            &["invalid request: ", "did you mean \"server.ping\"?", "`boneyard methods 127."][..],
        ),
        (
            &["load.sleep", "\"x\""],
            2,
            &["invalid request: ", "expected u64 at line 1 column 3", "\n  \"x\"\n    ^\n"],
        ),
        (&["load.sleep"], 2, &["invalid request: ", "expected u64"]),
        (&["load.sleep", "{1"], 2, &["the arguments are not JSON: ", "\n  {1\n   ^\n"]),
        (&["load.sleep", "600001"], 3, &["application error: 600001 is over 600000 (code 1)"]),
        (&["load.sleep", "60000", "--timeout", "2"], 4, &["no response: deadline exceeded", "may have run"]),
        (&["load.sleep", "1", "--timeout", "0"], 2, &["more than 0"]),
        (&["load.sleep", "1", "--tiemout", "1"], 2, &["--timeout"]),
    ] {
        let said = call(&address, arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{arguments:?} {said:?}");
        for part in parts {
            assert!(said.err.contains(part), "{part:?} of {arguments:?} in {said:?}");
        }
    }
    assert_eq!(call("a:b", &["server.ping"]).code, Some(2));
    // No other test listens on this address, so the port stays free.
    let nobody = TcpListener::bind((own_address(2), 0)).unwrap().local_addr().unwrap().to_string();
    for said in [call(&nobody, &["server.ping"]), run(&mut boneyard(&["methods", &nobody]))] {
        assert_eq!(said.code, Some(1));
        assert!(
            said.err.contains(&format!("no connection: cannot connect to {nobody}: Connection refused")),
            "{said:?}"
        );
    }
}

#[test]
fn a_stop_waits_for_what_is_in_flight() {
    let (mut server, address, _directory) = serve("");
    let sleep = sleep(&address, 2000);
    assert_eq!(server.stop(), Some(0));
    assert!(!server.line("SIGTERM: stopping; ").contains("; 0 transactions in flight, 30 s to finish"));
    server.line("Stopped, 0 lost");
    assert_eq!(sleep.wait(), Ok("null".to_owned()));
}

#[test]
fn a_stop_says_what_was_lost_when_the_time_is_over() {
    let (mut server, address, _directory) = serve("Server_Shutdown_Timeout=1");
    let sleep = sleep(&address, 600_000);
    assert_eq!(server.stop(), Some(0));
    server.line("Stopped, 1 lost after 1 s: 0 refused in the queue, 1 still running");
    server.line("port TCPIP: load.sleep of 127.0.0.1:");
    assert!(matches!(sleep.wait(), Err(ClientError::Disconnected { may_have_run: true, .. })));
}

/// Sends the signal again and again until the server ends.
fn press(server: &mut Running, signal: Signal) -> Option<i32> {
    wait_until("it ends", || {
        let ended = server.has_ended();
        if !ended {
            server.signal(signal);
        }
        ended
    });
    server.wait()
}

#[test]
fn a_signal_that_comes_later_ends_it_at_once() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (mut server, address, _directory) = serve("");
        let _sleep = sleep(&address, 600_000);
        server.signal(Signal::TERM);
        server.line("SIGTERM: stopping; ");
        assert_eq!(press(&mut server, signal), Some(code));
        server.line("while stopping: exits at once, calls in flight are lost");
    }
}

#[test]
fn a_signal_repeated_within_a_second_counts_as_the_first() {
    for second in [Signal::TERM, Signal::INT] {
        // A machine that stands still for a second between the two tells nothing.
        let counted = (0..20).any(|_| {
            let (mut server, address, _directory) = serve("");
            let sleep = sleep(&address, 1500);
            let begin = Instant::now();
            server.signal(Signal::TERM);
            server.line("SIGTERM: stopping; ");
            server.signal(second);
            wait_until("it has an effect", || {
                server.has_ended() || server.lines().iter().any(|line| line.contains("counted as the first"))
            });
            let code = server.wait();
            let counted = code == Some(0);
            assert!(counted || begin.elapsed() > Duration::from_secs(1), "{code:?} {:#?}", server.lines());
            if counted {
                server.line("Stopped, 0 lost");
                assert_eq!(sleep.wait(), Ok("null".to_owned()), "the call has its answer");
            }
            counted
        });
        assert!(counted, "never within a second");
    }
}

#[test]
fn signals_that_mean_something_else_end_nothing() {
    let (mut server, address, _directory) = serve("");
    let sleep = sleep(&address, 1000);
    for (signal, line) in [
        (Signal::USR1, "SIGUSR1: ignored"),
        (Signal::USR2, "SIGUSR2: ignored"),
        (Signal::HUP, "SIGHUP: log not reopened, it goes to standard error"),
    ] {
        server.signal(signal);
        server.line(line);
    }
    assert_eq!(sleep.wait(), Ok("null".to_owned()));
    // While it stops, too.
    let _sleep = self::sleep(&address, 600_000);
    server.signal(Signal::TERM);
    server.line("SIGTERM: stopping; ");
    let count = || server.lines().iter().filter(|line| line.contains("SIGUSR1: ignored")).count();
    server.signal(Signal::USR1);
    wait_until("it says so again", || count() == 2);
    assert_eq!(press(&mut server, Signal::TERM), Some(143));
}

#[test]
fn sigquit_has_the_log_told_what_stuck_workers_do_and_ends_nothing() {
    let (mut server, address, _directory) = serve("Server_Pool_Tasks=3");
    let client = Client::new(&address).unwrap().with_deadline(None);
    let sleeps: Vec<Pending<String>> =
        (0..5).map(|_| client.start_json("load.sleep", "600000").unwrap()).collect();
    wait_until("the log shows all three of them and the two that wait", || {
        server.signal(Signal::QUIT);
        let lines = server.lines();
        lines.iter().any(|line| line.contains("  3 run load.sleep, the longest for "))
            && lines.iter().any(|line| line.contains(": 2 of 10000 calls wait, 5 in flight, 1 connection"))
    });
    (1..=3).for_each(|n| {
        assert!(server.line(&format!("  TCPIP-{n}  running  ")).contains("load.sleep  127.0.0.1:"))
    });
    // A stop that waits for them is no reason to say no more.
    server.signal(Signal::TERM);
    wait_until("it says that it stops", || {
        server.signal(Signal::QUIT);
        server
            .lines()
            .iter()
            .any(|line| line.contains("Threads after 00:00:") && line.contains(", shutting down: "))
    });
    assert_eq!(press(&mut server, Signal::TERM), Some(143));
    drop(sleeps);
}

#[test]
fn a_client_that_is_killed_leaves_all_permits_home() {
    let (mut server, address, _directory) = serve("Server_Max_Concurrent_Trans=8\nServer_Pool_Tasks=8");
    let clients: Vec<_> =
        (0..5).map(|_| Running::start(&mut boneyard(&["call", &address, "load.sleep", "3000"]))).collect();
    wait_until("calls are in flight", || info(&address).in_flight > 2);
    // Dropping one kills it: some wait for their answer, the last may be on its way to ask.
    drop(clients);
    wait_until("only the question itself is in flight", || info(&address).in_flight == 1);
    wait_until("only the question itself runs", || info(&address).permits_out == 1);
    assert_eq!(server.stop(), Some(0));
    server.line("Stopped, 0 lost");
}

#[test]
fn the_log_level_is_the_files_and_rust_log_wins() {
    let (directory, host) = (Directory::new(), own_address(1));
    let file = directory.file("server.ini", &format!("TCPIP_TCPIPAddress=0,{host}\nLog_Level=error\n"));
    let mut server = Running::start(&mut boneyard(&["serve", text(&file)]));
    wait_until("it answers", || call(&host, &["server.ping"]).code == Some(0));
    assert_eq!((server.stop(), server.lines()), (Some(0), vec![]));
    let mut server = Running::start(boneyard(&["serve", text(&file)]).env("RUST_LOG", "info"));
    server.line("Listen for connect requests");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_log_file_is_appended_to() {
    let directory = Directory::new();
    let log = directory.file("server.log", "what was there\n");
    let file = directory.file("server.ini", &on_free_port(&format!("Log_File={}", text(&log))));
    let mut server = Running::start(&mut boneyard(&["serve", text(&file)]));
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_until("the log file says that it listens", || read().contains("Throttle: "));
    assert_eq!((server.stop(), server.lines()), (Some(0), vec![]));
    assert!(read().starts_with("what was there\n") && read().ends_with("Stopped, 0 lost\n"));
}

#[test]
fn exit_codes_of_the_help_are_those_of_the_docs() {
    let said = run(&mut boneyard(&["--help"]));
    assert_eq!(said.code, Some(0));
    let (_, table) = said.out.split_once("Exit codes:\n").expect("the help lists them");
    let docs = include_str!("../docs/COMMANDS.md");
    assert_eq!(table.lines().count(), 6);
    for line in table.lines() {
        let (number, words) = line.trim().split_once("  ").expect("a number and words");
        let row = format!("| {} | {} |", number.trim(), words.trim());
        assert!(docs.contains(&row), "docs/COMMANDS.md has no line\n{row}");
    }
}
