//! How often each client connects, and whether that is too often.
//!
//! A client has a minute of its own: it begins with a connection when none is running, and the connections within it
//! are counted. Without a limit only those count that ended soon and with few calls: many connections that are used are
//! nothing to tell of. Where there is a limit, an IPv6 network of /48, which is what one subscriber is given at most
//! (RFC 6177), may connect as often as [`SITE_CLIENTS`] clients: its 65,536 clients are one person's. Knows clients and
//! times that come in; knows no sockets, no clock and no log.
//!
//! Invariants: no more than [`PLACES`] that are within their limit are remembered, and as many that are over it, apart:
//! one more drives out the first of its own sort. So whoever is over the limit is forgotten only when its minute is
//! over or as many others have gone over theirs since, however many come that do not. A connection costs constant time
//! on average, since each entry is put in and taken out once.

use crate::service::{ClientId, Site};
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Over how long connections are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// Without a limit, more brief connections than this in a minute are told of.
const OFTEN: u32 = 60;

/// A connection is brief if it made fewer calls than this,
const BRIEF_CALLS: u64 = 10;

/// and ended within this time, or a second later: listeners keep whole seconds of their connections.
const BRIEF: Duration = Duration::from_secs(1);

/// A /48 may connect as often as so many clients.
const SITE_CLIENTS: u32 = 64;

/// Clients that are remembered within the limit, and over it; networks likewise. Some 80 bytes each.
const PLACES: usize = 16_384;

/// What there is to say of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RateDecision {
    /// It is over the limit: for how long its client is refused.
    pub(super) refused_for: Option<Duration>,
    /// It is the first over the limit in the minute of its client or network.
    pub(super) often: Option<TopOffender>,
}

/// Who connects too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopOffender {
    pub(super) who: String,
    pub(super) connects: u32,
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
    /// Those within their limit, by the beginning of their minutes; and some that are there no longer.
    within: VecDeque<(K, Instant)>,
    /// Those over it, as they went over it; and some that are there no longer.
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

    /// A client connects. Refused connections count too, but do not make its minute longer.
    pub(super) fn connect(&mut self, client: ClientId, now: Instant) -> RateDecision {
        let Some(limit) = self.limit else { return RateDecision { refused_for: None, often: None } };
        let count = self.clients.count(client, limit, now);
        if count.over {
            self.note_most(client, count.connects, now);
            return count.refuses(client, (limit, limit), now);
        }
        // What is refused already does not count against its neighbours.
        let Some(site) = client.site() else { return RateDecision { refused_for: None, often: None } };
        let most = limit.saturating_mul(SITE_CLIENTS);
        let count = self.sites.count(site, most, now);
        if count.over {
            self.note_most(client, count.connects.div_ceil(SITE_CLIENTS), now);
            return count.refuses(site, (most, limit), now);
        }
        RateDecision { refused_for: None, often: None }
    }

    /// A connection has ended that stayed for so long and made so many calls: its client, if it is the first over
    /// [`OFTEN`] in its minute.
    pub(super) fn end(
        &mut self,
        client: ClientId,
        stayed: Duration,
        calls: u64,
        now: Instant,
    ) -> Option<TopOffender> {
        if self.limit.is_some() || calls >= BRIEF_CALLS || stayed >= BRIEF {
            return None;
        }
        self.clients.count(client, OFTEN, now).often(client, OFTEN, now)
    }

    fn note_most(&mut self, client: ClientId, connects: u32, now: Instant) {
        // What one did in a whole minute stands until another minute is over.
        let more = |(_, most, found): (ClientId, u32, Instant)| {
            connects >= most || now.saturating_duration_since(found) >= 2 * MINUTE
        };
        if self.most.is_none_or(more) {
            self.most = Some((client, connects, now));
        }
    }

    /// The refused client that connected most often in its minute, of late, and how often.
    pub(super) fn most(&self) -> Option<(ClientId, u32)> {
        self.most.map(|(client, connects, _)| (client, connects))
    }
}

impl Count {
    /// `who` is over as many as it may make by this limit.
    fn refuses(&self, who: impl std::fmt::Display, (most, limit): (u32, u32), now: Instant) -> RateDecision {
        let left = MINUTE - now.saturating_duration_since(self.since);
        let often = self.often(who, most, now).map(|often| TopOffender { limit: Some(limit), ..often });
        RateDecision { refused_for: Some(left), often }
    }

    /// `who`, if this is the first connection over so many.
    fn often(&self, who: impl std::fmt::Display, most: u32, now: Instant) -> Option<TopOffender> {
        let (connects, within) = (self.connects, now.saturating_duration_since(self.since));
        let first = connects == most.saturating_add(1);
        first.then(|| TopOffender { who: who.to_string(), connects, within, limit: None })
    }
}

impl<K: Copy + Eq + Hash> Counts<K> {
    fn new() -> Counts<K> {
        Counts { counts: HashMap::new(), within: VecDeque::new(), over: VecDeque::new() }
    }

    /// One connection more.
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

    /// Forgets the first of a line, unless it stands in the other by now, or there again with a later minute.
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

