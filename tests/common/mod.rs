//! Shared by the tests: a server on a free port, a client that speaks raw frames, and waiting on conditions.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod control_client;
pub mod gate;
pub mod logged;
#[cfg(feature = "server")]
pub mod outcomes;

use boneyard::config::Config;
use boneyard::internal::wire::body::{Hello, Welcome};
use boneyard::internal::wire::limits::HEADER_BYTES;
use boneyard::internal::wire::{CallPrelude, Codec, Flags, FrameKind, Header, Preface, ReplyPrelude};
#[cfg(feature = "server")]
use boneyard::server::{RunningServer, Server};
use boneyard::service::{Fault, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest wait for a condition. Only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Settings from INI lines; every port listens on a free port of this machine unless the lines say otherwise.
pub fn config(lines: &str) -> Config {
    let mut config = Config::from_text(lines, None, 2).unwrap_or_else(|errors| panic!("{errors}"));
    for port in &mut config.ports {
        port.address.port = 0;
    }
    if !config.admin_address.source.is_given() {
        config.admin_address.value = None;
    }
    config
}

/// Lines of several ports on free addresses of this machine.
pub fn ports(names: &[&str]) -> String {
    // Addresses must differ in the INI; `config` then has the system choose.
    let addresses = names.iter().zip(1..).map(|(name, n)| format!("{name}_TCPIPAddress=127.0.0.1:{n}\n"));
    format!("Ports={}\n{}", names.join(","), addresses.collect::<String>())
}

/// A server with the rehearsal service.
#[cfg(feature = "server")]
pub fn load_server(lines: &str) -> RunningServer {
    server(lines).start().expect("starts")
}

/// The same, before it starts.
#[cfg(feature = "server")]
pub fn server(lines: &str) -> Server {
    Server::new(config(&format!("Load_Service=1\n{lines}")))
}

/// Waits until nothing is in flight and all permits are home; workers give theirs back shortly after their last reply.
#[cfg(feature = "server")]
#[track_caller]
pub fn wait_for_permits(server: &RunningServer) {
    wait_until("all permits are home", || server.in_flight() == 0 && server.permits_out() == 0);
}

/// A client of raw frames.
pub struct Raw {
    pub stream: TcpStream,
    pub welcome: Welcome,
    next: u64,
}

/// A frame as received.
#[derive(Debug)]
pub struct Frame {
    pub header: Header,
    pub body: Vec<u8>,
}

impl Raw {
    /// Connects and is welcomed.
    pub fn connect(address: SocketAddr) -> Raw {
        Raw::greet(connect(address))
    }

    /// Greets on a connection and is welcomed.
    pub fn greet(mut stream: TcpStream) -> Raw {
        stream.write_all(&greeting()).unwrap();
        Raw::hear_welcome(stream)
    }

    /// Is welcomed on a connection that has greeted.
    pub fn hear_welcome(mut stream: TcpStream) -> Raw {
        let frame = read_frame(&mut stream).expect("a Welcome");
        assert_eq!(frame.header.kind, FrameKind::Welcome);
        Raw::welcomed(stream, &frame)
    }

    /// A connection that has been welcomed by this frame.
    pub fn welcomed(stream: TcpStream, frame: &Frame) -> Raw {
        let welcome = Codec::Bincode.decode(&frame.body).expect("a Welcome's body");
        Raw { stream, welcome, next: 1 }
    }

    pub fn number(&self, method: &str) -> u16 {
        self.welcome.methods.iter().find(|entry| entry.name == method).expect("the method exists").number
    }

    /// A Call's bytes and its id.
    pub fn frame<T: Serialize>(&mut self, method: &str, arguments: &T, deadline_ms: u32) -> (u64, Vec<u8>) {
        let mut body = Vec::new();
        Codec::Bincode.encode(arguments, &mut body).unwrap();
        let id = self.next;
        self.next += 1;
        (id, call_frame(id, self.number(method), Flags::NONE, deadline_ms, &body))
    }

    pub fn send<T: Serialize>(&mut self, method: &str, arguments: &T) -> u64 {
        let (id, frame) = self.frame(method, arguments, 0);
        self.stream.write_all(&frame).unwrap();
        id
    }

    /// The next frame; `None` when the server has closed.
    pub fn read(&mut self) -> Option<Frame> {
        read_frame(&mut self.stream)
    }

    /// Calls and waits; the answer must be the next frame.
    pub fn call<T: Serialize, R: DeserializeOwned>(
        &mut self,
        method: &str,
        arguments: &T,
    ) -> Result<R, (Status, Fault)> {
        let id = self.send(method, arguments);
        let frame = self.read().expect("a reply");
        assert_eq!((frame.header.kind, frame.header.call), (FrameKind::Reply, id));
        frame.result()
    }
}

impl Frame {
    pub fn status(&self) -> Status {
        Status::from_code(self.header.code).expect("a known status")
    }

    pub fn times(&self) -> ReplyPrelude {
        ReplyPrelude::split(&self.body).unwrap().0
    }

    pub fn result<R: DeserializeOwned>(&self) -> Result<R, (Status, Fault)> {
        let (_, body) = ReplyPrelude::split(&self.body).unwrap();
        match self.status() {
            Status::Ok => Ok(Codec::of(self.header.flags).decode(body).expect("the method's response type")),
            status => Err((status, Codec::of(self.header.flags).decode(body).expect("a fault"))),
        }
    }
}

/// Resets a connection: what is under way is lost, and the server's next look at it is an error.
#[cfg(feature = "server")]
pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A connection from an address of this machine.
pub fn connect_from(own: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((own, 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// Preface and Hello.
pub fn greeting() -> Vec<u8> {
    let mut bytes = Preface::OURS.write().to_vec();
    let mut body = Vec::new();
    Codec::Bincode.encode(&Hello { client: "test".to_owned() }, &mut body).unwrap();
    bytes.extend(frame(FrameKind::Hello, 0, 0, &body));
    bytes
}

pub fn frame(kind: FrameKind, code: u16, call: u64, body: &[u8]) -> Vec<u8> {
    let header = Header { body_bytes: body.len() as u32, kind, flags: Flags::NONE, code, call };
    [&header.write(), body].concat()
}

pub fn call_frame(call: u64, method: u16, flags: Flags, deadline_ms: u32, arguments: &[u8]) -> Vec<u8> {
    let body = [&CallPrelude { session: 0, deadline_ms }.write(), arguments].concat();
    let header = Header { body_bytes: body.len() as u32, kind: FrameKind::Call, flags, code: method, call };
    [&header.write(), &body[..]].concat()
}

pub fn read_frame(stream: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; HEADER_BYTES];
    match stream.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("no bytes from the server in time")
        }
        Err(_) => return None,
    }
    let header = Header::read(&head).expect("a header");
    let mut body = vec![0; header.body_bytes as usize];
    stream.read_exact(&mut body).expect("the frame's body");
    Some(Frame { header, body })
}

/// xorshift64*: small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}
