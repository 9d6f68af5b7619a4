//! `boneyard console` as an administrator meets it: real servers, options, standard input, and a terminal.

mod process;

use process::*;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

const BONEYARD: &str = env!("CARGO_BIN_EXE_boneyard");

/// A server, where its admin server is, and its directory.
struct Served {
    server: Running,
    admin: String,
    directory: Directory,
}

fn serve(lines: &str) -> Served {
    let directory = Directory::new();
    let file = directory
        .file("server.ini", &on_free_port(&format!("Admin_Address=127.0.0.1:0\nLoad_Service=1\n{lines}")));
    let server = Running::start(command(BONEYARD).arg("serve").arg(file));
    let line = server.line("Admin server at http://");
    let (_, url) = line.split_once("http://").unwrap();
    Served { admin: url.trim_end_matches('/').to_owned(), server, directory }
}

fn console(admin: &str, arguments: &[&str]) -> Command {
    let mut command = command(BONEYARD);
    command.args(["console", admin]).args(arguments);
    command
}

#[test]
fn commands_of_options_are_carried_out_in_their_order() {
    let served = serve("");
    let said = run(&mut console(
        &served.admin,
        &["-c", "show server", "-c", "SH POR", "--command", "show config pool_"],
    ));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.out.starts_with("Boneyard "), "{said:?}");
    for label in [
        "Elapsed time:           00:0",
        "Transactions/minute:    Last minute: ",
        "Waiting Tasks:          0\n",
    ] {
        assert!(said.out.contains(label), "{label}: {said:?}");
    }
    assert!(said.err.contains("Command or option is ambiguous: POR could be ports, port"), "{said:?}");
}

#[test]
fn a_whole_picture_is_told_of_a_real_server() {
    let served = serve("Server_Pool_Tasks=3");
    let address = served.server.address();
    assert_eq!(run(command(BONEYARD).args(["call", &address, "load.sleep", "5"])).code, Some(0));
    let said = run(&mut console(
        &served.admin,
        &["-c", "show transactions", "-c", "show port tcpip", "-c", "show tasks"],
    ));
    assert_eq!(said.code, Some(0), "{said:?}");
    let row = said.out.lines().find(|line| line.trim().starts_with("load.sleep ")).expect("it ran");
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!(cells[1], "1");
    assert!(cells[2].parse::<f64>().unwrap() >= 5.0, "{row}");
    assert!(said.out.contains(&format!("Port TCPIP at {address}, open")), "{said:?}");
    assert!(said.out.contains("Workers:                3; Idle: "), "{said:?}");
    assert!(said.out.contains("Thread pool"), "{said:?}");
    let said = run(&mut console(&served.admin, &["-c", "show config server_pool_tasks"]));
    assert_eq!(said.out, "Server_Pool_Tasks=3  (line 4)\n");
}

#[test]
fn lines_of_standard_input_are_commands_until_one_is_not_understood() {
    let served = serve("");
    let said =
        run_with_input(&mut console(&served.admin, &[]), "show perf\n\nhelp show port\nbye\nnonsense\n");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.starts_with("Server Performance Monitoring is now enabled.\n"), "{said:?}");
    assert!(said.out.contains("show port NAME  Everything that is counted of one port.\n"), "{said:?}");
    let said = run_with_input(&mut console(&served.admin, &[]), "stop port NONE\nshow server\n");
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
    assert_eq!(said.err, "Unable to find port NONE\n");
}

#[test]
fn orders_reach_the_server() {
    let mut served = serve("Server_Max_Concurrent_Trans=4");
    let order = |line: &str| run(&mut console(&served.admin, &["-c", line]));
    let port = served.server.address();
    let held = TcpStream::connect(&port).unwrap();
    assert_eq!(run(command(BONEYARD).args(["call", &port, "server.ping"])).code, Some(0));
    let connections = || order("show stat net.tcpip.connections").out;
    wait_until("the caller's connection is gone", || connections().contains("NET.TCPIP.Connections = 1\n"));
    assert_eq!(order("drop 127.0.0.1").out, "1 connection closed.\n");
    drop(held);
    assert_eq!(
        order("stop port tcpip").out,
        "Port TCPIP is stopped: it takes no more connections and calls.\n"
    );
    let twice = order("stop port tcpip");
    assert_eq!((twice.code, twice.out.as_str()), (Some(3), ""), "{twice:?}");
    assert!(order("show ports").out.contains("  stopped  "));
    assert_eq!(order("start port tcpip").out, "Port TCPIP is started and listens.\n");
    assert_eq!(run(command(BONEYARD).args(["call", &port, "server.ping"])).code, Some(0));
    let set = order("set config server_max_concurrent_trans=3");
    assert!(set.out.contains("=3\nIn force from now on.\nWritten to /"), "{set:?}");
    assert_eq!(
        order("show config server_max_c*").out.lines().next(),
        Some("Server_Max_Concurrent_Trans=3     (line 4)")
    );
    let file = std::fs::read_to_string(served.directory.path().join("server.ini")).unwrap();
    assert!(file.to_lowercase().contains("server_max_concurrent_trans=3\n"), "{file}");
    assert_eq!(order("set config server_pool_tasks=0").code, Some(3));
    assert_eq!(order("tell nobody anything").code, Some(3));
    assert!(order("show stat server.trans.*").out.contains("Server.Trans.Total = 2\n"));
    let quit = order("quit");
    assert_eq!(
        (quit.code, quit.out.starts_with("The server is shutting down; ")),
        (Some(0), true),
        "{quit:?}"
    );
    assert_eq!(served.server.wait(), Some(0));
}

