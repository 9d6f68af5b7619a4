//! Readiness: whether the server should be sent more work. It is not ready while a port has been full for too long.
//!
//! A port is full if calls wait and no worker that may run is free. Samples are judged, so a port that was not full at
//! one of them starts anew.

use super::snapshot::{Permits, PortSnapshot, Snapshot};
use crate::sync::Arc;
use std::time::{Duration, Instant};

/// How long each port has been full.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    sampled: Option<Instant>,
    /// Ports that are full, and since when.
    full: Vec<(Arc<str>, Instant)>,
}

impl Readiness {
    /// Adds a sample.
    pub(super) fn update(&mut self, snapshot: &Snapshot) {
        let before = std::mem::take(&mut self.full);
        let since = |port: &PortSnapshot| {
            before.iter().find(|(name, _)| *name == port.name).map_or(snapshot.taken, |(_, since)| *since)
        };
        let full = snapshot.ports.iter().filter(|port| is_full(port, &snapshot.permits));
        self.full = full.map(|port| (Arc::clone(&port.name), since(port))).collect();
        self.sampled = Some(snapshot.taken);
    }

    /// Returns whether the server is ready, as far as samples tell. With `limit`, a port may be full for less than
    /// that.
    ///
    /// # Errors
    /// The reason, as a text for people.
    pub(super) fn check(&self, limit: Option<Duration>) -> Result<(), String> {
        let sampled = self.sampled.ok_or("starting")?;
        let Some(limit) = limit else { return Ok(()) };
        let long = |(_, since): &&(Arc<str>, Instant)| sampled.saturating_duration_since(*since) >= limit;
        match self.full.iter().find(long) {
            Some((port, since)) => Err(format!(
                "busy: calls have waited at port {port} for {} s without a free worker (Server_Busy_Seconds={})",
                sampled.saturating_duration_since(*since).as_secs(),
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

    /// The readiness after a sample each second of a port: calls that wait, workers that are idle, permits out.
    fn check(samples: &[(u64, u32, u32)]) -> Result<(), String> {
        let (mut readiness, start) = (Readiness::default(), Instant::now());
        for (s, (waiting, idle, out)) in (1..).zip(samples) {
            let workers = Workers { idle: *idle, running: 2 - idle, ..Workers::default() };
            let full = PortSnapshot { waiting: *waiting, workers, ..port("LAN2") };
            let mut snapshot = snapshot(start, S * s, vec![port("TCPIP"), full]);
            snapshot.permits.out = *out;
            readiness.update(&snapshot);
        }
        readiness.check(Some(S * 2))
    }

    #[test]
    fn a_port_that_is_full_for_long_makes_the_server_busy() {
        assert_eq!(check(&[]), Err("starting".to_owned()));
        assert_eq!(check(&[(0, 2, 0)]), Ok(()));
        assert_eq!(check(&[(5, 0, 2); 2]), Ok(()), "not for long enough");
        let busy =
            "busy: calls have waited at port LAN2 for 2 s without a free worker (Server_Busy_Seconds=2)";
        assert_eq!(check(&[(5, 0, 2); 3]), Err(busy.to_owned()));
        assert_eq!(check(&[(1, 2, 4); 3]), Err(busy.to_owned()), "workers are idle, but no permit is free");
        assert_eq!(check(&[(1, 1, 3); 9]), Ok(()), "one of them is about to take it");
        assert_eq!(check(&[(0, 0, 4); 9]), Ok(()), "all are busy and no call waits");
        assert_eq!(check(&[(5, 0, 2), (5, 0, 2), (0, 0, 2), (5, 0, 2), (5, 0, 2)]), Ok(()), "started anew");
    }

    #[test]
    fn without_a_limit_it_is_never_busy() {
        let mut readiness = Readiness::default();
        assert!(readiness.check(None).is_err(), "before the first sample");
        let full = PortSnapshot { waiting: 5, workers: Workers::default(), ..port("LAN2") };
        readiness.update(&snapshot(Instant::now(), S, vec![full]));
        assert_eq!(readiness.check(None), Ok(()));
        assert!(readiness.check(Some(Duration::ZERO)).is_err());
    }
}
