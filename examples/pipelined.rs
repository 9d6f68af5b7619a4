//! Many calls in flight at once over one connection: `cargo run --example pipelined -- 127.0.0.1:1352`.
//!
//! Works with every server: `server.echo` is built in. Calls in flight together travel together, so a thousand cost
//! little more time than one.

use boneyard::service::Bytes;
use boneyard::service::builtin::ECHO;
use boneyard::{Client, ClientError, Pending};
use std::time::Instant;

const CALLS: usize = 1000;

fn main() -> Result<(), ClientError> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1".to_owned());
    let client = Client::connect(&address)?;
    let bytes = |n: usize| Bytes::from(n.to_le_bytes().to_vec());

    let start = Instant::now();
    for n in 0..CALLS {
        assert_eq!(client.call(ECHO, &bytes(n))?, bytes(n));
    }
    println!("{CALLS} calls one after the other: {:?}", start.elapsed());

    let start = Instant::now();
    // `start` sends and returns; each call has its own deadline, which counts from here.
    let out: Result<Vec<Pending<Bytes>>, _> = (0..CALLS).map(|n| client.start(ECHO, &bytes(n))).collect();
    for (n, pending) in out?.into_iter().enumerate() {
        assert_eq!(pending.wait()?, bytes(n));
    }
    println!("{CALLS} calls out at once: {:?}", start.elapsed());

    // Dropping a call cancels it.
    drop(client.start(ECHO, &bytes(0))?);
    Ok(())
}
