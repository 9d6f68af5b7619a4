//! One list has everything that is counted, once, under names that hold; `/metrics` says the same.
#![cfg(feature = "admin")]

mod common;
mod http;

use boneyard::internal::metrics::{CloseReason, PORT_COUNTERS};
use boneyard::internal::monitor::Statistic;
use boneyard::internal::monitor::statistics::{self, StatisticKind, StatisticValue};
use boneyard::server::{RunningServer, Server};
use boneyard::service::Status;
use common::*;
use std::collections::{BTreeMap, BTreeSet};

fn start() -> RunningServer {
    let lines = ports(&["TCPIP", "LAN2"]) + "Admin_Address=127.0.0.1:0\nLoad_Service=1\n";
    Server::new(config(&lines)).start().expect("starts")
}

fn count(list: &[Statistic], name: &str) -> u64 {
    match list.iter().find(|statistic| statistic.name == name).map(|statistic| &statistic.value) {
        Some(StatisticValue::Count(count)) => *count,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn every_counter_of_a_port_is_in_the_list() {
    // By the source, so that a counter declared beside the rows of `port_counters!` is found too.
    let source = include_str!("../src/metrics/port_stats.rs");
    let fields = source
        .split("pub struct PortStats {")
        .nth(1)
        .and_then(|rest| rest.split("\n        }").next())
        .unwrap();
    let fields = fields.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": "));
    let fields: Vec<_> = fields.map(|(name, _)| name).collect();
    assert_eq!(fields, ["closed", "calls", "answers"], "these have places of their own in a snapshot");
    assert!(PORT_COUNTERS.len() > 10, "{PORT_COUNTERS:?}");
    let server = start();
    let list = server.monitor().statistics();
    for port in ["TCPIP", "LAN2"] {
        let prefix = format!("NET.{port}.");
        let of_port = list.iter().filter(|statistic| statistic.name.starts_with(&prefix));
        let counters: Vec<_> =
            of_port.filter(|statistic| statistic.family.kind == StatisticKind::Counter).collect();
        for row in PORT_COUNTERS {
            let name = format!("{prefix}{}", row.statistic);
            let found = counters.iter().find(|statistic| statistic.name == name).expect(row.field);
            assert_eq!((found.family.metric, found.family.help), (row.metric, row.help));
        }
        // One of each status, of each reason, of each other counter; calls, and the time without a permit.
        let (statuses, reasons) = (Status::ALL.len(), CloseReason::ALL.len());
        assert_eq!(
            counters.len(),
            statuses + reasons + PORT_COUNTERS.len() + 2,
            "the list has a row for each counter"
        );
    }
}

#[test]
fn the_table_of_limits_names_counters_that_exist() {
    let page = include_str!("../docs/ARCHITECTURE.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| limit | when it is reached | counter |"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let reasons: BTreeSet<_> = CloseReason::ALL.iter().map(|reason| format!("{reason:?}")).collect();
    let (mut counters, mut closes) = (BTreeSet::new(), BTreeSet::new());
    for cell in rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next()) {
        for counter in cell.split(';').map(str::trim) {
            if let Some(named) = counter.strip_prefix("closes by reason: ") {
                closes.extend(named.split(", ").map(str::to_owned));
            } else if counter.contains('_') && !counter.contains([' ', '`']) {
                counters.insert(counter);
            }
        }
    }
    assert!(counters.len() > 5 && closes.len() > 5, "the table is read: {counters:?}, {closes:?}");
    let fields: BTreeSet<_> = PORT_COUNTERS.iter().map(|row| row.field).collect();
    assert!(counters.is_subset(&fields), "{counters:?}");
    assert!(closes.is_subset(&reasons), "{closes:?}");
}

