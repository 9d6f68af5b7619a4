//! The client on simulated networks: a slow name server, a server's port within the range of outgoing connections, a
//! peer whose machine crashes, link-local addresses.
//!
//! Each test runs in Linux namespaces of its own, which need root: the test of the same name with the prefix `in_`
//! starts it there, and reports if it cannot.
#![cfg(all(target_os = "linux", feature = "cli"))]

mod common;
mod process;
mod scripted_server;

use boneyard::Client;
use boneyard::client::{ClientError, ClientOptions, DeadlineSource};
use common::gate::thread_names;
use process::{Directory, Running, command, run};
use scripted_server::{DOUBLE, ScriptedServer};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const BONEYARD: &str = env!("CARGO_BIN_EXE_boneyard");

/// Runs the test of this name in namespaces of its own, after the shell commands `setup`.
fn in_namespaces(test: &str, setup: &str) {
    let unshare = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--net", "sh", "-ec", command]).arg(std::env::current_exe().unwrap());
        unshare.arg(test);
        unshare
    };
    let able = unshare(&format!("ip link set lo up\n{setup}")).output();
    if !able.as_ref().is_ok_and(|output| output.status.success()) {
        let message = format!("{test} is skipped: no such namespaces here: {able:?}\n");
        std::io::stderr().write_all(message.as_bytes()).unwrap();
        return;
    }
    let line = "exec \"$0\" --ignored --exact \"$1\" --nocapture";
    let said = unshare(&format!("ip link set lo up\n{setup}\n{line}")).output().unwrap();
    let [out, err] = [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(said.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

/// A machine at the other end of a cable: `near` here is 10.9.0.1, `there` in the namespace `far` is 10.9.0.2.
const CABLE: &str = "mount -t tmpfs none /run
ip netns add far
ip link add near type veth peer name there netns far
ip addr add 10.9.0.1/24 dev near
ip addr add fe80::1/64 dev near nodad
ip link set near up
ip -n far addr add 10.9.0.2/24 dev there
ip -n far addr add fe80::2/64 dev there nodad
ip -n far link set there up
ip -n far link set lo up";

#[test]
fn in_a_slow_lookup() {
    // Only names that are not local go to a name server, and for long.
    let setup = "mount -t tmpfs none /mnt
echo 'hosts: files dns' > /mnt/nsswitch.conf
echo 'nameserver 127.0.0.1' > /mnt/resolv.conf
echo 'options timeout:30 attempts:1' >> /mnt/resolv.conf
mount --bind /mnt/nsswitch.conf /etc/nsswitch.conf
mount --bind /mnt/resolv.conf /etc/resolv.conf";
    in_namespaces("a_slow_lookup", setup);
}

#[test]
#[ignore = "run by in_a_slow_lookup"]
fn a_slow_lookup() {
    let names = NameServer::start();
    let server = ScriptedServer::new();
    let port = server.address().parse::<SocketAddr>().unwrap().port();
    let client = Client::new(format!("slow.example:{port}")).unwrap();
    let late = ClientError::DeadlineExceeded { detected_by: DeadlineSource::Client, may_have_run: false };
    for _ in 0..5 {
        let begin = Instant::now();
        // Another client of the same name shares the lookup.
        let client = Client::new(format!("slow.example:{port}")).unwrap();
        let soon = client.with_deadline(Duration::from_millis(300));
        assert_eq!(soon.call(DOUBLE, &1), Err(late.clone()));
        assert!(begin.elapsed() < Duration::from_secs(20), "the limit holds");
    }
    let lookups = || thread_names().iter().filter(|name| name.starts_with("boneyard-client")).count();
    assert_eq!(lookups(), 1, "one thread for all attempts");
    assert!(names.asked() <= 2, "asked once for each kind of address");
    names.answer();
    scripted_server::wait_until("the answer is there", || lookups() == 0);
    let serving = thread::spawn(move || server.accept().serve());
    let asked = names.asked();
    assert_eq!(client.call(DOUBLE, &21), Ok(42), "by the answer that was too late");
    assert_eq!(names.asked(), asked, "nothing is asked again");
    drop(client);
    assert_eq!(serving.join().unwrap(), 1);
}

/// Answers every query with 127.0.0.1, once it is told to.
struct NameServer {
    asked: Arc<AtomicUsize>,
    open: Arc<(Mutex<bool>, Condvar)>,
}

impl NameServer {
    fn start() -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
        let names = NameServer { asked: Arc::default(), open: Arc::default() };
        let (asked, open) = (Arc::clone(&names.asked), Arc::clone(&names.open));
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((bytes, peer)) = socket.recv_from(&mut question) {
                asked.fetch_add(1, Ordering::SeqCst);
                let (socket, open) = (socket.try_clone().unwrap(), Arc::clone(&open));
                let question = question[..bytes].to_vec();
                thread::spawn(move || {
                    drop(open.1.wait_while(open.0.lock().unwrap(), |open| !*open).unwrap());
                    socket.send_to(&NameServer::answer_to(&question), peer).unwrap();
                });
            }
        });
        names
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn answer(&self) {
        *self.open.0.lock().unwrap() = true;
        self.open.1.notify_all();
    }

    fn answer_to(question: &[u8]) -> Vec<u8> {
        // The name ends with an empty label; its type and class follow. Only type 1, A, has an answer.
        let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
        let is_a = question[end - 4..end - 2] == [0, 1];
        let header = [&question[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]].concat();
        let record: &[u8] = if is_a { &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1] } else { &[] };
        [&header[..], &question[12..end], record].concat()
    }
}

