//! A server that is suspended and goes on (SIGSTOP, SIGCONT): the time is nobody's, and nobody is given up for it.
#![cfg(all(feature = "cli", feature = "server"))]

mod common;
mod process;

use boneyard::internal::wire::{Flags, FrameKind};
use boneyard::service::Status;
use common::{Raw, call_frame, connect, greeting, read_frame};
use process::{Directory, Running, command, on_free_port};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What the server waits for a Hello and for the rest of a frame.
const PATIENCE: Duration = Duration::from_secs(4);

/// More than one poll tells of.
const CALLERS: usize = 1_400;
const GREETERS: usize = 100;

/// Those who never send the rest.
const SILENT: usize = 20;

fn start(directory: &Directory) -> (Running, SocketAddr) {
    let seconds = PATIENCE.as_secs();
    let lines = on_free_port(&format!(
        "Server_Frame_Timeout={seconds}\nServer_Hello_Timeout={seconds}\nServer_Max_Connects_Per_Minute=0\n\
         Server_Pool_Tasks=4"
    ));
    let file = directory.file("server.ini", &lines);
    let running = Running::start(command(env!("CARGO_BIN_EXE_boneyard")).arg("serve").arg(&file));
    let address = running.address().parse().unwrap();
    (running, address)
}

/// Sends the first half of some bytes; the rest is for later.
fn half(mut stream: &TcpStream, bytes: &[u8]) -> Vec<u8> {
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    stream.write_all(first).unwrap();
    rest.to_vec()
}

#[test]
fn nobody_is_cut_off_for_what_came_while_the_server_was_suspended() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let directory = Directory::new();
    let (running, address) = start(&directory);
    let mut callers: Vec<Raw> = (0..CALLERS).map(|_| Raw::connect(address)).collect();
    let mut silent: Vec<Raw> = (0..SILENT).map(|_| Raw::connect(address)).collect();
    let call = call_frame(7, callers[0].number("server.ping"), Flags::NONE, 0, b"");
    let mut greeters: Vec<TcpStream> = (0..GREETERS).map(|_| connect(address)).collect();

    let greeting = greeting();
    let hello: Vec<_> = greeters.iter().map(|greeter| half(greeter, &greeting)).collect();
    let rest: Vec<_> = callers.iter().map(|caller| half(&caller.stream, &call)).collect();
    silent.iter().for_each(|caller| _ = half(&caller.stream, &call));
    running.signal(Signal::STOP);
    for (greeter, rest) in greeters.iter_mut().zip(&hello) {
        greeter.write_all(rest).unwrap();
    }
    for (caller, rest) in callers.iter_mut().zip(&rest) {
        caller.stream.write_all(rest).unwrap();
    }
    std::thread::sleep(PATIENCE + PATIENCE / 2);
    running.signal(Signal::CONT);

    for caller in &mut callers {
        let answer = caller.read().expect("a reply");
        assert_eq!((answer.header.call, answer.status()), (7, Status::Ok));
    }
    for greeter in &mut greeters {
        assert_eq!(read_frame(greeter).expect("an answer").header.kind, FrameKind::Welcome);
    }
    // Of who does not send the rest the server has enough, after its time.
    for caller in &mut silent {
        let word = caller.read().expect("a word");
        assert_eq!((word.header.kind, word.status()), (FrameKind::GoAway, Status::TooSlow));
    }
}
