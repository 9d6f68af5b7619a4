//! What the connections of all ports hold in memory: half-read frames, calls queued and running, replies unsent.
//!
//! Each port counts its own bytes exactly, where its listener and workers write anyway; what has changed is told to all
//! in steps of [`STEP_BYTES`], so that ports do not contend for one counter with each burst. So the sum of all is off
//! by at most that much a port, either way.
//!
//! Who keeps a buffer has a [`BufferLease`] of its port's count, which takes itself back when it is dropped: the counts
//! come back to 0 with the last connection, whatever became of it. What is counted is the room of a buffer, not the
//! part of it that is in use.

use crate::sync::unordered::AtomicUsize;
use crate::sync::{Arc, Ordering};

/// Change of one port's count that is not yet in the sum of all, at most.
const STEP_BYTES: usize = 64 << 10;

/// Of all ports together.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct AllBuffers {
    bytes: AtomicUsize,
    limit: usize,
    /// See [`Buffers::fair_part`].
    fair_part: usize,
}

impl AllBuffers {
    /// Room for `limit` bytes, for so many ports.
    pub(crate) fn new(limit: usize, ports: usize) -> Arc<AllBuffers> {
        Arc::new(AllBuffers { bytes: AtomicUsize::new(0), limit, fair_part: limit / 2 / ports.max(1) })
    }

    /// Bytes of all. Two changes may come in the wrong order and the sum be below zero for a moment.
    fn bytes(&self) -> usize {
        usize::try_from(self.bytes.load(Ordering::Relaxed) as isize).unwrap_or(0)
    }
}

/// Of one port.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Buffers {
    bytes: AtomicUsize,
    /// What of it is in the sum of all.
    told: AtomicUsize,
    all: Arc<AllBuffers>,
}

impl Buffers {
    pub(crate) fn new(all: Arc<AllBuffers>) -> Arc<Buffers> {
        Arc::new(Buffers { bytes: AtomicUsize::new(0), told: AtomicUsize::new(0), all })
    }

    /// Without a bound, for those who are alone.
    #[cfg(any(not(any(loom, shuttle)), test))]
    pub(crate) fn unbounded() -> Arc<Buffers> {
        Buffers::new(AllBuffers::new(usize::MAX, 1))
    }

    /// Bytes this port holds; exact.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// So nearly full that no call is let in and no large frame is read on: an eighth is left for small reads, which
    /// tell their peers so, and for replies.
    pub(crate) fn are_full(&self) -> bool {
        self.all.bytes() > self.all.limit - self.all.limit / 8
    }

    /// What one call's arguments may take beside its bytes: half of all.
    pub(crate) fn part_of_a_call(&self) -> usize {
        self.all.limit / 2
    }

    /// How many bytes of all ports would have to go before a quarter is free: not so few that a crowd fills them again
    /// at once.
    pub(crate) fn excess(&self) -> usize {
        self.all.bytes().saturating_sub(self.all.limit - self.all.limit / 4)
    }

    /// Is there room for so much more in what all ports may hold?
    pub(crate) fn have_room(&self, bytes: usize) -> bool {
        self.all.bytes().saturating_add(bytes) <= self.all.limit
    }

    /// What this port may hold of half-read frames and unread replies, which do not go away by themselves, while the
    /// buffers are full: its part of half of all. As the other half is queued calls, or one of the ports holds more,
    /// they do not stay full.
    pub(crate) fn fair_part(&self) -> usize {
        self.all.fair_part
    }

    fn change(&self, from: usize, to: usize) {
        self.bytes.fetch_add(to.wrapping_sub(from), Ordering::SeqCst);
        self.tell();
    }

    /// Counts so many more if all have room for them; several at once do not get the same room.
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
        self.told.fetch_add(more, Ordering::SeqCst);
        self.tell();
        true
    }

    /// Tells all how many there are, if that has changed by a step.
    fn tell(&self) {
        // Of two at once the later of these looks sees both changes, hence SeqCst; and what is added to the sum is what
        // `told` changed by, each time.
        loop {
            let (told, now) = (self.told.load(Ordering::SeqCst), self.bytes.load(Ordering::SeqCst));
            if now.abs_diff(told) < STEP_BYTES {
                return;
            }
            if self.told.compare_exchange(told, now, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                self.all.bytes.fetch_add(now.wrapping_sub(told), Ordering::Relaxed);
            }
        }
    }
}

/// What one holder has of its port's count.
#[derive(Debug)]
pub(crate) struct BufferLease {
    buffers: Arc<Buffers>,
    bytes: usize,
}

impl BufferLease {
    /// Of nothing as yet.
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

    /// So many more bytes are held from now on, if all have room for them.
    #[must_use]
    pub(crate) fn try_add(&mut self, more: usize) -> bool {
        let added = self.buffers.try_add(more);
        self.bytes += if added { more } else { 0 };
        added
    }

    /// So many bytes are held from now on.
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
    fn shares_come_back_and_the_sum_is_off_by_a_step_at_most() {
        let all = AllBuffers::new(16 * MIB, 2);
        let ports = [Buffers::new(Arc::clone(&all)), Buffers::new(Arc::clone(&all))];
        let mut shares: Vec<BufferLease> = (0..1000).map(|n| BufferLease::new(&ports[n % 2])).collect();
        for round in 0..20 {
            for (n, share) in shares.iter_mut().enumerate() {
                share.set(n * 7919 % 16_000 * (round % 3));
            }
            let exact: usize = ports.iter().map(|port| port.bytes()).sum();
            assert_eq!(exact, shares.iter().map(BufferLease::bytes).sum::<usize>());
            assert!(exact.abs_diff(all.bytes()) < 2 * STEP_BYTES);
        }
        drop(shares);
        assert_eq!(ports.map(|port| port.bytes()), [0, 0]);
    }

    #[test]
    fn full_is_an_eighth_before_the_end() {
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
    fn threads_that_change_it_at_once_leave_nothing() {
        let all = AllBuffers::new(MIB, 1);
        let port = Buffers::new(Arc::clone(&all));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut share = BufferLease::new(&port);
                    for n in 0..10_000 {
                        share.set(n % 3 * STEP_BYTES);
                        let _ = share.try_add(n * 100);
                    }
                });
            }
        });
        assert_eq!(port.bytes(), 0);
        assert!(all.bytes() < STEP_BYTES);
    }
}
