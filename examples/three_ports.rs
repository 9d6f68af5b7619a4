//! Three ports with 40 workers each are 120 workers, but only as many transactions run as the throttle has permits.
//!
//! The classic mistake with such a server is to raise ports and pools but not `Server_Max_Concurrent_Trans=20`: then 100
//! of the 120 workers can only wait. Here 200 clients call at once while the handlers count how many of them run, first
//! with a throttle of 20, then of 120: `cargo run --release --example three_ports -- 60` (seconds). Time counts from
//! the moment when all permits are in use, however slow the machine is.

use boneyard::config::{Config, advise};
use boneyard::server::machine;
use boneyard::{Client, Method, Server};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const WORK: Method<(), ()> = Method::new("demo.work");
const CLIENTS: usize = 200;

/// Time for all permits to be in use; after it, the server is taken not to grant them.
const FAILURE: Duration = Duration::from_secs(60);

/// The handlers' count of themselves, independent of the server's.
#[derive(Default)]
struct Count {
    running: u32,
    peak: u32,
    /// When all permits were in use.
    full: Option<Instant>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(2.0), |text| text.parse())?;
    let duration = Duration::try_from_secs_f64(seconds)?;
    let slow = flood(20, duration)?;
    let fast = flood(120, duration)?;
    println!("six times the throttle: {:.1} times the calls", fast as f64 / slow as f64);
    Ok(())
}

/// Lets all clients call for `duration`. Returns how many calls were answered.
fn flood(throttle: u32, duration: Duration) -> Result<u64, Box<dyn Error>> {
    let ini = format!(
        "Ports=TCPIP,LAN2,LAN3\nServer_Pool_Tasks=40\nServer_Max_Concurrent_Trans={throttle}\n\
         TCPIP_TCPIPAddress=0,127.0.0.1:0\nLAN2_TCPIPAddress=0,127.0.0.1:0\nLAN3_TCPIPAddress=0,127.0.0.1:0\n"
    );
    let config = Config::from_text(&ini, None, machine::cpus())?;
    println!("throttle {throttle}, {} workers", config.total_workers());
    for warning in advise(&config, &machine::read()) {
        println!("  {}", warning.message);
    }
    let stage = Arc::new((Mutex::new(Count::default()), Condvar::new()));
    let here = Arc::clone(&stage);
    let server = Server::new(config).handle(WORK, move |_, ()| {
        let (count, full) = &*here;
        let mut count = count.lock().expect("no handler panics with it");
        count.running += 1;
        count.peak = count.peak.max(count.running);
        if count.running == throttle && count.full.is_none() {
            count.full = Some(Instant::now());
            full.notify_all();
        }
        // Until then running handlers wait for the others, so the outcome does not depend on the machine's speed.
        drop(full.wait_timeout_while(count, FAILURE, |count| count.full.is_none()));
        std::thread::sleep(Duration::from_millis(50)); // stands for a disk or a database
        here.0.lock().expect("no handler panics with it").running -= 1;
        Ok(())
    });
    let server = server.start()?;
    let addresses: Vec<SocketAddr> = server.ports().iter().map(|port| port.address()).collect();

    let (answered, begin) = (AtomicU64::new(0), Instant::now());
    let goes_on = || match stage.0.lock().expect("no handler panics with it").full {
        Some(full) => full.elapsed() < duration,
        None => begin.elapsed() < FAILURE,
    };
    std::thread::scope(|scope| {
        for n in 0..CLIENTS {
            let (address, answered, goes_on) = (addresses[n % addresses.len()], &answered, &goes_on);
            scope.spawn(move || {
                let client =
                    Client::new(address).expect("an address of the server's own").with_deadline(None);
                while goes_on() {
                    client.call(WORK, &()).expect("200 calls fit into three queues");
                    answered.fetch_add(1, SeqCst);
                }
            });
        }
    });
    let (answered, peak) = (answered.into_inner(), stage.0.lock().expect("no handler panics with it").peak);
    println!("  {CLIENTS} clients, {answered} calls answered, at most {peak} ran at once");
    assert_eq!(peak, throttle, "never more than the throttle, and all of it was used");
    assert!(server.permits_peak() <= throttle);
    assert_eq!(server.stop().lost(), 0);
    Ok(answered)
}
