//! Connection limit and connect-rate limit, shared by all ports.
//!
//! Counts the connections of each client and of all, and how often each client connects; an admitted connection holds a
//! [`ConnectionPermit`].
//!
//! Invariants: there are never more permits than [`ConnectionLimiter::connections_max`], and a client alone never has
//! them all ([`has_room`]), whether it says Hello or not; `held` has an entry for each client that has a permit. Knows
//! no sockets: the listener's `lingering_close` closes those that are refused.

use super::connect_rate::{ConnectRateLimiter, RateDecision, TopOffender};
use crate::config::Config;
use crate::metrics::PortStats;
use crate::service::{ClientId, LogLimiter, Refusal, Status, has_room, kept};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering};
use log::Level;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Retry hint of a connection refused for want of descriptors.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The connections of all ports.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    connections_max: usize,
    /// Changed under the lock of `held` alone.
    connections: AtomicUsize,
    /// Permits of each client.
    held: Mutex<HashMap<ClientId, usize>>,
    /// Connections refused since the limit was reached; 0 when that is over.
    refused: AtomicU64,
    connects: Mutex<ConnectRateLimiter>,
    log_limiter: Arc<LogLimiter>,
}

/// Permit for one connection; released on drop, therefore declared after the socket.
#[derive(Debug)]
pub(super) struct ConnectionPermit(Arc<ConnectionLimiter>, ClientId);

impl ConnectionLimiter {
    pub(super) fn new(
        config: &Config,
        connections_max: usize,
        log_limiter: Arc<LogLimiter>,
    ) -> ConnectionLimiter {
        ConnectionLimiter {
            connections_max,
            connections: AtomicUsize::new(0),
            held: Mutex::default(),
            refused: AtomicU64::new(0),
            connects: Mutex::new(ConnectRateLimiter::new(config.max_connects.value)),
            log_limiter,
        }
    }