#[test]
fn in_a_port_in_the_range_of_outgoing_connections() {
    let setup = "echo '23508 23508' > /proc/sys/net/ipv4/ip_local_port_range";
    in_namespaces("a_port_in_the_range_of_outgoing_connections", setup);
}

#[test]
#[ignore = "run by in_a_port_in_the_range_of_outgoing_connections"]
fn a_port_in_the_range_of_outgoing_connections() {
    let call = || run(command(BONEYARD).args(["call", "127.0.0.1:23508", "server.ping", "--timeout", "30"]));
    for _ in 0..20 {
        let said = call();
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains("refused"), "{said:?}");
    }
    // The port stays free for its server.
    TcpListener::bind("127.0.0.1:23508").expect("no TIME_WAIT holds the port");
}

#[test]
fn in_a_server_whose_machine_crashes() {
    in_namespaces("a_server_whose_machine_crashes", CABLE);
}

#[test]
#[ignore = "run by in_a_server_whose_machine_crashes"]
fn a_server_whose_machine_crashes() {
    let directory = Directory::new();
    let file =
        directory.file("server.ini", "Load_Service=1\nTCPIP_TCPIPAddress=0,10.9.0.2:0\nServer_Pool_Tasks=4");
    let server = Running::start(command("ip").args(["netns", "exec", "far", BONEYARD, "serve"]).arg(&file));
    let options = ClientOptions::default().deadline(None).keepalive(Duration::from_secs(1));
    let client = Client::with_options(server.address(), options).unwrap();
    let waiting = client.start_json("load.sleep", "600000").unwrap();
    // Answered after the other was admitted: calls of a connection are admitted in their order.
    client.call(boneyard::service::builtin::PING, &()).unwrap();
    let cut = Command::new("ip").args(["-n", "far", "link", "set", "there", "down"]).status().unwrap();
    assert!(cut.success());
    // One call that is waited for, and one whose bytes are not acknowledged.
    let late = client.start_json("load.sleep", "1").unwrap();
    for call in [waiting, late] {
        let calling = thread::spawn(move || call.wait());
        scripted_server::wait_until("the call ends", || calling.is_finished());
        let error = calling.join().unwrap().unwrap_err();
        assert!(matches!(error, ClientError::Disconnected { may_have_run: true, .. }), "{error:?}");
    }
}

#[test]
fn in_link_local_addresses_have_a_zone() {
    in_namespaces("link_local_addresses_have_a_zone", CABLE);
}

#[test]
#[ignore = "run by in_link_local_addresses_have_a_zone"]
fn link_local_addresses_have_a_zone() {
    let index = std::fs::read_to_string("/sys/class/net/near/ifindex").unwrap_or_default();
    let zones = ["near", index.trim()].into_iter().filter(|zone| !zone.is_empty());
    let directory = Directory::new();
    let token = directory.secret("token", "0123456789abcdef");
    let lines = "TCPIP_TCPIPAddress=0,[::]:4321\nServer_Pool_Tasks=4\nAdmin_Address=[fe80::2%there]:4322";
    let lines = format!("{lines}\nAdmin_Token_File={}", token.display());
    let file = directory.file("server.ini", &lines);
    let server = Running::start(command("ip").args(["netns", "exec", "far", BONEYARD, "serve"]).arg(&file));
    server.line("Listen for connect requests");
    for zone in zones {
        let said = run(command(BONEYARD).args(["call", &format!("[fe80::2%{zone}]:4321"), "server.ping"]));
        assert_eq!((said.code, said.out.as_str()), (Some(0), "null\n"), "{zone}: {said:?}");
        let short =
            ["--connections", "1", "--warm-up", "0.01", "--duration", "0.1", "--method", "server.echo"];
        let said = run(command(BONEYARD).args(["bench", &format!("[fe80::2%{zone}]:4321")]).args(short));
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{zone}: {said:?}");
        let place = format!("[fe80::2%{zone}]:4322");
        let mut console = command(BONEYARD);
        console.args(["console", &place, "-c", "show server", "--token-file"]).arg(&token);
        let said = run(&mut console);
        assert_eq!(said.code, Some(0), "{zone}: {said:?}");
    }
    let said = run(command(BONEYARD).args(["call", "[fe80::2%nosuch]:4321", "server.ping"]));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("no network interface \"nosuch\""), "{said:?}");
}
