//! Latency of a hundred short calls behind a slow one of the same connection, sent before them: they must not wait for
//! its 100 ms. Usage: `held_back ADDRESS` of a server with `Load_Service=1`.

use boneyard::service::load_service::{SLEEP, SPIN};
use boneyard::{Client, ClientError, Method};
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};

const ROUNDS: usize = 20;
const SHORT_CALLS: usize = 100;
const SLOW_MS: u64 = 100;

fn main() -> Result<(), ClientError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1352".to_owned());
    let client = Client::new(&address)?;
    println!(
        "one call of {SLOW_MS} ms, then {SHORT_CALLS} short ones; until the last short answer, {ROUNDS} rounds:"
    );
    show("another method, load.spin of 10 us", &client, SPIN, 10)?;
    // The worst case: a method known to be short turns slow.
    show("the same method, load.sleep of 0 ms", &client, SLEEP, 0)
}

fn show<R: DeserializeOwned>(
    what: &str,
    client: &Client,
    short: Method<u64, R>,
    cost: u64,
) -> Result<(), ClientError> {
    for _ in 0..1000 {
        client.call(short, &cost)?;
    }
    let mut waits = (0..ROUNDS).map(|_| round(client, short, cost)).collect::<Result<Vec<_>, _>>()?;
    waits.sort();
    println!("{what:40} median {:.2?}  longest {:.2?}", waits[ROUNDS / 2], waits[ROUNDS - 1]);
    Ok(())
}

fn round<R: DeserializeOwned>(
    client: &Client,
    short: Method<u64, R>,
    cost: u64,
) -> Result<Duration, ClientError> {
    let start = Instant::now();
    let slow = client.start(SLEEP, &SLOW_MS)?;
    let calls = (0..SHORT_CALLS).map(|_| client.start(short, &cost)).collect::<Result<Vec<_>, _>>()?;
    for call in calls {
        call.wait()?;
    }
    let waited = start.elapsed();
    slow.wait()?;
    Ok(waited)
}
