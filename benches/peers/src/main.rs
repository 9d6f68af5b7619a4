//! Other RPC libraries as echo servers, each with a load generator of its own, of the same shape as `boneyard bench`:
//! so many connections, so many calls out on each, and the outcome as JSON under the same names.
//!
//! ```text
//! peers serve PEER inline|pool ADDRESS WORKERS
//! peers load  PEER ADDRESS CONNECTIONS OUT echo|sleep BYTES WARM_UP SECONDS
//! ```
//! A peer is `tarpc`, `tonic` or `thrift`; of Boneyard there are only loads, by its client library: `boneyard-futures`
//! and `boneyard-threads`. Inline: a handler runs where the call was read. Pool: it runs on one of
//! WORKERS threads for blocking work.

mod boneyard_peer;
mod count;
mod tarpc_peer;
mod thrift_peer;
mod tonic_peer;

use count::{Count, Plan};
use std::net::SocketAddr;
use std::time::Duration;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Sleep of the handler `sleep`.
const SLEEP: Duration = Duration::from_millis(5);

/// The method that is called.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Method {
    Echo,
    Sleep,
}

/// The threads that handlers run on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Inline,
    Pool,
}

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", peer, place, address, workers] => {
            let place = if place == "pool" { Place::Pool } else { Place::Inline };
            serve(peer, place, address.parse()?, workers.parse()?)
        }
        ["load", peer, address, connections, out, method, payload, warm_up, seconds] => {
            let plan = Plan {
                address: address.parse()?,
                connections: connections.parse()?,
                out: out.parse()?,
                method: if method == "sleep" { Method::Sleep } else { Method::Echo },
                payload: payload.parse()?,
                warm_up: Duration::from_secs_f64(warm_up.parse()?),
                duration: Duration::from_secs_f64(seconds.parse()?),
            };
            println!("{}", load(peer, &plan)?.json());
            Ok(())
        }
        _ => Err("see the head of main.rs".into()),
    }
}

fn serve(peer: &str, place: Place, address: SocketAddr, workers: usize) -> Result<(), Failure> {
    if peer == "thrift" {
        return thrift_peer::serve(address, workers);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().max_blocking_threads(workers).enable_all().build()?;
    match peer {
        "tarpc" => runtime.block_on(tarpc_peer::serve(address, place)),
        "tonic" => runtime.block_on(tonic_peer::serve(address, place)),
        _ => Err("no such peer".into()),
    }
}

fn load(peer: &str, plan: &Plan) -> Result<Count, Failure> {
    match peer {
        "thrift" => return thrift_peer::load(plan),
        "boneyard-threads" => return boneyard_peer::load_by_threads(plan),
        _ => {}
    }
    // One thread, as ours has.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match peer {
        "tarpc" => runtime.block_on(tarpc_peer::load(plan)),
        "tonic" => runtime.block_on(tonic_peer::load(plan)),
        "boneyard-futures" => runtime.block_on(boneyard_peer::load_by_futures(plan)),
        _ => Err("no such peer".into()),
    }
}

/// Runs a handler inline or on the pool.
async fn run(place: Place, method: Method, payload: Vec<u8>) -> Vec<u8> {
    let handler = move || {
        if method == Method::Sleep {
            std::thread::sleep(SLEEP);
        }
        payload
    };
    match place {
        Place::Inline => handler(),
        Place::Pool => tokio::task::spawn_blocking(handler).await.unwrap_or_default(),
    }
}
