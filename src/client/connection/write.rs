//! Writing to a connection's socket: by the caller whose frame is first, for all that queue theirs meanwhile.
//!
//! A socket that takes no more is left to a helper thread, which lives until it has written everything: so no caller
//! blocks in a write for longer than a slice, whatever its deadline, and the reactor not at all.

use super::client_connection::NotSent;
use super::core::Core;
use super::transport::{ClientTransport, WRITE_SLICE};
use crate::client::threads::spawn;
use crate::service::ClientError;
use crate::sync::Arc;
use std::io;
use std::time::{Duration, Instant};

/// Longest time that a thread which does not wait for the socket writes for others.
const TURN_MAX: Duration = Duration::from_millis(1);

/// Writes what the socket takes; 0 if it takes nothing.
type WriteSome = fn(&ClientTransport, &[u8]) -> io::Result<usize>;

impl Core {
    /// Waits until so many bytes have room, or the connection no longer takes calls.
    pub(super) fn await_room(
        &self,
        bytes: usize,
        nested: bool,
        send_by: Option<Instant>,
    ) -> Result<(), NotSent> {
        let mut state = self.state.lock();
        while state.takes_calls(nested) && !state.queue.has_room(bytes) {
            match send_by {
                None => self.room.wait(&mut state),
                Some(send_by) if Instant::now() >= send_by => return Err(NotSent::Late),
                Some(send_by) => {
                    self.room.wait_until(&mut state, send_by);
                }
            }
        }
        Ok(())
    }

    /// Writes `chunk` and all that is queued meanwhile. The rest, when the socket is full or when other callers keep
    /// this thread busy, goes to a helper thread.
    pub(super) fn write(self: &Arc<Self>, chunk: Vec<u8>) {
        self.write_or_leave(chunk, WRITE_SLICE, ClientTransport::write);
    }

    /// As [`Core::write`], for a thread that reads or polls: does not wait for the socket.
    pub(super) fn write_now(self: &Arc<Self>, chunk: Vec<u8>) {
        self.write_or_leave(chunk, TURN_MAX, ClientTransport::write_now);
    }

    fn write_or_leave(self: &Arc<Self>, chunk: Vec<u8>, limit: Duration, write: WriteSome) {
        if chunk.is_empty() {
            return;
        }
        if let Some((chunk, written)) = self.write_for(chunk, 0, Some(limit), write) {
            let core = Arc::clone(self);
            let helper = spawn("boneyard-client-writer", move || {
                let rest = core.write_for(chunk, written, None, ClientTransport::write);
                debug_assert!(rest.is_none(), "without a limit, all is written or the connection is closed");
            });
            if let Err(error) = helper {
                self.close(ClientError::disconnected(error.to_string()));
            }
        }
    }

    /// Writes `chunk` from its byte `written` on, and all that is queued meanwhile. Returns what is left when the
    /// socket takes nothing or `limit` is over, if there is one.
    fn write_for(
        &self,
        mut chunk: Vec<u8>,
        mut written: usize,
        limit: Option<Duration>,
        write: WriteSome,
    ) -> Option<(Vec<u8>, usize)> {
        let start = Instant::now();
        while !chunk.is_empty() {
            match write(&self.transport, &chunk[written..]) {
                Ok(0) if limit.is_some() => return Some((chunk, written)),
                Ok(bytes) => written += bytes,
                Err(error) => {
                    self.state.lock().queue.return_unwritten(chunk.len() - written);
                    self.close(ClientError::disconnected(error.to_string()));
                    return None;
                }
            }
            if written == chunk.len() {
                (chunk, written) = (self.next_chunk(chunk), 0);
            }
            if !chunk.is_empty() && limit.is_some_and(|limit| start.elapsed() >= limit) {
                return Some((chunk, written));
            }
        }
        None
    }

    /// The bytes that came while the last chunk was written; empty when this thread has finished.
    fn next_chunk(&self, written: Vec<u8>) -> Vec<u8> {
        let mut state = self.state.lock();
        let chunk = state.queue.continue_write(written);
        drop(state);
        self.room.notify_all();
        chunk
    }
}
