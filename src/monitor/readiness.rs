//! Whether the server should be sent more work: not while it starts, stops, or a port has been full for too long.
//!
//! Full is a port where calls wait and no worker that may run is free. What is judged are looks, so a port that was
//! not full at one of them begins anew.

use super::snapshot::{Permits, PortSnapshot, Snapshot};
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
    pub(super) fn look(&mut self, snapshot: &Snapshot) {
        let before = std::mem::take(&mut self.full);
        let since = |port: &PortSnapshot| {
            before.iter().find(|(name, _)| *name == port.name).map_or(snapshot.taken, |(_, since)| *since)
        };
        let full = snapshot.ports.iter().filter(|port| is_full(port, &snapshot.permits));
        self.full = full.map(|port| (Arc::clone(&port.name), since(port))).collect();
        self.looked = Some(snapshot.taken);
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

fn is_full(port: &PortSnapshot, permits: &Permits) -> bool {
    let no_permit = permits.limit.is_some_and(|limit| permits.out >= limit);
    port.open && port.waiting > 0 && (port.workers.idle == 0 || no_permit)
}

#[cfg(test)]
mod tests {
    use super::super::sample_snapshots::{port, snapshot};
    use super::super::snapshot::Workers;
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// What is said after a look each second at a port: calls that wait, workers that are idle, permits out.
    fn says(looks: &[(u64, u32, u32)]) -> Result<(), String> {
        let (mut readiness, start) = (Readiness::default(), Instant::now());
        for (s, (waiting, idle, out)) in (1..).zip(looks) {
            let workers = Workers { idle: *idle, running: 2 - idle, ..Workers::default() };
            let full = PortSnapshot { waiting: *waiting, workers, ..port("LAN2") };
            let mut snapshot = snapshot(start, S * s, vec![port("TCPIP"), full]);
            snapshot.permits.out = *out;
            readiness.look(&snapshot);
        }
        readiness.says(Some(S * 2))
    }

    #[test]
    fn a_port_that_is_full_for_long_makes_the_server_busy() {
        assert_eq!(says(&[]), Err("starting".to_owned()));
        assert_eq!(says(&[(0, 2, 0)]), Ok(()));
        assert_eq!(says(&[(5, 0, 2); 2]), Ok(()), "not for long enough");
        let busy = "busy: for 2 s calls have been waiting at port LAN2 and no worker has been free for them \
                    (Server_Busy_Seconds=2)";
        assert_eq!(says(&[(5, 0, 2); 3]), Err(busy.to_owned()));
        assert_eq!(says(&[(1, 2, 4); 3]), Err(busy.to_owned()), "workers are idle, but no permit is free");
        assert_eq!(says(&[(1, 1, 3); 9]), Ok(()), "one of them is about to take it");
        assert_eq!(says(&[(0, 0, 4); 9]), Ok(()), "all are at work and nobody waits");
        assert_eq!(says(&[(5, 0, 2), (5, 0, 2), (0, 0, 2), (5, 0, 2), (5, 0, 2)]), Ok(()), "begun anew");
    }

    #[test]
    fn without_a_limit_it_is_never_busy() {
        let mut readiness = Readiness::default();
        assert!(readiness.says(None).is_err(), "before the first look");
        let full = PortSnapshot { waiting: 5, workers: Workers::default(), ..port("LAN2") };
        readiness.look(&snapshot(Instant::now(), S, vec![full]));
        assert_eq!(readiness.says(None), Ok(()));
        assert!(readiness.says(Some(Duration::ZERO)).is_err());
    }
}
