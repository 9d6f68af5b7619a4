//! Load generator on the client library: `client_load ADDRESS CONNECTIONS OUT SECONDS`. Prints the calls answered a
//! second.
//!
//! Each connection has a thread and a client of its own, which keeps so many calls of `load.echo` out, 64 bytes each, and
//! waits for the oldest. `capi/bench/load.c` is the same in C.

use boneyard::service::Bytes;
use boneyard::service::load_service::ECHO;
use boneyard::{Client, ClientError};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, address, connections, out, seconds] = &words[..] else {
        panic!("client_load ADDRESS CONNECTIONS OUT SECONDS")
    };
    let connections: usize = connections.parse().expect("CONNECTIONS is a number");
    let out: usize = out.parse().expect("OUT is a number");
    let seconds: f64 = seconds.parse().expect("SECONDS is a number");
    let over = AtomicBool::new(false);
    let total: u64 = std::thread::scope(|scope| {
        let lane = || lane(address, out, &over).expect("the server answers");
        let lanes: Vec<_> = (0..connections).map(|_| scope.spawn(lane)).collect();
        std::thread::sleep(Duration::from_secs_f64(seconds));
        over.store(true, Ordering::Relaxed);
        lanes.into_iter().map(|lane| lane.join().expect("no lane panics")).sum()
    });
    println!("{{\"calls_per_second\": {:.1}}}", total as f64 / seconds);
}

fn lane(address: &str, out: usize, over: &AtomicBool) -> Result<u64, ClientError> {
    let client = Client::new(address)?.with_deadline(None);
    let bytes = Bytes::from(vec![0; 64]);
    let mut pending = VecDeque::with_capacity(out);
    for _ in 0..out {
        pending.push_back(client.start(ECHO, &bytes)?);
    }
    let mut answered = 0;
    while !over.load(Ordering::Relaxed) {
        let oldest = pending.pop_front().expect("as many are out as ever");
        assert_eq!(oldest.wait()?.len(), bytes.len());
        answered += 1;
        pending.push_back(client.start(ECHO, &bytes)?);
    }
    Ok(answered)
}
