//! A made server is recorded, its load simulated under other settings, and the made server run under them.

use super::world::{Crowd, MadeMethod, World};
use crate::monitor::interval::Interval;
use crate::monitor::looks::ThreadShares;
use crate::monitor::simulation::what_if::PresentLoad;
use crate::monitor::simulation::{Expectation, LimitedBy, Recorder, Workload, expect};
use std::time::Duration;

/// A method that nothing outside limits.
fn free(mean_s: f64) -> MadeMethod {
    MadeMethod { mean_s, fixed: 0.2, gate: usize::MAX }
}

fn world(workers: usize, crowds: Vec<Crowd>, methods: Vec<MadeMethod>) -> World {
    let connections = crowds.iter().map(|crowd| u64::from(crowd.callers)).sum();
    World { workers, queue_limit: 10_000, connections, crowds, methods }
}

/// The load of the last ten of so many seconds.
fn observed(world: &World, seconds: u32) -> Workload {
    let mut recorder = Recorder::default();
    world.run(seconds, 5).iter().for_each(|step| assert!(!recorder.add(step, &|_, _| None)));
    recorder.workload(Duration::from_secs(10)).expect("calls ran")
}

/// Expects the effect of so many workers, and compares it with the truth.
#[track_caller]
fn compare(name: &str, world: &World, seconds: u32, workers: usize) -> Expectation {
    let load = observed(world, seconds);
    let mut changed = load.clone();
    changed.ports[0].workers = workers as u32;
    let expected = expect(&load, &changed);
    let truth = World { workers, ..world.clone() }.per_s(seconds.max(30));
    let error = expected.per_s / truth - 1.0;
    assert!(error.abs() <= 0.08, "{name}: {truth} {expected:#?} {load:#?}");
    assert!(expected.model_error <= 0.05, "{name}: {expected:#?} {load:#?}");
    assert!(expected.low <= truth * 1.02 && truth <= expected.high * 1.02, "{name}: {truth} {expected:#?}");
    expected
}

#[test]
fn callers_that_wait_use_more_workers_until_none_waits() {
    let of = |think_s| world(8, vec![Crowd::of(40, think_s, 0)], vec![free(0.02)]);
    let expected = compare("24 workers", &of(0.000_1), 20, 24);
    assert_eq!(expected.limited_by, LimitedBy::Workers { port: "P".to_owned() });
    let expected = compare("all", &of(0.000_1), 20, 100);
    assert_eq!(expected.limited_by, LimitedBy::Demand);
    compare("with a pause", &of(0.02), 20, 30);
    compare("fewer", &world(10, vec![Crowd::of(30, 0.1, 0)], vec![free(0.01)]), 20, 2);
}

#[test]
fn slow_calls_hide_how_much_quick_ones_would_gain() {
    let crowds = vec![Crowd::of(6, 0.0, 0), Crowd::of(30, 0.000_3, 1)];
    compare("two crowds", &world(8, crowds, vec![free(2.0), free(0.001)]), 60, 40);
}

#[test]
fn arrivals_bring_what_is_asked_for_and_no_more() {
    let crowd = Crowd { from_s: 0.0, callers: 0, think_s: 0.0, per_s: 1280.0, methods: vec![0] };
    let mut open = world(4, vec![crowd], vec![free(0.01)]);
    (open.connections, open.queue_limit) = (8, 100);
    let expected = compare("refused", &open, 20, 40);
    assert_eq!(expected.limited_by, LimitedBy::Demand);
    open.queue_limit = 100_000;
    compare("piled up", &open, 20, 40);
    open.workers = 15;
    compare("enough", &open, 20, 40);
}

#[test]
fn callers_that_are_refused_are_as_many_as_their_connections() {
    let mut refused = world(8, vec![Crowd::of(60, 0.002, 0)], vec![free(0.02)]);
    refused.queue_limit = 10;
    compare("all of them", &refused, 20, 60);
    compare("some of them", &refused, 20, 30);
}

#[test]
fn what_a_gate_let_through_before_it_lets_through_again() {
    let gate = MadeMethod { mean_s: 0.02, fixed: 0.0, gate: 5 };
    let few = Crowd::of(3, 0.001, 0);
    let many = Crowd { from_s: 10.0, ..Crowd::of(57, 0.001, 0) };
    let expected = compare("gate", &world(20, vec![few, many], vec![gate]), 30, 60);
    assert!(expected.certain && expected.factor < 1.05);
    assert_eq!(expected.limited_by, LimitedBy::Contention { method: "a.zero".to_owned() });
    // Where all came at once, the first calls show it: they ran shorter.
    let load = observed(&world(20, vec![Crowd::of(60, 0.001, 0)], vec![gate]), 20);
    let mut changed = load.clone();
    changed.ports[0].workers = 60;
    let expected = expect(&load, &changed);
    assert!(expected.certain && expected.factor < 1.05, "{expected:#?}");
}

