//! Whether the server should be sent more work: not while it starts, stops, or a port has been full for too long.
//!
//! Full is a port where calls wait and no worker that may run is free. What is judged are looks, so a port that was
//! not full at one of them begins anew.

use super::picture::{Permits, Picture, PortPicture};
use crate::sync::Arc;
use std::time::{Duration, Instant};

/// How long each port has been full.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    looked: Option<Instant>,
    /// The port, and when it was first seen full; those that are not full are not in it.
    full: Vec<(Arc<str>, Instant)>,
}

impl Readiness {
    /// Takes a look into account.
    pub(super) fn look(&mut self, picture: &Picture) {
        let before = std::mem::take(&mut self.full);
        let since = |port: &PortPicture| {
            before.iter().find(|(name, _)| *name == port.name).map_or(picture.taken, |(_, since)| *since)
        };
        let full = picture.ports.iter().filter(|port| is_full(port, &picture.permits));
        self.full = full.map(|port| (Arc::clone(&port.name), since(port))).collect();
        self.looked = Some(picture.taken);
    }

    /// Is the server ready, as far as looks can tell? With `limit`, a port may be full for less than that.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) fn says(&self, limit: Option<Duration>) -> Result<(), String> {
        let looked = self.looked.ok_or("starting")?;
        let Some(limit) = limit else { return Ok(()) };
        let long = |(_, since): &&(Arc<str>, Instant)| looked.saturating_duration_since(*since) >= limit;
        match self.full.iter().find(long) {
            Some((port, since)) => Err(format!(
                "busy: for {} s calls have been waiting at port {port} and no worker has been free for them \
                 (Server_Busy_Seconds={})",
                looked.saturating_duration_since(*since).as_secs(),
                limit.as_secs()
            )),
            None => Ok(()),
        }
    }
}

fn is_full(port: &PortPicture, permits: &Permits) -> bool {
    let no_permit = permits.limit.is_some_and(|limit| permits.out >= limit);
    port.open && port.waiting > 0 && (port.workers.idle == 0 || no_permit)
}
