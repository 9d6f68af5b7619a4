//! The client library and the real server, together.
#![cfg(all(feature = "client", feature = "server"))]

mod common;

use boneyard::client::{ClientError, ClientOptions, DeadlineSource};
use boneyard::service::{ApplicationError, Bytes, builtin, load_service};
use boneyard::{Client, Method};
use std::thread;
use std::time::Duration;

const JOIN: Method<(String, String), String> = Method::new("text.join");
const FAIL: Method<u32, ()> = Method::new("text.fail");
const PANIC: Method<(), ()> = Method::new("text.panic");

fn client(server: &boneyard::server::RunningServer) -> Client {
    Client::new(server.address()).unwrap().with_deadline(common::PATIENCE)
}

#[test]
fn calls_of_every_kind_end_as_the_handlers_do() {
    let server = common::server("")
        .handle(JOIN, |_, (a, b)| Ok(a + &b))
        .handle(FAIL, |_, code| Err(ApplicationError::new(code, "no").into()))
        .handle(PANIC, |_, ()| panic!("on purpose"))
        .start()
        .unwrap();
    let client = client(&server);
    let words = ("bone".to_owned(), "yard".to_owned());
    assert_eq!(client.call(JOIN, &words).as_deref(), Ok("boneyard"));
    assert_eq!(client.call_json("text.join", r#"["a","b"]"#).as_deref(), Ok(r#""ab""#));
    let no = ClientError::Application { code: 9, message: "no".to_owned() };
    assert_eq!(client.call(FAIL, &9), Err(no));
    assert!(matches!(client.call(PANIC, &()), Err(ClientError::Panicked(_))));
    assert!(matches!(client.call_json("text.join", "[1]"), Err(ClientError::BadRequest(_))));
    assert!(matches!(client.call_json("text.join", "{"), Err(ClientError::BadRequest(_))));
    let unknown = client.call_json("text.jion", "null").unwrap_err();
    let nearest = Some("text.join".to_owned());
    assert_eq!(unknown, ClientError::UnknownMethod { name: "text.jion".to_owned(), nearest });
    assert_eq!(client.call(builtin::METHODS, &()), client.methods());
    let reply = client.call_timed(load_service::SPIN, &2000).unwrap();
    assert!(reply.times.run >= Duration::from_millis(2), "{:?}", reply.times);
}

#[test]
fn threads_share_a_client_and_bodies_of_every_size_come_back() {
    let server = common::load_server("");
    let client = client(&server);
    thread::scope(|scope| {
        for thread in 0..8u8 {
            let client = client.clone();
            scope.spawn(move || {
                for size in [0, 1, 100, 5_000, 70_000, 1_000_000] {
                    let body = Bytes::from(vec![thread; size]);
                    assert_eq!(client.call(load_service::ECHO, &body), Ok(body));
                }
                let pending = (0..500u32).map(|n| {
                    let body = Bytes::from(n.to_le_bytes().to_vec());
                    (body.clone(), client.start(load_service::ECHO, &body).unwrap())
                });
                for (body, pending) in pending.collect::<Vec<_>>() {
                    assert_eq!(pending.wait(), Ok(body));
                }
            });
        }
    });
}

#[test]
fn a_late_or_dropped_call_leaves_the_connection_usable() {
    let server = common::load_server("");
    let client = client(&server);
    // Connected before, so that the call is late and not the connect.
    assert_eq!(client.call(builtin::PING, &()), Ok(()));
    let late = client.with_deadline(Duration::from_secs(2)).call(load_service::SLEEP, &60_000);
    assert_eq!(
        late,
        Err(ClientError::DeadlineExceeded { detected_by: DeadlineSource::Client, may_have_run: true })
    );
    drop(client.start(load_service::SLEEP, &200).unwrap());
    assert_eq!(client.call(builtin::PING, &()), Ok(()));
}

#[test]
fn a_stopping_server_refuses_or_answers_and_no_call_hangs() {
    let server = common::load_server("");
    // A call that waits for a server would wait until its deadline: none comes back.
    let options = ClientOptions::default().deadline(common::PATIENCE).wait_for_server(false);
    let client = Client::with_options(server.address(), options).unwrap();
    let out = client.start(load_service::SLEEP, &2000).unwrap();
    common::wait_until("the call runs", || server.in_flight() == 1);
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || {
                loop {
                    if let Err(error) = client.call(load_service::SLEEP, &1) {
                        return error;
                    }
                }
            })
        })
        .collect();
    server.stop();
    assert_eq!(out.wait(), Ok(()), "what runs when the server stops is answered");
    for caller in callers {
        let error = caller.join().unwrap();
        let expected = matches!(
            error,
            ClientError::Draining { .. } | ClientError::Connect { .. } | ClientError::Disconnected { .. }
        );
        assert!(expected, "{error:?}");
    }
}
