//! Counters and running averages: lock-free, handed down and never looked up. Counters are exact.
//!
//! A [`EnumCounters`] is one counter for each value of a closed enum, so that no refusal and no close goes uncounted.

mod histogram;
mod local_stats;
mod method_stats;
mod service_times;

pub use histogram::{BUCKETS, Distribution, Histogram};
pub(crate) use local_stats::{CallRecord, LocalStats};
pub use method_stats::{MethodStats, MethodsStats, Parts};
pub use service_times::ServiceTimes;
pub(crate) use service_times::{PermitUsage, ServiceTimeBatch};

use crate::service::Status;
use crate::sync::Ordering;
use crate::sync::unordered::AtomicU64;

/// One counter. Adding is one relaxed atomic operation.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more.
    pub(crate) fn add(&self, n: u64) {
        // Relaxed: counters order nothing; who reads them wants a number, not a happens-before.
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One counter for each of `N` numbered cases. On lines of memory of its own: what workers count does not slow down
/// a listener that counts beside it.
#[derive(Debug)]
#[repr(align(128))]
pub struct EnumCounters<const N: usize>([Counter; N]);

impl<const N: usize> Default for EnumCounters<N> {
    fn default() -> Self {
        EnumCounters(std::array::from_fn(|_| Counter::default()))
    }
}

impl<const N: usize> EnumCounters<N> {
    /// Counts case `index` once more.
    pub(crate) fn add(&self, index: usize) {
        self.0[index].add(1);
    }

    /// Adds what was gathered, leaving `batch` empty.
    pub(crate) fn add_all(&self, batch: &mut Batch<N>) {
        while batch.cases > 0 {
            let index = batch.cases.trailing_zeros() as usize;
            batch.cases &= batch.cases - 1;
            self.0[index].add(std::mem::take(&mut batch.counts[index]).into());
        }
    }

    /// The count of case `index`.
    pub fn get(&self, index: usize) -> u64 {
        self.0[index].get()
    }

    /// The counts of all cases, each.
    pub fn counts(&self) -> [u64; N] {
        std::array::from_fn(|index| self.get(index))
    }

    /// The count of all cases.
    pub fn sum(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// Cases gathered by one thread and added to a [`EnumCounters`] together: threads that add to one counter for each call
/// would hand its memory to and fro.
#[derive(Debug)]
pub(crate) struct Batch<const N: usize> {
    counts: [u32; N],
    /// A bit for each case that was counted: mostly one of many.
    cases: u64,
}

impl<const N: usize> Default for Batch<N> {
    fn default() -> Self {
        const { assert!(N <= u64::BITS as usize, "a case has no bit") }
        Batch { counts: [0; N], cases: 0 }
    }
}

impl<const N: usize> Batch<N> {
    /// Gathers case `index` once more.
    pub(crate) fn add(&mut self, index: usize) {
        self.counts[index] += 1;
        self.cases |= 1 << index;
    }
}

/// Counters of one port.
#[derive(Debug, Default)]
pub struct PortStats {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections closed, by [`CloseReason::index`].
    pub closed: EnumCounters<{ CloseReason::ALL.len() }>,
    /// Calls that arrived whole. Each is answered once or its connection is gone.
    pub calls: Counter,
    /// Answers made, by [`Status::index`]; those for a connection that has gone meanwhile included.
    pub answers: EnumCounters<{ Status::ALL.len() }>,
    /// Times the queue was full and calls were refused, counted once until it could have been emptied.
    pub queue_filled: Counter,
    /// Calls that waited in a full queue and were refused to make room for a caller with fewer there.
    pub displaced: Counter,
    /// Calls that were run although CoDel would have refused them (`Server_CoDel_Mode=observe`).
    pub would_refuse: Counter,
    /// Calls that ran longer than `Server_Long_Transaction`.
    pub long_transactions: Counter,
    /// Cancels that arrived.
    pub cancels: Counter,
    /// Times a connection's reading was put off because it had its window of calls out.
    pub window_full: Counter,
    /// Times a connection's reading was put off because it did not take its replies.
    pub outbound_full: Counter,
    /// Times a connection's reading was put off because the server's buffers were full.
    pub buffers_full: Counter,
    /// Times a connection's reading was put off because the listener had answered more of its frames than its
    /// allowance.
    pub put_off: Counter,
    /// Calls that were not nested because their link had let in as many as it may, and calls of handlers that had as
    /// many out with links as they may.
    pub nested_over: Counter,
    /// Times accepting failed, by lack of descriptors or otherwise.
    pub accept_failed: Counter,
    /// Connections answered with a refusal instead of a Welcome for want of descriptors; not among those accepted.
    pub refused_descriptors: Counter,
    /// Connections refused because their address connects too often; not among those accepted.
    pub refused_connects: Counter,
}

/// Why a connection ended. One counter each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed between two frames.
    PeerClosed,
    /// The peer closed in the middle of a frame.
    PeerClosedMidFrame,
    /// The socket failed: reset, timed out.
    SocketError,
    /// The first bytes are not the protocol's.
    BadMagic,
    /// No common version.
    UnsupportedVersion,
    /// A frame over the limit.
    FrameTooLarge,
    /// Bytes that break the protocol in another way.
    ProtocolError,
    /// The server or the port stopped.
    ServerStopped,
    /// The peer did not say Hello in time (`Server_Hello_Timeout`).
    SlowHello,
    /// The peer did not finish a frame in time (`Server_Frame_Timeout`).
    SlowFrame,
    /// The peer did not read its replies in time (`Server_Send_Timeout`).
    SlowReader,
    /// The peer left more replies unread than a connection may hold (`Server_Send_Buffer_KB`).
    OutboundFull,
    /// The peer held the most when the server's buffers were full (`Server_Buffer_Memory_MB`).
    BuffersFull,
    /// The peer called and cancelled too often.
    Abusive,
    /// No session for the peer: `Server_MaxUsers`.
    MaxUsers,
    /// No session for the peer: `Server_Restricted`.
    Restricted,
    /// Idle, and another needed its place (`Server_MaxSessions`) or for too long (`Server_Session_Timeout`).
    Idle,
    /// An administrator closed it.
    Dropped,
}

impl CloseReason {
    /// Every reason, in the order of its index.
    pub const ALL: [CloseReason; 18] = [
        CloseReason::PeerClosed,
        CloseReason::PeerClosedMidFrame,
        CloseReason::SocketError,
        CloseReason::BadMagic,
        CloseReason::UnsupportedVersion,
        CloseReason::FrameTooLarge,
        CloseReason::ProtocolError,
        CloseReason::ServerStopped,
        CloseReason::SlowHello,
        CloseReason::SlowFrame,
        CloseReason::SlowReader,
        CloseReason::OutboundFull,
        CloseReason::BuffersFull,
        CloseReason::Abusive,
        CloseReason::MaxUsers,
        CloseReason::Restricted,
        CloseReason::Idle,
        CloseReason::Dropped,
    ];

    /// Its place in [`CloseReason::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl PortStats {
    /// Connections open now.
    pub fn open(&self) -> u64 {
        // Closed is read first: a connection closed between the two reads must not make the difference negative.
        let closed = self.closed.sum();
        self.accepted.get() - closed
    }

    /// The counters that are not by status or reason, by name.
    pub fn others(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("accepted", self.accepted.get()),
            ("queue_filled", self.queue_filled.get()),
            ("displaced", self.displaced.get()),
            ("would_refuse", self.would_refuse.get()),
            ("long_transactions", self.long_transactions.get()),
            ("cancels", self.cancels.get()),
            ("window_full", self.window_full.get()),
            ("outbound_full", self.outbound_full.get()),
            ("buffers_full", self.buffers_full.get()),
            ("put_off", self.put_off.get()),
            ("nested_over", self.nested_over.get()),
            ("accept_failed", self.accept_failed.get()),
            ("refused_descriptors", self.refused_descriptors.get()),
            ("refused_connects", self.refused_connects.get()),
        ]
    }

    /// Answers with this status.
    pub fn answered(&self, status: Status) -> u64 {
        self.answers.get(status.index())
    }

    /// Connections closed for this reason.
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        self.closed.get(reason.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
