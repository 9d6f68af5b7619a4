//! How the throughput of a method went with the number of its calls that ran: the evidence of what its calls share.
//!
//! Seconds are sorted by how many calls of the method ran in them, in steps of a quarter. Seconds in which the
//! processors were nearly full tell nothing of other things and are left out, and so are those in which a load began or
//! ended. Of the latter the first calls tell something: where they ran much shorter than any do now, run times grow
//! with the number that run. Invariants: memory is bounded; what is old weighs less.

use super::record::{MethodKey, RecordedPort, RecordedStep};
use crate::metrics::Distribution;
use crate::sync::Arc;
use std::collections::BTreeMap;

/// Steps for each doubling, their number, and the number that ran at the first.
const STEPS_PER_DOUBLING: f64 = 3.0;
const LEVELS: usize = 45;
const LOWEST: f64 = 0.25;

/// Most methods kept.
const METHODS_MAX: usize = 128;

/// Time after which what was counted before weighs half as much.
const HALF_LIFE_S: f64 = 600.0;

/// Share of the processors from which on a second is left out.
const PROCESSORS_FULL: f64 = 0.85;

/// Fewest calls of a level that is compared, and least ratio of the numbers that ran.
const CALLS_MIN: f64 = 20.0;
const APART: f64 = 1.4;

/// Least distance of two levels, as a multiple of what the spread of run times alone makes of a second.
const BEYOND_CHANCE: f64 = 3.0;

/// Power of the number that run from which on the throughput grows with it.
const GROWS: f64 = 0.85;

/// Power below which it does not grow at all.
const FLAT: f64 = 0.35;

/// Of the run times while a load began, the one that is compared: there must be twice as many. Most that it is, of the
/// one of the same rank now, where it shows that run times have grown; and least that this is of the mean, so that some
/// calls do not run that short by themselves.
const RISE_RANK: f64 = 8.0;
const RISE_SHORTER: f64 = 0.7;
const RISE_TIGHT: f64 = 0.3;

/// Least that it is where it shows that run times have not grown.
const RISE_AS_LONG: f64 = 0.93;

/// Fewest run times of which the spread is judged.
const SPREAD_CALLS_MIN: u64 = 100;

#[derive(Debug, Default)]
pub(super) struct Levels {
    methods: BTreeMap<MethodKey, [Level; LEVELS]>,
    /// Run times while a load began, the last time.
    rises: BTreeMap<MethodKey, Distribution>,
    since_halved_s: f64,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    steps: f64,
    length_s: f64,
    calls: f64,
    ran_s: f64,
}

impl Level {
    const EMPTY: Level = Level { steps: 0.0, length_s: 0.0, calls: 0.0, ran_s: 0.0 };

    fn running(&self) -> f64 {
        self.ran_s / self.length_s.max(1e-9)
    }

    fn per_s(&self) -> f64 {
        self.calls / self.length_s.max(1e-9)
    }
}

/// A method as it is now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Present {
    pub(super) running: f64,
    pub(super) per_s: f64,
    /// Standard deviation of its run time, as a share of the mean.
    pub(super) deviation: f64,
}

/// How the throughput of a method grows with the number of its calls that run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Growth {
    /// In proportion.
    Full,
    /// As this power; `floor` is the shortest mean run time, as a share of the present one.
    Damped { elasticity: f64, floor: f64 },
}

impl Levels {
    pub(super) fn add(&mut self, step: &RecordedStep) {
        self.since_halved_s += step.length_s;
        if self.since_halved_s >= HALF_LIFE_S {
            self.since_halved_s = 0.0;
            self.halve();
        }
        let (idle, stolen) = step.idle_and_stolen.unwrap_or((step.cores - step.used, 0.0));
        let full = PROCESSORS_FULL * step.cores;
        if step.used >= full || step.cores - idle.min(step.cores - step.used) - stolen >= full {
            return;
        }
        for port in &step.ports {
            self.add_rise(port);
            if !port.is_steady(step.length_s) {
                continue;
            }
            for method in &port.methods {
                let running = method.ran_s / step.length_s.max(1e-9);
                let Some(level) = level(running) else { continue };
                let key = (Arc::clone(&port.name), Arc::clone(&method.name));
                if self.methods.len() >= METHODS_MAX && !self.methods.contains_key(&key) {
                    continue;
                }
                let level = &mut self.methods.entry(key).or_insert([Level::EMPTY; LEVELS])[level];
                level.steps += 1.0;
                level.length_s += step.length_s;
                level.calls += method.ended as f64;
                level.ran_s += method.ran_s;
            }
        }
    }

