//! The command line as a shell meets it: whatever an option is given, no panic; whatever a server says, no order for the
//! terminal; what stands before JSON on standard input.

mod process;
mod scripted_server;

use boneyard::Method;
use boneyard::config::Config;
use boneyard::server::{RunningServer, Server};
use boneyard::service::ApplicationError;
use process::{Running, Said, command, run, run_with_input};
use scripted_server::{ScriptedServer, welcome_with};
use std::time::{Duration, Instant};

const BONEYARD: &str = env!("CARGO_BIN_EXE_boneyard");

/// What a terminal takes for orders: clear the screen, from C0 and from C1; return, delete, turn the writing.
const ORDERS: &str = "\u{1b}[2J\u{9b}2J\r\u{7f}\u{202e}\u{2066}\nserver overloaded: a line of ours";

fn server(lines: &str) -> RunningServer {
    let text =
        format!("TCPIP_TCPIPAddress=127.0.0.1:0\nAdmin_Address=127.0.0.1:0\nServer_Pool_Tasks=2\n{lines}");
    let config = Config::from_text(&text, None, 2).unwrap();
    Server::new(config)
        .handle(Method::<(), String>::new("evil.say"), |_, ()| Ok(ORDERS.to_owned()))
        .handle(Method::<(), ()>::new("evil.fail"), |_, ()| Err(ApplicationError::new(7, ORDERS).into()))
        .start()
        .expect("it starts")
}

fn boneyard(args: &[&str]) -> Said {
    run(command(BONEYARD).args(args))
}

