//! The course in time: when a verdict comes and goes, and what a changed setting has brought.

use super::*;

const TIGHT: &str = "Server_Pool_Tasks=40\nServer_Max_Concurrent_Trans=10\n";
const WIDE: &str = "Server_Pool_Tasks=40\nServer_Max_Concurrent_Trans=40\n";

/// 80 clients and ten permits, or as many as there are workers.
fn throttled() -> Second {
    let port = Port { busy: 10, waiting: 70, without_permit: 0.99, ..Port::of(40) }.runs(
        "disk.read",
        200,
        0.35,
        0.05,
    );
    Second { out: 10, used: 0.1, idle: 1.8, ports: vec![port], ..Second::default() }
}

fn relieved(calls: u64) -> Second {
    let port = Port { busy: 40, waiting: 40, ..Port::of(40) }.runs(
        "disk.read",
        calls,
        0.05,
        40.0 / calls.max(1) as f64,
    );
    Second { out: 40, used: 0.4, idle: 1.5, ports: vec![port], ..Second::default() }
}

fn quiet() -> Second {
    Second {
        used: 0.1,
        idle: 1.8,
        ports: vec![Port::of(40).runs("disk.read", 2, 0.0, 0.05)],
        ..Second::default()
    }
}

/// Samples some seconds. Returns what was logged, and what was last to be saved.
fn sample(
    script: &mut SnapshotScript,
    diagnoser: &mut Diagnoser,
    second: &Second,
    seconds: usize,
) -> (Vec<String>, Option<Option<String>>) {
    let (mut all, mut saved) = (Vec::new(), None);
    for _ in 0..seconds {
        let (to_save, logged) = script.update(diagnoser, second);
        all.extend(logged);
        saved = to_save.or(saved);
    }
    (all, saved)
}

#[test]
fn a_verdict_comes_when_samples_agree_and_is_logged_when_it_lasts() {
    let (mut script, mut diagnoser) = (SnapshotScript::new(TIGHT), Diagnoser::new(None));
    assert!(sample(&mut script, &mut diagnoser, &quiet(), 20).0.is_empty());
    let came = (1..).find(|_| {
        let (logged, _) = sample(&mut script, &mut diagnoser, &throttled(), 1);
        assert!(logged.is_empty());
        diagnoser.verdict().cause == Cause::Throttle
    });
    assert!((4..=6).contains(&came.unwrap()), "{came:?}");
    let first = diagnoser.verdict().agreeing;
    let (logged, saved) = sample(&mut script, &mut diagnoser, &throttled(), 10);
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains("Server_Max_Concurrent_Trans=40: About 4.0x the throughput"), "{logged:?}");
    assert!(saved.is_some() && diagnoser.verdict().agreeing > first && diagnoser.verdict().agreeing == 5);
    let (logged, _) = sample(&mut script, &mut diagnoser, &quiet(), 12);
    assert_eq!(logged, ["Nothing limits the server."]);
    assert_eq!(*diagnoser.verdict(), Verdict::default());
}

#[test]
fn a_change_while_it_runs_is_measured_beside_the_expectation() {
    let (mut script, mut diagnoser) = (SnapshotScript::new(TIGHT), Diagnoser::new(None));
    sample(&mut script, &mut diagnoser, &throttled(), 12);
    script.set(WIDE);
    sample(&mut script, &mut diagnoser, &relieved(780), 2);
    let effect = diagnoser.verdict().effect.clone().unwrap();
    assert!(effect.contains("cannot be compared yet"), "{effect}");
    sample(&mut script, &mut diagnoser, &relieved(780), 8);
    let effect = diagnoser.verdict().effect.clone().unwrap();
    let expected = "Since Server_Max_Concurrent_Trans 10 -> 40: expected 4.0x, measured 3.9x. 780 instead of 200 calls/s; p99 ";
    assert!(effect.starts_with(expected), "{effect}");
    let (logged, _) = sample(&mut script, &mut diagnoser, &relieved(780), 30);
    assert!(logged.iter().any(|line| line.starts_with(expected)), "{logged:?}");
    sample(&mut script, &mut diagnoser, &quiet(), 30);
    assert!(diagnoser.verdict().effect.as_ref().unwrap().starts_with(expected), "what was measured stays");
}

