//! Queues whose means are known by formulas.

use super::made::{callers, exponential, method, port, processors, server};
use crate::monitor::simulation::engine::{simulate, simulate_for};
use crate::monitor::simulation::outcome::Outcome;
use crate::monitor::simulation::workload::{Contention, MethodPlaces, SourceKind, Workload};

#[track_caller]
fn close(found: f64, truth: f64, share: f64) {
    assert!((found - truth).abs() <= share * truth.abs(), "{found} instead of {truth}");
}

/// Mean over a few seeds.
fn mean(load: &Workload, of: impl Fn(&Outcome) -> f64) -> f64 {
    (1..=2).map(|seed| of(&simulate_for(load, seed, 60_000))).sum::<f64>() / 2.0
}

/// Probabilities of a birth-death process with these rates up and down from each state.
fn stationary(states: usize, up: impl Fn(usize) -> f64, down: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut weights = vec![1.0];
    for state in 1..states {
        weights.push(weights[state - 1] * up(state - 1) / down(state));
    }
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

#[test]
fn arrivals_wait_as_erlang_says_and_the_rest_is_refused() {
    for (workers, per_s, limit) in
        [(1, 60.0, 10_000), (4, 300.0, 10_000), (4, 900.0, 6), (20, 1600.0, 10_000)]
    {
        let mut load =
            server(vec![port(workers, vec![(method(0.01, exponential()), SourceKind::Arrivals { per_s })])]);
        load.ports[0].queue_limit = limit;
        let states = (limit as usize).min(2000) + workers as usize + 1;
        let truth = stationary(states, |_| per_s, |n| n.min(workers as usize) as f64 * 100.0);
        let waiting: f64 = truth
            .iter()
            .enumerate()
            .map(|(n, share)| n.saturating_sub(workers as usize) as f64 * share)
            .sum();
        let full = if limit < 100 { truth[states - 1] } else { 0.0 };
        close(mean(&load, |outcome| outcome.per_s), per_s * (1.0 - full), 0.02);
        close(mean(&load, |outcome| outcome.ports[0].waiting), waiting, 0.1);
        let refused = mean(&load, |outcome| outcome.ports[0].refused_per_s);
        assert!((refused - per_s * full).abs() <= 0.03 * per_s * full, "{refused}");
    }
}

#[test]
fn callers_with_a_think_time_are_machines_under_repair() {
    for (count, workers, think_s) in [(30, 5, 0.05), (30, 20, 0.05), (8, 8, 0.02), (400, 40, 0.2)] {
        let load = server(vec![port(workers, vec![(method(0.02, exponential()), callers(count, think_s))])]);
        let truth = stationary(
            count as usize + 1,
            |n| (f64::from(count) - n as f64) / think_s,
            |n| n.min(workers as usize) as f64 / 0.02,
        );
        let busy: f64 =
            truth.iter().enumerate().map(|(n, share)| n.min(workers as usize) as f64 * share).sum();
        close(mean(&load, |outcome| outcome.per_s), busy / 0.02, 0.02);
        close(mean(&load, |outcome| outcome.ports[0].busy), busy, 0.02);
    }
}

#[test]
fn callers_that_are_refused_come_again() {
    // 12 callers, 2 workers, 4 places: most of the time all places are taken, and attempts are many.
    let mut load = server(vec![port(2, vec![(method(0.02, exponential()), callers(12, 0.000_01))])]);
    load.ports[0].queue_limit = 4;
    close(mean(&load, |outcome| outcome.per_s), 100.0, 0.02);
    let refused = mean(&load, |outcome| outcome.ports[0].refused_per_s);
    close(refused, 6.0 / 0.000_01, 0.02);
    load.ports[0].workers = 12;
    close(mean(&load, |outcome| outcome.per_s), 600.0, 0.02);
}

#[test]
fn processors_are_shared_and_other_programs_take_their_part() {
    let mut compute = method(0.0, exponential());
    compute.processor_s = 0.004;
    let mut load = server(vec![port(16, vec![(compute, callers(16, 0.0))])]);
    load.processors = processors(2.0);
    close(mean(&load, |outcome| outcome.per_s), 500.0, 0.02);
    close(mean(&load, |outcome| outcome.processors_used), 2.0, 0.01);
    close(mean(&load, |outcome| outcome.ports[0].run), 16.0 / 500.0, 0.02);
    load.processors.others = 16.0;
    close(mean(&load, |outcome| outcome.per_s), 250.0, 0.02);
}

#[test]
fn permits_limit_what_runs_over_all_ports_and_go_round() {
    let of = |workers, count| port(workers, vec![(method(0.01, exponential()), callers(count, 0.0))]);
    let mut load = server(vec![of(10, 40), of(10, 10), of(10, 40)]);
    load.permits = Some(9);
    close(mean(&load, |outcome| outcome.per_s), 900.0, 0.02);
    close(mean(&load, |outcome| outcome.permits_out), 9.0, 0.01);
    close(mean(&load, |outcome| outcome.ports[1].per_s), 300.0, 0.1);
    // A handler that waits holds none.
    for port in &mut load.ports {
        (port.methods[0].held_s, port.methods[0].blocked_s) = (0.002, 0.008);
    }
    // 30 workers, of which 6 would hold a permit.
    assert!(mean(&load, |outcome| outcome.per_s) > 2500.0);
}

#[test]
fn a_method_whose_limit_is_reached_holds_no_worker() {
    let methods = vec![
        (method(2.0, exponential()), callers(20, 0.0)),
        (method(0.001, exponential()), callers(4, 0.001)),
    ];
    let mut load = server(vec![port(8, methods)]);
    let without = mean(&load, |outcome| outcome.per_s);
    load.ports[0].methods[0].limit = Some(MethodPlaces { run: 3, wait: 100 });
    let limited = mean(&load, |outcome| outcome.per_s);
    assert!(without < 200.0 && limited > 1800.0, "{without} {limited}");
    let aside = mean(&load, |outcome| outcome.ports[0].methods[0].set_aside);
    close(aside, 17.0, 0.02);
}

#[test]
fn a_limit_of_a_method_is_one_over_all_ports() {
    let of = |count| port(8, vec![(method(0.01, exponential()), callers(count, 0.0))]);
    let mut load = server(vec![of(20), of(5), of(8)]);
    load.ports[2].methods[0].name = "a.other".to_owned();
    let limited = Some(MethodPlaces { run: 3, wait: 100 });
    load.ports[..2].iter_mut().for_each(|port| port.methods[0].limit = limited);
    close(mean(&load, |outcome| outcome.ports[0].busy + outcome.ports[1].busy), 3.0, 0.02);
    let aside = |port: usize| mean(&load, |outcome| outcome.ports[port].methods[0].set_aside);
    close(aside(0) + aside(1), 22.0, 0.02);
    // The line is one, so that the ports have of it what their callers wait for.
    close(mean(&load, |outcome| outcome.ports[0].per_s), 240.0, 0.1);
    close(mean(&load, |outcome| outcome.ports[2].per_s), 800.0, 0.05);
    // Calls that find no place in the line come again, at either port.
    let refused = Some(MethodPlaces { run: 3, wait: 2 });
    for port in &mut load.ports[..2] {
        port.methods[0].limit = refused;
        port.sources[0].kind = callers(10, 0.01);
    }
    close(mean(&load, |outcome| outcome.ports[0].per_s), 150.0, 0.1);
    close(mean(&load, |outcome| outcome.ports[1].per_s), 150.0, 0.1);
}

#[test]
fn a_lock_lets_through_what_it_let_through() {
    let mut locked = method(0.01, exponential());
    locked.contention = Contention::Damped { from: 10.0, elasticity: 0.0, floor: 0.1 };
    let mut load = server(vec![port(10, vec![(locked, callers(100, 0.0))])]);
    for workers in [2, 10, 50, 200] {
        load.ports[0].workers = workers;
        close(mean(&load, |outcome| outcome.per_s), 1000.0, 0.02);
    }
}

#[test]
fn the_same_seed_gives_the_same_and_the_work_is_bounded() {
    let load = server(vec![port(3, vec![(method(0.01, exponential()), callers(9, 0.001))])]);
    assert_eq!(simulate(&load, 1), simulate(&load, 1));
    assert_ne!(simulate(&load, 1), simulate(&load, 2));
    let idle = server(vec![port(3, Vec::new())]);
    assert_eq!(simulate_for(&idle, 1, 1000).per_s, 0.0);
}
