//! A well-behaved client that calls throughout a test of the same port.

use super::Raw;
use boneyard::service::Status;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// Calls `server.ping` one by one until [`ControlClient::end`].
pub struct ControlClient {
    end: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    thread: JoinHandle<usize>,
}

impl ControlClient {
    /// All its calls must be run, or may be refused while the server's buffers are full.
    pub fn start(address: SocketAddr, bears_full_buffers: bool) -> ControlClient {
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
                    Err(error) => panic!("the control client was refused: {error:?}"),
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
            refused
        });
        ControlClient { end, calls, thread }
    }

    /// Ends after ten more answers; returns how many of all its calls were refused.
    pub fn end(self) -> usize {
        let calls = self.calls.load(Ordering::SeqCst);
        super::wait_until("the control client is served", || {
            self.thread.is_finished() || self.calls.load(Ordering::SeqCst) > calls + 10
        });
        self.end.store(true, Ordering::SeqCst);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
