//! The buffers that a listener reads into, kept for use again.

/// Bytes read at once.
pub(in crate::server) const BUFFER_BYTES: usize = 128 << 10;

/// Most buffers kept.
const SPARE_BUFFERS_MAX: usize = 4;

/// A listener's spare read buffers.
#[derive(Debug)]
pub(in crate::server) struct ReadBuffers(Vec<Vec<u8>>);

impl Default for ReadBuffers {
    fn default() -> Self {
        ReadBuffers(vec![vec![0; BUFFER_BYTES]])
    }
}

impl ReadBuffers {
    /// Returns a buffer of at least [`BUFFER_BYTES`].
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| vec![0; BUFFER_BYTES])
    }

    /// Keeps a buffer for use again, unless there are enough or it has grown too large.
    pub(super) fn put_back(&mut self, buffer: Vec<u8>) {
        if self.0.len() < SPARE_BUFFERS_MAX && (BUFFER_BYTES..=2 * BUFFER_BYTES).contains(&buffer.len()) {
            self.0.push(buffer);
        }
    }
}
