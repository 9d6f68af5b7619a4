//! The borders between two causes, and between a cause and none.

use super::*;
use crate::monitor::ThreadState;
use crate::monitor::diagnose::evidence::Evidence;
use crate::monitor::diagnose::loads::{Load, Processors};
use crate::monitor::diagnose::rules;
use crate::monitor::looks::Looks;
use crate::monitor::window::Window;

/// A port of ten workers, all busy, with calls that sleep 50 ms.
fn overloaded() -> Port {
    Port { busy: 10, waiting: 30, ..Port::of(10) }.runs("disk.read", 200, 0.15, 0.05)
}

/// So many permits of which all are out while the other of forty workers have none, at so much use of two processors.
fn throttled(permits: u32, used: f64) -> Verdict {
    let port = Port { busy: permits, waiting: 80, without_permit: 0.99, ..Port::of(40) };
    let port = port.runs("math.spin", u64::from(permits) * 20, 0.2, 0.05);
    let second = Second { out: permits, used, idle: 1.95 - used, ..second(vec![port]) };
    let ini = format!("Server_Pool_Tasks=40\nServer_Max_Concurrent_Trans={permits}\n");
    verdict_after(&ini, &second)
}

#[test]
fn permits_out_and_processors_full_is_the_processors() {
    let verdict = throttled(20, 1.9);
    assert_eq!((&verdict.cause, verdict.lines.len()), (&Cause::Cpu, 0), "{verdict:#?}");
    assert!(
        verdict.because.iter().any(|because| because.starts_with("20 of 20 permits were out")),
        "{verdict:#?}"
    );
}

#[test]
fn where_the_processors_come_next_the_line_goes_no_further_than_they_do() {
    let verdict = throttled(10, 1.3);
    assert_eq!(verdict.cause, Cause::Throttle, "{verdict:#?}");
    assert_eq!(verdict.lines, ["Server_Max_Concurrent_Trans=15"]);
    assert!(
        verdict.expected.contains("About 1.5x") && verdict.expected.contains("Then the processors limit")
    );
    let verdict = throttled(20, 0.3);
    assert_eq!(verdict.lines, ["Server_Max_Concurrent_Trans=40"]);
    assert!(verdict.expected.contains("About 2.0x") && verdict.expected.contains("Then the workers limit"));
}

#[test]
fn a_busy_machine_does_not_hide_that_sleeping_calls_need_permits() {
    let port = Port { busy: 20, waiting: 80, without_permit: 0.99, ..Port::of(40) }.runs(
        "disk.read",
        400,
        0.2,
        0.05,
    );
    let others = Second { out: 20, used: 0.1, idle: 0.0, ..second(vec![port]) };
    let verdict = verdict_after("Server_Pool_Tasks=40\nServer_Max_Concurrent_Trans=20\n", &others);
    assert_eq!(
        (verdict.cause, verdict.lines),
        (Cause::Throttle, vec!["Server_Max_Concurrent_Trans=40".to_owned()])
    );
}

#[test]
fn handlers_that_wait_for_a_processor_others_have_show_as_such() {
    let port = || {
        Port { busy: 20, waiting: 80, without_permit: 0.99, ..Port::of(40) }.runs("math.spin", 40, 1.0, 0.5)
    };
    let starved = |wanted| {
        let second = Second { out: 20, used: 0.2, idle: 0.0, wanted, ..second(vec![port()]) };
        verdict_after("Server_Pool_Tasks=40\nServer_Max_Concurrent_Trans=20\n", &second).cause
    };
    assert_eq!((starved(18.0), starved(5.0)), (Cause::Cpu, Cause::Throttle));
}

#[test]
fn of_two_ports_the_one_that_starves_is_named() {
    let ini = "Ports=TCPIP,LAN2\nLAN2_TCPIPAddress=127.0.0.1:2\nServer_Pool_Tasks=10\nServer_Max_Concurrent_Trans=40\n";
    let verdict = verdict_after(ini, &second(vec![busy(), overloaded()]));
    assert_eq!(verdict.cause, Cause::Pool { port: "LAN2".to_owned() });
    assert_eq!(verdict.lines, ["LAN2_Pool_Tasks=40", "Server_Max_Concurrent_Trans=50"]);
}