    /// What is told of a client.
    fn told(verdict: &RateDecision) -> Option<(u32, Duration)> {
        verdict.often.as_ref().map(|often| (often.connects, often.within))
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn v4(last: u8) -> ClientId {
        ClientId::of(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
    }

    #[test]
    fn one_over_the_limit_is_refused_until_its_minute_is_over() {
        let (mut connects, start) = (ConnectRateLimiter::new(Some(3)), Instant::now());
        for n in 0..3 {
            let verdict = connects.connect(v4(1), start + n * SECOND);
            assert_eq!(verdict, RateDecision { refused_for: None, often: None });
        }
        let fourth = connects.connect(v4(1), start + 3 * SECOND);
        assert_eq!((fourth.refused_for, told(&fourth)), (Some(57 * SECOND), Some((4, 3 * SECOND))));
        let fifth = connects.connect(v4(1), start + 59 * SECOND);
        assert_eq!(
            fifth,
            RateDecision { refused_for: Some(SECOND), often: None },
            "told once, and no longer refused"
        );
        assert_eq!(connects.connect(v4(2), start + 59 * SECOND).refused_for, None, "another has its own");
        assert_eq!(connects.connect(v4(1), start + MINUTE).refused_for, None, "a new minute");
    }

    #[test]
    fn the_refused_address_that_connects_most_is_known_until_it_is_long_past() {
        let (mut connects, start) = (ConnectRateLimiter::new(Some(2)), Instant::now());
        let mut try_acquire = |address, times: u32, at| {
            (0..times).for_each(|_| _ = connects.connect(address, start + at));
            connects.most()
        };
        assert_eq!(try_acquire(v4(1), 2, SECOND), None, "who is not refused is no matter");
        assert_eq!(try_acquire(v4(1), 3, SECOND), Some((v4(1), 5)));
        assert_eq!(try_acquire(v4(2), 4, SECOND), Some((v4(1), 5)));
        assert_eq!(try_acquire(v4(2), 3, 2 * SECOND), Some((v4(2), 7)));
        assert_eq!(try_acquire(v4(1), 3, 2 * MINUTE), Some((v4(2), 7)), "the last whole minute counts");
        assert_eq!(try_acquire(v4(1), 1, 2 * MINUTE + 2 * SECOND), Some((v4(1), 4)));
    }

    #[test]
    fn without_a_limit_who_connects_often_and_briefly_is_told_of_once_a_minute() {
        let (mut connects, start) = (ConnectRateLimiter::new(None), Instant::now());
        for minute in 0..3 {
            let mut ends = |n: u32, stayed, calls| {
                let at = start + minute * MINUTE + n * SECOND / 10;
                assert_eq!(connects.connect(v4(1), at), RateDecision { refused_for: None, often: None });
                let often = connects.end(v4(1), stayed, calls, at);
                often.map(|TopOffender { connects, within, limit, .. }| (connects, within, limit))
            };
            // A load generator's connections are used, or stay.
            assert!(
                (0..100)
                    .all(|n| ends(0, BRIEF / 2, BRIEF_CALLS + n).is_none() && ends(0, BRIEF, 0).is_none())
            );
            let told: Vec<_> = (0..200).filter_map(|n| ends(n, BRIEF / 2, 1)).collect();
            assert_eq!(told, [(OFTEN + 1, 6 * SECOND, None)]);
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
    fn whoever_is_over_the_limit_is_not_forgotten_because_others_come() {
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
    fn a_network_has_a_limit_too_and_who_is_refused_in_it_harms_no_neighbour() {
        let (mut connects, start) = (ConnectRateLimiter::new(Some(2)), Instant::now());
        (0..1000).for_each(|_| _ = connects.connect(v6(7), start));
        let let_in = (0..1000).filter(|n| connects.connect(v6(100 + n), start).refused_for.is_none()).count();
        assert_eq!(let_in, 2 * SITE_CLIENTS as usize - 2, "the first client had two");
        let refused = connects.connect(v6(5000), start + SECOND);
        assert_eq!(refused, RateDecision { refused_for: Some(59 * SECOND), often: None });
        assert_eq!(connects.connect(v6(1 << 16), start).refused_for, None, "another network");
        assert_eq!(connects.connect(v6(5001), start + MINUTE).refused_for, None, "a new minute");
        let mut other = ConnectRateLimiter::new(Some(1));
        let told: Vec<_> = (0..100).filter_map(|n| other.connect(v6(n), start).often).collect();
        assert_eq!((told.len(), told[0].who.as_str()), (1, "1000::/48"));
    }

    #[test]
    fn what_is_past_is_forgotten() {
        let (mut connects, start) = (ConnectRateLimiter::new(Some(1)), Instant::now());
        (0..100).for_each(|n| (0..1 + n % 2).for_each(|_| _ = connects.connect(v6(n << 16), start)));
        connects.connect(v4(2), start + MINUTE);
        let Counts { counts, within, over } = &connects.clients;
        assert_eq!((counts.len(), within.len(), over.len()), (1, 1, 0));
    }
}
