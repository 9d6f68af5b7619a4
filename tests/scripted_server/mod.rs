//! A scripted server: the test decides what it answers, when, and whether it violates the protocol. The client's bytes
//! go through the real server's half of the protocol, so a client that violates it fails the test.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use boneyard::client::{Client, ClientOptions};
use boneyard::internal::admission::Admission;
use boneyard::internal::metrics::{MethodsStats, PortStats, ServiceTimes};
use boneyard::internal::proto::{self, ReceiveContext, Received, ServerProtocol};
use boneyard::internal::wire::body::MethodEntry;
use boneyard::internal::wire::{Chain, Codec, Flags, FrameKind, Header, ReplyPrelude};
use boneyard::service::{Bytes, Fault, Method, Refusal, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Longest wait for a condition. Only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const DOUBLE: Method<u32, u64> = Method::new("test.double");
pub const STORE: Method<Bytes, ()> = Method::new("test.store");
pub const MISSING: Method<(), ()> = Method::new("test.dobule");

/// Largest body of a call by the Welcome.
pub const BODY_BYTES_MAX: u32 = 32 << 20;

/// Method numbers are out of order and not from 1 on purpose: they mean only what the Welcome says.
pub fn welcome() -> Vec<u8> {
    welcome_with([(7, "test.double"), (3, "test.store")])
}

pub fn welcome_with<const N: usize>(methods: [(u16, &str); N]) -> Vec<u8> {
    let methods = methods.map(|(number, name)| MethodEntry { number, name: name.to_owned(), fingerprint: 0 });
    proto::welcome("hand".to_owned(), BODY_BYTES_MAX, methods.into())
}

pub struct ScriptedServer {
    listener: TcpListener,
}

impl ScriptedServer {
    pub fn new() -> ScriptedServer {
        ScriptedServer { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    pub fn address(&self) -> String {
        self.listener_address().to_string()
    }

    pub fn listener_address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// A client of this server that repeats no call. Calls wait so long that only a failing test sees a deadline.
    pub fn client(&self) -> Client {
        self.client_with(ClientOptions::default().retries(0))
    }

    pub fn client_with(&self, options: ClientOptions) -> Client {
        Client::with_options(self.address(), options.deadline(PATIENCE)).unwrap()
    }

    /// Returns whether a connection waits to be accepted, and closes it.
    pub fn is_called(&self) -> bool {
        self.try_accept().is_some()
    }

    /// Accepts a connection that waits.
    pub fn try_accept(&self) -> Option<TcpStream> {
        self.listener.set_nonblocking(true).unwrap();
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Some(stream)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Accepts the next connection and reads nothing.
    pub fn accept_raw(&self) -> TcpStream {
        let mut stream = None;
        wait_until("a client connects", || {
            stream = self.try_accept();
            stream.is_some()
        });
        stream.unwrap()
    }

    /// Accepts the next connection, whose Hello is answered with its first read.
    pub fn accept(&self) -> Peer {
        self.accept_with(welcome())
    }

    pub fn accept_with(&self, welcome: Vec<u8>) -> Peer {
        Peer::new(self.accept_raw(), welcome)
    }
}

/// A client after its handshake, with the other end of its connection.
pub fn pair() -> (ScriptedServer, Client, Peer) {
    pair_with(ClientOptions::default().retries(0), welcome())
}

pub fn pair_with(options: ClientOptions, welcome: Vec<u8>) -> (ScriptedServer, Client, Peer) {
    let server = ScriptedServer::new();
    let client = server.client_with(options);
    let peer = std::thread::scope(|scope| {
        let greeted = scope.spawn(|| client.methods().unwrap());
        let mut peer = server.accept_with(welcome);
        peer.greet();
        greeted.join().unwrap();
        peer
    });
    (server, client, peer)
}

/// One connection.
pub struct Peer {
    pub stream: TcpStream,
    protocol: ServerProtocol,
    bytes: Vec<u8>,
    greeted: bool,
    frames: VecDeque<ClientFrame>,
    stats: PortStats,
    service_times: ServiceTimes,
    welcome: Vec<u8>,
}

/// Frame of the client.
#[derive(Debug)]
pub enum ClientFrame {
    Call(Call),
    Cancel(u64),
    Closed,
}

#[derive(Debug, Clone)]
pub struct Call {
    pub id: u64,
    pub method: u16,
    pub codec: Codec,
    pub left: Option<Duration>,
    pub arguments: Vec<u8>,
    /// Chain of calls that it is made for, if a handler makes it.
    pub chain: Option<Chain>,
}

impl Call {
    pub fn decode<T: DeserializeOwned>(&self) -> T {
        self.codec.decode(&self.arguments).unwrap()
    }
}

impl Peer {
    pub fn new(stream: TcpStream, welcome: Vec<u8>) -> Peer {
        Peer {
            stream,
            protocol: ServerProtocol::default(),
            bytes: Vec::new(),
            greeted: false,
            frames: VecDeque::new(),
            stats: PortStats::default(),
            service_times: ServiceTimes::new(10),
            welcome,
        }
    }

    /// Reads the client's Hello and sends the Welcome.
    pub fn greet(&mut self) {
        while !self.greeted {
            self.read();
        }
    }

    /// The client's next frame. Answers Hello and Ping by itself.
    pub fn next_frame(&mut self) -> ClientFrame {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return frame;
            }
            if !self.read() {
                return ClientFrame::Closed;
            }
        }
    }

    /// Reads once. Returns false at the end.
    fn read(&mut self) -> bool {
        let mut space = [0; 64 << 10];
        match self.stream.read(&mut space) {
            Ok(0) => false,
            Ok(bytes) => {
                self.receive(&space[..bytes]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            // After a stop and a continuation of this process.
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => panic!("the client sends nothing: {error}"),
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let now = Instant::now();
        let context = ReceiveContext {
            welcome: &self.welcome,
            body_bytes_max: BODY_BYTES_MAX as usize,
            admission: Admission::open(10, &self.service_times),
            window_room: 10_000,
            arrived: now,
            now,
            stats: &self.stats,
            methods: &MethodsStats::new(0),
        };
        let mut received = Received::default();
        let used = self.protocol.receive(&self.bytes, &context, &mut received);
        let used = used.unwrap_or_else(|close| panic!("the client violates the protocol: {close:?}"));
        let bytes: Vec<u8> = self.bytes.drain(..used).collect();
        for call in &received.calls {
            self.frames.push_back(ClientFrame::Call(Call {
                id: call.id,
                method: call.method,
                codec: call.codec,
                left: call.deadline.map(|deadline| deadline - now),
                arguments: call.arguments_in(&bytes).to_vec(),
                chain: call.chain().map(|at| Chain::clone(&received.chains[at])),
            }));
        }
        self.frames.extend(received.cancels.into_iter().map(ClientFrame::Cancel));
        self.raw(&received.replies);
        self.greeted |= !received.replies.is_empty();
    }

    #[track_caller]
    pub fn call(&mut self) -> Call {
        match self.next_frame() {
            ClientFrame::Call(call) => call,
            other => panic!("a call was expected, not {other:?}"),
        }
    }

    #[track_caller]
    pub fn cancel(&mut self) -> u64 {
        match self.next_frame() {
            ClientFrame::Cancel(call) => call,
            other => panic!("a Cancel was expected, not {other:?}"),
        }
    }

    #[track_caller]
    pub fn closed(&mut self) {
        match self.next_frame() {
            ClientFrame::Closed => {}
            other => panic!("the end was expected, not {other:?}"),
        }
    }

    /// Sends any bytes. A connection that the client has closed is no error.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).ok();
    }

    pub fn answer<T: Serialize>(&mut self, call: &Call, response: &T) {
        let mut body = Vec::new();
        call.codec.encode(response, &mut body).unwrap();
        self.answer_bytes(call, Status::Ok.code(), &body);
    }

    /// Answers with any status and any body.
    pub fn answer_bytes(&mut self, call: &Call, status: u16, body: &[u8]) {
        let times = ReplyPrelude { queue_wait_us: 1, permit_wait_us: 2, run_us: 3 };
        let body = [&times.write()[..], body].concat();
        let header = Header {
            body_bytes: body.len() as u32,
            kind: FrameKind::Reply,
            flags: call.codec.flags(),
            code: status,
            call: call.id,
        };
        self.raw(&[&header.write()[..], &body].concat());
    }

    pub fn refuse(&mut self, call: &Call, status: Status, fault: Fault) {
        let mut body = Vec::new();
        call.codec.encode(&fault, &mut body).unwrap();
        self.answer_bytes(call, status.code(), &body);
    }

    /// Refuses the calls received so far.
    pub fn refuse_waiting(&mut self, status: Status) {
        self.stream.set_nonblocking(true).unwrap();
        let mut space = [0; 4096];
        if let Ok(bytes) = self.stream.read(&mut space) {
            self.receive(&space[..bytes]);
        }
        self.stream.set_nonblocking(false).unwrap();
        while let Some(frame) = self.frames.pop_front() {
            if let ClientFrame::Call(call) = frame {
                self.refuse(&call, status, Fault { code: 0, retry_after_ms: 0, message: String::new() });
            }
        }
    }

    pub fn goaway(&mut self, status: Status) {
        let mut bytes = Vec::new();
        proto::goaway(&Refusal::new(status, "bye"), &mut bytes);
        self.raw(&bytes);
    }

    /// Answers calls of DOUBLE until the client closes. Returns how many.
    pub fn serve(mut self) -> usize {
        let mut answered = 0;
        while let ClientFrame::Call(call) = self.next_frame() {
            let number: u32 = call.decode();
            self.answer(&call, &(u64::from(number) * 2));
            answered += 1;
        }
        answered
    }
}

/// A frame that is nothing but a header.
pub fn header(kind: FrameKind, body_bytes: u32, call: u64) -> Vec<u8> {
    Header { body_bytes, kind, flags: Flags::NONE, code: 0, call }.write().to_vec()
}

/// Waits until `condition` holds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