const THREE: &str = "Ports=TCPIP,LAN2,LAN3\nLAN2_TCPIPAddress=127.0.0.1:2\nLAN3_TCPIPAddress=127.0.0.1:3\n";

#[test]
fn of_ports_that_are_alike_the_first_is_named_all_the_time_and_the_others_with_it() {
    let waiting = |waiting| Port { waiting, ..overloaded() };
    let script =
        || SnapshotScript::new(&format!("{THREE}Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=60\n"));
    let (mut script, mut diagnoser) = (script(), Diagnoser::new(None));
    for sample in 0..40 {
        // The longest queue is another's each time.
        let mut waits = [30, 36, 42];
        waits.rotate_left(sample / 5 % 3);
        drop(script.sample(&mut diagnoser, &second(waits.map(waiting).into())));
        let verdict = diagnoser.verdict();
        if sample >= 4 {
            assert_eq!(verdict.cause, Cause::Pool { port: "TCPIP".to_owned() }, "{sample}: {verdict:#?}");
            let others = "Also full, each with workers of its own: port LAN2, port LAN3.";
            assert!(verdict.because.iter().any(|because| because == others), "{verdict:#?}");
        }
    }
}

#[test]
fn of_queues_that_are_alike_the_first_is_named_all_the_time() {
    let (mut script, mut diagnoser) =
        (SnapshotScript::new(&format!("{THREE}Server_Queue_Limit=100\n")), Diagnoser::new(None));
    let refuses = |queue_full| {
        Port { busy: 2, queue_full, queue_filled: 1, ..Port::of(10) }.runs("note.read", 100, 0.0, 0.02)
    };
    for sample in 0..40 {
        let mut refused = [0, 40, 50];
        refused[1..].rotate_left(sample / 8 % 2);
        drop(script.sample(&mut diagnoser, &second(refused.map(refuses).into())));
        let cause = &diagnoser.verdict().cause;
        assert!(sample < 5 || *cause == Cause::QueueBound { port: "LAN2".to_owned() }, "{sample}: {cause:?}");
    }
}

#[test]
fn what_keeps_all_waiting_is_among_the_reasons_where_clients_are_over_max_users() {
    let sessions = SessionCounts { open: 40, max: Some(40), ..SessionCounts::default() };
    let port = Port { over_max_users: 5, ..overloaded() };
    let ini = "Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=40\nServer_MaxUsers=40\n";
    let verdict = verdict_after(ini, &Second { sessions, ..second(vec![port]) });
    assert_eq!(verdict.cause, Cause::Users, "{verdict:#?}");
    let besides = "Besides: The workers of port TCPIP limit it: all 10 are busy.";
    assert!(verdict.because.iter().any(|because| because == besides), "{verdict:#?}");
}

#[test]
fn as_many_sessions_again_and_no_more_are_advised() {
    let sessions = SessionCounts { open: 32, max: Some(32), ..SessionCounts::default() };
    let line = |over_max_users| {
        let second = Second { sessions, ..second(vec![Port { over_max_users, ..Port::of(10) }]) };
        verdict_after("Server_MaxUsers=32\n", &second).lines
    };
    assert_eq!(
        (line(1), line(9)),
        (vec!["Server_MaxUsers=50".to_owned()], vec!["Server_MaxUsers=64".to_owned()])
    );
}

#[test]
fn the_cost_of_refusals_is_not_that_of_calls() {
    let port = Port { busy: 4, waiting: 20, without_permit: 0.9, queue_full: 180_000, ..Port::of(40) };
    let port = port.runs("load.sleep", 200, 0.1, 0.02);
    let busy = Second { out: 4, used: 0.9, idle: 0.0, ..second(vec![port]) };
    let ini = "Server_Pool_Tasks=40\nServer_Max_Concurrent_Trans=4\nServer_Queue_Limit=20\n";
    let verdict = verdict_after(ini, &busy);
    assert_eq!(verdict.headline, "The processors are busy with refusing calls.");
    assert!(verdict.expected.starts_with("200 calls are run a second"), "{verdict:#?}");
    assert!(!verdict.because.iter().any(|because| because.contains("would not help")), "{verdict:#?}");
}

