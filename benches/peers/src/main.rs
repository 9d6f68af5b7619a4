//! Other RPC libraries as echo servers, each with a load generator of its own, of the same shape as `boneyard bench`:
//! so many connections, so many calls out on each, and the outcome as JSON under the same names.
//!
//! ```text
//! peers serve PEER inline|pool ADDRESS WORKERS
//! peers load  PEER ADDRESS CONNECTIONS OUT echo|sleep BYTES WARM_UP SECONDS
//! ```
//! A peer is `tarpc`, `tonic` or `thrift`; Boneyard's own generator on its client library is `benches/client_load.rs`.
//! Inline: a handler runs where the call was read. Pool: it runs on one of WORKERS threads for blocking work.

#[path = "../../load_count.rs"]
mod load_count;
mod tarpc_peer;
mod thrift_peer;
mod tonic_peer;

use load_count::{Count, Failure, Method, Plan};
use std::net::SocketAddr;
use std::time::Duration;

/// Sleep of the handler `sleep`.
const SLEEP: Duration = Duration::from_millis(5);

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
        ["load", peer, ref plan @ ..] => {
            let plan = plan.first_chunk().ok_or("see the head of main.rs")?;
            println!("{}", load(peer, &Plan::parse(plan)?)?.json());
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
    if peer == "thrift" {
        return thrift_peer::load(plan);
    }
    // One thread, as ours has.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match peer {
        "tarpc" => runtime.block_on(tarpc_peer::load(plan)),
        "tonic" => runtime.block_on(tonic_peer::load(plan)),
        _ => Err("no such peer".into()),
    }
}

/// Whether a call was answered as it should be, for the count.
fn outcome(good: bool) -> Result<(), String> {
    if good { Ok(()) } else { Err("failed".to_owned()) }
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
