//! What time does: when a verdict comes and goes, and what a changed setting has brought.

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
    let port = Port { busy: 40, waiting: 40, ..Port::of(40) }.runs("disk.read", calls, 0.05, 0.05);
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

/// Looks at so many seconds; what the log was told, and what was last to be kept.
fn look(
    reel: &mut SnapshotScript,
    judge: &mut Diagnoser,
    second: &Second,
    seconds: usize,
) -> (Vec<String>, Option<Option<String>>) {
    let (mut all, mut kept) = (Vec::new(), None);
    for _ in 0..seconds {
        let (note, said) = reel.judged(judge, second);
        all.extend(said);
        kept = note.or(kept);
    }
    (all, kept)
}

#[test]
fn a_verdict_comes_when_looks_agree_and_the_log_knows_it_when_it_stands() {
    let (mut reel, mut judge) = (SnapshotScript::new(TIGHT), Diagnoser::default());
    assert!(look(&mut reel, &mut judge, &quiet(), 20).0.is_empty());
    let came = (1..).find(|_| {
        let (said, _) = look(&mut reel, &mut judge, &throttled(), 1);
        assert!(said.is_empty());
        judge.verdict().cause == Cause::Throttle
    });
    assert!((4..=6).contains(&came.unwrap()), "{came:?}");
    let first = judge.verdict().sure;
    let (said, kept) = look(&mut reel, &mut judge, &throttled(), 10);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("Server_Max_Concurrent_Trans=40: About 4.0x the throughput"), "{said:?}");
    assert!(kept.is_some() && judge.verdict().sure > first && judge.verdict().sure > 0.9);
    let (said, _) = look(&mut reel, &mut judge, &quiet(), 12);
    assert_eq!(said, ["Nothing limits the server."]);
    assert_eq!(*judge.verdict(), Verdict::default());
}

#[test]
fn a_change_while_it_runs_is_measured_beside_what_was_said() {
    let (mut reel, mut judge) = (SnapshotScript::new(TIGHT), Diagnoser::default());
    look(&mut reel, &mut judge, &throttled(), 12);
    reel.set(WIDE);
    look(&mut reel, &mut judge, &relieved(780), 2);
    let effect = judge.verdict().effect.clone().unwrap();
    assert!(effect.contains("cannot be compared yet"), "{effect}");
    look(&mut reel, &mut judge, &relieved(780), 8);
    let effect = judge.verdict().effect.clone().unwrap();
    let expected = "Since Server_Max_Concurrent_Trans 10 -> 40: said 4.0x, measured 3.9x. 780 instead of 200 calls/s; p99 ";
    assert!(effect.starts_with(expected), "{effect}");
    let (said, _) = look(&mut reel, &mut judge, &relieved(780), 30);
    assert!(said.iter().any(|said| said.starts_with(expected)), "{said:?}");
    look(&mut reel, &mut judge, &quiet(), 30);
    assert!(judge.verdict().effect.as_ref().unwrap().starts_with(expected), "what was measured stays");
}

#[test]
fn a_change_by_a_restart_is_measured_by_the_note_that_was_kept() {
    let (mut reel, mut judge) = (SnapshotScript::new(TIGHT), Diagnoser::default());
    let (_, kept) = look(&mut reel, &mut judge, &throttled(), 15);
    let note = kept.flatten().expect("a verdict that stands is kept");
    let (mut reel, mut judge) = (SnapshotScript::new(WIDE), Diagnoser::new(Some(&note)));
    look(&mut reel, &mut judge, &quiet(), 10);
    let effect = judge.verdict().effect.clone().unwrap();
    assert!(effect.ends_with("in progress, 80 were before."), "{effect}");
    look(&mut reel, &mut judge, &relieved(400), 10);
    let effect = judge.verdict().effect.clone().unwrap();
    assert!(effect.contains("said 4.0x, measured 2.0x"), "{effect}");
    assert!(effect.ends_with("Something else limits it now."), "{effect}");

    let mut same = Diagnoser::new(Some(&note));
    look(&mut SnapshotScript::new(TIGHT), &mut same, &quiet(), 10);
    assert_eq!(same.verdict().effect, None, "nothing was changed");
}

