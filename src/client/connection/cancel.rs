//! A call taken back: while its caller still waits for what becomes of it, or because nobody waits any more.
//!
//! Knows the calls that are out; decides nothing about one that is waited for: the server's one answer does.
//! Invariant: one Canceller sends one Cancel at most, so that asking often is no flood.

use super::ClientConnection;
use crate::proto::client;
use crate::sync::{AtomicBool, Ordering, Weak};
use crate::wire::FrameKind;

/// Takes a call back from another thread than the one that waits for it. Does not keep the connection open.
#[derive(Debug)]
pub struct Canceller {
    link: Weak<ClientConnection>,
    call: u64,
    told: AtomicBool,
}

impl Canceller {
    pub(in crate::client) fn new(link: Weak<ClientConnection>, call: u64) -> Canceller {
        Canceller { link, call, told: AtomicBool::new(false) }
    }

    /// Asks the server not to start the call. Whoever waits for it hears what became of it:
    /// [`Cancelled`](crate::ClientError::Cancelled), or its outcome where it had been started. The second time, and
    /// after its outcome came, this does nothing.
    ///
    /// Any thread may call it. Blocks for 20 ms at most, while the socket takes nothing.
    pub fn cancel(&self) {
        if let Some(link) = self.link.upgrade()
            && !self.told.swap(true, Ordering::Relaxed)
        {
            link.cancel(self.call);
        }
    }
}

impl ClientConnection {
    /// Nobody waits for the call any more. `late` when its deadline passed. Tells the server, as well as that can
    /// be done at once.
    pub(in crate::client) fn forget(&self, call: u64, late: bool) {
        let core = &self.0;
        let mut state = core.state.lock();
        if state.calls.remove(&call).is_none() {
            return;
        }
        state.append(client::signal(FrameKind::Cancel, call).to_vec());
        if late {
            core.doubt(&mut state);
        }
        let done = state.is_done();
        let chunk = state.begin_write();
        drop(state);
        core.write(chunk);
        if done {
            core.shut();
        }
    }

    fn cancel(&self, call: u64) {
        let core = &self.0;
        let mut state = core.state.lock();
        if !state.calls.contains_key(&call) {
            return;
        }
        state.append(client::signal(FrameKind::Cancel, call).to_vec());
        let chunk = state.begin_write();
        drop(state);
        core.write(chunk);
    }
}
