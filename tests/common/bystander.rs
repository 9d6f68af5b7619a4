//! A well-behaved client that calls all along, beside whatever a test does to the same port.

use super::Raw;
use boneyard::service::Status;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// Calls `server.ping` one by one until it is told to end.
pub struct Bystander {
    end: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    thread: JoinHandle<usize>,
}

impl Bystander {
    /// One whose calls must all be run, or may be refused while the server's buffers are full.
    pub fn start(address: SocketAddr, bears_full_buffers: bool) -> Bystander {
        let mut client = Raw::connect(address);
        let (end, calls) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (over, count) = (Arc::clone(&end), Arc::clone(&calls));
        let thread = std::thread::spawn(move || {
            let mut refused = 0;
            while !over.load(Ordering::SeqCst) {
                match client.call::<_, ()>("server.ping", &()) {
                    Ok(()) => {}
                    Err((Status::BuffersFull, fault)) if bears_full_buffers => {
                        assert!(fault.retry_after_ms > 0);
                        refused += 1;
                    }
                    Err(error) => panic!("a bystander was not served: {error:?}"),
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
            refused
        });
        Bystander { end, calls, thread }
    }

    /// Ends once it was answered ten times more, and says how many of all its calls were refused.
    pub fn end(self) -> usize {
        let calls = self.calls.load(Ordering::SeqCst);
        super::wait_until("the bystander is served", || {
            self.thread.is_finished() || self.calls.load(Ordering::SeqCst) > calls + 10
        });
        self.end.store(true, Ordering::SeqCst);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
