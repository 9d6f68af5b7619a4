//! How often each address connects, and whether that is too often.
//!
//! An address has a minute of its own: it begins with a connection when none is running, and the connections within it
//! are counted. Knows addresses and times that come in; knows no sockets, no clock and no log.
//!
//! Invariants: of each address in `counts` there is exactly one entry in `order`, which is by the beginning of their
//! minutes. No more than [`ADDRESSES_MAX`] addresses are kept: one more drives out the one whose minute began first.
//! A connection costs constant time on average, since each entry is put in and taken out once.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Over how long connections are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// Without a limit, more connections than this in a minute are told of.
pub(super) const OFTEN: u32 = 60;

/// Addresses that are remembered, some 50 bytes each.
const ADDRESSES_MAX: usize = 4096;

/// What there is to say of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// It is over the limit: for how long its address is refused.
    pub(super) refused_for: Option<Duration>,
    /// It is the first over the limit, or over [`OFTEN`], in its minute: how many there were in how long.
    pub(super) often: Option<(u32, Duration)>,
}

/// The addresses that connected within the last minute.
#[derive(Debug)]
pub(super) struct Connects {
    limit: Option<u32>,
    counts: HashMap<IpAddr, Count>,
    order: VecDeque<IpAddr>,
    /// The refused address that connected most often in its minute, how often, and when it was last found so.
    most: Option<(IpAddr, u32, Instant)>,
}

#[derive(Debug)]
struct Count {
    since: Instant,
    connects: u32,
}

impl Connects {
    pub(super) fn new(limit: Option<u32>) -> Connects {
        Connects { limit, counts: HashMap::new(), order: VecDeque::new(), most: None }
    }

    /// An address connects. Refused connections count too, but do not make its minute longer.
    pub(super) fn connect(&mut self, address: IpAddr, now: Instant) -> Verdict {
        self.forget_the_past(now);
        // An IPv4 client of an IPv6 socket is the same client.
        let address = address.to_canonical();
        if !self.counts.contains_key(&address) {
            if self.order.len() >= ADDRESSES_MAX {
                self.forget_first();
            }
            self.order.push_back(address);
        }
        let count = self.counts.entry(address).or_insert(Count { since: now, connects: 0 });
        count.connects = count.connects.saturating_add(1);
        let ago = now.saturating_duration_since(count.since);
        let over = self.limit.is_some_and(|limit| count.connects > limit);
        // What one did in a whole minute stands until another minute is over.
        let more = |(_, most, found): (IpAddr, u32, Instant)| {
            count.connects >= most || now.saturating_duration_since(found) >= 2 * MINUTE
        };
        if over && self.most.is_none_or(more) {
            self.most = Some((address, count.connects, now));
        }
        let first = count.connects == self.limit.unwrap_or(OFTEN).saturating_add(1);
        Verdict { refused_for: over.then(|| MINUTE - ago), often: first.then_some((count.connects, ago)) }
    }

    /// The refused address that connected most often in its minute, of late, and how often.
    pub(super) fn most(&self) -> Option<(IpAddr, u32)> {
        self.most.map(|(address, connects, _)| (address, connects))
    }

    fn forget_the_past(&mut self, now: Instant) {
        let past = |count: &Count| now.saturating_duration_since(count.since) >= MINUTE;
        while self.order.front().and_then(|address| self.counts.get(address)).is_some_and(past) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(address) = self.order.pop_front() {
            self.counts.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_over_the_limit_is_refused_until_its_minute_is_over() {
        let (mut connects, start) = (Connects::new(Some(3)), Instant::now());
        for n in 0..3 {
            let verdict = connects.connect(ONE, start + n * SECOND);
            assert_eq!(verdict, Verdict { refused_for: None, often: None });
        }
        let fourth = connects.connect(ONE, start + 3 * SECOND);
        assert_eq!(fourth, Verdict { refused_for: Some(57 * SECOND), often: Some((4, 3 * SECOND)) });
        let fifth = connects.connect(ONE, start + 59 * SECOND);
        assert_eq!(
            fifth,
            Verdict { refused_for: Some(SECOND), often: None },
            "told once, and no longer refused"
        );
        assert_eq!(connects.connect(OTHER, start + 59 * SECOND).refused_for, None, "another has its own");
        assert_eq!(connects.connect(ONE, start + MINUTE).refused_for, None, "a new minute");
    }

    #[test]
    fn the_refused_address_that_connects_most_is_known_until_it_is_long_past() {
        let (mut connects, start) = (Connects::new(Some(2)), Instant::now());
        let mut knock = |address, times: u32, at| {
            (0..times).for_each(|_| _ = connects.connect(address, start + at));
            connects.most()
        };
        assert_eq!(knock(ONE, 2, SECOND), None, "who is not refused is no matter");
        assert_eq!(knock(ONE, 3, SECOND), Some((ONE, 5)));
        assert_eq!(knock(OTHER, 4, SECOND), Some((ONE, 5)));
        assert_eq!(knock(OTHER, 3, 2 * SECOND), Some((OTHER, 7)));
        assert_eq!(knock(ONE, 3, 2 * MINUTE), Some((OTHER, 7)), "the last whole minute counts");
        assert_eq!(knock(ONE, 1, 2 * MINUTE + 2 * SECOND), Some((ONE, 4)));
    }

    #[test]
    fn without_a_limit_who_connects_often_is_told_of_once_a_minute() {
        let (mut connects, start) = (Connects::new(None), Instant::now());
        for minute in 0..3 {
            let told: Vec<_> = (0..200)
                .filter(|n| {
                    let verdict = connects.connect(ONE, start + minute * MINUTE + *n * SECOND / 10);
                    assert_eq!(verdict.refused_for, None);
                    verdict.often.is_some_and(|often| often == (OFTEN + 1, 6 * SECOND))
                })
                .collect();
            assert_eq!(told, [OFTEN]);
        }
    }

    #[test]
    fn an_address_is_the_same_in_both_of_its_forms() {
        let mapped = IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        let (mut connects, now) = (Connects::new(Some(1)), Instant::now());
        assert_eq!(connects.connect(ONE, now).refused_for, None);
        assert_eq!(connects.connect(mapped, now).refused_for, Some(MINUTE));
    }

    #[test]
    fn memory_is_bounded_and_what_is_past_is_forgotten() {
        let (mut connects, start) = (Connects::new(Some(1)), Instant::now());
        connects.connect(ONE, start);
        for n in 0..2 * ADDRESSES_MAX {
            let other = IpAddr::V6(Ipv6Addr::from(n as u128 + (1 << 100)));
            connects.connect(other, start + SECOND);
            assert!(connects.counts.len() <= ADDRESSES_MAX && connects.counts.len() == connects.order.len());
        }
        assert_eq!(connects.connect(ONE, start + SECOND).refused_for, None, "the first was driven out");
        assert_eq!(connects.counts.len(), ADDRESSES_MAX);
        connects.connect(OTHER, start + SECOND + MINUTE);
        assert_eq!((connects.counts.len(), connects.order.len()), (1, 1));
    }
}
