//! The rights of those who ask the admin server: over TCP without a token one looks; the token, the server's own user and
//! root command. Real servers, real sockets, and a console of another user.

mod http;
mod process;

use http::{command as order, get};
use process::*;
use rustix::process::{Signal, geteuid};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const BONEYARD: &str = env!("CARGO_BIN_EXE_boneyard");
const COMMAND: &str = "x-boneyard-console: 1";
const TOKEN: &str = "0123456789abcdef-secret";

/// A command of each kind that changes something.
const CHANGES: [&str; 11] = [
    "set config Server_Max_Concurrent_Trans=3",
    "SE C Log_Level=debug",
    "drop all",
    "stop port TCPIP",
    "start port TCPIP",
    "restart port TCPIP",
    "tell notes compact",
    "show performance",
    "show transactions reset",
    "sh tr res",
    "quit",
];

struct Served {
    server: Running,
    admin: SocketAddr,
    directory: Directory,
}

impl Served {
    fn socket(&self) -> PathBuf {
        self.directory.path().join("server.ini.admin")
    }
}

fn serve_in(directory: Directory, lines: &str) -> Served {
    let lines = on_free_port(&format!("Admin_Address=127.0.0.1:0\nServer_Pool_Tasks=2\n{lines}"));
    let file = directory.file("server.ini", &lines);
    let server = Running::start(command(BONEYARD).arg("serve").arg(file));
    let line = server.line("Admin server at http://");
    let (_, url) = line.split_once("http://").unwrap();
    Served { admin: url.trim_end_matches('/').parse().unwrap(), server, directory }
}

fn serve(lines: &str) -> Served {
    serve_in(Directory::new(), lines)
}

fn console(place: &str, line: &str) -> Command {
    let mut console = command(BONEYARD);
    console.args(["console", place, "-c", line]);
    console
}

#[test]
fn over_tcp_without_a_token_one_looks_and_changes_nothing() {
    let mut served = serve("");
    let before = std::fs::read(served.directory.path().join("server.ini")).unwrap();
    for line in CHANGES {
        let said = order(served.admin, line, &[COMMAND]);
        assert_eq!(said.status, 403, "{line}: {}", said.body);
        assert!(
            said.body.contains("Admin_Socket") && said.body.contains("Admin_Token_File"),
            "{}",
            said.body
        );
        let bearer = format!("authorization: Bearer {TOKEN}");
        assert_eq!(order(served.admin, line, &[COMMAND, &bearer]).status, 403, "there is no token to know");
    }
    for line in [
        "show server",
        "show config",
        "show transactions",
        "sh users",
        "help",
        "words",
        "",
        "show port tcpip",
    ] {
        assert_eq!(order(served.admin, line, &[COMMAND]).status, 200, "{line}");
    }
    assert_eq!(order(served.admin, "quit now", &[COMMAND]).status, 422, "what is no command is no secret");
    for page in ["/", "/metrics", "/health/live"] {
        assert_eq!(get(served.admin, page, &[]).status, 200);
    }
    let metrics = get(served.admin, "/metrics", &[]).body;
    let count = format!("boneyard_admin_refused_total{{reason=\"LookOnly\"}} {}", 2 * CHANGES.len());
    assert!(metrics.contains(&count), "{metrics}");
    assert_eq!(std::fs::read(served.directory.path().join("server.ini")).unwrap(), before);
    assert_eq!(served.server.stop(), Some(0));
    assert!(!served.server.lines().iter().any(|line| line.contains("Console command given")));
}