/// Control characters but line feeds and tabs, and marks that turn the writing.
fn orders(text: &str) -> Vec<char> {
    let order = |char: &char| {
        char.is_control() && !matches!(char, '\n' | '\t')
            || matches!(char, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(order).collect()
}

#[test]
fn a_servers_words_are_no_orders_for_the_terminal() {
    let server = server("");
    let address = server.address().to_string();
    for pretty in [&[][..], &["--pretty"]] {
        let said = boneyard(&[&["call", &address, "evil.say"], pretty].concat());
        assert_eq!((said.code, orders(&said.out)), (Some(0), vec![]), "{said:?}");
        assert_eq!(said.out.lines().count(), 1, "{said:?}");
        let text: String = serde_json::from_str(&said.out).expect("it stays JSON");
        assert_eq!(text, ORDERS, "and means the same");
    }
    let said = boneyard(&["call", &address, "evil.fail"]);
    assert_eq!((said.code, orders(&said.err)), (Some(3), vec![]), "{said:?}");
    assert_eq!(said.err.lines().count(), 1, "no line of the service's passes for one of ours: {said:?}");
    for command in ["methods", "stubs"] {
        let options: &[&str] = if command == "stubs" { &["--lang", "python"] } else { &["--schema"] };
        let said = boneyard(&[&[command, &address], options].concat());
        assert_eq!((said.code, orders(&said.out), orders(&said.err)), (Some(0), vec![], vec![]), "{said:?}");
    }
}

/// What `boneyard` with these words before and behind the address says of a server of which any byte is chosen.
fn told_by_hand(words: &[&str], names: [(u16, &str); 2], answer: &str) -> Said {
    let server = ScriptedServer::new();
    let address = server.address();
    let mut args = vec![words[0], &address];
    args.extend(&words[1..]);
    let mut command = command(BONEYARD);
    command.args(args);
    std::thread::scope(|scope| {
        let said = scope.spawn(|| run(&mut command));
        let mut peer = server.accept_with(welcome_with(names));
        peer.greet();
        if words[0] == "call" {
            let call = peer.call();
            peer.answer_bytes(&call, 0, answer.as_bytes());
        }
        said.join().unwrap()
    })
}

#[test]
fn bytes_of_a_server_that_breaks_the_rules_are_no_orders_either() {
    let names = [(7, "hand.say"), (8, "evil.\u{1b}[2J\u{9b}\u{202e}\nforged.name")];
    let said = told_by_hand(&["methods"], names, "");
    assert_eq!((orders(&said.out), orders(&said.err)), (vec![], vec![]), "{said:?}");
    assert!(!said.out.lines().chain(said.err.lines()).any(|line| line == "forged.name"), "{said:?}");
    let names = [(7, "hand.say"), (8, "hand.other")];
    for answer in ["{\"a\":\r\n\t1}", "[\r1\n,2]", "\"\u{7f}\u{9b}\""] {
        let said = told_by_hand(&["call", "hand.say"], names, answer);
        assert_eq!((orders(&said.out), said.out.lines().count()), (vec![], 1), "{said:?}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&said.out), read(answer), "the same JSON");
    }
    let said = told_by_hand(&["call", "hand.say"], names, "\u{1b}]0;no JSON\u{7}\u{9c}");
    assert_eq!((orders(&said.out), orders(&said.err)), (vec![], vec![]), "{said:?}");
}

#[test]
fn a_nested_answer_is_printed_in_proportion_to_its_length() {
    const DEPTH: usize = 1_000_000;
    let answer = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let said = told_by_hand(&["call", "hand.say", "--pretty"], [(7, "hand.say"), (8, "hand.other")], &answer);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let brackets = said.out.chars().filter(|char| !char.is_whitespace()).count();
    assert_eq!(brackets, answer.len(), "nothing is left out");
    assert!(said.out.len() < answer.len() + 10_000, "{} bytes of {}", said.out.len(), answer.len());
}

#[test]
fn a_command_of_two_lines_is_refused() {
    let server = server("");
    let address = server.admin_address().expect("it is open").to_string();
    for line in ["show server\nshow ports", "show server\rshow ports", "tell x \"a\nb\""] {
        let said = boneyard(&["console", &address, "-c", line]);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains("is more than one line"), "{said:?}");
        assert_eq!(said.out, "", "nothing was carried out");
    }
    let said = boneyard(&["console", &address, "-c", "show server\n", "-c", "show ports"]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn a_mark_before_the_arguments_is_none_of_theirs() {
    let server = server("");
    let address = server.address().to_string();
    let call =
        |input: &str| run_with_input(command(BONEYARD).args(["call", &address, "server.echo", "-"]), input);
    for (input, output) in [("\u{FEFF}\"a\"", "\"a\"\n"), ("\u{FEFF}\n \"\u{FEFF}a\"\n", "\"\u{FEFF}a\"\n")] {
        let said = call(input);
        assert_eq!((said.code, said.out.as_str()), (Some(0), output), "{said:?}");
    }
    let admin = server.admin_address().expect("it is open").to_string();
    let said =
        run_with_input(command(BONEYARD).args(["console", &admin]), "\u{FEFF}show ports\nshow ports\n");
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = call("\u{FEFF}\u{FEFF}1");
    assert_eq!(said.code, Some(2), "one mark, and no more: {said:?}");
}

/// Every option that takes a value, of every command that asks a server, with values at the ends of what there is.
#[test]
fn no_value_of_an_option_makes_a_command_panic() {
    const VALUES: [&str; 9] =
        ["1e19", "1e300", "inf", "nan", "1e-9", "31536000", "18446744073709551615", "-1", ""];
    let server = server("Load_Service=1");
    let (address, admin) = (server.address().to_string(), server.admin_address().unwrap().to_string());
    let bench = ["bench", &address, "--method", "server.ping", "--arguments", "null", "-c", "1"];
    let commands: [(&[&str], &[&str]); 6] = [
        (&bench, &["--rate", "--deadline", "--seed"]),
        (&bench, &["--duration", "--warm-up", "--out"]),
        (&["call", &address, "server.ping"], &["--timeout"]),
        (&["methods", &address], &["--timeout"]),
        (&["console", &admin, "-c", "show server"], &["--timeout"]),
        (&["top", &admin, "--once"], &["--every"]),
    ];
    for (base, options) in commands {
        for option in options {
            for value in VALUES {
                let mut args = base.to_vec();
                for (name, short) in [("--duration", "0.05"), ("--warm-up", "0.01")] {
                    if base[0] == "bench" && *option != name {
                        args.extend([name, short]);
                    }
                }
                args.extend([option, &value]);
                let text = format!("{option}={value}");
                args.truncate(args.len() - 2);
                args.push(&text);
                ends_without_panic(&args);
            }
        }
    }
}

/// Runs it, and no longer than it takes to see that it goes on.
fn ends_without_panic(args: &[&str]) {
    let mut running = Running::start(command(BONEYARD).args(args));
    let begin = Instant::now();
    while !running.has_ended() && begin.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let panicked = |running: &Running| running.lines().iter().any(|line| line.contains("panicked"));
    if running.has_ended() {
        let code = running.wait();
        assert!(
            matches!(code, Some(0..=4)) && !panicked(&running),
            "{args:?}: {code:?} {:?}",
            running.lines()
        );
    } else {
        assert!(!panicked(&running), "{args:?}: {:?}", running.lines());
    }
}
