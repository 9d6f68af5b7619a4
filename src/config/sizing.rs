//! Default sizes of throttle and pools: Domino's rules as pure functions.
//!
//! Sources of the rules: IBM technote 1207456 and the Domino wiki page on the two settings; where they disagree the
//! technote holds, since two published `show server` outputs agree with it (20 and 20 on release 8.5, 80 and 80 on
//! 9.0.1 with 4 CPUs).
//!
//! Invariants: a pool has 1 to [`POOL_TASKS_MAX`] workers for any input; a pool does not grow after its creation; an
//! unlimited throttle never means an unlimited pool (releases 5 and 6 ran out of memory that way at about 1,800
//! threads). Does not know files, lines or the machine: the number of CPUs is a parameter.

use std::fmt;
use std::num::NonZeroU32;

/// Most workers of one port.
pub(crate) const POOL_TASKS_MAX: u32 = 4096;

/// Largest result of the rules since 8.0, for throttle and pool alike.
pub(super) const RULE_MAX: u32 = 100;

/// Most workers in total, and highest throttle, that the technote recommends.
pub(crate) const WORKERS_ADVISED_MAX: u32 = 120;

/// Descriptors of one port in addition to its connections: socket, poll, waker, one spare.
pub(super) const DESCRIPTORS_PER_PORT: u64 = 4;

/// Release of Domino whose rule sizes throttle and pools. The default is [`PoolRule::R8_0_1`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolRule {
    /// `R5`, also written `R6`, `R7`, `5`, `6`, `7`.
    R5,
    /// `8.0`.
    R8_0,
    /// `8.0.1` and later.
    R8_0_1,
    /// `zOS`, also written `OS390`.
    Zos,
    /// `zLinux`.
    Zlinux,
}

impl PoolRule {
    /// All rules, oldest first.
    pub const ALL: [PoolRule; 5] =
        [PoolRule::R5, PoolRule::R8_0, PoolRule::R8_0_1, PoolRule::Zos, PoolRule::Zlinux];

    /// Returns the rule of that name or alias, ignoring case.
    pub fn named(name: &str) -> Option<PoolRule> {
        match name.to_ascii_lowercase().as_str() {
            "r5" | "r6" | "r7" | "5" | "6" | "7" => Some(PoolRule::R5),
            "8.0" => Some(PoolRule::R8_0),
            "8.0.1" => Some(PoolRule::R8_0_1),
            "zos" | "os390" => Some(PoolRule::Zos),
            "zlinux" => Some(PoolRule::Zlinux),
            _ => None,
        }
    }

    /// `max_concurrent_trans` under this rule, in words.
    pub fn throttle_in_words(self) -> &'static str {
        match self {
            PoolRule::R5 => "20",
            PoolRule::R8_0 | PoolRule::R8_0_1 => "20 x CPUs, at most 100",
            PoolRule::Zos | PoolRule::Zlinux => "unlimited",
        }
    }

    /// `pool_tasks` under this rule, in words.
    pub fn pool_in_words(self) -> &'static str {
        match self {
            PoolRule::R5 => "2 x Server_Max_Concurrent_Trans, 100 when that is unlimited, at most 4096",
            PoolRule::R8_0 => "2 x Server_Max_Concurrent_Trans, at most 100",
            PoolRule::R8_0_1 => "Server_Max_Concurrent_Trans while that is 1 to 100, else 100",
            PoolRule::Zos => "100",
            PoolRule::Zlinux => "40",
        }
    }

    /// Returns whether the pool's size depends on the throttle.
    pub fn pool_follows_throttle(self) -> bool {
        !matches!(self, PoolRule::Zos | PoolRule::Zlinux)
    }
}

impl fmt::Display for PoolRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PoolRule::R5 => "R5",
            PoolRule::R8_0 => "8.0",
            PoolRule::R8_0_1 => "8.0.1",
            PoolRule::Zos => "zOS",
            PoolRule::Zlinux => "zLinux",
        })
    }
}