#[test]
fn processors_that_other_programs_use_are_reported_as_such() {
    let verdict = verdict_after(
        "Server_Pool_Tasks=20\nServer_Max_Concurrent_Trans=20\n",
        &Second {
            out: 10,
            used: 0.2,
            idle: 0.0,
            wanted: 9.9,
            ports: vec![Port { busy: 10, ..Port::of(20) }.runs("load.sleep", 900, 0.001, 0.011)],
            ..Second::default()
        },
    );
    assert_eq!(verdict.cause, Cause::Cpu, "{verdict:#?}");
    let others = "Other programs on this machine use 1.8 of them.";
    assert!(verdict.because.iter().any(|because| because == others), "{verdict:#?}");
    assert!(verdict.expected.ends_with("other programs leave it more of them."), "{verdict:#?}");
}

#[test]
fn a_pool_as_large_as_the_throttle_needs_both_lines() {
    let ini = "Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=10\n";
    let verdict = verdict_after(ini, &second(vec![overloaded()]));
    assert_eq!(verdict.cause, Cause::Pool { port: "TCPIP".to_owned() });
    assert_eq!(verdict.lines, ["TCPIP_Pool_Tasks=40", "Server_Max_Concurrent_Trans=40"]);
}

#[test]
fn the_lines_together_bring_the_expectation_also_where_a_rule_sizes_the_pools() {
    let ini = "Ports=TCPIP,LAN2\nLAN2_TCPIPAddress=127.0.0.1:2\nServer_Max_Concurrent_Trans=20\n";
    let port = || {
        Port { busy: 10, waiting: 50, without_permit: 0.9, ..Port::of(20) }.runs("disk.read", 200, 0.25, 0.05)
    };
    let verdict = verdict_after(ini, &Second { out: 20, ..second(vec![port(), port()]) });
    assert_eq!(verdict.lines, ["Server_Max_Concurrent_Trans=40", "Server_Pool_Tasks=20"], "else 40 a port");
    let ports = "Ports=TCPIP,LAN2\nLAN2_TCPIPAddress=127.0.0.1:2\n";
    let config = Config::from_text(&format!("{ports}{}\n", verdict.lines.join("\n")), None, 2).unwrap();
    assert_eq!((config.effective_concurrency(), config.total_workers()), (40, 40));
}

#[test]
fn handlers_queued_for_a_permit_show_the_throttle_though_no_worker_is_idle() {
    let interval = |returning: f64| {
        let mut script = SnapshotScript::new("Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=2\n");
        let (_, interval) = script.interval(&Second { out: 2, ..second(vec![overloaded()]) });
        let mut interval = interval;
        interval.ports[0].workers_returning = returning;
        let (none, looks) = (Window::of(1), Looks::default());
        let evidence = Evidence {
            interval: &interval,
            config: &script.config,
            loads: interval.ports.iter().map(|port| Load::of(port, &interval)).collect(),
            processors: Processors::of(&interval),
            refusals: &none,
            connections: &[],
            hour: None,
            looks: &looks,
            workload: None,
            simulated: std::cell::OnceCell::new(),
            experiment: None,
            standing: &Cause::Nothing,
        };
        rules::cause(&rules::holding(&evidence))
    };
    assert_eq!(interval(6.0), Cause::Throttle);
    assert_eq!(interval(0.0), Cause::Pool { port: "TCPIP".to_owned() });
}

#[test]
fn bursts_of_a_second_are_no_cause() {
    let mut script = SnapshotScript::new("Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=40\n");
    let mut diagnoser = Diagnoser::new(None);
    for second_of_ten in (0..10).cycle().take(60) {
        let port =
            if second_of_ten == 4 { overloaded() } else { Port::of(10).runs("disk.read", 2, 0.0, 0.05) };
        let said = script.sample(&mut diagnoser, &second(vec![port]));
        assert!(said.is_empty() && diagnoser.verdict().cause == Cause::Nothing, "{said:?}");
    }
}