#[test]
fn a_change_by_a_restart_is_measured_by_the_saved_baseline() {
    let (mut script, mut diagnoser) = (SnapshotScript::new(TIGHT), Diagnoser::new(None));
    let (_, saved) = sample(&mut script, &mut diagnoser, &throttled(), 15);
    let text = saved.flatten().expect("a verdict that lasts is saved");
    let (mut script, mut diagnoser) = (SnapshotScript::new(WIDE), Diagnoser::new(Some(&text)));
    sample(&mut script, &mut diagnoser, &quiet(), 10);
    let effect = diagnoser.verdict().effect.clone().unwrap();
    assert!(effect.ends_with("in progress, 80 before."), "{effect}");
    sample(&mut script, &mut diagnoser, &relieved(400), 10);
    let effect = diagnoser.verdict().effect.clone().unwrap();
    assert!(effect.contains("expected 4.0x, measured 2.0x"), "{effect}");
    assert!(effect.ends_with("Something else limits it now."), "{effect}");

    let mut same = Diagnoser::new(Some(&text));
    sample(&mut SnapshotScript::new(TIGHT), &mut same, &quiet(), 10);
    assert_eq!(same.verdict().effect, None, "nothing was changed");
}

#[test]
fn another_change_than_the_advised_one_is_measured_without_an_expectation() {
    let (mut script, mut diagnoser) = (SnapshotScript::new(TIGHT), Diagnoser::new(None));
    sample(&mut script, &mut diagnoser, &throttled(), 12);
    script.set("Server_Pool_Tasks=40\nServer_Max_Concurrent_Trans=20\nServer_Queue_Limit=50\n");
    sample(&mut script, &mut diagnoser, &relieved(400), 8);
    let effect = diagnoser.verdict().effect.clone().unwrap();
    let expected =
        "Since Server_Max_Concurrent_Trans 10 -> 20, Server_Queue_Limit 10000 -> 50: measured 2.0x. ";
    assert!(effect.starts_with(expected), "{effect}");
}

#[test]
fn the_saved_baseline_is_deleted_when_it_was_measured_and_nothing_limits_any_more() {
    let (mut script, mut diagnoser) = (SnapshotScript::new(TIGHT), Diagnoser::new(None));
    sample(&mut script, &mut diagnoser, &throttled(), 12);
    script.set(WIDE);
    let port = Port { busy: 30, ..Port::of(40) }.runs("disk.read", 600, 0.000_1, 0.05);
    let enough = Second { out: 30, ..Second { ports: vec![port], ..relieved(0) } };
    let (_, saved) = sample(&mut script, &mut diagnoser, &enough, 40);
    assert_eq!(saved, Some(None));
    let effect = diagnoser.verdict().effect.clone().unwrap();
    assert!(effect.contains("measured 3.0x") && effect.ends_with("there was no more load."), "{effect}");
}

#[test]
fn a_broken_baseline_is_ignored() {
    let (mut script, mut diagnoser) = (SnapshotScript::new(TIGHT), Diagnoser::new(None));
    let text = sample(&mut script, &mut diagnoser, &throttled(), 15).1.flatten().unwrap();
    let other = text.replace("\"version\":1", "\"version\":2");
    let negative = text.replace("\"per_s\":", "\"per_s\":-");
    for broken in ["", "{}", "null", "[1", &text[..text.len() - 2], &other, &negative] {
        assert_ne!(broken, text);
        let mut diagnoser = Diagnoser::new(Some(broken));
        sample(&mut SnapshotScript::new(WIDE), &mut diagnoser, &relieved(780), 10);
        assert_eq!(diagnoser.verdict().effect, None, "{broken}");
    }
}

#[test]
fn a_throughput_of_zero_before_a_change_is_no_baseline() {
    let (mut script, mut diagnoser) = (SnapshotScript::new(TIGHT), Diagnoser::new(None));
    let port = Port { busy: 10, waiting: 70, without_permit: 0.99, ..Port::of(40) };
    let stuck = Second { ports: vec![port], ..throttled() };
    sample(&mut script, &mut diagnoser, &stuck, 12);
    assert_eq!(diagnoser.verdict().cause, Cause::Throttle);
    script.set(WIDE);
    sample(&mut script, &mut diagnoser, &relieved(400), 12);
    assert_eq!(diagnoser.verdict().effect, None);
}

#[test]
fn a_verdict_that_no_sample_agrees_with_any_more_is_replaced() {
    let (mut script, mut diagnoser) = (SnapshotScript::new(TIGHT), Diagnoser::new(None));
    sample(&mut script, &mut diagnoser, &throttled(), 12);
    assert_eq!(diagnoser.verdict().cause, Cause::Throttle);
    let spinning = || Second { used: 1.95, idle: 0.0, ..throttled() };
    for alternating in [quiet(), spinning()].iter().cycle().take(20) {
        // Three samples make a finding.
        sample(&mut script, &mut diagnoser, alternating, 4);
        let verdict = diagnoser.verdict();
        assert!(verdict.cause == Cause::Nothing || verdict.agreeing > 0, "{verdict:#?}");
    }
    assert_ne!(diagnoser.verdict().cause, Cause::Throttle);
}
