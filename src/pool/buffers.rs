//! Memory that the connections of all ports hold: half-read frames, calls queued and running, replies unsent.
//!
//! Each port counts its own bytes exactly, where its listener and workers write anyway. A port adds its change to the
//! sum of all ports in steps of [`STEP_BYTES`], so that ports do not contend for one counter with each burst.
//!
//! Invariants: the sum is off by at most one step a port, either way. Each holder of a buffer has a [`BufferLease`] of
//! its port's count, which returns its bytes when it is dropped, so the counts come back to 0 with the last connection,
//! however it ended. Counted is the capacity of a buffer, not the part of it that is in use.

use crate::sync::unordered::AtomicUsize;
use crate::sync::{Arc, Ordering};

/// Largest change of one port's count that is not yet in the sum of all ports.
const STEP_BYTES: usize = 64 << 10;

/// The sum of all ports and its limit.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct AllBuffers {
    bytes: AtomicUsize,
    limit: usize,
    /// See [`Buffers::fair_part`].
    fair_part: usize,
}

impl AllBuffers {
    /// Room for `limit` bytes, shared by this many ports.
    pub(crate) fn new(limit: usize, ports: usize) -> Arc<AllBuffers> {
        Arc::new(AllBuffers { bytes: AtomicUsize::new(0), limit, fair_part: limit / 2 / ports.max(1) })
    }

    /// Bytes of all ports. Two changes may arrive in the wrong order, so the sum can be below zero for a moment.
    fn bytes(&self) -> usize {
        usize::try_from(self.bytes.load(Ordering::Relaxed) as isize).unwrap_or(0)
    }
}

/// The count of one port.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Buffers {
    bytes: AtomicUsize,
    /// The part of it that is in the sum of all ports.
    published: AtomicUsize,
    all: Arc<AllBuffers>,
}

impl Buffers {
    pub(crate) fn new(all: Arc<AllBuffers>) -> Arc<Buffers> {
        Arc::new(Buffers { bytes: AtomicUsize::new(0), published: AtomicUsize::new(0), all })
    }

    /// Without a limit, for tests and benches.
    #[cfg(any(not(any(loom, shuttle)), test))]
    pub(crate) fn unbounded() -> Arc<Buffers> {
        Buffers::new(AllBuffers::new(usize::MAX, 1))
    }

    /// Bytes this port holds; exact.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns whether so little is left that calls are refused and large frames are not read on. An eighth is kept for
    /// small reads, so that calls can be refused, and for replies.
    pub(crate) fn are_full(&self) -> bool {
        self.all.bytes() > self.all.limit - self.all.limit / 8
    }

    /// Most that one call's arguments may take beside its bytes: half of all.
    pub(crate) fn argument_bytes_max(&self) -> usize {
        self.all.limit / 2
    }

    /// Bytes of all ports to be reclaimed until a quarter is free; with less, a burst of clients would fill the buffers
    /// again at once.
    pub(crate) fn excess(&self) -> usize {
        self.all.bytes().saturating_sub(self.all.limit - self.all.limit / 4)
    }

    /// Returns whether all ports together have room for this many more bytes.
    pub(crate) fn have_room(&self, bytes: usize) -> bool {
        self.all.bytes().saturating_add(bytes) <= self.all.limit
    }

    /// Bytes of half-read frames and unread replies that this port may hold while the buffers are full: its part of
    /// half of all. Those bytes need not drain by themselves; the other half is queued calls, which do, or one of the
    /// ports exceeds its part and is reclaimed from. So the buffers do not stay full.
    pub(crate) fn fair_part(&self) -> usize {
        self.all.fair_part
    }

    fn change(&self, from: usize, to: usize) {
        self.bytes.fetch_add(to.wrapping_sub(from), Ordering::SeqCst);
        self.publish();
    }

