//! How often each client connects, and whether that is too often.
//!
//! A client has a minute of its own: it begins with a connection when none is running, and the connections within it
//! are counted. Knows clients and times that come in; knows no sockets, no clock and no log.
//!
//! Invariants: of each client in `counts` there is exactly one entry in `order`, which is by the beginning of their
//! minutes. No more than [`CLIENTS_MAX`] clients are kept: one more drives out the one whose minute began first.
//! A connection costs constant time on average, since each entry is put in and taken out once.

use crate::service::ClientId;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Over how long connections are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// Without a limit, more connections than this in a minute are told of.
pub(super) const OFTEN: u32 = 60;

/// Clients that are remembered, some 50 bytes each.
const CLIENTS_MAX: usize = 4096;

/// What there is to say of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// It is over the limit: for how long its client is refused.
    pub(super) refused_for: Option<Duration>,
    /// It is the first over the limit, or over [`OFTEN`], in its minute: how many there were in how long.
    pub(super) often: Option<(u32, Duration)>,
}

/// The clients that connected within the last minute.
#[derive(Debug)]
pub(super) struct Connects {
    limit: Option<u32>,
    counts: HashMap<ClientId, Count>,
    order: VecDeque<ClientId>,
    /// The refused client that connected most often in its minute, how often, and when it was last found so.
    most: Option<(ClientId, u32, Instant)>,
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

    /// A client connects. Refused connections count too, but do not make its minute longer.
    pub(super) fn connect(&mut self, client: ClientId, now: Instant) -> Verdict {
        self.forget_the_past(now);
        if !self.counts.contains_key(&client) {
            if self.order.len() >= CLIENTS_MAX {
                self.forget_first();
            }
            self.order.push_back(client);
        }
        let count = self.counts.entry(client).or_insert(Count { since: now, connects: 0 });
        count.connects = count.connects.saturating_add(1);
        let ago = now.saturating_duration_since(count.since);
        let over = self.limit.is_some_and(|limit| count.connects > limit);
        // What one did in a whole minute stands until another minute is over.
        let more = |(_, most, found): (ClientId, u32, Instant)| {
            count.connects >= most || now.saturating_duration_since(found) >= 2 * MINUTE
        };
        if over && self.most.is_none_or(more) {
            self.most = Some((client, count.connects, now));
        }
        let first = count.connects == self.limit.unwrap_or(OFTEN).saturating_add(1);
        Verdict { refused_for: over.then(|| MINUTE - ago), often: first.then_some((count.connects, ago)) }
    }

    /// The refused client that connected most often in its minute, of late, and how often.
    pub(super) fn most(&self) -> Option<(ClientId, u32)> {
        self.most.map(|(client, connects, _)| (client, connects))
    }

    fn forget_the_past(&mut self, now: Instant) {
        let past = |count: &Count| now.saturating_duration_since(count.since) >= MINUTE;
        while self.order.front().and_then(|client| self.counts.get(client)).is_some_and(past) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(client) = self.order.pop_front() {
            self.counts.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    const SECOND: Duration = Duration::from_secs(1);

    fn v4(last: u8) -> ClientId {
        ClientId::of(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
    }

    #[test]
    fn one_over_the_limit_is_refused_until_its_minute_is_over() {
        let (mut connects, start) = (Connects::new(Some(3)), Instant::now());
        for n in 0..3 {
            let verdict = connects.connect(v4(1), start + n * SECOND);
            assert_eq!(verdict, Verdict { refused_for: None, often: None });
        }
        let fourth = connects.connect(v4(1), start + 3 * SECOND);
        assert_eq!(fourth, Verdict { refused_for: Some(57 * SECOND), often: Some((4, 3 * SECOND)) });
        let fifth = connects.connect(v4(1), start + 59 * SECOND);
        assert_eq!(
            fifth,
            Verdict { refused_for: Some(SECOND), often: None },
            "told once, and no longer refused"
        );
        assert_eq!(connects.connect(v4(2), start + 59 * SECOND).refused_for, None, "another has its own");
        assert_eq!(connects.connect(v4(1), start + MINUTE).refused_for, None, "a new minute");
    }

    #[test]
    fn the_refused_address_that_connects_most_is_known_until_it_is_long_past() {
        let (mut connects, start) = (Connects::new(Some(2)), Instant::now());
        let mut knock = |address, times: u32, at| {
            (0..times).for_each(|_| _ = connects.connect(address, start + at));
            connects.most()
        };
        assert_eq!(knock(v4(1), 2, SECOND), None, "who is not refused is no matter");
        assert_eq!(knock(v4(1), 3, SECOND), Some((v4(1), 5)));
        assert_eq!(knock(v4(2), 4, SECOND), Some((v4(1), 5)));
        assert_eq!(knock(v4(2), 3, 2 * SECOND), Some((v4(2), 7)));
        assert_eq!(knock(v4(1), 3, 2 * MINUTE), Some((v4(2), 7)), "the last whole minute counts");
        assert_eq!(knock(v4(1), 1, 2 * MINUTE + 2 * SECOND), Some((v4(1), 4)));
    }

    #[test]
    fn without_a_limit_who_connects_often_is_told_of_once_a_minute() {
        let (mut connects, start) = (Connects::new(None), Instant::now());
        for minute in 0..3 {
            let told: Vec<_> = (0..200)
                .filter(|n| {
                    let verdict = connects.connect(v4(1), start + minute * MINUTE + *n * SECOND / 10);
                    assert_eq!(verdict.refused_for, None);
                    verdict.often.is_some_and(|often| often == (OFTEN + 1, 6 * SECOND))
                })
                .collect();
            assert_eq!(told, [OFTEN]);
        }
    }

    #[test]
    fn an_address_is_the_same_in_both_of_its_forms() {
        let mapped = ClientId::of(IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped()));
        let (mut connects, now) = (Connects::new(Some(1)), Instant::now());
        assert_eq!(connects.connect(v4(1), now).refused_for, None);
        assert_eq!(connects.connect(mapped, now).refused_for, Some(MINUTE));
    }

    #[test]
    fn memory_is_bounded_and_what_is_past_is_forgotten() {
        let (mut connects, start) = (Connects::new(Some(1)), Instant::now());
        connects.connect(v4(1), start);
        for n in 0..2 * CLIENTS_MAX {
            let other = ClientId::of(IpAddr::V6(Ipv6Addr::from((n as u128 + (1 << 40)) << 64)));
            connects.connect(other, start + SECOND);
            assert!(connects.counts.len() <= CLIENTS_MAX && connects.counts.len() == connects.order.len());
        }
        assert_eq!(connects.connect(v4(1), start + SECOND).refused_for, None, "the first was driven out");
        assert_eq!(connects.counts.len(), CLIENTS_MAX);
        connects.connect(v4(2), start + SECOND + MINUTE);
        assert_eq!((connects.counts.len(), connects.order.len()), (1, 1));
    }
}
