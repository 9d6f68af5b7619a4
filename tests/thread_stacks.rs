//! Stacks as small as an administrator may choose them: everything built in works on 100 KiB, and threads that cannot be
//! had fail the start.
//!
//! A stack that overflows ends its process, so a test that fails here may do so loudly. That a start in a process with
//! too little room fails with a sentence is in `hazards/lack.rs`.

mod common;
mod process;

use boneyard::client::ClientOptions;
use boneyard::config::Setting;
use boneyard::internal::wire::limits::{CALL_PRELUDE_BYTES, CHAIN_ENTRIES_MAX, REPLY_PRELUDE_BYTES};
use boneyard::internal::wire::{Flags, FrameKind};
use boneyard::server::StartError;
use boneyard::service::builtin::PING;
use boneyard::service::{ApplicationError, Bytes, HandlerError, Status};
use boneyard::{Client, ClientError, Method, Server};
use common::gate::thread_names;
use common::{Raw, call_frame, config, wait_until};
use std::backtrace::Backtrace;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};

const STACK_KB: usize = 100;

/// Calls a method and gives the status.
fn status(client: &mut Raw, method: &str, flags: Flags, arguments: &[u8]) -> Status {
    let frame = call_frame(1, client.number(method), flags, 0, arguments);
    let mut stream = client.stream.try_clone().unwrap();
    // Beside the reading, since neither side's buffers hold a call of the largest size.
    std::thread::scope(|scope| {
        scope.spawn(|| stream.write_all(&frame).unwrap());
        let reply = client.read().expect("a reply");
        assert_eq!((reply.header.kind, reply.header.call), (FrameKind::Reply, 1), "{method}");
        reply.status()
    })
}

#[test]
fn every_built_in_method_works_with_the_largest_arguments() {
    let directory = process::Directory::new();
    // A quarter of the default: nests are half a million deep all the same.
    let lines = format!(
        "Load_Service=1\nServer_Pool_Tasks=2\nServer_Max_Frame_KB=1024\nServer_Thread_Stack_KB={STACK_KB}"
    );
    let file = directory.file("server.ini", &process::on_free_port(&lines));
    let mut command = process::command(env!("CARGO_BIN_EXE_boneyard"));
    let mut server = process::Running::start(command.args(["serve", file.to_str().unwrap()]));
    let address: SocketAddr = server.address().parse().unwrap();
    let mut client = Raw::connect(address);
    let body_bytes_max = client.welcome.body_bytes_max as usize;
    let methods: Vec<String> = client.welcome.methods.iter().map(|entry| entry.name.clone()).collect();
    assert!(methods.len() >= 8, "{methods:?}");

    // The largest that a call takes, and what a reply takes too: its prelude is four bytes longer.
    let (largest, fitting) = (body_bytes_max - CALL_PRELUDE_BYTES, body_bytes_max - REPLY_PRELUDE_BYTES);
    for method in &methods {
        let echoes = method.ends_with(".echo");
        for (bytes, echoed) in [(largest, Status::BadResponse), (fitting, Status::Ok)] {
            let text = format!("\"{}\"", "x".repeat(bytes - 2));
            let nest = ["[".repeat(bytes / 2), "]".repeat(bytes / 2)].concat();
            let mut bincode = vec![0xff; bytes];
            bincode[..8].copy_from_slice(&(bytes as u64 - 8).to_le_bytes());
            let expected = if echoes { echoed } else { Status::BadRequest };
            for (flags, arguments) in
                [(Flags::JSON, text.as_bytes()), (Flags::JSON, nest.as_bytes()), (Flags::NONE, &bincode)]
            {
                let found = status(&mut client, method, flags, arguments);
                assert_eq!(found, expected, "{method} with {bytes} bytes, {:?}", &arguments[..9]);
            }
            if !echoes {
                break;
            }
        }
    }
    for method in ["server.ping", "server.info", "server.methods"] {
        assert_eq!(status(&mut client, method, Flags::NONE, b""), Status::Ok, "{method}");
        assert_eq!(status(&mut client, method, Flags::JSON, b"null"), Status::Ok, "{method}");
    }
    for method in ["load.spin", "load.sleep", "load.block"] {
        assert_eq!(status(&mut client, method, Flags::NONE, &1u64.to_le_bytes()), Status::Ok, "{method}");
        assert_eq!(status(&mut client, method, Flags::JSON, b"1"), Status::Ok, "{method}");
    }
    assert_eq!(server.stop(), Some(0));
    server.line("Stopped, 0 lost");
}

/// Calls itself so many times, one within the other, and brings bytes back from the innermost.
const DEEP: Method<(u32, Bytes), Bytes> = Method::new("test.deep");
/// Tells where it is, as a panic does with `RUST_BACKTRACE=1`, and panics.
const PANIC: Method<(), ()> = Method::new("test.panic");

#[test]
fn nested_calls_and_panics_work() {
    let mut config = config("Server_Pool_Tasks=20\nServer_Max_Concurrent_Trans=20");
    config.thread_stack_bytes = Setting::program(STACK_KB * 1024);
    let next = Arc::new(OnceLock::<Client>::new());
    let inner = Arc::clone(&next);
    let server = Server::new(config)
        .handle(DEEP, move |_, (depth, bytes)| {
            let Some(depth) = depth.checked_sub(1) else { return Ok(bytes) };
            let client = inner.get().expect("the test sets it before it calls");
            let wrong = |error: ClientError| HandlerError::from(ApplicationError::new(1, error.to_string()));
            assert_eq!(client.call_json("server.echo", "[{\"a\": 1.5}]").map_err(wrong)?, "[{\"a\": 1.5}]");
            client.call(DEEP, &(depth, bytes)).map_err(wrong)
        })
        .handle(PANIC, |_, ()| {
            assert!(Backtrace::force_capture().to_string().contains("thread_stacks"));
            std::panic::resume_unwind(Box::new("on purpose"))
        })
        .start()
        .unwrap();
    let client = |deadline| {
        let options = ClientOptions::default().deadline(deadline).retries(0);
        Client::with_options(server.address(), options).unwrap()
    };
    next.set(client(common::PATIENCE)).expect("it is set once");
    let client = client(common::PATIENCE);
    let bytes = Bytes::from(vec![7; 3 << 20]);
    let depth = CHAIN_ENTRIES_MAX as u32;
    assert_eq!(client.call(DEEP, &(depth, bytes.clone())), Ok(bytes));
    assert!(matches!(client.call(PANIC, &()), Err(ClientError::Panicked { .. })));
    assert_eq!(client.call(PING, &()), Ok(()));
}

#[test]
fn threads_that_cannot_be_had_leave_neither_thread_nor_socket() {
    let lines = common::ports(&["LACK-A", "LACK-B"]);
    let mut config = config(&lines);
    // More than any machine maps.
    config.thread_stack_bytes = Setting::program(1 << 60);
    // A port that is known, to look whether something listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    config.ports[0].address.port = address.port();
    let error = Server::new(config).start().expect_err("there is no room for the stacks");
    let StartError::Threads { port, made, wanted, .. } = &error else { panic!("{error}") };
    assert_eq!((port.as_str(), *made, *wanted), ("LACK-A", 0, 41), "{error}");
    assert!(TcpStream::connect(address).is_err(), "nothing listens");
    wait_until("no thread is left", || thread_names().iter().all(|name| !name.starts_with("LACK-")));
}