#[test]
fn no_connection_and_no_answer_are_told_apart() {
    // Its port stays free when it has gone: no other test listens on this address.
    let deaf = TcpListener::bind((own_address(0), 0)).unwrap();
    let address = deaf.local_addr().unwrap().to_string();
    let said = run(&mut console(&address, &["-c", "show server", "--timeout", "1"]));
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("no response from the admin server at "), "{said:?}");
    drop(deaf);
    let said = run(&mut console(&address, &["-c", "show server"]));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("no connection to the admin server at "), "{said:?}");
    let said = run(&mut console(&address, &["--token-file", "/nonexistent"]));
    assert_eq!(said.code, Some(2), "{said:?}");
}

/// In the folder of one server, whose file names the address of another: what is not answered there is not asked here.
#[test]
fn without_an_address_only_the_server_of_the_file_is_asked() {
    let (mut own, other) = (serve(""), serve(""));
    let file = own.directory.path().join("server.ini");
    let at_other = |lines: &str| own.directory.file("server.ini", &on_free_port(lines));
    at_other(&format!("Admin_Address={}", other.admin));
    let socket = own.directory.path().join("server.ini.admin");
    let here = |arguments: &[&str]| {
        let mut console = command(BONEYARD);
        run(console.current_dir(own.directory.path()).arg("console").args(arguments))
    };
    own.server.signal(Signal::STOP);
    let said = here(&["--timeout", "1", "-c", "quit"]);
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(
        said.err.contains(&format!("no response from the admin server at {}", socket.display())),
        "{said:?}"
    );
    own.server.signal(Signal::CONT);
    // A line that is wrong now: the server's socket is the same.
    std::fs::write(&file, "Server_Queue_Limit=none\n").unwrap();
    let said = here(&["-c", "show config Admin_Address"]);
    assert_eq!((said.code, said.out.contains("=127.0.0.1:0")), (Some(0), true), "{said:?}");
    own.server.signal(Signal::KILL);
    own.server.wait();
    let said = here(&["-c", "quit"]);
    assert!(said.code == Some(2) && said.err.contains("Server_Queue_Limit"), "{said:?}");
    at_other("Admin_Address=");
    let said = here(&["-c", "quit"]);
    assert!(said.code == Some(1) && said.err.contains("it has no Admin_Address"), "{said:?}");
    // Something that is no server of this user's has the path: that is told, too.
    std::fs::remove_file(&socket).unwrap();
    let deaf = UnixListener::bind(&socket).unwrap();
    at_other(&format!("Admin_Address={}", other.admin));
    let said = here(&["--timeout", "1", "-c", "quit"]);
    assert_eq!(said.code, Some(4), "{said:?}");
    drop(deaf);
    // Nobody listens at the socket: the address that the file gives.
    assert_eq!(here(&["-c", "show server"]).code, Some(0), "the other server has not stopped");
    std::fs::remove_file(&socket).unwrap();
    assert_eq!(here(&["-c", "quit"]).code, Some(0));
    other.server.line("Stopped, 0 lost");
}

/// Answers each step late, so that all steps together take several times as long as each.
#[test]
fn the_time_for_an_answer_is_that_of_all_its_steps() {
    let directory = Directory::new();
    let token = directory.secret("token", "0123456789abcdef");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).unwrap_or(0);
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            let command = text.starts_with("POST");
            heard.lock().unwrap().push(text);
            if command {
                std::thread::sleep(std::time::Duration::from_secs(4));
            }
            stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"Boneyard, any user, the token as password\"\r\ncontent-length: 0\r\n\r\n").ok();
        }
    });
    let token = token.to_str().unwrap();
    let said = run(&mut console(&address, &["--timeout", "7", "-c", "quit", "--token-file", token]));
    assert_eq!(said.code, Some(4), "the second step had three seconds left: {said:?}");
    let asked = asked.lock().unwrap();
    assert!(asked.last().unwrap().contains("Bearer 0123456789abcdef"), "{asked:?}");
}

#[test]
fn a_token_file_that_is_a_pipe_holds_no_console_up() {
    let directory = Directory::new();
    let pipe = directory.path().join("token");
    assert_eq!(run(command("mkfifo").arg(&pipe)).code, Some(0));
    let said = run(&mut console("127.0.0.1:1", &["-c", "quit", "--token-file", pipe.to_str().unwrap()]));
    assert_eq!((said.code, said.err.contains("a named pipe, not a plain file")), (Some(2), true), "{said:?}");
}

