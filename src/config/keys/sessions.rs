//! Who is let in, and for how long.

use super::{Accessor, DefaultValue, Key, shown};
use crate::config::value_kind::ValueKind;
use std::time::Duration;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Server_Session_Timeout",
        unit: "minutes",
        default: DefaultValue::ReportedValue("240"),
        reloadable: true,
        doc: "A session that makes no call for so long is closed. A session survives the end of its connection for as \
              long. A connection without a session of its own making is left alone.",
        slot: Accessor::Server {
            kind: ValueKind::Count {
                min: 1,
                max: 43_200,
                store: |c, s| {
                    c.session_timeout = s.map(|minutes| Duration::from_secs(60 * u64::from(minutes)))
                },
            },
            show: |c| shown(c.session_timeout.value.as_secs() / 60, &c.session_timeout.source),
        },
    },
    Key {
        name: "Server_MaxSessions",
        unit: "sessions",
        default: DefaultValue::ReportedValue("0"),
        reloadable: true,
        doc: "With more sessions than this the one that has been idle longest is closed, if it has been for a minute. \
              Refuses nobody. Each connection has a session of its own, and those it opened besides. 0 is no limit.",
        slot: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 10_000_000, store: |c, s| c.max_sessions = s.map(some) },
            show: |c| shown(c.max_sessions.value.unwrap_or(0), &c.max_sessions.source),
        },
    },
    Key {
        name: "Server_MaxUsers",
        unit: "sessions",
        default: DefaultValue::ReportedValue("100000"),
        reloadable: true,
        doc: "With so many connections new ones are refused, and likewise with so many sessions that clients opened \
              besides. One that opens a session then gets the place of one that nobody came back to, or of a client that \
              holds more. The last sixty-fourth of either, and one at least of eight or more, is kept for clients that hold \
              less than that: one alone gets 98,438 of 100,000. Each takes some 400 bytes, and what handlers keep in it. \
              0 is no limit but the largest number.",
        slot: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 10_000_000, store: |c, s| c.max_users = s.map(some) },
            show: |c| shown(c.max_users.value.unwrap_or(0), &c.max_users.source),
        },
    },
    Key {
        name: "Server_Restricted",
        unit: "",
        default: DefaultValue::ReportedValue("0"),
        reloadable: true,
        doc: "Whether new sessions are refused; those there are go on. 0: no. 1: until the server is started again, so in \
              this file it means no. 2: until this line is changed.",
        slot: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 2, store: |c, s| c.restricted = s },
            show: |c| shown(c.restricted.value, &c.restricted.source),
        },
    },
    Key {
        name: "Log_Sessions",
        unit: "",
        default: DefaultValue::ReportedValue("0"),
        reloadable: true,
        doc: "Writes to the log when a session is opened and closed, with its client and how many calls it made; no more than the log takes of lines about clients (250 in 10 seconds about one, 750 about all).",
        slot: Accessor::Server {
            kind: ValueKind::Switch { store: |c, s| c.log_sessions = s },
            show: |c| shown(u8::from(c.log_sessions.value), &c.log_sessions.source),
        },
    },
    Key {
        name: "Server_Max_Connects_Per_Minute",
        unit: "connections",
        default: DefaultValue::ReportedValue("0"),
        reloadable: false,
        doc: "Connections that one address, of IPv6 one /64, may make in a minute, and an IPv6 /48 64 times as many; the \
              next are refused. The log names who connects too often, without a limit who makes many brief connections. 0 \
              is no limit.",
        slot: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 1_000_000, store: |c, s| c.max_connects = s.map(some) },
            show: |c| shown(c.max_connects.value.unwrap_or(0), &c.max_connects.source),
        },
    },
];

/// 0 is no limit.
fn some(limit: u32) -> Option<u32> {
    (limit > 0).then_some(limit)
}