    pub(super) fn connections_max(&self) -> usize {
        self.connections_max
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns the client refused for connecting too often that did so most recently, and how often in its minute.
    pub(super) fn connects_most(&self) -> Option<(ClientId, u32)> {
        self.connects.lock().top_offender()
    }

    /// Notes that an admitted connection has ended.
    pub(super) fn ended(&self, client: ClientId, age: Duration, calls: u64) {
        let now = Instant::now();
        let offender = self.connects.lock().end(client, age, calls, now);
        if let Some(offender) = offender.filter(|_| self.log_limiter.allows(Level::Warn, client, now)) {
            log_offender(&offender, None);
        }
    }

    /// Admits a new connection, or counts the refusal and returns it.
    pub(super) fn try_acquire(
        self: &Arc<ConnectionLimiter>,
        client: ClientId,
        now: Instant,
        stats: &PortStats,
    ) -> Result<ConnectionPermit, Refusal> {
        let RateDecision { refused_for, offender } = self.connects.lock().connect(client, now);
        if let Some(offender) = offender.filter(|_| self.log_limiter.allows(Level::Warn, client, now)) {
            log_offender(&offender, refused_for);
        }
        if let Some(time) = refused_for {
            stats.refused_connects.add(1);
            return Err(Refusal::from(Status::ConnectLimit).retry_after(time));
        }
        if let Err((own, all)) = self.take_place(client) {
            stats.refused_descriptors.add(1);
            let first = self.refused.fetch_add(1, Ordering::SeqCst) == 0;
            if first && self.log_limiter.allows(Level::Warn, client, now) {
                self.log_limit_reached(client, own, all);
            }
            return Err(no_descriptors());
        }
        Ok(ConnectionPermit(Arc::clone(self), client))
    }

    /// Takes a place for one more connection of a client.
    ///
    /// # Errors
    /// There is none; how many connections the client has, and all clients have.
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

    /// Frees a place. Returns how many are taken.
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

    fn log_limit_reached(&self, client: ClientId, own: usize, all: usize) {
        let max = self.connections_max;
        if all >= max {
            log::warn!("connection limit reached, further connections refused: limit={max}");
        } else {
            let last = kept(max);
            log::warn!(
                "connection limit nearly reached, further connections of the largest client refused: client={client} \
                 connections={own} all={all} limit={max} kept_for_others={last}"
            );
        }
    }

    fn release(&self, client: ClientId) {
        let connections = self.free_place(client);
        // A sixteenth must be free: one that goes while another comes does not end the shortage.
        let over = connections < self.connections_max - self.connections_max / 16;
        if over && self.refused.load(Ordering::SeqCst) > 0 {
            let refused = self.refused.swap(0, Ordering::SeqCst);
            if refused > 0 && self.log_limiter.allows(Level::Info, client, Instant::now()) {
                log::info!("below the connection limit again, refused={refused}");
            }
        }
    }
}

fn log_offender(offender: &TopOffender, refused_for: Option<Duration>) {
    let TopOffender { client, connects, within, limit } = offender;
    let seconds = within.as_secs_f64();
    let refused =
        refused_for.map_or_else(String::new, |time| format!(" refused_for={:.0} s", time.as_secs_f64()));
    let limit = limit.map_or_else(String::new, |limit| format!(" Server_Max_Connects_Per_Minute={limit}"));
    log::warn!(
        "{client} connects too often: connects={connects} within={seconds:.1} s{refused}{limit}; a client should keep \
         one connection open, and carry all its sessions on it"
    );
}

/// Returns the refusal of a connection for which there is no descriptor.
pub(super) fn no_descriptors() -> Refusal {
    Refusal::from(Status::NoDescriptors).retry_after(RETRY_AFTER)
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.release(self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn client(last: u8) -> ClientId {
        ClientId::of(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
    }

    /// A limiter with this many places.
    fn limiter(places: usize, connects_max: Option<u32>) -> (Arc<ConnectionLimiter>, Instant, PortStats) {
        let mut config = Config::default_with(2);
        config.max_connects.value = connects_max;
        let limiter = Arc::new(ConnectionLimiter::new(&config, places, Arc::default()));
        (limiter, Instant::now(), PortStats::default())
    }

    #[test]
    fn there_are_as_many_permits_as_places_and_not_one_more() {
        let (limiter, now, stats) = limiter(3, None);
        let try_acquire = || limiter.try_acquire(client(1), now, &stats);
        let mut permits: Vec<ConnectionPermit> = (0..3).map(|_| try_acquire().unwrap()).collect();
        let refused = try_acquire().unwrap_err();
        assert_eq!((refused.status, refused.fault.retry_after_ms), (Status::NoDescriptors, 1000));
        assert_eq!((stats.refused_descriptors.get(), limiter.refused.load(Ordering::SeqCst)), (1, 1));
        permits.pop();
        assert_eq!(limiter.refused.load(Ordering::SeqCst), 0, "it is over");
        permits.push(try_acquire().unwrap());
        assert_eq!(try_acquire().unwrap_err().status, Status::NoDescriptors);
        drop(permits);
        assert_eq!(limiter.connections(), 0);
    }

    #[test]
    fn a_client_alone_does_not_have_all_places() {
        let (limiter, now, stats) = limiter(128, None);
        let try_acquire = |last| limiter.try_acquire(client(last), now, &stats);
        let mut permits: Vec<ConnectionPermit> = std::iter::from_fn(|| try_acquire(1).ok()).collect();
        assert_eq!(permits.len(), 126);
        assert_eq!(try_acquire(1).unwrap_err().status, Status::NoDescriptors);
        permits.push(try_acquire(2).unwrap());
        permits.push(try_acquire(3).unwrap());
        assert_eq!(try_acquire(4).unwrap_err().status, Status::NoDescriptors, "all are taken");
        assert_eq!(stats.refused_descriptors.get(), 3);
        drop(permits);
        assert_eq!((limiter.connections(), limiter.held.lock().len()), (0, 0));
    }

    #[test]
    fn a_client_that_connects_too_often_is_refused_for_a_time_and_takes_no_place() {
        let (limiter, now, stats) = limiter(10, Some(2));
        (0..2).for_each(|_| drop(limiter.try_acquire(client(1), now, &stats).unwrap()));
        let refused = limiter.try_acquire(client(1), now + Duration::from_secs(20), &stats).unwrap_err();
        assert_eq!((refused.status, refused.fault.retry_after_ms), (Status::ConnectLimit, 40_000));
        assert_eq!((stats.refused_connects.get(), limiter.connections()), (1, 0));
        assert_eq!(limiter.connects_most(), Some((client(1), 3)));
    }
}
