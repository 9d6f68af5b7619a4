//! Rate limit of connects: counts how often each client connects, and decides whether that is too often.
//!
//! A client has a minute of its own: it begins with a connection when none is running, and the connections within it
//! are counted. Without a limit only those count that ended soon and with few calls: many connections that are used are
//! no reason for a warning. Where there is a limit, an IPv6 network of /48, which is what one subscriber is given at
//! most (RFC 6177), may connect as often as [`SITE_CLIENTS`] clients: its 65,536 clients are one person's.
//!
//! Invariants: at most [`PLACES`] clients within their limit are kept, and as many over it, apart: one more drives out
//! the first of its own sort. So a client over the limit is forgotten only when its minute is over or as many others
//! have gone over theirs since, however many come that do not. A connection costs constant time on average, since each
//! entry is inserted and removed once. Knows no sockets, no clock and no log.

use crate::service::{ClientId, Site};
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Period over which connections are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// Without a limit, more brief connections than this in a minute are reported.
const BRIEF_CONNECTS_MAX: u32 = 60;

/// A brief connection makes fewer calls than this.
const BRIEF_CALLS: u64 = 10;

/// A brief connection ends within this time, or a second later: listeners keep whole seconds of their connections.
const BRIEF: Duration = Duration::from_secs(1);

/// A /48 may connect as often as this many clients.
const SITE_CLIENTS: u32 = 64;

/// Clients that are kept within the limit, and over it; networks likewise. Some 80 bytes each.
const PLACES: usize = 16_384;

/// The decision on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RateDecision {
    /// Time for which its client is refused, if it is over the limit.
    pub(super) refused_for: Option<Duration>,
    /// Set for the first connection over the limit in the minute of its client or network.
    pub(super) offender: Option<TopOffender>,
}

const ADMITTED: RateDecision = RateDecision { refused_for: None, offender: None };

/// A client or network that connects too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopOffender {
    pub(super) client: String,
    /// Connections in its minute.
    pub(super) connects: u32,
    /// Time since the minute began.
    pub(super) within: Duration,
    /// The limit, if there is one.
    pub(super) limit: Option<u32>,
}

/// The clients that connected within the last minute.
#[derive(Debug)]
pub(super) struct ConnectRateLimiter {
    limit: Option<u32>,
    clients: Counts<ClientId>,
    sites: Counts<Site>,
    /// The refused client that connected most often in its minute, how often, and when it was last found so.
    most: Option<(ClientId, u32, Instant)>,
}

#[derive(Debug)]
struct Counts<K> {
    counts: HashMap<K, Count>,
    /// Keys within their limit, by the beginning of their minutes; some are in `counts` no longer.
    within: VecDeque<(K, Instant)>,
    /// Keys over it, in the order in which they exceeded it; some are in `counts` no longer.
    over: VecDeque<(K, Instant)>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Instant,
    connects: u32,
    over: bool,
}

impl ConnectRateLimiter {
    pub(super) fn new(limit: Option<u32>) -> ConnectRateLimiter {
        ConnectRateLimiter { limit, clients: Counts::new(), sites: Counts::new(), most: None }
    }

    /// Counts and decides on a connection. Refused connections count too, but do not make the client's minute longer.
    pub(super) fn connect(&mut self, client: ClientId, now: Instant) -> RateDecision {
        let Some(limit) = self.limit else { return ADMITTED };
        let count = self.clients.count(client, limit, now);
        if count.over {
            self.note_most(client, count.connects, now);
            return count.refuses(client, (limit, limit), now);
        }
        // A refused connection does not count against the client's neighbours.
        let Some(site) = client.site() else { return ADMITTED };
        let most = limit.saturating_mul(SITE_CLIENTS);
        let count = self.sites.count(site, most, now);
        if count.over {
            self.note_most(client, count.connects.div_ceil(SITE_CLIENTS), now);
            return count.refuses(site, (most, limit), now);
        }
        ADMITTED
    }

    /// Counts a connection that has ended. Returns its client, if this is the first over [`BRIEF_CONNECTS_MAX`] in its
    /// minute.
    pub(super) fn end(
        &mut self,
        client: ClientId,
        age: Duration,
        calls: u64,
        now: Instant,
    ) -> Option<TopOffender> {
        if self.limit.is_some() || calls >= BRIEF_CALLS || age >= BRIEF {
            return None;
        }
        self.clients.count(client, BRIEF_CONNECTS_MAX, now).offender(client, BRIEF_CONNECTS_MAX, now)
    }

    fn note_most(&mut self, client: ClientId, connects: u32, now: Instant) {
        // The count of a whole minute stands until another minute is over.
        let more = |(_, most, found): (ClientId, u32, Instant)| {
            connects >= most || now.saturating_duration_since(found) >= 2 * MINUTE
        };
        if self.most.is_none_or(more) {
            self.most = Some((client, connects, now));
        }
    }

