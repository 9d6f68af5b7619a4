//! Who is let in: one connection_limiter for all ports.
//!
//! Knows how many connections there are, of whom, how many there may be, and who connects how often; a connection that
//! is let in holds a [`ConnectionPermit`]. Knows no sockets: what becomes of those it refuses is for `lingering_close`.
//!
//! Invariants: there are never more passes than [`ConnectionLimiter::connections_max`], and a client alone never has
//! them all ([`has_room`]), whether it says Hello or not; `held` has an entry for each client that has a pass.

use super::connect_rate::{ConnectRateLimiter, RateDecision, TopOffender};
use crate::config::Config;
use crate::metrics::PortStats;
use crate::service::{ClientId, LogLimiter, Refusal, Status, has_room, kept};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering};
use log::Level;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// When a connection refused for want of descriptors may be tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    connections_max: usize,
    /// Changed with the lock of `held` alone.
    connections: AtomicUsize,
    /// Passes of each client.
    held: Mutex<HashMap<ClientId, usize>>,
    /// Connections refused since places were short; 0 when that is over.
    refused: AtomicU64,
    connects: Mutex<ConnectRateLimiter>,
    log_bound: Arc<LogLimiter>,
}

/// Leave to be connected. Dropping it frees the place, so it goes after the socket.
#[derive(Debug)]
pub(super) struct ConnectionPermit(Arc<ConnectionLimiter>, ClientId);

impl ConnectionLimiter {
    pub(super) fn new(
        config: &Config,
        connections_max: usize,
        log_bound: Arc<LogLimiter>,
    ) -> ConnectionLimiter {
        ConnectionLimiter {
            connections_max,
            connections: AtomicUsize::new(0),
            held: Mutex::default(),
            refused: AtomicU64::new(0),
            connects: Mutex::new(ConnectRateLimiter::new(config.max_connects.value)),
            log_bound,
        }
    }

    /// Connections there can be at once, over all ports.
    pub(super) fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// Connections there are, over all ports.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Of the clients refused for connecting too often the one that did so most of late, and how often in its minute.
    pub(super) fn connects_most(&self) -> Option<(ClientId, u32)> {
        self.connects.lock().most()
    }

    /// A connection that was let in has ended.
    pub(super) fn ended(&self, client: ClientId, stayed: Duration, calls: u64) {
        let now = Instant::now();
        let often = self.connects.lock().end(client, stayed, calls, now);
        if let Some(often) = often.filter(|_| self.log_bound.lets(Level::Warn, client, now)) {
            tell_of_often(&often, None);
        }
    }

    /// Somebody has connected to a port: lets him in, or counts and says why not.
    pub(super) fn try_acquire(
        self: &Arc<ConnectionLimiter>,
        client: ClientId,
        now: Instant,
        stats: &PortStats,
    ) -> Result<ConnectionPermit, Refusal> {
        let RateDecision { refused_for, often } = self.connects.lock().connect(client, now);
        if let Some(often) = often.filter(|_| self.log_bound.lets(Level::Warn, client, now)) {
            tell_of_often(&often, refused_for);
        }
        if let Some(time) = refused_for {
            stats.refused_connects.add(1);
            return Err(Refusal::new(Status::ConnectLimit, Status::ConnectLimit.text()).retry_after(time));
        }
        if let Err((own, all)) = self.take_place(client) {
            stats.refused_descriptors.add(1);
            let first = self.refused.fetch_add(1, Ordering::SeqCst) == 0;
            if first && self.log_bound.lets(Level::Warn, client, now) {
                self.tell_of_lack(client, own, all);
            }
            return Err(no_descriptors());
        }
        Ok(ConnectionPermit(Arc::clone(self), client))
    }

    /// A place for one more connection of a client; or how many it has, and all.
    fn take_place(&self, client: ClientId) -> Result<(), (usize, usize)> {
        let mut held = self.held.lock();
        let (own, all) = (held.get(&client).copied().unwrap_or(0), self.connections());
        if !has_room(own, all, self.connections_max) {
            return Err((own, all));
        }
        held.insert(client, own + 1);
        self.connections.store(all + 1, Ordering::SeqCst);
        Ok(())
    }

    /// Gives a place back. Returns how many are taken.
    fn free_place(&self, client: ClientId) -> usize {
        let mut held = self.held.lock();
        if let Some(own) = held.get_mut(&client) {
            *own -= 1;
            if *own == 0 {
                held.remove(&client);
            }
        }
        self.connections.fetch_sub(1, Ordering::SeqCst) - 1
    }

    fn tell_of_lack(&self, client: ClientId, own: usize, all: usize) {
        let max = self.connections_max;
        if all >= max {
            log::warn!(
                "all {max} connections that the descriptors allow are taken: further ones are refused"
            );
        } else {
            let last = kept(max);
            log::warn!(
                "{client} has {own} connections, and {all} of {max} that the descriptors allow are taken: further ones \
                 are refused; kept for clients that have fewer: the last {last}"
            );
        }
    }