    fn add_rise(&mut self, port: &RecordedPort) {
        for method in &port.methods {
            let Some(rise) = &method.rise else { continue };
            let key = (Arc::clone(&port.name), Arc::clone(&method.name));
            if self.rises.len() < METHODS_MAX || self.rises.contains_key(&key) {
                self.rises.insert(key, rise.clone());
            }
        }
    }

    /// The growth that the run times show by themselves. Where the first calls of a load ran much shorter than any call
    /// does now, run times grow with the number that run; where they ran as long, they do not. And where many calls run
    /// for a small part of the mean, there is no line outside the server in which all of them stand.
    pub(super) fn growth_by_times(&self, key: &MethodKey, now: &Distribution) -> Option<Growth> {
        let mean = now.mean().as_secs_f64().max(1e-9);
        let [few, quarter] = [0.05, 0.25].map(|share| now.quantile(share).as_secs_f64() / mean);
        if now.count() >= SPREAD_CALLS_MIN && few <= 0.2 && quarter <= 0.5 {
            return Some(Growth::Full);
        }
        let rise = self.rises.get(key)?;
        let count = rise.count() as f64;
        if count < 2.0 * RISE_RANK || (now.count() as f64) < 3.0 * count {
            return None;
        }
        let [first, same] = [rise, now].map(|times| times.quantile(RISE_RANK / count).as_secs_f64());
        match first / same.max(1e-9) {
            _ if same < RISE_TIGHT * mean => None,
            ratio if ratio <= RISE_SHORTER => {
                let floor = (rise.quantile(0.0).as_secs_f64() / mean).clamp(0.01, 1.0);
                Some(Growth::Damped { elasticity: 0.0, floor })
            }
            ratio if ratio >= RISE_AS_LONG => Some(Growth::Full),
            _ => None,
        }
    }

    fn halve(&mut self) {
        for level in self.methods.values_mut().flatten() {
            let Level { steps, length_s, calls, ran_s } = *level;
            *level = Level {
                steps: steps / 2.0,
                length_s: length_s / 2.0,
                calls: calls / 2.0,
                ran_s: ran_s / 2.0,
            };
        }
        self.methods.retain(|_, levels| levels.iter().any(|level| level.calls >= 1.0));
    }

    /// The growth that other levels show of a method; `None` where there is none far enough from the present one.
    pub(super) fn growth(&self, key: &MethodKey, now: Present) -> Option<Growth> {
        let levels = self.methods.get(key)?;
        let apart = |level: &&Level| {
            let distance = (level.running() / now.running).ln().abs();
            let chance = now.deviation / (level.calls / level.steps.max(1.0)).max(1e-9).sqrt();
            level.calls >= CALLS_MIN && distance >= APART.ln() && distance >= BEYOND_CHANCE * chance
        };
        let known: Vec<&Level> = levels.iter().filter(apart).collect();
        let of_double = |level: &&&Level| (2.0 * level.running() / now.running).ln().abs();
        let below = known.iter().filter(|level| level.running() < now.running);
        // The highest one says most of what more would bring; else the one at about half the present number.
        let other = known
            .last()
            .filter(|level| level.running() > now.running)
            .or(below.min_by(|one, two| of_double(one).total_cmp(&of_double(two))))?;
        let slope = (other.per_s() / now.per_s).ln() / (other.running() / now.running).ln();
        if !slope.is_finite() || slope >= GROWS {
            return Some(Growth::Full);
        }
        let mean = now.running / now.per_s;
        let floor = known.iter().map(|level| level.ran_s / level.calls / mean).fold(1.0, f64::min);
        let elasticity = if slope < FLAT { 0.0 } else { slope };
        Some(Growth::Damped { elasticity, floor: floor.max(0.01) })
    }
}