    /// Returns the refused client that connected most often in its minute, recently, and how often.
    pub(super) fn top_offender(&self) -> Option<(ClientId, u32)> {
        self.most.map(|(client, connects, _)| (client, connects))
    }
}

impl Count {
    /// Refuses `key`, which has exceeded the `most` that it may make by this limit.
    fn refuses(&self, key: impl std::fmt::Display, (most, limit): (u32, u32), now: Instant) -> RateDecision {
        let left = MINUTE - now.saturating_duration_since(self.since);
        let offender = self.offender(key, most, now);
        let offender = offender.map(|offender| TopOffender { limit: Some(limit), ..offender });
        RateDecision { refused_for: Some(left), offender }
    }

    /// Returns `key`, if this is its first connection over `most`.
    fn offender(&self, key: impl std::fmt::Display, most: u32, now: Instant) -> Option<TopOffender> {
        let (connects, within) = (self.connects, now.saturating_duration_since(self.since));
        let first = connects == most.saturating_add(1);
        first.then(|| TopOffender { client: key.to_string(), connects, within, limit: None })
    }
}

impl<K: Copy + Eq + Hash> Counts<K> {
    fn new() -> Counts<K> {
        Counts { counts: HashMap::new(), within: VecDeque::new(), over: VecDeque::new() }
    }

    /// Counts one connection more.
    fn count(&mut self, key: K, most: u32, now: Instant) -> Count {
        self.forget_the_past(now);
        let is_past = |count: &Count| now.saturating_duration_since(count.since) >= MINUTE;
        if self.counts.get(&key).is_none_or(is_past) {
            if self.within.len() >= PLACES {
                self.forget_first(false);
            }
            self.within.push_back((key, now));
            self.counts.insert(key, Count { since: now, connects: 0, over: false });
        }
        let count = self.counts.get_mut(&key).expect("it was put there just now");
        count.connects = count.connects.saturating_add(1);
        let goes_over = !count.over && count.connects > most;
        count.over |= goes_over;
        let count = *count;
        if goes_over {
            if self.over.len() >= PLACES {
                self.forget_first(true);
            }
            self.over.push_back((key, count.since));
        }
        count
    }

    fn forget_the_past(&mut self, now: Instant) {
        for over in [false, true] {
            let past = |(_, since): &(K, Instant)| now.saturating_duration_since(*since) >= MINUTE;
            while self.line(over).front().is_some_and(past) {
                self.forget_first(over);
            }
        }
    }

    fn line(&mut self, over: bool) -> &mut VecDeque<(K, Instant)> {
        if over { &mut self.over } else { &mut self.within }
    }