    fn leave(&self, client: ClientId) {
        let connections = self.free_place(client);
        // A sixteenth must be free: where one goes and another comes, it is not over.
        let over = connections < self.connections_max - self.connections_max / 16;
        if over && self.refused.load(Ordering::SeqCst) > 0 {
            let refused = self.refused.swap(0, Ordering::SeqCst);
            if refused > 0 && self.log_bound.lets(Level::Info, client, Instant::now()) {
                log::info!("there is room for connections again; {refused} were refused");
            }
        }
    }
}

fn tell_of_often(often: &TopOffender, refused_for: Option<Duration>) {
    let TopOffender { who, connects, within, limit } = often;
    let seconds = within.as_secs_f64();
    let refused = refused_for
        .map_or_else(String::new, |time| format!("; the next {:.0} s it is refused", time.as_secs_f64()));
    let limit = limit.map_or_else(String::new, |limit| format!(" (Server_Max_Connects_Per_Minute={limit})"));
    log::warn!(
        "{who} connects too often: {connects} times in {seconds:.1} s{refused}{limit}; a client should keep one \
         connection open, and carry all its sessions on it"
    );
}

/// The answer to a connection for which there is no descriptor.
pub(super) fn no_descriptors() -> Refusal {
    Refusal::new(Status::NoDescriptors, Status::NoDescriptors.text()).retry_after(RETRY_AFTER)
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn peer() -> ClientId {
        other(1)
    }

    fn other(last: u8) -> ClientId {
        ClientId::of(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
    }

    fn status(try_acquire: Result<ConnectionPermit, Refusal>) -> Result<ConnectionPermit, Status> {
        try_acquire.map_err(|refusal| refusal.status)
    }

    #[test]
    fn there_are_as_many_passes_as_places_and_not_one_more() {
        let connection_limiter =
            Arc::new(ConnectionLimiter::new(&Config::default_with(2), 3, Arc::default()));
        let (now, stats) = (Instant::now(), PortStats::default());
        let mut passes: Vec<ConnectionPermit> =
            (0..3).map(|_| connection_limiter.try_acquire(peer(), now, &stats).unwrap()).collect();
        let refused = connection_limiter.try_acquire(peer(), now, &stats).unwrap_err();
        assert_eq!((refused.status, refused.fault.retry_after_ms), (Status::NoDescriptors, 1000));
        assert_eq!(
            (stats.refused_descriptors.get(), connection_limiter.refused.load(Ordering::SeqCst)),
            (1, 1)
        );
        passes.pop();
        assert_eq!(connection_limiter.refused.load(Ordering::SeqCst), 0, "it is over");
        passes.push(connection_limiter.try_acquire(peer(), now, &stats).unwrap());
        assert_eq!(
            status(connection_limiter.try_acquire(peer(), now, &stats)).unwrap_err(),
            Status::NoDescriptors
        );
        drop(passes);
        assert_eq!(connection_limiter.connections.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_client_alone_does_not_have_all_places() {
        let connection_limiter =
            Arc::new(ConnectionLimiter::new(&Config::default_with(2), 128, Arc::default()));
        let (now, stats) = (Instant::now(), PortStats::default());
        let try_acquire = |client| connection_limiter.try_acquire(client, now, &stats);
        let mut passes: Vec<ConnectionPermit> = std::iter::from_fn(|| try_acquire(other(1)).ok()).collect();
        assert_eq!(passes.len(), 126);
        assert_eq!(status(try_acquire(other(1))).unwrap_err(), Status::NoDescriptors);
        passes.push(try_acquire(other(2)).unwrap());
        passes.push(try_acquire(other(3)).unwrap());
        assert_eq!(status(try_acquire(other(4))).unwrap_err(), Status::NoDescriptors, "all are taken");
        assert_eq!(stats.refused_descriptors.get(), 3);
        drop(passes);
        assert_eq!((connection_limiter.connections(), connection_limiter.held.lock().len()), (0, 0));
    }

    #[test]
    fn who_connects_too_often_is_told_for_how_long_and_takes_no_place() {
        let mut config = Config::default_with(2);
        config.max_connects.value = Some(2);
        let connection_limiter = Arc::new(ConnectionLimiter::new(&config, 10, Arc::default()));
        let (now, stats) = (Instant::now(), PortStats::default());
        (0..2).for_each(|_| drop(connection_limiter.try_acquire(peer(), now, &stats).unwrap()));
        let refused =
            connection_limiter.try_acquire(peer(), now + Duration::from_secs(20), &stats).unwrap_err();
        assert_eq!((refused.status, refused.fault.retry_after_ms), (Status::ConnectLimit, 40_000));
        assert_eq!(
            (stats.refused_connects.get(), connection_limiter.connections.load(Ordering::SeqCst)),
            (1, 0)
        );
        assert_eq!(connection_limiter.connects_most(), Some((peer(), 3)));
    }
}