#[test]
fn a_port_and_an_admin_server_that_are_mistaken_for_one_another_are_named() {
    let served = serve("");
    let said = run(&mut console(&served.server.address(), &["-c", "show server"]));
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("is this an Admin_Address?"), "{said:?}");
    let said = run(command(BONEYARD).args(["call", &served.admin, "server.ping"]));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("it speaks HTTP; is this an Admin_Address?"), "{said:?}");
}

#[test]
fn show_performance_switches_what_the_settings_say() {
    let served = serve("Server_Show_Performance=1");
    let said = run(&mut console(&served.admin, &["-c", "show performance"]));
    assert_eq!(said.out, "Server Performance Monitoring is now disabled.\n");
}

/// A program on a terminal, and what it has written there.
struct Terminal {
    keys: File,
    screen: Arc<Mutex<String>>,
    program: Child,
}

impl Terminal {
    fn run(command: &mut Command) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let open = || OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let program = command
            .env("TERM", "xterm")
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()))
            .spawn()
            .expect("the program is built");
        let keys = File::from(master);
        let (mut reader, screen) = (keys.try_clone().unwrap(), Arc::new(Mutex::new(String::new())));
        let seen = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The system says EIO when the program has gone.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Terminal { keys, screen, program }
    }

    /// Waits until this has been written, and forgets what came up to it.
    #[track_caller]
    fn see(&self, text: &str) {
        wait_until(&format!("the screen shows {text:?}"), || {
            let mut screen = self.screen.lock().unwrap();
            let end = screen.find(text).map(|start| start + text.len());
            end.is_some_and(|end| screen.drain(..end).count() > 0)
        });
    }

    fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    #[track_caller]
    fn ended(&mut self) -> Option<i32> {
        let mut code = None;
        wait_until("the console ends", || {
            code = self.program.try_wait().unwrap();
            code.is_some()
        });
        code.and_then(|status| status.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.program.kill().ok();
        self.program.wait().ok();
    }
}

fn on_terminal(served: &Served) -> Terminal {
    Terminal::run(console(&served.admin, &[]).env("XDG_STATE_HOME", served.directory.path()))
}

#[test]
fn a_terminal_edits_completes_and_remembers() {
    let served = serve("");
    let prompt = format!("{}> ", served.admin);
    let mut terminal = on_terminal(&served);
    terminal.see(&prompt);
    terminal.keys("sho\tserv\t\r");
    terminal.see("show server");
    terminal.see("Elapsed time:");
    terminal.see(&prompt);
    // A setting by its beginning, and the whole line again with the arrow key.
    terminal.keys("show conf\tserver_pool_t\t\r");
    terminal.see("Server_Pool_Tasks=");
    terminal.see(&prompt);
    terminal.keys("\u{1b}[A\r");
    terminal.see("Server_Pool_Tasks=");
    terminal.see(&prompt);
    terminal.keys("nonsense\u{3}");
    terminal.see(&prompt);
    terminal.keys("exit\r");
    assert_eq!(terminal.ended(), Some(0));
    let history = served.directory.path().join("boneyard/history");
    let kept = std::fs::read_to_string(&history).unwrap();
    assert!(kept.contains("show server") && kept.contains("exit"), "{kept}");
    assert_eq!(mode(&history), 0o600);
    assert_eq!(mode(history.parent().unwrap()), 0o700);
    let mut terminal = on_terminal(&served);
    terminal.see(&prompt);
    terminal.keys("\u{1b}[A\u{1b}[A\r");
    terminal.see("Server_Pool_Tasks=");
    terminal.see(&prompt);
    terminal.keys("\u{4}");
    assert_eq!(terminal.ended(), Some(0));
}

#[test]
fn a_pipe_in_the_place_of_the_history_holds_nobody_up() {
    let served = serve("");
    let folder = served.directory.path().join("boneyard");
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(run(command("mkfifo").arg(folder.join("history"))).code, Some(0));
    let mut terminal = on_terminal(&served);
    terminal.see(&format!("{}> ", served.admin));
    terminal.keys("show serv\r");
    terminal.see("Elapsed time:");
    terminal.keys("exit\r");
    assert_eq!(terminal.ended(), Some(0));
}

fn mode(path: &Path) -> u32 {
    let permissions: Permissions = std::fs::metadata(path).unwrap().permissions();
    permissions.mode() & 0o777
}

#[test]
fn quit_stops_the_server_and_a_terminal_asks_first() {
    let mut served = serve("");
    let mut terminal = on_terminal(&served);
    terminal.see("> ");
    terminal.keys("quit\r");
    terminal.see("(yes/no) ");
    terminal.keys("no\r");
    terminal.see("The server keeps running.");
    terminal.see("> ");
    terminal.keys("q\r");
    terminal.see("(yes/no) ");
    terminal.keys("yes\r");
    terminal.see("The server is shutting down; ");
    assert_eq!(terminal.ended(), Some(0));
    assert_eq!(served.server.wait(), Some(0));
    served.server.line("Stopped, 0 lost");
}