    /// Forgets the first of a line, unless it is in the other by now, or in the same again with a later minute.
    fn forget_first(&mut self, over: bool) {
        let Some((key, since)) = self.line(over).pop_front() else { return };
        if self.counts.get(&key).is_some_and(|count| count.since == since && count.over == over) {
            self.counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    /// The /64 of this number, one of 65,536 in a /48.
    fn v6(number: u64) -> ClientId {
        ClientId::of(IpAddr::V6(Ipv6Addr::from(u128::from(number + (1 << 60)) << 64)))
    }

    /// The report on a client.
    fn reported(decision: &RateDecision) -> Option<(u32, Duration)> {
        decision.offender.as_ref().map(|offender| (offender.connects, offender.within))
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn v4(last: u8) -> ClientId {
        ClientId::of(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
    }

    #[test]
    fn one_over_the_limit_is_refused_until_its_minute_is_over() {
        let (mut connects, start) = (ConnectRateLimiter::new(Some(3)), Instant::now());
        for n in 0..3 {
            let decision = connects.connect(v4(1), start + n * SECOND);
            assert_eq!(decision, ADMITTED);
        }
        let fourth = connects.connect(v4(1), start + 3 * SECOND);
        assert_eq!((fourth.refused_for, reported(&fourth)), (Some(57 * SECOND), Some((4, 3 * SECOND))));
        let fifth = connects.connect(v4(1), start + 59 * SECOND);
        assert_eq!(
            fifth,
            RateDecision { refused_for: Some(SECOND), offender: None },
            "reported once, and refused no longer"
        );
        assert_eq!(connects.connect(v4(2), start + 59 * SECOND).refused_for, None, "another has its own");
        assert_eq!(connects.connect(v4(1), start + MINUTE).refused_for, None, "a new minute");
    }

    #[test]
    fn the_refused_address_that_connects_most_is_known_until_it_is_long_past() {
        let (mut connects, start) = (ConnectRateLimiter::new(Some(2)), Instant::now());
        let mut try_acquire = |address, times: u32, at| {
            (0..times).for_each(|_| _ = connects.connect(address, start + at));
            connects.top_offender()
        };
        assert_eq!(try_acquire(v4(1), 2, SECOND), None, "a client that is not refused does not count");
        assert_eq!(try_acquire(v4(1), 3, SECOND), Some((v4(1), 5)));
        assert_eq!(try_acquire(v4(2), 4, SECOND), Some((v4(1), 5)));
        assert_eq!(try_acquire(v4(2), 3, 2 * SECOND), Some((v4(2), 7)));
        assert_eq!(try_acquire(v4(1), 3, 2 * MINUTE), Some((v4(2), 7)), "the last whole minute counts");
        assert_eq!(try_acquire(v4(1), 1, 2 * MINUTE + 2 * SECOND), Some((v4(1), 4)));
    }

    #[test]
    fn without_a_limit_many_brief_connections_are_reported_once_a_minute() {
        let (mut connects, start) = (ConnectRateLimiter::new(None), Instant::now());
        for minute in 0..3 {
            let mut ends = |n: u32, age, calls| {
                let at = start + minute * MINUTE + n * SECOND / 10;
                assert_eq!(connects.connect(v4(1), at), ADMITTED);
                let offender = connects.end(v4(1), age, calls, at);
                offender.map(|TopOffender { connects, within, limit, .. }| (connects, within, limit))
            };
            // A load generator's connections are used, or stay.
            assert!(
                (0..100)
                    .all(|n| ends(0, BRIEF / 2, BRIEF_CALLS + n).is_none() && ends(0, BRIEF, 0).is_none())
            );
            let offenders: Vec<_> = (0..200).filter_map(|n| ends(n, BRIEF / 2, 1)).collect();
            assert_eq!(offenders, [(BRIEF_CONNECTS_MAX + 1, 6 * SECOND, None)]);
        }
    }

    #[test]
    fn an_address_is_the_same_in_both_of_its_forms() {
        let mapped = ClientId::of(IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped()));
        let (mut connects, now) = (ConnectRateLimiter::new(Some(1)), Instant::now());
        assert_eq!(connects.connect(v4(1), now).refused_for, None);
        assert_eq!(connects.connect(mapped, now).refused_for, Some(MINUTE));
    }

    #[test]
    fn a_client_over_the_limit_is_not_forgotten_because_others_come() {
        let (mut connects, start) = (ConnectRateLimiter::new(Some(2)), Instant::now());
        (0..3).for_each(|_| _ = connects.connect(v4(1), start));
        // Sites enough that none is over its own limit.
        for number in 0..4 * PLACES as u64 {
            connects.connect(v6(number << 10), start + SECOND);
            let Counts { counts, within, over } = &connects.clients;
            assert!(counts.len() <= 2 * PLACES && within.len() <= PLACES && over.len() <= PLACES);
        }
        assert_eq!(connects.connect(v4(1), start + SECOND).refused_for, Some(59 * SECOND));
        // Nor because others go over the limit, short of as many as there are places.
        for number in 0..PLACES as u64 - 1 {
            (0..3).for_each(|_| _ = connects.connect(v6(number << 16), start + 2 * SECOND));
        }
        assert_eq!(connects.connect(v4(1), start + 2 * SECOND).refused_for, Some(58 * SECOND));
        assert_eq!(connects.connect(v4(1), start + MINUTE).refused_for, None, "a new minute");
    }

    #[test]
    fn a_network_has_a_limit_too_and_a_refused_client_in_it_harms_no_neighbour() {
        let (mut connects, start) = (ConnectRateLimiter::new(Some(2)), Instant::now());
        (0..1000).for_each(|_| _ = connects.connect(v6(7), start));
        let admitted =
            (0..1000).filter(|n| connects.connect(v6(100 + n), start).refused_for.is_none()).count();
        assert_eq!(admitted, 2 * SITE_CLIENTS as usize - 2, "the first client had two");
        let refused = connects.connect(v6(5000), start + SECOND);
        assert_eq!(refused, RateDecision { refused_for: Some(59 * SECOND), offender: None });
        assert_eq!(connects.connect(v6(1 << 16), start).refused_for, None, "another network");
        assert_eq!(connects.connect(v6(5001), start + MINUTE).refused_for, None, "a new minute");
        let mut other = ConnectRateLimiter::new(Some(1));
        let offenders: Vec<_> = (0..100).filter_map(|n| other.connect(v6(n), start).offender).collect();
        assert_eq!((offenders.len(), offenders[0].client.as_str()), (1, "1000::/48"));
    }

    #[test]
    fn past_minutes_are_forgotten() {
        let (mut connects, start) = (ConnectRateLimiter::new(Some(1)), Instant::now());
        (0..100).for_each(|n| (0..1 + n % 2).for_each(|_| _ = connects.connect(v6(n << 16), start)));
        connects.connect(v4(2), start + MINUTE);
        let Counts { counts, within, over } = &connects.clients;
        assert_eq!((counts.len(), within.len(), over.len()), (1, 1, 0));
    }
}