/// The level of so many that run; `None` for hardly any.
fn level(running: f64) -> Option<usize> {
    let level = (running / LOWEST).log2() * STEPS_PER_DOUBLING;
    (level >= 0.0).then(|| (level as usize).min(LEVELS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;
    use crate::monitor::simulation::record::RecordedMethod;
    use std::time::Duration;

    fn step(running: f64, ended: u64, used: f64) -> RecordedStep {
        let method = RecordedMethod {
            name: "a.b".into(),
            ended,
            refused: 0,
            run_s: running,
            wait_s: 0.0,
            ran_s: running,
            shares: None,
            limit: None,
            rise: None,
        };
        let port = RecordedPort {
            name: "P".into(),
            workers: 40,
            queue_limit: 100,
            connections: 10,
            arrived: ended,
            busy_at_start: Some(running),
            waiting: 0.0,
            busy_at_end: running,
            blocked: 0.0,
            returning: 0.0,
            methods: vec![method],
        };
        RecordedStep {
            length_s: 1.0,
            cores: 4.0,
            used,
            idle_and_stolen: None,
            wanted: 0.0,
            permits: None,
            ports: vec![port],
        }
    }

    fn growth(steps: &[(f64, u64, f64)], running: f64, per_s: f64) -> Option<Growth> {
        let mut levels = Levels::default();
        steps.iter().for_each(|(running, ended, used)| levels.add(&step(*running, *ended, *used)));
        levels.growth(&("P".into(), "a.b".into()), Present { running, per_s, deviation: 1.0 })
    }

    #[test]
    fn throughput_that_did_not_grow_is_a_limit() {
        assert_eq!(growth(&[(10.0, 1000, 0.5), (20.0, 2000, 0.5)], 20.0, 2000.0), Some(Growth::Full));
        let Some(Growth::Damped { elasticity, floor }) = growth(&[(10.0, 990, 0.5)], 20.0, 1000.0) else {
            panic!("it is limited")
        };
        assert!(elasticity == 0.0 && (floor - 0.505).abs() < 0.01, "{elasticity} {floor}");
        // More than now has been seen.
        assert_eq!(growth(&[(10.0, 1000, 0.5), (40.0, 4000, 0.5)], 20.0, 2000.0), Some(Growth::Full));
        assert!(matches!(growth(&[(40.0, 2100, 0.5)], 20.0, 2000.0), Some(Growth::Damped { .. })));
    }

    #[test]
    fn one_level_few_calls_chance_and_full_processors_say_nothing() {
        assert_eq!(growth(&[(20.0, 2000, 0.5), (17.0, 1700, 0.5)], 20.0, 2000.0), None);
        assert_eq!(growth(&[(10.0, 15, 0.5)], 20.0, 30.0), None);
        assert_eq!(growth(&[(10.0, 10, 0.5); 4], 20.0, 10.0), None);
        assert_eq!(growth(&[(10.0, 1000, 3.9)], 20.0, 1000.0), None);
    }

    fn times(ms: impl IntoIterator<Item = u64>) -> Distribution {
        let times = Histogram::default();
        ms.into_iter().for_each(|ms| times.add(Duration::from_millis(ms)));
        times.distribution()
    }

    #[test]
    fn first_calls_that_ran_shorter_than_any_now_show_that_run_times_grow() {
        let key: MethodKey = ("P".into(), "a.b".into());
        let growth = |rise: Distribution, now: Distribution| {
            let mut levels = Levels::default();
            let mut step = step(12.0, 100, 0.5);
            step.ports[0].busy_at_start = Some(0.0);
            step.ports[0].methods[0].rise = Some(rise);
            levels.add(&step);
            assert_eq!(levels.growth(&key, Present { running: 24.0, per_s: 100.0, deviation: 0.3 }), None);
            levels.growth_by_times(&key, &now)
        };
        // Four at a time, 20 ms each, of 24: the first rounds are shorter.
        let first = || (1..=6).flat_map(|round| [20 * round; 4]).chain([120; 40]);
        let Some(Growth::Damped { elasticity, floor }) = growth(times(first()), times([120; 600])) else {
            panic!("they have grown")
        };
        assert!(elasticity == 0.0 && (0.1..0.25).contains(&floor), "{floor}");
        assert_eq!(
            growth(times([120; 64]), times([120; 600])),
            Some(Growth::Full),
            "as long from the first on"
        );
        let of_all_kinds = || (1..=600).map(|n| n % 240);
        assert_eq!(
            growth(times(first()), times(of_all_kinds())),
            Some(Growth::Full),
            "many are short: no line"
        );
        let some_short = || (1..=600).map(|n| if n % 5 == 0 { 2 } else { 120 });
        assert_eq!(growth(times(first()), times(some_short())), None, "some are short by themselves");
        assert_eq!(growth(times([20; 10]), times([120; 600])), None, "too few");
    }

    #[test]
    fn a_second_in_which_a_load_began_is_no_level() {
        let mut levels = Levels::default();
        let mut began = step(10.0, 500, 0.5);
        began.ports[0].busy_at_start = Some(0.0);
        began.ports[0].busy_at_end = 20.0;
        levels.add(&began);
        let now = Present { running: 20.0, per_s: 1000.0, deviation: 1.0 };
        assert_eq!(levels.growth(&("P".into(), "a.b".into()), now), None);
    }
}