/// Default throttle over all ports on `cpus` CPUs (0 counts as 1).
///
/// R5: 20. 8.0 and 8.0.1: 20 for each CPU, at most 100. zOS and zLinux: unlimited.
pub(super) fn max_concurrent_trans(rule: PoolRule, cpus: u32) -> Limit {
    let count = match rule {
        PoolRule::R5 => 20,
        PoolRule::R8_0 | PoolRule::R8_0_1 => cpus.max(1).saturating_mul(20).min(RULE_MAX),
        PoolRule::Zos | PoolRule::Zlinux => return Limit::Unlimited,
    };
    Limit::at_most(count).expect("20 or more")
}

/// Default number of workers of each port under this throttle.
///
/// R5: twice the throttle (the wiki page limits it to 100, the technote does not; here [`POOL_TASKS_MAX`] does).
/// 8.0: twice the throttle, at most 100. 8.0.1: the throttle while it is 1 to 100, else 100. zOS: 100. zLinux: 40.
/// Under an unlimited throttle the first three give 100, so that the number of threads stays limited.
pub(super) fn pool_tasks(rule: PoolRule, throttle: Limit) -> u32 {
    match (rule, throttle.count()) {
        (PoolRule::Zos, _) => 100,
        (PoolRule::Zlinux, _) => 40,
        (_, None) => RULE_MAX,
        (PoolRule::R5, Some(count)) => count.saturating_mul(2).min(POOL_TASKS_MAX),
        (PoolRule::R8_0, Some(count)) => count.saturating_mul(2).min(RULE_MAX),
        (PoolRule::R8_0_1, Some(count)) => count.min(RULE_MAX),
    }
}

/// Workers of all ports: the sum of their pools.
pub(super) fn total_workers(pools: impl IntoIterator<Item = u32>) -> u32 {
    pools.into_iter().fold(0, u32::saturating_add)
}

/// Transactions that can actually run at once: the throttle, or all workers if there are fewer or no throttle is set.
pub(super) fn effective_concurrency(throttle: Limit, workers: u32) -> u32 {
    throttle.count().map_or(workers, |count| count.min(workers))
}

/// A limit that may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// No throttle: only the number of workers limits what runs. Written -1.
    Unlimited,
    /// At most this many at once.
    AtMost(NonZeroU32),
}

impl Limit {
    /// Returns the limit `count`, or `None` for 0, which would let nothing run.
    pub fn at_most(count: u32) -> Option<Limit> {
        NonZeroU32::new(count).map(Limit::AtMost)
    }

    /// The limit as a count, if there is one.
    pub fn count(self) -> Option<u32> {
        match self {
            Limit::Unlimited => None,
            Limit::AtMost(count) => Some(count.get()),
        }
    }