#[test]
fn another_change_than_the_advised_one_is_measured_without_what_was_said() {
    let (mut reel, mut judge) = (SnapshotScript::new(TIGHT), Diagnoser::default());
    look(&mut reel, &mut judge, &throttled(), 12);
    reel.set("Server_Pool_Tasks=40\nServer_Max_Concurrent_Trans=20\nServer_Queue_Limit=50\n");
    look(&mut reel, &mut judge, &relieved(400), 8);
    let effect = judge.verdict().effect.clone().unwrap();
    let expected =
        "Since Server_Max_Concurrent_Trans 10 -> 20, Server_Queue_Limit 10000 -> 50: measured 2.0x. ";
    assert!(effect.starts_with(expected), "{effect}");
}

#[test]
fn when_it_was_measured_and_nothing_limits_any_more_the_note_is_forgotten() {
    let (mut reel, mut judge) = (SnapshotScript::new(TIGHT), Diagnoser::default());
    look(&mut reel, &mut judge, &throttled(), 12);
    reel.set(WIDE);
    let port = Port { busy: 30, ..Port::of(40) }.runs("disk.read", 600, 0.000_1, 0.05);
    let enough = Second { out: 30, ..Second { ports: vec![port], ..relieved(0) } };
    let (_, kept) = look(&mut reel, &mut judge, &enough, 40);
    assert_eq!(kept, Some(None));
    let effect = judge.verdict().effect.clone().unwrap();
    assert!(effect.contains("measured 3.0x") && effect.ends_with("more was not asked for."), "{effect}");
}

#[test]
fn a_broken_note_is_as_none() {
    let (mut reel, mut judge) = (SnapshotScript::new(TIGHT), Diagnoser::default());
    let note = look(&mut reel, &mut judge, &throttled(), 15).1.flatten().unwrap();
    let other = note.replace("\"version\":1", "\"version\":2");
    let negative = note.replace("\"per_s\":", "\"per_s\":-");
    for broken in ["", "{}", "null", "[1", &note[..note.len() - 2], &other, &negative] {
        assert_ne!(broken, note);
        let mut judge = Diagnoser::new(Some(broken));
        look(&mut SnapshotScript::new(WIDE), &mut judge, &relieved(780), 10);
        assert_eq!(judge.verdict().effect, None, "{broken}");
    }
}

#[test]
fn nothing_done_before_a_change_is_no_measure_for_what_is_done_after_it() {
    let (mut reel, mut judge) = (SnapshotScript::new(TIGHT), Diagnoser::default());
    let port = Port { busy: 10, waiting: 70, without_permit: 0.99, ..Port::of(40) };
    let stuck = Second { ports: vec![port], ..throttled() };
    look(&mut reel, &mut judge, &stuck, 12);
    assert_eq!(judge.verdict().cause, Cause::Throttle);
    reel.set(WIDE);
    look(&mut reel, &mut judge, &relieved(400), 12);
    assert_eq!(judge.verdict().effect, None);
}

#[test]
fn a_verdict_that_no_look_agrees_with_any_more_gives_way() {
    let (mut reel, mut judge) = (SnapshotScript::new(TIGHT), Diagnoser::default());
    look(&mut reel, &mut judge, &throttled(), 12);
    assert_eq!(judge.verdict().cause, Cause::Throttle);
    let spinning = || Second { used: 1.95, idle: 0.0, ..throttled() };
    for wavering in [quiet(), spinning()].iter().cycle().take(20) {
        // Three looks make an opinion.
        look(&mut reel, &mut judge, wavering, 4);
        let verdict = judge.verdict();
        assert!(verdict.sure > 0.1, "{verdict:#?}");
    }
    assert_ne!(judge.verdict().cause, Cause::Throttle);
}