#[test]
fn the_servers_own_user_types_what_it_typed_before() {
    let mut served = serve("");
    let socket = served.socket();
    let there = std::fs::symlink_metadata(&socket).unwrap();
    assert!(there.file_type().is_socket() && there.uid() == geteuid().as_raw());
    assert_eq!(there.permissions().mode() & 0o777, 0o600);
    let address = served.admin.to_string();
    let port = served.admin.port().to_string();
    let places = [address.as_str(), &port, &format!("localhost:{port}"), socket.to_str().unwrap()];
    for (place, limit) in places.into_iter().zip(3..) {
        let said = run(&mut console(place, &format!("set config server_max_concurrent_trans={limit}")));
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{place}: {said:?}");
        let by = format!(
            "by=unix:uid={} command=set config server_max_concurrent_trans={limit}",
            geteuid().as_raw()
        );
        served.server.line(&format!("Console command given: {by}"));
    }
    // Without an address: the server of the directory's server.ini.
    let mut here = command(BONEYARD);
    let said = run(here.current_dir(served.directory.path()).args(["console", "-c", "quit"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(served.server.wait(), Some(0));
    assert!(!socket.exists(), "the socket is gone with its server");
}

#[test]
fn a_token_lets_command_over_tcp_and_is_sent_to_nobody_who_does_not_ask_for_it() {
    let directory = Directory::new();
    let token = directory.secret("token", TOKEN);
    let lines = format!("Admin_Socket=off\nAdmin_Token_File={}", token.display());
    let served = serve_in(directory, &lines);
    assert!(!served.socket().exists());
    let place = served.admin.to_string();
    let without = run(&mut console(&place, "show server"));
    assert!(without.code == Some(2) && without.err.contains("--token-file"), "{without:?}");
    let change = "set config Server_Max_Concurrent_Trans=3";
    let with = run(console(&place, change).arg("--token-file").arg(&token));
    assert_eq!(with.code, Some(0), "{with:?}");
    served.server.line("Console command given: by=token@127.0.0.1 command=set config");
    for (answer, code) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 0),
        (
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"Router\"\r\ncontent-length: 0\r\n\r\n",
            2,
        ),
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", 3),
        ("SSH-2.0-OpenSSH_9.2\r\n", 4),
    ] {
        let (place, heard) = pretend(answer.as_bytes().to_vec(), false);
        let said = run(console(&place, change).arg("--token-file").arg(&token));
        assert_eq!(said.code, Some(code), "{answer}: {said:?}");
        let heard = heard.lock().unwrap();
        assert!(heard.contains("POST /console") && !heard.contains(TOKEN), "{heard}");
    }
}

/// Someone who listens and says this to whatever comes, on and on if need be; and what it has heard.
fn pretend(answer: Vec<u8>, endless: bool) -> (String, std::sync::Arc<std::sync::Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (place, heard) = (listener.local_addr().unwrap().to_string(), std::sync::Arc::default());
    let all: std::sync::Arc<std::sync::Mutex<String>> = std::sync::Arc::clone(&heard);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut bytes = [0; 65536];
            let Ok(count) = stream.read(&mut bytes) else { continue };
            all.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            while stream.write_all(&answer).is_ok() && endless {}
        }
    });
    (place, heard)
}

/// Behind a tunnel is a server of another machine, where another socket has the same path.
#[test]
fn another_server_at_the_socket_that_was_told_is_not_commanded() {
    let served = serve("");
    let told = get(served.admin, "/socket", &[]).body;
    let (path, instance) = told.trim_end().split_once('\n').expect("a path, and a number");
    assert_eq!((Path::new(path), instance.len()), (served.socket().as_path(), 32), "{told}");
    let answer = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let change = "set config Log_Level=debug";
    for body in [format!("{path}\n{}\n", "0".repeat(32)), format!("{path}\n"), "/dev/log\nx\n".to_owned()] {
        let (place, heard) = pretend(answer(&body).into_bytes(), false);
        assert_eq!(run(&mut console(&place, change)).out, body, "the one that was meant is asked");
        assert!(heard.lock().unwrap().contains(change));
    }
    assert!(!served.server.lines().iter().any(|line| line.contains("Console command given")));
}

#[test]
fn an_answer_without_end_is_given_up() {
    let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    answer.resize(1 << 16, b'x');
    let (place, _) = pretend(answer, true);
    let said = run(&mut console(&place, "show server"));
    assert!(said.code == Some(4) && said.out.is_empty() && said.err.contains("length limit"), "{said:?}");
}