#[test]
fn calls_that_never_end_still_show_which_pool_is_full() {
    let port = Port { busy: 10, waiting: 30, ..Port::of(10) };
    let ini = "Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=40\n";
    let verdict = verdict_after(ini, &second(vec![port]));
    assert_eq!(verdict.cause, Cause::Pool { port: "TCPIP".to_owned() }, "{verdict:#?}");
    assert!(verdict.because.contains(&"No call ended meanwhile.".to_owned()));
    assert!(verdict.lines.is_empty() && verdict.expected.contains("show threads"), "{verdict:#?}");
    assert!(verdict.expected.contains("TCPIP_Pool_Tasks=40"), "{verdict:#?}");
}

/// A port of so many workers, ten of them busy with calls that sleep 100 ms, where nothing waits for long.
fn refusing(workers: u32, would_be_late: u64, queue_full: u64) -> Port {
    Port { busy: 10, would_be_late, queue_full, ..Port::of(workers) }.runs("disk.read", 100, 0.001, 0.1)
}

#[test]
fn calls_that_are_refused_instead_of_waiting_need_places_too() {
    let pool = |ini, port| verdict_after(ini, &second(vec![port]));
    let wide = "Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=40\n";
    for port in [refusing(10, 5_000, 0), refusing(10, 0, 5_000)] {
        let verdict = pool(wide, port);
        assert_eq!(verdict.cause, Cause::Pool { port: "TCPIP".to_owned() }, "{verdict:#?}");
        assert_eq!(verdict.lines.first().map(String::as_str), Some("TCPIP_Pool_Tasks=40"), "{verdict:#?}");
        assert!(verdict.because.iter().any(|because| because.starts_with("5,000 calls a second refused")));
        assert!(verdict.expected.contains("a step to measure"), "{verdict:#?}");
    }
    let some = pool(wide, refusing(10, 50, 0));
    assert_eq!(some.lines[0], "TCPIP_Pool_Tasks=16", "those that were refused would have run five at once");
    let verdict = pool("Server_Pool_Tasks=40\nServer_Max_Concurrent_Trans=10\n", refusing(40, 5_000, 0));
    assert_eq!(
        (verdict.cause, verdict.lines),
        (Cause::Throttle, vec!["Server_Max_Concurrent_Trans=40".to_owned()])
    );
    let idle = pool("Server_Pool_Tasks=40\nServer_Max_Concurrent_Trans=40\n", refusing(40, 5_000, 0));
    assert_eq!(idle.cause, Cause::Nothing, "deadlines that no server meets");
}

#[test]
fn one_address_that_may_be_many_users_leaves_the_setting_to_be_read() {
    let mut connections = vec![connection("192.0.2.1", 1); 40];
    connections.push(connection("192.0.2.2", 1));
    let ini = "Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=40\n";
    let verdict = verdict_after(ini, &Second { connections, ..second(vec![overloaded()]) });
    assert_eq!(verdict.cause, Cause::Client { peer: "192.0.2.1".to_owned() });
    assert!(verdict.lines.is_empty() && verdict.expected.contains("TCPIP_Pool_Tasks=40"), "{verdict:#?}");
}

#[test]
fn a_pool_as_large_as_it_can_be_gets_no_line() {
    let port = Port { busy: 3700, waiting: 3000, ..Port::of(4096) }.runs("disk.read", 37_000, 0.08, 0.1);
    let ini = "Server_Pool_Tasks=4096\nServer_Max_Concurrent_Trans=-1\n";
    let verdict = verdict_after(ini, &second(vec![port]));
    assert_eq!(verdict.cause, Cause::Pool { port: "TCPIP".to_owned() }, "{verdict:#?}");
    assert!(verdict.lines.is_empty() && verdict.expected.contains("as large as it can be"), "{verdict:#?}");
}

#[test]
fn short_calls_among_long_ones_are_no_lock() {
    let port = Port { busy: 10, waiting: 13, ..Port::of(10) };
    let port = port.runs("disk.read", 190, 0.05, 0.05).runs("disk.read", 46, 0.05, 0.005);
    let ini = "Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=20\n";
    let verdict = verdict_after(ini, &second(vec![port]));
    assert_eq!(verdict.cause, Cause::Pool { port: "TCPIP".to_owned() }, "{verdict:#?}");
}

