//! The list of statistics: name, meaning and unit of everything that a snapshot counts.
//!
//! Invariants: everything that a snapshot counts is here (tests/statistics.rs compares them). A limit that is not set
//! has no statistic.

use super::statistic::{Statistic, StatisticFamily, StatisticValue};
use crate::metrics::{CloseReason, PORT_COUNTERS, Parts};
use crate::monitor::admin_stats::{AdminRejection, AdminStats};
use crate::monitor::availability::Availability;
use crate::monitor::snapshot::{AnswerCounts, MethodLimitSnapshot, MethodSnapshot, PortSnapshot, Snapshot};
use crate::service::Status;
use std::time::Duration;

type Labels = Vec<(&'static str, String)>;

/// The list under construction.
struct List(Vec<Statistic>);

impl List {
    fn add(
        &mut self,
        name: impl Into<String>,
        family: &'static StatisticFamily,
        labels: Labels,
        value: StatisticValue,
    ) {
        self.0.push(Statistic { name: name.into(), family, labels, value });
    }

    /// Adds a statistic without labels.
    fn one(&mut self, name: &str, family: &'static StatisticFamily, value: StatisticValue) {
        self.add(name, family, Vec::new(), value);
    }

    /// Adds a count without labels.
    fn count(&mut self, name: &str, family: &'static StatisticFamily, count: u64) {
        self.one(name, family, StatisticValue::Count(count));
    }
}

/// Returns all statistics.
pub(in crate::monitor) fn list(
    server: &str,
    snapshot: &Snapshot,
    availability: Availability,
    ready: bool,
    admin_stats: &AdminStats,
) -> Vec<Statistic> {
    let mut list = List(Vec::new());
    of_server(&mut list, server, snapshot, ready);
    of_work(&mut list, snapshot, availability);
    of_sessions(&mut list, snapshot);
    for port in &snapshot.ports {
        of_port(&mut list, port);
        of_port_counters(&mut list, port);
    }
    for port in &snapshot.ports {
        port.methods.iter().for_each(|method| of_method(&mut list, port, method));
    }
    snapshot.limits.iter().for_each(|limit| of_limit(&mut list, limit));
    of_admin_server(&mut list, admin_stats);
    of_service(&mut list, snapshot);
    list.0
}

fn of_server(list: &mut List, server: &str, snapshot: &Snapshot, ready: bool) {
    static VERSION: StatisticFamily =
        StatisticFamily::info("boneyard_build_info", "Name and version of the server.");
    static UPTIME: StatisticFamily =
        StatisticFamily::gauge("boneyard_uptime_seconds", "Time since the server started.")
            .in_unit("seconds");
    static READY: StatisticFamily = StatisticFamily::gauge("boneyard_ready", "1 if /health/ready succeeds.");
    static DRAINING: StatisticFamily =
        StatisticFamily::gauge("boneyard_draining", "1 while the server shuts down.");
    static CPUS: StatisticFamily =
        StatisticFamily::gauge("boneyard_cpus", "Processors that the process may use.");
    static CPU: StatisticFamily =
        StatisticFamily::counter("boneyard_cpu_seconds", "CPU time the process has used.").in_unit("seconds");
    static IDLE: StatisticFamily = StatisticFamily::counter(
        "boneyard_machine_cpu_idle_seconds",
        "Time that the processors of the machine together were idle.",
    )
    .in_unit("seconds");
    static STOLEN: StatisticFamily = StatisticFamily::counter(
        "boneyard_machine_cpu_stolen_seconds",
        "Time that the machine's host took away from its processors.",
    )
    .in_unit("seconds");
    static LEFT_OUT: StatisticFamily = StatisticFamily::counter(
        "boneyard_log_lines_left_out",
        "Lines about clients left out of the log, whose rate is limited.",
    );
    static ALARM_RUNS: StatisticFamily =
        StatisticFamily::counter("boneyard_alarm_runs", "Times that Alarm_Command was run, or tried to.");
    static ALARMS_FAILED: StatisticFamily = StatisticFamily::counter(
        "boneyard_alarm_failures",
        "Runs of Alarm_Command that did not start, ended with an error or were killed.",
    );
    static BUFFERS: StatisticFamily = StatisticFamily::gauge(
        "boneyard_buffer_bytes",
        "Memory of all buffers that peers make the server hold.",
    )
    .in_unit("bytes");
    static BUFFERS_MAX: StatisticFamily = StatisticFamily::gauge(
        "boneyard_buffer_limit_bytes",
        "Limit of the memory of all buffers: Server_Buffer_Memory_MB.",
    )
    .in_unit("bytes");
    let seconds = |time: Duration| StatisticValue::Real(time.as_secs_f64());
    let version = vec![("version", server.to_owned())];
    list.add("Server.Version", &VERSION, version, StatisticValue::Text(server.to_owned()));
    list.one("Server.ElapsedTime", &UPTIME, StatisticValue::Elapsed(snapshot.uptime));
    list.one("Server.Ready", &READY, StatisticValue::Flag(ready));
    list.one("Server.Draining", &DRAINING, StatisticValue::Flag(snapshot.draining));
    list.count("Server.CPU.Count", &CPUS, snapshot.cpu.cores.into());
    list.one("Server.CPU.Used", &CPU, seconds(snapshot.cpu.used));
    if let Some((idle, stolen)) = snapshot.cpu.idle_and_stolen {
        list.one("Server.CPU.Machine.Idle", &IDLE, seconds(idle));
        list.one("Server.CPU.Machine.Stolen", &STOLEN, seconds(stolen));
    }
    list.count("Server.Log.LeftOut", &LEFT_OUT, snapshot.log_left_out);
    list.count("Server.Alarm.Runs", &ALARM_RUNS, snapshot.alarms.runs);
    list.count("Server.Alarm.Failed", &ALARMS_FAILED, snapshot.alarms.failed);
    list.count("Server.Buffers", &BUFFERS, snapshot.buffer_bytes.0);
    list.count("Server.Buffers.Limit", &BUFFERS_MAX, snapshot.buffer_bytes.1);
}

fn of_work(list: &mut List, snapshot: &Snapshot, availability: Availability) {
    static TOTAL: StatisticFamily =
        StatisticFamily::counter("boneyard_transactions", "Answers made, refusals included, over all ports.");
    static MINUTE: StatisticFamily =
        StatisticFamily::gauge("boneyard_transactions_last_minute", "Answers made in the last minute.");
    static PEAK: StatisticFamily =
        StatisticFamily::gauge("boneyard_transactions_peak_minute", "Most answers ever in a minute.");
    static PEAK_TIME: StatisticFamily = StatisticFamily::gauge(
        "boneyard_transactions_peak_timestamp_seconds",
        "When the minute of the most answers ended, in seconds since 1970.",
    )
    .in_unit("seconds");
    static PERMITS: StatisticFamily = StatisticFamily::gauge(
        "boneyard_permits_out",
        "Transactions that run: permits of the throttle that are out.",
    );
    static PERMITS_PEAK: StatisticFamily =
        StatisticFamily::gauge("boneyard_permits_peak", "Most permits that were ever out.");
    static PERMITS_MAX: StatisticFamily =
        StatisticFamily::gauge("boneyard_permits_limit", "Limit of permits: Server_Max_Concurrent_Trans.");
    static WAITING: StatisticFamily =
        StatisticFamily::gauge("boneyard_transactions_waiting", "Transactions that wait, over all ports.");
    static EXPANSION: StatisticFamily = StatisticFamily::gauge(
        "boneyard_expansion_factor",
        "How many times longer transactions take than at best, over about the last minute, unfinished ones included.",
    );
    static INDEX: StatisticFamily = StatisticFamily::gauge(
        "boneyard_availability_index",
        "100 for an idle server, 0 at an expansion factor of 64.",
    );
    let (total, waiting) = snapshot
        .ports
        .iter()
        .fold((0, 0), |(total, waiting), port| (total + port.answers.all(), waiting + port.waiting));
    let peak_at = (availability.per_minute_peak > 0).then(|| snapshot.started + availability.peak_at);
    list.count("Server.Trans.Total", &TOTAL, total);
    list.count("Server.Trans.PerMinute", &MINUTE, availability.per_minute);
    list.count("Server.Trans.PerMinute.Peak", &PEAK, availability.per_minute_peak);
    list.one("Server.Trans.PerMinute.Peak.Time", &PEAK_TIME, StatisticValue::Moment(peak_at));
    list.count("Server.ConcurrentTasks", &PERMITS, snapshot.permits.out.into());
    list.count("Server.ConcurrentTasks.Peak", &PERMITS_PEAK, snapshot.permits.peak.into());
    if let Some(limit) = snapshot.permits.limit {
        list.count("Server.ConcurrentTasks.Limit", &PERMITS_MAX, limit.into());
    }
    list.count("Server.ConcurrentTasks.Waiting", &WAITING, waiting);
    list.one("Server.ExpansionFactor", &EXPANSION, StatisticValue::Real(availability.expansion_factor));
    list.count("Server.AvailabilityIndex", &INDEX, availability.index());
}

fn of_sessions(list: &mut List, snapshot: &Snapshot) {
    static OPEN: StatisticFamily = StatisticFamily::gauge("boneyard_sessions", "Sessions open.");
    static PEAK: StatisticFamily =
        StatisticFamily::gauge("boneyard_sessions_peak", "Most sessions that were ever open.");
    static MAX: StatisticFamily = StatisticFamily::gauge(
        "boneyard_sessions_limit",
        "Most connections, and most opened sessions: Server_MaxUsers.",
    );
    static ALL_DROPPED: StatisticFamily = StatisticFamily::counter(
        "boneyard_idle_sessions_closed",
        "Idle sessions that the server closed, all of them.",
    );
    static DROPPED: StatisticFamily = StatisticFamily::counter(
        "boneyard_sessions_dropped",
        "Idle sessions that the server closed, by the reason.",
    );
    static RESTRICTED: StatisticFamily = StatisticFamily::gauge(
        "boneyard_sessions_restricted",
        "1 while new sessions are refused: Server_Restricted.",
    );
    static CONNECTIONS_MAX: StatisticFamily =
        StatisticFamily::gauge("boneyard_connections_limit", "Most connections that the descriptors allow.");
    let sessions = &snapshot.sessions;
    let dropped = |reason: &str| vec![("reason", reason.to_owned())];
    list.count("Server.Users", &OPEN, sessions.open);
    list.count("Server.Users.Peak", &PEAK, sessions.peak);
    if let Some(max) = sessions.max {
        list.count("Server.Users.Limit", &MAX, max);
    }
    let [timed_out, displaced] = [sessions.timed_out, sessions.displaced].map(StatisticValue::Count);
    list.count("Server.Sessions.Dropped", &ALL_DROPPED, sessions.timed_out + sessions.displaced);
    list.add("Server.Sessions.Dropped.TimedOut", &DROPPED, dropped("timed_out"), timed_out);
    list.add("Server.Sessions.Dropped.Displaced", &DROPPED, dropped("displaced"), displaced);
    list.one("Server.Sessions.Restricted", &RESTRICTED, StatisticValue::Flag(sessions.restricted));
    if let Some(max) = snapshot.connections.1 {
        list.count("Server.Connections.Limit", &CONNECTIONS_MAX, max);
    }
}

fn of_port(list: &mut List, port: &PortSnapshot) {
    static OPEN: StatisticFamily =
        StatisticFamily::gauge("boneyard_port_open", "1 while the port takes connections and calls.");
    static CONNECTIONS: StatisticFamily = StatisticFamily::gauge("boneyard_connections", "Connections open.");
    static WORKERS: StatisticFamily =
        StatisticFamily::gauge("boneyard_workers", "Workers of the port, by what they do.");
    static WAITING: StatisticFamily =
        StatisticFamily::gauge("boneyard_queue_calls", "Calls that wait at the port.");
    static LIMIT: StatisticFamily =
        StatisticFamily::gauge("boneyard_queue_limit_calls", "Most calls that may wait: Server_Queue_Limit.");
    static IN_FLIGHT: StatisticFamily =
        StatisticFamily::gauge("boneyard_calls_in_flight", "Calls admitted and not yet answered.");
    static IN_CALLS: StatisticFamily = StatisticFamily::gauge(
        "boneyard_workers_in_calls",
        "Workers whose handlers wait for the answer to a call that they made.",
    );
    static NO_PERMIT: StatisticFamily = StatisticFamily::counter(
        "boneyard_without_permit_seconds",
        "Time in which calls waited and a worker was idle, but there was no permit for it.",
    )
    .in_unit("seconds");
    static CALLS: StatisticFamily = StatisticFamily::counter("boneyard_calls", "Calls that arrived whole.");
    static ANSWERS: StatisticFamily =
        StatisticFamily::counter("boneyard_answers", "Answers made, by their status.");
    static CLOSED: StatisticFamily =
        StatisticFamily::counter("boneyard_connections_closed", "Connections closed, by the reason.");
    let named = |what: &str| format!("NET.{}.{what}", port.name);
    let with = |label, value: String| [of(port), vec![(label, value)]].concat();
    list.add(
        named("Open"),
        &OPEN,
        with("address", port.address.to_string()),
        StatisticValue::Flag(port.open),
    );
    list.add(named("Connections"), &CONNECTIONS, of(port), StatisticValue::Count(port.connections));
    let workers = port.workers;
    let states = [
        ("Idle", workers.idle),
        ("Running", workers.running),
        ("Blocked", workers.blocked),
        ("Returning", workers.returning),
    ];
    for (state, count) in states {
        let labels = with("state", state.to_lowercase());
        list.add(named(&format!("Workers.{state}")), &WORKERS, labels, StatisticValue::Count(count.into()));
    }
    list.add(named("Queue"), &WAITING, of(port), StatisticValue::Count(port.waiting));
    list.add(named("Queue.Limit"), &LIMIT, of(port), StatisticValue::Count(port.queue_limit));
    list.add(named("InFlight"), &IN_FLIGHT, of(port), StatisticValue::Count(port.in_flight));
    list.add(named("InCalls"), &IN_CALLS, of(port), StatisticValue::Count(port.in_calls));
    let without_permit = StatisticValue::Real(port.without_permit.as_secs_f64());
    list.add(named("WithoutPermit"), &NO_PERMIT, of(port), without_permit);
    list.add(named("Calls"), &CALLS, of(port), StatisticValue::Count(port.calls));
    for status in Status::ALL {
        let (name, labels) = (named(&format!("Answers.{status:?}")), with("status", format!("{status:?}")));
        list.add(name, &ANSWERS, labels, StatisticValue::Count(port.answers.with(status)));
    }
    for (reason, count) in CloseReason::ALL.into_iter().zip(port.closed) {
        let (name, labels) = (named(&format!("Closed.{reason:?}")), with("reason", format!("{reason:?}")));
        list.add(name, &CLOSED, labels, StatisticValue::Count(count));
    }
}

/// The families of [`PORT_COUNTERS`], in its order.
static PORT_COUNTER_FAMILIES: [StatisticFamily; PORT_COUNTERS.len()] = {
    let mut families = [const { StatisticFamily::counter("", "") }; PORT_COUNTERS.len()];
    let mut row = 0;
    while row < families.len() {
        families[row] = StatisticFamily::counter(PORT_COUNTERS[row].metric, PORT_COUNTERS[row].help);
        row += 1;
    }
    families
};

fn of_port_counters(list: &mut List, port: &PortSnapshot) {
    for (counter, family) in PORT_COUNTERS.iter().zip(&PORT_COUNTER_FAMILIES) {
        let name = format!("NET.{}.{}", port.name, counter.statistic);
        list.add(name, family, of(port), StatisticValue::Count((counter.of)(&port.counters)));
    }
}

fn of_method(list: &mut List, port: &PortSnapshot, method: &MethodSnapshot) {
    static ANSWERS: StatisticFamily = StatisticFamily::counter(
        "boneyard_method_answers",
        "Answers made to calls of the method, by their status.",
    );
    static TIMES: StatisticFamily = StatisticFamily::histogram(
        "boneyard_call_seconds",
        "Time of calls that ran, by its parts: waited for a worker, waited for a permit, ran.",
    )
    .in_unit("seconds");
    static WHOLE: StatisticFamily = StatisticFamily::histogram(
        "boneyard_call_duration_seconds",
        "Time of calls that ran, from their arrival to their answer: the parts of boneyard_call_seconds together.",
    )
    .in_unit("seconds");
    let named = |what: &str| format!("Method.{}.{}.{what}", port.name, method.name);
    let labels = [("port", port.name.to_string()), ("method", method.name.to_string())];
    let with = |label, value: &str| [labels.to_vec(), vec![(label, value.to_owned())]].concat();
    let AnswerCounts(answers) = method.answers;
    for (status, count) in Status::ALL.into_iter().zip(answers) {
        // Statuses that a method has never answered with would be most of the list.
        if count > 0 || status == Status::Ok {
            let status = format!("{status:?}");
            let (name, labels) = (named(&format!("Answers.{status}")), with("status", &status));
            list.add(name, &ANSWERS, labels, StatisticValue::Count(count));
        }
    }
    let Parts { queue_wait, permit_wait, run } = &method.times;
    let parts = [
        ("QueueWait", "queue_wait", queue_wait),
        ("PermitWait", "permit_wait", permit_wait),
        ("Run", "run", run),
    ];
    for (name, part, times) in parts {
        list.add(named(name), &TIMES, with("part", part), StatisticValue::Times(times.clone()));
    }
    list.add(named("Whole"), &WHOLE, labels.to_vec(), StatisticValue::Times(method.whole.clone()));
}

fn of_limit(list: &mut List, limit: &MethodLimitSnapshot) {
    static RUNNING: StatisticFamily =
        StatisticFamily::gauge("boneyard_limited_running", "Calls of a limited method that run.");
    static RUN: StatisticFamily = StatisticFamily::gauge(
        "boneyard_limited_running_limit",
        "Calls of a limited method that may run at once: [Limits].",
    );
    static WAITING: StatisticFamily = StatisticFamily::gauge(
        "boneyard_limited_waiting",
        "Calls of a limited method that wait for others of it, without a worker.",
    );
    static WAIT: StatisticFamily = StatisticFamily::gauge(
        "boneyard_limited_waiting_limit",
        "Calls of a limited method that may wait for others of it: [Limits].",
    );
    static REFUSED: StatisticFamily = StatisticFamily::counter(
        "boneyard_limited_refused",
        "Calls of a limited method that were refused because as many ran and waited as may.",
    );
    let rows = [
        ("Running", &RUNNING, limit.running),
        ("Running.Limit", &RUN, limit.run),
        ("Waiting", &WAITING, limit.waiting),
        ("Waiting.Limit", &WAIT, limit.wait),
        ("Refused", &REFUSED, limit.refused),
    ];
    for (name, family, count) in rows {
        let labels = vec![("method", limit.method.clone())];
        list.add(format!("Limit.{}.{name}", limit.method), family, labels, StatisticValue::Count(count));
    }
}

fn of_admin_server(list: &mut List, admin_stats: &AdminStats) {
    static CONNECTIONS: StatisticFamily =
        StatisticFamily::gauge("boneyard_admin_connections", "Connections of the admin server.");
    static REQUESTS: StatisticFamily =
        StatisticFamily::counter("boneyard_admin_requests", "Requests to the admin server.");
    static REFUSED: StatisticFamily = StatisticFamily::counter(
        "boneyard_admin_refused",
        "Requests and connections that the admin server refused, by the reason.",
    );
    list.count("Admin.Connections", &CONNECTIONS, admin_stats.connections() as u64);
    list.count("Admin.Requests", &REQUESTS, admin_stats.requests());
    for reason in AdminRejection::ALL {
        let labels = vec![("reason", format!("{reason:?}"))];
        list.add(
            format!("Admin.Refused.{reason:?}"),
            &REFUSED,
            labels,
            StatisticValue::Count(admin_stats.refused(reason)),
        );
    }
}

fn of_service(list: &mut List, snapshot: &Snapshot) {
    for (counter, count) in &snapshot.counters {
        list.count(&format!("Service.{}", counter.family.metric), &counter.family, *count);
    }
}

fn of(port: &PortSnapshot) -> Labels {
    vec![("port", port.name.to_string())]
}
