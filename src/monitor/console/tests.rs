//! The console over a made server: its layouts, which docs/COMMANDS.md shows, its grammar and its errors.

mod model;

use super::commands::{commands, stops_the_server};
use super::execute::{CommandOutcome, ConsoleReply};
use crate::monitor::{ServerControl, ServerMonitor, docs_page};
use model::Model;

fn reply(monitor: &ServerMonitor, line: &str) -> String {
    let ConsoleReply { outcome, text } = monitor.command(line);
    assert_eq!(outcome, CommandOutcome::Done, "{line}: {text}");
    text
}

/// Lines whose output the docs show, at least one of each command.
const SHOWN: [&str; 25] = [
    "show server",
    "show verdict",
    "show transactions",
    "show slow notes.s*",
    "show threads",
    "show tasks",
    "show ports",
    "show allports",
    "show port tcpip",
    "show limits",
    "show users",
    "show sessions",
    "show stat Server.Trans.*",
    "show performance",
    "show config server_max_",
    "set config Server_Max_Concurrent_Trans=20",
    "whatif Server_Pool_Tasks=40",
    "drop 10.0.0.7",
    "stop port lan2",
    "start port tcpip",
    "restart port tcpip",
    "tell notes empty cache",
    "help",
    "help show port",
    "quit",
];

const MARKS: [&str; 2] = ["<!-- console: generated, do not edit -->", "<!-- end of console -->"];

/// The docs have the layouts: each sample there is what the console replies. `BLESS=1` writes them.
#[test]
fn the_docs_show_every_command_and_its_reply() {
    let (_, monitor) = Model::monitor();
    let mut text = "| Command | Does |\n|---|---|\n".to_owned();
    for (syntax, doc) in commands() {
        text.push_str(&format!("| `{}` | {} |\n", syntax.replace('|', "\\|"), doc.replace('*', "\\*")));
    }
    for line in SHOWN {
        text.push_str(&format!("\n```text\n> {line}\n{}```\n", reply(&monitor, line)));
    }
    docs_page::compare("docs/COMMANDS.md", MARKS, &text);
}

#[test]
fn every_command_is_shown_is_in_the_help_and_is_known_by_its_words() {
    let (_, monitor) = Model::monitor();
    let help = reply(&monitor, "help");
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
    let (model, monitor) = Model::monitor();
    for (short, long) in [
        ("SH TA", "show tasks"),
        ("sh serv", "show server"),
        ("Show Port TCPIP", "show port tcpip"),
        ("sh tr", "show transactions"),
        ("h stop", "help stop port"),
    ] {
        assert_eq!(reply(&monitor, short), reply(&monitor, long), "{short}");
    }
    reply(&monitor, "se c server_pool_tasks = 12");
    reply(&monitor, r#"SET CONFIG "Server_Restricted=1""#);
    reply(&monitor, "drop all");
    assert_eq!(reply(&monitor, "drop tcpip/7"), "2 connections closed.\n");
    assert_eq!(reply(&monitor, "drop 2001:DB8:0:7::/64"), "2 connections and 3 sessions closed.\n");
    assert_eq!(reply(&monitor, "drop 2"), "1 session closed.\n");
    assert_eq!(monitor.command("drop 3").text, "No such session\n");
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
fn a_wrong_line_is_explained_and_does_nothing() {
    let (model, monitor) = Model::monitor();
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
        ("start port old", "Port OLD is disabled: add it to Ports and restart the server\n"),
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
        let reply = monitor.command(line);
        assert_eq!((reply.outcome, reply.text.as_str()), (CommandOutcome::NotUnderstood, says), "{line}");
    }
    assert!(model.done.lock().is_empty());
    assert_eq!(monitor.command(" \t"), ConsoleReply { outcome: CommandOutcome::Done, text: String::new() });
}

#[test]
fn a_refusal_of_the_server_is_shown() {
    let (model, monitor) = Model::monitor();
    let reply = monitor.command("restart port lan2");
    assert_eq!(
        (reply.outcome, reply.text.as_str()),
        (CommandOutcome::Refused, "port LAN2 cannot listen on 127.0.0.1:1452: Address in use\n")
    );
    assert_eq!(*model.done.lock(), ["stop LAN2", "start LAN2"]);
    assert_eq!(monitor.command("set config a=b").outcome, CommandOutcome::Refused);
}

#[test]
fn transactions_are_counted_from_the_reset_on() {
    let (model, monitor) = Model::monitor();
    let count = |monitor: &ServerMonitor| {
        let text = reply(monitor, "show transactions");
        let line = text.lines().find(|line| line.trim().starts_with("notes.open ")).map(str::to_owned);
        line.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap())
    };
    assert_eq!(count(&monitor), Some(800));
    reply(&monitor, "show tr res");
    assert_eq!(count(&monitor), None);
    model.run(&monitor, 2);
    assert_eq!(count(&monitor), Some(16));
}

#[test]
fn the_performance_line_is_switched() {
    let (model, monitor) = Model::monitor();
    let line = || monitor.console.performance(600, &model.snapshot());
    assert_eq!(line(), None);
    assert_eq!(reply(&monitor, "show perf"), "Server Performance Monitoring is now enabled.\n");
    assert_eq!(line().as_deref(), Some("600 Transactions/Minute, 3 Sessions"));
    assert_eq!(reply(&monitor, "show perf"), "Server Performance Monitoring is now disabled.\n");
    assert_eq!(line(), None);
    reply(&monitor, "show perf");
    reply(&monitor, "set config Server_Show_Performance=0");
    assert!(line().is_some(), "it is not in force at once");
}

#[test]
fn lines_for_completion_are_commands_with_their_arguments() {
    let (_, monitor) = Model::monitor();
    let lines = reply(&monitor, "words");
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
fn a_line_that_stops_the_server_is_recognized() {
    for (line, stops) in
        [("quit", true), (" QU ", true), ("quit now", true), ("show server", false), ("", false)]
    {
        assert_eq!(stops_the_server(line), stops, "{line}");
    }
}

#[test]
fn no_line_panics_and_nothing_foreign_reaches_the_terminal() {
    let (_, monitor) = Model::monitor();
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
        let text = monitor.command(&line).text;
        let wrong = |char: char| char.is_control() && char != '\n' || char == '\u{202e}';
        assert!(!text.contains(wrong), "{line:?} says {text:?}");
        assert!(text.is_empty() || text.ends_with('\n'), "{line:?} says {text:?}");
    }
}