#[test]
fn no_command_of_anybody_sets_a_key_that_names_a_file_an_address_or_a_secret() {
    let directory = Directory::new();
    let token = directory.secret("token", TOKEN);
    let lines = format!("Admin_Token_File={}", token.display());
    let served = serve_in(directory, &lines);
    let bearer = format!("authorization: Bearer {TOKEN}");
    let file = || std::fs::read_to_string(served.directory.path().join("server.ini")).unwrap();
    let before = file();
    for setting in [
        "Log_File=/root/.profile",
        "log_file=",
        "Admin_Token_File=/etc/hostname",
        "Admin_Address=127.0.0.1:1",
        "Admin_Socket=/tmp/x",
        "TCPIP_TCPIPAddress=0,127.0.0.1:1",
    ] {
        let line = format!("set config {setting}");
        let over_tcp = order(served.admin, &line, &[COMMAND, &bearer]);
        let over_socket = run(&mut console(served.socket().to_str().unwrap(), &line));
        assert_eq!((over_tcp.status, over_socket.code), (409, Some(3)), "{setting}");
        for said in [&over_tcp.body, &over_socket.err] {
            assert!(said.contains("is set in the settings file alone"), "{setting}: {said}");
        }
    }
    assert_eq!(file(), before);
}

/// Runs as a user who is neither the server's nor root; `None` where this test cannot.
fn stranger(command: &mut Command) -> Option<&mut Command> {
    geteuid().is_root().then(|| command.uid(65534).gid(65534))
}

#[test]
fn another_user_of_the_machine_only_looks() {
    let served = serve("");
    let (socket, tcp) = (served.socket(), served.admin.to_string());
    let (change, look) = ("set config Log_Level=debug", "show server");
    let mut none = console(&tcp, change);
    let Some(over_tcp) = stranger(&mut none) else { return };
    let said = run(over_tcp);
    assert!(said.code == Some(2) && said.err.contains("one may only look"), "{said:?}");
    assert_eq!(run(stranger(&mut console(&tcp, look)).unwrap()).code, Some(0));
    let path = socket.to_str().unwrap();
    let closed = run(stranger(&mut console(path, look)).unwrap());
    assert!(closed.code == Some(1) && closed.err.contains("Permission denied"), "{closed:?}");
    // Whoever opens the file to all has not opened the server to them.
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
    let python = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                  s.sendall(b'POST /console HTTP/1.1\\r\\nhost: localhost\\r\\nx-boneyard-console: 1\\r\\n\
                  connection: close\\r\\ncontent-length: 4\\r\\n\\r\\nquit')\nprint(s.makefile().readline())";
    let mut asks = command("python3");
    let said = run(stranger(asks.args(["-c", python, path])).unwrap());
    assert!(said.out.contains(" 403 "), "{said:?}");
}

/// Who listens on a socket at this path as this user, and says what it hears first.
fn listen_as(user: u32, path: &Path) -> Running {
    let python = "import os,socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\n\
                  os.chmod(sys.argv[1],0o666)\ns.listen()\nsys.stderr.write('listens\\n')\n\
                  c,_=s.accept()\nsys.stderr.write('heard %r\\n'%c.recv(9))";
    let mut listens = command("python3");
    let listener = Running::start(listens.args(["-c", python]).arg(path).uid(user).gid(user));
    listener.line("listens");
    listener
}

#[test]
fn a_user_asks_nobody_at_a_socket_but_itself_and_root_while_root_asks_whoever_listens() {
    if !geteuid().is_root() {
        return eprintln!("skipped: only root runs something as another user");
    }
    let directory = Directory::new();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let look = |path: &Path| console(path.to_str().unwrap(), "show server");
    let path = directory.path().join("another");
    let listener = listen_as(65533, &path);
    let said = run(stranger(&mut look(&path)).unwrap());
    assert!(said.code == Some(1) && said.err.contains("user 65533 listens there"), "{said:?}");
    listener.line("heard b''");
    let path = directory.path().join("any");
    let listener = listen_as(65534, &path);
    let said = run(&mut look(&path));
    assert_eq!(said.code, Some(4), "it ends without an answer: {said:?}");
    listener.line("heard b'GET /sock");
}