#[test]
fn a_queue_grows_by_what_was_refused_at_once() {
    let line = |queue_full, queue_filled| {
        let port =
            Port { busy: 2, queue_full, queue_filled, ..Port::of(10) }.runs("note.read", 100, 0.0, 0.02);
        verdict_after("Server_Queue_Limit=100\n", &second(vec![port])).lines
    };
    assert_eq!(line(40, 1), ["Server_Queue_Limit=150"], "once a second: 40, and a quarter more");
    assert_eq!(line(400, 10), ["Server_Queue_Limit=150"], "ten times a second as much");
    // It never was emptied, so all of it together has found no place.
    assert_eq!(line(40, 0), ["Server_Queue_Limit=600"]);
}

#[test]
fn refusals_on_purpose_are_among_the_reasons_of_a_limit() {
    let sessions = SessionCounts { open: 40, restricted: true, ..SessionCounts::default() };
    let port = Port { restricted: 5, ..overloaded() };
    let ini = "Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=40\nServer_Restricted=2\n";
    let restricted = Second { sessions, ..second(vec![port.clone()]) };
    let verdict = verdict_after(ini, &restricted);
    assert_eq!(verdict.cause, Cause::Pool { port: "TCPIP".to_owned() }, "{verdict:#?}");
    assert!(verdict.because.iter().any(|because| because.starts_with("Besides: New sessions are refused")));
    let lifted = verdict_after(ini, &second(vec![port]));
    assert!(!lifted.because.iter().any(|because| because.starts_with("Besides")), "{lifted:#?}");
}

#[test]
fn a_limit_of_sessions_is_no_cause_while_there_is_room_under_it() {
    let sessions = SessionCounts { open: 40, max: Some(100_000), ..SessionCounts::default() };
    let refused = Second { sessions, ..second(vec![Port { over_max_users: 5, ..Port::of(10) }]) };
    assert_eq!(verdict_after("", &refused).cause, Cause::Nothing);
}

#[test]
fn calls_over_a_connections_limit_are_no_cause_while_others_wait_or_workers_are_busy() {
    let ini = "Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=40\nServer_Session_Calls=8\n";
    let cause = |port| verdict_after(ini, &second(vec![Port { session_limit: 9, ..port }])).cause;
    assert_eq!(cause(overloaded()), Cause::Pool { port: "TCPIP".to_owned() });
    assert_eq!(cause(Port { busy: 10, ..Port::of(10) }), Cause::Nothing);
    assert_eq!(cause(busy()), Cause::SessionCalls);
}

/// Twenty workers, all in one method of which each call takes 40 ms.
fn one_method() -> Second {
    let threads = vec![("note.write", ThreadState::Socket); 20];
    let port = Port { busy: 20, waiting: 30, threads, ..Port::of(20) }.runs("note.write", 500, 0.06, 0.04);
    Second { out: 20, ..second(vec![port]) }
}

#[test]
fn one_lucky_run_long_ago_makes_no_lock() {
    let mut script = SnapshotScript::new("Server_Pool_Tasks=20\n").having_run("note.write", 0.002);
    let mut diagnoser = Diagnoser::new(None);
    let alone = second(vec![Port::of(20).runs("note.write", 5, 0.0, 0.04)]);
    for _ in 0..8 {
        script.rest(900);
        drop(script.sample(&mut diagnoser, &alone));
    }
    (0..14).for_each(|_| drop(script.sample(&mut diagnoser, &one_method())));
    assert!(!matches!(diagnoser.verdict().cause, Cause::Method { .. }), "{:#?}", diagnoser.verdict());
}

#[test]
fn calls_that_wait_for_one_another_all_day_still_do() {
    let mut script = SnapshotScript::new("Server_Pool_Tasks=20\n").having_run("note.write", 0.002);
    let mut diagnoser = Diagnoser::new(None);
    let method = Cause::Method { port: "TCPIP".to_owned(), method: "note.write".to_owned() };
    for hour in 0..24 {
        (0..14).for_each(|_| drop(script.sample(&mut diagnoser, &one_method())));
        assert_eq!(diagnoser.verdict().cause, method, "hour {hour}");
        script.rest(3600);
    }
}