#[test]
fn names_are_unique_and_families_hold_together() {
    let server = start();
    Raw::connect(server.address()).call::<_, ()>("load.sleep", &0u64).unwrap();
    let list = server.monitor().statistics();
    let names: BTreeSet<_> = list.iter().map(|statistic| statistic.name.to_lowercase()).collect();
    assert_eq!(names.len(), list.len());
    let mut families = BTreeMap::new();
    let mut metrics = BTreeSet::new();
    for statistic in &list {
        let family = families.entry(statistic.family.metric).or_insert(statistic.family);
        assert_eq!(*family, statistic.family, "one meaning for a name");
        assert!(metrics.insert((statistic.family.metric, &statistic.labels)), "{statistic:?}");
        assert!(statistic.family.help.ends_with('.'), "{statistic:?}");
        if !statistic.family.unit.is_empty() {
            assert!(statistic.family.metric.ends_with(statistic.family.unit), "{statistic:?}");
        }
    }
    for name in ["Server.Trans.Total", "Server.Users.Peak", "Server.AvailabilityIndex", "Server.CPU.Count"] {
        assert!(list.iter().any(|statistic| statistic.name == name), "{name}");
    }
}

#[test]
fn the_list_counts_what_happens_and_metrics_say_the_same() {
    let server = start();
    let mut caller = Raw::connect(server.address());
    (0..5).for_each(|_| caller.call::<_, ()>("load.sleep", &1u64).unwrap());
    caller.call::<_, ()>("load.sleep", &u64::MAX).unwrap_err();
    let sleeps = |list: &[Statistic]| {
        let name = "Method.TCPIP.load.sleep.Run";
        let found = list.iter().find(|statistic| statistic.name == name).expect("it was called");
        let StatisticValue::Times(times) = &found.value else { panic!("{found:?}") };
        times.count()
    };
    wait_until("all is counted", || sleeps(&server.monitor().statistics()) == 6);
    let list = server.monitor().statistics();
    assert_eq!(count(&list, "NET.TCPIP.Calls"), 6);
    assert_eq!((count(&list, "NET.TCPIP.Answers.Ok"), count(&list, "NET.TCPIP.Answers.Application")), (5, 1));
    assert_eq!((count(&list, "Server.Trans.Total"), count(&list, "NET.LAN2.Calls")), (6, 0));
    assert_eq!(count(&list, "NET.TCPIP.Connections"), 1);
    let text = statistics::text(&list, "net.tcpip.answers.*").unwrap();
    assert!(text.contains("NET.TCPIP.Answers.Ok = 5\n"), "{text}");
    let admin = server.admin_address().unwrap();
    let metrics = http::get(admin, "/metrics", &[]);
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.head);
    let samples = samples(&metrics.body);
    assert_eq!(samples["boneyard_answers_total{port=\"TCPIP\",status=\"Ok\"}"], 5.0);
    let part = |sample: &str, more: &str| {
        samples[&format!(
            "boneyard_call_seconds_{sample}{{port=\"TCPIP\",method=\"load.sleep\",part=\"run\"{more}}}"
        )]
    };
    assert_eq!((part("count", ""), part("bucket", ",le=\"+Inf\"")), (6.0, 6.0));
    // What was refused took no time, unless the machine was busy.
    assert!(part("bucket", ",le=\"0.000512\"") <= 1.0 && part("bucket", ",le=\"268.435456\"") == 6.0);
    assert!(part("sum", "") > 0.005);
    let of_sleep = |sample: &str| samples[&format!("{sample}{{port=\"TCPIP\",method=\"load.sleep\"}}")];
    let parts = ["queue_wait", "permit_wait", "run"].map(|part| {
        samples[&format!("boneyard_call_seconds_sum{{port=\"TCPIP\",method=\"load.sleep\",part=\"{part}\"}}")]
    });
    assert_eq!(of_sleep("boneyard_call_duration_seconds_count"), 6.0, "the whole call has one of its own");
    let whole = of_sleep("boneyard_call_duration_seconds_sum");
    assert!((whole - parts.iter().sum::<f64>()).abs() < 1e-6, "{whole} of {parts:?}");
    let open = http::get(admin, "/metrics", &["accept: application/openmetrics-text; version=1.0.0"]);
    assert!(open.head.contains("content-type: application/openmetrics-text"), "{}", open.head);
    assert!(open.body.ends_with("\n# EOF\n") && open.body.contains("# TYPE boneyard_answers counter\n"));
    assert_eq!(samples.len(), self::samples(&open.body).len());
}

/// Samples by name and labels. Each family stands together, after its help and type.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split_once(' ').expect("a help").0;
            assert!(families.insert(family), "{family} stands in two places");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            assert!(name.starts_with(family), "{line} under {family}");
            assert!(samples.insert(name.to_owned(), value.parse().expect("a number")).is_none(), "{line}");
        }
    }
    samples
}