#[test]
fn root_commands_the_server_of_another_user() {
    if !geteuid().is_root() {
        return eprintln!("skipped: only root runs a server as another user");
    }
    let directory = Directory::new();
    let lines = on_free_port("Admin_Address=127.0.0.1:0\nServer_Pool_Tasks=2");
    let file = directory.file("server.ini", &lines);
    for path in [directory.path(), &file] {
        chown(path, Some(65534), Some(65534)).unwrap();
    }
    let mut server = Running::start(stranger(command(BONEYARD).arg("serve").arg(&file)).unwrap());
    let line = server.line("Admin server at http://");
    let address = line.split_once("http://").unwrap().1.trim_end_matches('/').to_owned();
    let socket = directory.path().join("server.ini.admin");
    assert_eq!(std::fs::symlink_metadata(&socket).unwrap().uid(), 65534);
    for (place, limit) in [address.as_str(), socket.to_str().unwrap()].into_iter().zip(3..) {
        let said = run(&mut console(place, &format!("set config server_max_concurrent_trans={limit}")));
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{place}: {said:?}");
        server.line(&format!("by=unix:uid=0 command=set config server_max_concurrent_trans={limit}"));
    }
    let mut here = command(BONEYARD);
    let said = run(here.current_dir(directory.path()).args(["console", "-c", "quit"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn the_socket_of_a_server_that_was_killed_is_replaced_and_that_of_a_live_one_is_not() {
    let mut served = serve("");
    let socket = served.socket();
    served.server.signal(Signal::KILL);
    served.server.wait();
    assert!(socket.exists());
    let served = serve_in(served.directory, "");
    served.server.line("Admin socket at ");
    assert!(UnixStream::connect(&socket).is_ok());
    let file = served.directory.path().join("server.ini");
    let mut second = Running::start(command(BONEYARD).arg("serve").arg(&file));
    second.line("no admin socket: ");
    second.line("another server listens there (Admin_Socket)");
    assert_eq!(second.stop(), Some(0));
    assert_eq!(run(&mut console(socket.to_str().unwrap(), "show server")).code, Some(0), "it still answers");
    let asked_for = |path: &Path, says: &str| {
        let lines = on_free_port(&format!("Admin_Address=\nAdmin_Socket={}", path.display()));
        let said = run(command(BONEYARD).arg("serve").arg(served.directory.file("second.ini", &lines)));
        assert!(
            said.code == Some(1) && said.err.contains("Admin_Socket") && said.err.contains(says),
            "{said:?}"
        );
    };
    asked_for(&socket, "another server listens there");
    asked_for(&file, "a file that is not a socket is there");
    asked_for(&served.directory.path().join("none/s"), "No such file");
    let long = served.directory.path().join("x".repeat(107));
    let lines = on_free_port(&format!("Admin_Socket={}", long.display()));
    let said = run(command(BONEYARD).arg("check").arg(served.directory.file("long.ini", &lines)));
    assert!(said.code == Some(2) && said.out.contains("a path of at most 107 bytes"), "{said:?}");
}

#[test]
fn a_server_without_an_address_is_commanded_over_its_socket() {
    let directory = Directory::new();
    let file = directory.file("server.ini", &on_free_port("Admin_Address="));
    let mut server = Running::start(command(BONEYARD).arg("serve").arg(&file));
    server.line("Admin socket at ");
    let mut quit = command(BONEYARD);
    assert_eq!(run(quit.current_dir(directory.path()).args(["console", "-c", "quit"])).code, Some(0));
    assert_eq!(server.wait(), Some(0));
}