    /// Number as it is written in the file: -1 for unlimited.
    pub fn number(self) -> i64 {
        self.count().map_or(-1, i64::from)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::PoolRule::{R5, R8_0, R8_0_1, Zlinux, Zos};
    use super::*;

    /// A throttle as a file writes it; `None` for 0.
    fn limit(number: i64) -> Option<Limit> {
        if number == -1 { Some(Limit::Unlimited) } else { Limit::at_most(u32::try_from(number).ok()?) }
    }

    #[test]
    fn throttle_by_rule_and_cpus() {
        for (rule, cpus, expected) in [
            // "R5, 6.x, 7.0-7.0.4: 20", whatever the machine.
            (R5, 1, 20),
            (R5, 8, 20),
            // "8.0: MIN(100, 20 * number_of_cpu)", "8.0.1 and up: same".
            (R8_0, 1, 20),
            (R8_0, 2, 40),
            (R8_0, 5, 100),
            (R8_0, 6, 100),
            (R8_0, 64, 100),
            (R8_0_1, 1, 20),
            (R8_0_1, 4, 80),
            (R8_0_1, 5, 100),
            (R8_0_1, 6, 100),
            (R8_0_1, u32::MAX, 100),
            // An unknown number of CPUs counts as one.
            (R8_0_1, 0, 20),
            // "z/OS: -1 (unlimited)", "zLinux: -1".
            (Zos, 4, -1),
            (Zlinux, 4, -1),
        ] {
            assert_eq!(max_concurrent_trans(rule, cpus).number(), expected, "{rule} {cpus}");
        }
    }

    #[test]
    fn pool_by_rule_and_throttle() {
        for (rule, throttle, expected) in [
            // "2 x max concurrent = 40"; no limit in the technote, here that of the setting.
            (R5, 20, 40),
            (R5, 60, 120),
            (R5, 2048, 4096),
            (R5, 100_000, 4096),
            // "MCT=-1 without Server_Pool_Tasks: R5/ND6 spawn without end": here they do not.
            (R5, -1, 100),
            // "MIN(100, 2*MCT)".
            (R8_0, 1, 2),
            (R8_0, 20, 40),
            (R8_0, 50, 100),
            (R8_0, 51, 100),
            (R8_0, 500, 100),
            (R8_0, -1, 100),
            // "= MCT when 0 < MCT <= 100 (set or computed)", "the old rule would give 100" above.
            (R8_0_1, 1, 1),
            (R8_0_1, 20, 20),
            (R8_0_1, 80, 80),
            (R8_0_1, 100, 100),
            (R8_0_1, 101, 100),
            (R8_0_1, 100_000, 100),
            (R8_0_1, -1, 100),
            // "z/OS 100", "zLinux 40": independent of the throttle.
            (Zos, -1, 100),
            (Zos, 20, 100),
            (Zos, 500, 100),
            (Zlinux, -1, 40),
            (Zlinux, 20, 40),
            (Zlinux, 500, 40),
        ] {
            let throttle = limit(throttle).expect("a valid throttle value");
            assert_eq!(pool_tasks(rule, throttle), expected, "{rule} {throttle}");
            let alone = pool_tasks(rule, Limit::Unlimited);
            assert!(rule.pool_follows_throttle() || alone == expected, "{rule} {throttle}");
        }
    }

    #[test]
    fn zero_and_below_minus_one_are_no_throttle() {
        assert_eq!(limit(0), None);
        assert_eq!(limit(-2), None);
    }

    #[test]
    fn totals_and_effective_concurrency() {
        for (pools, throttle, total, running) in [
            // "3 ports * 40 = 120 threads, but 20 run; up to 100 wait".
            (&[40, 40, 40][..], 20, 120, 20),
            // "MCT > total worker threads: no effect".
            (&[40], 500, 40, 40),
            (&[40], 40, 40, 40),
            (&[40], -1, 40, 40),
            (&[40, 20, 10], 60, 70, 60),
            (&[40, 20, 10], -1, 70, 70),
            (&[100; 8], 100, 800, 100),
            (&[1], 1, 1, 1),
            (&[u32::MAX, 1], -1, u32::MAX, u32::MAX),
        ] {
            let workers = total_workers(pools.iter().copied());
            assert_eq!(workers, total, "{pools:?}");
            let throttle = limit(throttle).expect("a valid throttle value");
            assert_eq!(effective_concurrency(throttle, workers), running, "{pools:?} {throttle}");
        }
    }

    #[test]
    fn a_pool_is_limited_for_any_input() {
        for rule in PoolRule::ALL {
            for throttle in [-1, 1, 20, 99, 100, 101, 4096, i64::from(u32::MAX)] {
                let pool = pool_tasks(rule, limit(throttle).expect("a valid throttle value"));
                assert!((1..=POOL_TASKS_MAX).contains(&pool), "{rule} {throttle} {pool}");
            }
            assert_eq!(PoolRule::named(&rule.to_string()), Some(rule));
        }
    }

    #[test]
    fn aliases_in_any_case() {
        for (name, rule) in [
            ("r5", Some(R5)),
            ("R6", Some(R5)),
            ("r7", Some(R5)),
            ("5", Some(R5)),
            ("6", Some(R5)),
            ("7", Some(R5)),
            ("zos", Some(Zos)),
            ("os390", Some(Zos)),
            ("ZLINUX", Some(Zlinux)),
            ("8", None),
            ("8.0.2", None),
            ("", None),
        ] {
            assert_eq!(PoolRule::named(name), rule, "{name}");
        }
    }
}