#[test]
fn threads_say_what_they_wait_for() {
    let of = |gate| world(20, vec![Crowd::of(60, 0.001, 0)], vec![MadeMethod { gate, ..free(0.02) }]);
    let seen = |world: &World, shares: ThreadShares| {
        let mut recorder = Recorder::default();
        world.run(20, 5).iter().for_each(|step| assert!(!recorder.add(step, &|_, _| Some(shares))));
        let load = recorder.workload(Duration::from_secs(10)).expect("calls ran");
        let mut changed = load.clone();
        changed.ports[0].workers = 60;
        expect(&load, &changed)
    };
    let sleeping = ThreadShares { observed: 1000, sleep: 1.0, ..ThreadShares::default() };
    let expected = seen(&of(usize::MAX), sleeping);
    assert!(expected.certain && (2.8..3.1).contains(&expected.factor), "{expected:#?}");
    // 15 of 20 wait for the one lock, or whatever it is, that lets five through.
    let locked = ThreadShares { observed: 1000, lock: 0.75, one_lock: 0.75, sleep: 0.25, ..sleeping };
    let expected = seen(&of(5), locked);
    assert!(expected.certain && expected.factor < 1.05, "{expected:#?}");
    // A fifth of a thread waits for a lock, on average: it lets through more, and not as many as want.
    let soon = ThreadShares { observed: 1000, lock: 0.01, sleep: 0.99, ..sleeping };
    let expected = seen(&of(usize::MAX), soon);
    assert!(expected.certain && (1.3..2.5).contains(&expected.factor), "{expected:#?}");
    let at_sockets = ThreadShares { observed: 1000, socket: 1.0, sleep: 0.0, ..sleeping };
    assert!(!seen(&of(usize::MAX), at_sockets).certain);
}

#[test]
fn where_fewer_run_nobody_waits_for_a_lock_as_long() {
    let few = MadeMethod { mean_s: 0.02, fixed: 0.2, gate: 5 };
    let world = world(20, vec![Crowd::of(60, 0.001, 0)], vec![few]);
    let locked =
        ThreadShares { observed: 1000, lock: 0.75, one_lock: 0.75, sleep: 0.25, ..ThreadShares::default() };
    let mut recorder = Recorder::default();
    world.run(20, 5).iter().for_each(|step| assert!(!recorder.add(step, &|_, _| Some(locked))));
    let load = recorder.workload(Duration::from_secs(10)).expect("calls ran");
    let mut changed = load.clone();
    changed.ports[0].workers = 6;
    let (expected, truth) = (expect(&load, &changed), World { workers: 6, ..world }.per_s(60));
    let error = expected.per_s / truth - 1.0;
    assert!(error.abs() < 0.1, "{truth} {expected:#?}");
}

#[test]
fn callers_who_call_everything_are_in_the_range() {
    let crowd = Crowd { methods: vec![0, 1], ..Crowd::of(36, 0.000_1, 0) };
    let mixed = world(8, vec![crowd], vec![free(0.05), free(0.005)]);
    let load = observed(&mixed, 30);
    let mut changed = load.clone();
    changed.ports[0].workers = 20;
    let expected = expect(&load, &changed);
    let truth = World { workers: 20, ..mixed }.per_s(60);
    assert!(expected.low <= truth && truth <= expected.high, "{truth} {expected:#?}");
}

#[test]
fn a_record_begins_anew_when_limits_change() {
    let steps = world(8, vec![Crowd::of(40, 0.001, 0)], vec![free(0.02)]).run(6, 5);
    let mut recorder = Recorder::default();
    let mut add = |step: &Interval| recorder.add(step, &|_, _| None);
    assert!(!add(&steps[0]) && !add(&steps[1]));
    let mut other = steps[2].clone();
    other.limit = Some(100);
    assert!(add(&other) && !add(&other), "permits");
    other.ports[0].queue_limit += 1;
    assert!(add(&other) && !add(&other), "queue");
    other.ports[0].workers.idle += 1;
    assert!(add(&other) && !add(&other), "workers");
}

#[test]
fn a_load_that_was_simulated_once_serves_for_every_change() {
    let load = observed(&world(8, vec![Crowd::of(40, 0.001, 0)], vec![free(0.02)]), 20);
    let present = PresentLoad::of(&load);
    for workers in [4, 8, 16] {
        let mut changed = load.clone();
        changed.ports[0].workers = workers;
        assert_eq!(present.under(&changed), expect(&load, &changed));
    }
}