    /// Counts this many more if all ports have room for them. Concurrent callers never get the same room.
    fn try_add(&self, more: usize) -> bool {
        let mut seen = self.all.bytes.load(Ordering::Relaxed);
        loop {
            if self.all.limit.saturating_sub(more) < usize::try_from(seen as isize).unwrap_or(0) {
                return false;
            }
            let next = seen.wrapping_add(more);
            match self.all.bytes.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        self.bytes.fetch_add(more, Ordering::SeqCst);
        self.published.fetch_add(more, Ordering::SeqCst);
        self.publish();
        true
    }

    /// Adds the change since the last time to the sum of all ports, if it is a step or more.
    fn publish(&self) {
        // SeqCst: of two concurrent calls, the later read here sees both changes. Each time the sum changes by exactly
        // what `published` changes by.
        loop {
            let (published, now) = (self.published.load(Ordering::SeqCst), self.bytes.load(Ordering::SeqCst));
            if now.abs_diff(published) < STEP_BYTES {
                return;
            }
            if self.published.compare_exchange(published, now, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                self.all.bytes.fetch_add(now.wrapping_sub(published), Ordering::Relaxed);
            }
        }
    }
}

/// The bytes of one holder in its port's count; returned on drop.
#[derive(Debug)]
pub(crate) struct BufferLease {
    buffers: Arc<Buffers>,
    bytes: usize,
}

impl BufferLease {
    /// Holds nothing yet.
    pub(crate) fn new(buffers: &Arc<Buffers>) -> BufferLease {
        BufferLease { buffers: Arc::clone(buffers), bytes: 0 }
    }

    /// The port's count.
    pub(crate) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// Bytes held now.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds this many more bytes from now on. Returns whether all ports together had room for them.
    #[must_use]
    pub(crate) fn try_add(&mut self, more: usize) -> bool {
        let added = self.buffers.try_add(more);
        self.bytes += if added { more } else { 0 };
        added
    }

    /// Holds this many bytes from now on.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.buffers.change(self.bytes, bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for BufferLease {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn dropped_leases_return_their_bytes_and_the_sum_is_off_by_a_step_at_most() {
        let all = AllBuffers::new(16 * MIB, 2);
        let ports = [Buffers::new(Arc::clone(&all)), Buffers::new(Arc::clone(&all))];
        let mut leases: Vec<BufferLease> = (0..1000).map(|n| BufferLease::new(&ports[n % 2])).collect();
        for round in 0..20 {
            for (n, lease) in leases.iter_mut().enumerate() {
                lease.set(n * 7919 % 16_000 * (round % 3));
            }
            let exact: usize = ports.iter().map(|port| port.bytes()).sum();
            assert_eq!(exact, leases.iter().map(BufferLease::bytes).sum::<usize>());
            assert!(exact.abs_diff(all.bytes()) < 2 * STEP_BYTES);
        }
        drop(leases);
        assert_eq!(ports.map(|port| port.bytes()), [0, 0]);
    }

    #[test]
    fn buffers_are_full_an_eighth_below_the_limit() {
        let all = AllBuffers::new(16 * MIB, 4);
        let (here, there) = (Buffers::new(Arc::clone(&all)), Buffers::new(all));
        let (mut a, mut b) = (BufferLease::new(&here), BufferLease::new(&there));
        a.set(14 * MIB);
        assert!(!there.are_full() && there.have_room(2 * MIB) && !there.have_room(2 * MIB + 1));
        b.set(MIB / 2);
        assert!(here.are_full() && here.have_room(MIB) && !here.have_room(2 * MIB));
        assert_eq!((here.excess(), here.fair_part()), (5 * MIB / 2, 2 * MIB));
        assert!(!a.try_add(3 * MIB / 2 + 1) && a.try_add(3 * MIB / 2) && !b.try_add(1));
        assert_eq!((a.bytes(), here.bytes(), there.bytes()), (31 * MIB / 2, 31 * MIB / 2, MIB / 2));
        a.set(0);
        assert!(!there.are_full());
    }

    #[test]
    fn concurrent_changes_leave_the_count_at_zero() {
        let all = AllBuffers::new(MIB, 1);
        let port = Buffers::new(Arc::clone(&all));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut lease = BufferLease::new(&port);
                    for n in 0..10_000 {
                        lease.set(n % 3 * STEP_BYTES);
                        let _ = lease.try_add(n * 100);
                    }
                });
            }
        });
        assert_eq!(port.bytes(), 0);
        assert!(all.bytes() < STEP_BYTES);
    }
}
