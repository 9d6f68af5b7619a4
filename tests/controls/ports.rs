//! A port stops and starts while the others serve.

use super::common::gate::Gate;
use super::process::own_address;
use super::*;
use boneyard::Method;
use boneyard::client::ClientOptions;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

const ECHO: Method<u32, u32> = Method::new("test.echo");
const WAIT: Method<(), ()> = Method::new("test.wait");

/// Two ports on addresses of their own, where nobody else gets a port that was given up for a moment.
fn two_ports(gate: &Arc<Gate>) -> RunningServer {
    let (host, gate) = (own_address(0), Arc::clone(gate));
    let lines = format!("Ports=A,B\nA_TCPIPAddress={host}:1\nB_TCPIPAddress={host}:2\nServer_Pool_Tasks=2\n");
    let server = Server::new(config(&lines)).handle(ECHO, |_, number| Ok(number));
    server
        .handle(WAIT, move |_, ()| {
            gate.pass();
            Ok(())
        })
        .start()
        .expect("starts")
}

fn is_open(server: &RunningServer) -> Vec<bool> {
    control(server).snapshot().ports.iter().map(|port| port.open).collect()
}

/// Waits for what a port was told to do, also if its listener is too busy to say in time that it does.
#[track_caller]
fn await_port(server: &RunningServer, result: Result<(), ControlError>, open: bool) {
    let late = result.is_err_and(|error| {
        assert!(matches!(error, ControlError::PortUnresponsive(_)), "{error}");
        true
    });
    wait_until("it does so later", || !late || is_open(server)[0] == open);
}

#[track_caller]
fn stop_a(server: &RunningServer) {
    await_port(server, control(server).stop_port("A"), false);
}

#[track_caller]
fn start_a(server: &RunningServer) {
    await_port(server, control(server).start_port("A"), true);
}

/// Descriptors of this process.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn no_call_is_lost_while_a_port_stops_and_starts() {
    // Who was refused waits for a second: so many that some call meanwhile.
    const CLIENTS: usize = 4;
    let server = two_ports(&Arc::default());
    let (over, calls) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; 2]);
    let before = thread::scope(|scope| {
        for (port, calls) in server.ports().iter().zip(&calls) {
            for _ in 0..CLIENTS {
                let options = ClientOptions::default().deadline(PATIENCE).retries(30);
                let client = Client::with_options(port.address(), options).unwrap();
                let over = &over;
                scope.spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        let number = calls.fetch_add(1, Ordering::SeqCst) as u32;
                        // What is refused for longer than the client's savings last has not begun.
                        let end = loop {
                            match client.call(ECHO, &number) {
                                Err(error) if error.never_started() => thread::yield_now(),
                                end => break end,
                            }
                        };
                        assert_eq!(end.unwrap_or_else(|e| panic!("{e}")), number);
                    }
                });
            }
        }
        let come = |more: usize| {
            let counts: Vec<_> = calls.iter().map(|calls| calls.load(Ordering::SeqCst)).collect();
            wait_until("calls come through both ports", || {
                calls.iter().zip(&counts).all(|(now, before)| now.load(Ordering::SeqCst) > before + more)
            });
        };
        come(200);
        let before = descriptors();
        for _ in 0..20 {
            stop_a(&server);
            assert_eq!(is_open(&server), [false, true]);
            wait_until("it says that it is", || {
                control(&server).stop_port("a").unwrap_err().to_string().contains("stopped already")
            });
            assert!(TcpStream::connect(server.address()).is_err(), "no listener");
            start_a(&server);
            assert_eq!(is_open(&server), [true, true]);
            come(20);
        }
        over.store(true, Ordering::SeqCst);
        before
    });
    wait_for_permits(&server);
    wait_until("the clients' connections are gone", || control(&server).connections().is_empty());
    // Each had one here and one there.
    wait_until("descriptors are as before", || descriptors() <= before - 4 * CLIENTS);
    assert!(control(&server).start_port("B").unwrap_err().to_string().contains("is not stopped"));
    assert_eq!(control(&server).stop_port("C\n").unwrap_err().to_string(), "Unable to find port C\\n");
    assert_eq!(server.stop().lost(), 0);
}

#[test]
fn a_stopped_port_finishes_what_it_has_and_closes_who_does_not_go() {
    let gate = Arc::<Gate>::default();
    let server = two_ports(&gate);
    let address = server.address();
    let (mut busy, mut idle) = (Raw::connect(address), Raw::connect(address));
    let call = busy.send("test.wait", &());
    wait_until("it waits", || gate.inside() == 1);
    stop_a(&server);
    let taken = TcpListener::bind(address).expect("its address is free");
    for raw in [&mut busy, &mut idle] {
        let goaway = raw.read().expect("it is told");
        assert_eq!((goaway.header.kind, goaway.status()), (FrameKind::GoAway, Status::Draining));
    }
    let refused = busy.call::<_, u32>("test.echo", &1_u32).unwrap_err();
    assert_eq!(refused.0, Status::Draining);
    assert!(idle.read().is_none(), "who has nothing under way and stays is closed");
    assert_eq!(server.ports()[0].in_flight(), 1);
    let other = Raw::connect(server.ports()[1].address()).call::<_, u32>("test.echo", &2_u32);
    assert_eq!(other.unwrap(), 2, "the other port serves");

    let error = control(&server).start_port("A").expect_err("its address is in use").to_string();
    assert!(error.contains(&address.to_string()), "{error}");
    assert!(!is_open(&server)[0]);
    drop(taken);
    wait_until("it starts, though a call there never ends", || {
        control(&server).start_port("A").is_ok() || is_open(&server)[0]
    });
    assert_eq!(Raw::connect(address).call::<_, u32>("test.echo", &3_u32).unwrap(), 3);
    stop_a(&server);
    gate.open();
    while let Some(frame) = busy.read() {
        if frame.header.kind == FrameKind::Reply {
            assert_eq!((frame.header.call, frame.status()), (call, Status::Ok), "its reply, then the end");
        }
    }
    drop((busy, idle));
    wait_until("both are gone", || server.ports()[0].stats().closed_for(CloseReason::ServerStopped) == 2);
    assert_eq!(server.stop().lost(), 0, "with a port stopped");
}

#[test]
fn a_server_that_stops_stops_its_stopped_ports_at_once() {
    let server = two_ports(&Arc::default());
    let _idle = Raw::connect(server.address());
    stop_a(&server);
    let begun = Instant::now();
    assert_eq!(server.stop().lost(), 0);
    assert!(begun.elapsed() < Duration::from_secs(20), "30 s are the default");
}
