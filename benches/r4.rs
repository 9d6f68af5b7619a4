//! The design that Domino had before its thread pool: a thread for each session, and a throttle over all of them.
//! It speaks Boneyard's protocol and offers the rehearsal service, so that only the threads differ.
//! Usage: `r4 ADDRESS [THROTTLE]`.

use boneyard::internal::admission::Admission;
use boneyard::internal::metrics::{MethodsStats, PortStats, ServiceTimes};
use boneyard::internal::proto::{Call, ReceiveContext, Received, ServerProtocol, reply, welcome};
use boneyard::internal::wire::ReplyPrelude;
use boneyard::internal::wire::body::MethodEntry;
use boneyard::service::Status;
use parking_lot::{Condvar, Mutex};
use std::io::{Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const METHODS: [&str; 3] = ["load.echo", "load.sleep", "load.spin"];
const STACK_BYTES: usize = 256 << 10;

/// A counting semaphore: a mutex and a condition variable.
struct Throttle {
    free: Mutex<usize>,
    changed: Condvar,
}

impl Throttle {
    fn during<R>(&self, run: impl FnOnce() -> R) -> R {
        let mut free = self.free.lock();
        while *free == 0 {
            self.changed.wait(&mut free);
        }
        *free -= 1;
        drop(free);
        let result = run();
        *self.free.lock() += 1;
        self.changed.notify_one();
        result
    }
}

struct Server {
    throttle: Throttle,
    welcome: Vec<u8>,
    stats: PortStats,
    paces: ServiceTimes,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7003".to_owned());
    let permits = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(20);
    let entry = |(number, name): (u16, &str)| MethodEntry { number, name: name.to_owned(), fingerprint: 0 };
    let server = Arc::new(Server {
        throttle: Throttle { free: Mutex::new(permits), changed: Condvar::new() },
        welcome: welcome("R4".to_owned(), 64 << 20, (1..).zip(METHODS).map(entry).collect()),
        stats: PortStats::default(),
        paces: ServiceTimes::new(METHODS.len()),
    });
    for stream in TcpListener::bind(address)?.incoming() {
        let (stream, server) = (stream?, Arc::clone(&server));
        let session = move || server.session(stream).unwrap_or_default();
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(session)?;
    }
    Ok(())
}

impl Server {
    /// One session's thread: reads, runs, answers, until the peer closes.
    fn session(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let (mut conversation, mut intake) = (ServerProtocol::default(), Received::default());
        let (mut buffer, mut filled) = (vec![0; 8 << 10], 0);
        loop {
            if filled == buffer.len() {
                buffer.resize(2 * filled, 0);
            }
            match stream.read(&mut buffer[filled..])? {
                0 => return Ok(()),
                more => filled += more,
            }
            let now = Instant::now();
            let port = ReceiveContext {
                welcome: &self.welcome,
                body_bytes_max: 64 << 20,
                admission: Admission::open(METHODS.len() as u16, &self.paces),
                window_room: usize::MAX,
                arrived: now,
                now,
                stats: &self.stats,
                methods: &MethodsStats::new(0),
            };
            let used = conversation
                .receive(&buffer[..filled], &port, &mut intake)
                .map_err(|_| std::io::Error::other("left"))?;
            let mut replies = std::mem::take(&mut intake.replies);
            for call in intake.calls.drain(..) {
                self.throttle.during(|| run(&call, &buffer, &mut replies));
            }
            stream.write_all(&replies)?;
            replies.clear();
            intake.replies = replies;
            buffer.copy_within(used..filled, 0);
            filled -= used;
        }
    }
}

fn run(call: &Call, bytes: &[u8], replies: &mut Vec<u8>) {
    let start = Instant::now();
    let arguments = call.arguments_in(bytes);
    reply(call.id, call.codec, replies, |out| {
        let number = || call.codec.decode::<u64>(arguments).unwrap_or(0);
        match METHODS[usize::from(call.method) - 1] {
            "load.echo" => out.extend_from_slice(arguments),
            "load.sleep" => std::thread::sleep(Duration::from_millis(number())),
            _ => {
                let end = start + Duration::from_micros(number());
                while Instant::now() < end {}
                out.extend_from_slice(arguments);
            }
        }
        let run_us = start.elapsed().as_micros() as u32;
        (Status::Ok, ReplyPrelude { queue_wait_us: 0, permit_wait_us: 0, run_us })
    });
}
