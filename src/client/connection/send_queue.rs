//! Bytes that wait to be written to one socket, and how many of all may have left.
//!
//! Pure counting; knows no socket. Invariants: at most one thread writes at a time, and it takes all bytes that were
//! queued meanwhile; `taken <= queued`.

/// Bytes that may wait while another thread writes; a caller that comes then waits. One frame may be larger.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Largest buffer that is kept for the next frames.
const SPARE_BYTES_MAX: usize = 16 << 10;

/// Frames to be written to one socket, as bytes.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    /// Bytes that no thread has begun to write.
    waiting: Vec<u8>,
    /// The buffer that was written last: memory allocated by one thread and freed by another costs both a lock.
    spare: Vec<u8>,
    /// Whether a thread writes, which will take `waiting` too.
    writing: bool,
    /// Bytes ever queued.
    queued: u64,
    /// Of those, bytes that the socket may have been given.
    taken: u64,
}

impl SendQueue {
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.waiting.is_empty() || self.waiting.len() + bytes <= WAITING_BYTES_MAX
    }

    /// Queues a frame. Returns the position of its last byte among all bytes ever queued.
    pub(super) fn push(&mut self, frame: Vec<u8>) -> u64 {
        self.queued += frame.len() as u64;
        if self.waiting.is_empty() && frame.len() > SPARE_BYTES_MAX {
            self.waiting = frame;
        } else {
            self.waiting.extend_from_slice(&frame);
        }
        self.queued
    }

    /// Returns the bytes that the caller must write now: all that wait, or none while another thread writes.
    pub(super) fn begin_write(&mut self) -> Vec<u8> {
        if self.writing || self.waiting.is_empty() {
            return Vec::new();
        }
        self.writing = true;
        self.taken = self.queued;
        let spare = std::mem::take(&mut self.spare);
        std::mem::replace(&mut self.waiting, spare)
    }

    /// Returns the bytes that came while the writing thread wrote its last ones, whose buffer it returns; none, and
    /// that thread has finished.
    pub(super) fn continue_write(&mut self, mut written: Vec<u8>) -> Vec<u8> {
        self.writing = false;
        if written.capacity() <= SPARE_BYTES_MAX {
            written.clear();
            self.spare = written;
        }
        self.begin_write()
    }

    /// The last `bytes` of those taken were not given to the socket after all.
    pub(super) fn return_unwritten(&mut self, bytes: usize) {
        self.taken -= bytes as u64;
    }

    /// Returns whether the socket may have been given the byte at this position, as [`SendQueue::push`] returned it.
    pub(super) fn may_have_left(&self, last_byte: u64) -> bool {
        last_byte <= self.taken
    }

    /// Drops what nothing will write any more.
    pub(super) fn clear(&mut self) {
        self.waiting = Vec::new();
        self.release();
    }

    /// Releases the memory kept for the next frames.
    pub(super) fn release(&mut self) {
        self.spare = Vec::new();
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_writes_and_takes_what_comes_meanwhile() {
        let mut queue = SendQueue::default();
        let first = queue.push(vec![1, 2]);
        assert_eq!(queue.begin_write(), [1, 2]);
        let second = queue.push(vec![3]);
        let third = queue.push(vec![4, 5]);
        assert!(queue.begin_write().is_empty(), "another thread writes");
        assert!(queue.may_have_left(first) && !queue.may_have_left(second));
        assert_eq!(queue.continue_write(Vec::new()), [3, 4, 5]);
        queue.return_unwritten(2);
        assert!(queue.may_have_left(second) && !queue.may_have_left(third));
        assert!(queue.continue_write(Vec::new()).is_empty());
        queue.push(vec![6]);
        assert_eq!(queue.begin_write(), [6]);
    }

    #[test]
    fn a_frame_of_any_size_has_room_alone() {
        let mut queue = SendQueue::default();
        assert!(queue.has_room(2 * WAITING_BYTES_MAX));
        queue.push(vec![0]);
        assert!(queue.has_room(WAITING_BYTES_MAX - 1) && !queue.has_room(WAITING_BYTES_MAX));
    }
}
