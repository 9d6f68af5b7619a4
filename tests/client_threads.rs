//! Client threads end with the clients and calls that they serve. Alone in its binary, since it counts the threads of
//! the process.
#![cfg(all(feature = "client", feature = "server", target_os = "linux"))]

mod scripted_server;

use boneyard::client::join_background_threads;
use boneyard::service::Bytes;
use scripted_server::{BODY_BYTES_MAX, DOUBLE, STORE, pair, wait_until};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

/// Names of the client library's running threads.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with("boneyard-client")).collect()
}

#[test]
fn the_last_client_and_pending_call_end_all_threads() {
    for _ in 0..20 {
        let (_server, client, mut peer) = pair();
        wait_until("there is a reader and nothing else", || threads().len() == 1);
        let others: Vec<_> = (0..5).map(|_| pair()).collect();
        assert_eq!(threads().len(), 1, "one for all connections");
        drop(others);
        {
            // A future's deadline needs no thread of its own.
            let mut future = pin!(client.start(DOUBLE, &1).unwrap());
            assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            peer.call();
            // A full socket needs the helper.
            let large = Bytes::from(vec![1; BODY_BYTES_MAX as usize - 16]);
            let _stuck = client.start(STORE, &large).unwrap();
            wait_until("there are reader and helper", || threads().len() == 2);
            assert!(!join_background_threads(Duration::ZERO), "they serve a client");
            drop(client);
        }
        assert!(join_background_threads(Duration::MAX));
        wait_until("all are gone, though the server has not closed", || threads().is_empty());
        drop(peer);
    }
}
