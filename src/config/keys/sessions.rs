//! Keys of the limits on sessions and connections.

use super::key::{DefaultValue, Key, field, limit, or_zero};
use std::time::Duration;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Server_Session_Timeout",
        unit: "minutes",
        default: DefaultValue::Fixed("240"),
        reloadable: true,
        doc: "Idle time after which a session is closed. A session outlives its connection by the same time. A connection \
              that opened no session of its own is not closed.",
        accessor: field!(
            Count { min: 1, max: 43_200 },
            session_timeout,
            |minutes: u32| Duration::from_secs(60 * u64::from(minutes)),
            |time: &Duration| time.as_secs() / 60
        ),
    },
    Key {
        name: "Server_MaxSessions",
        unit: "sessions",
        default: DefaultValue::Fixed("0"),
        reloadable: true,
        doc: "Soft limit of sessions: above it the session that has been idle longest is closed, if it has been idle for a \
              minute. It never refuses a session. Each connection counts as one session, in addition to those that it opened. \
              0 is no limit.",
        accessor: field!(Count { min: 0, max: 10_000_000 }, max_sessions, limit, or_zero),
    },
    Key {
        name: "Server_MaxUsers",
        unit: "sessions",
        default: DefaultValue::Fixed("100000"),
        reloadable: true,
        doc: "Hard limit of connections, and another of the same size of the sessions that clients opened: at the limit new \
              ones are refused. A new session may first replace an abandoned one, or one of a client that holds more. The last \
              sixty-fourth of either limit, and at least one of eight or more, is reserved for clients that hold less than \
              that: a single client gets 98,438 of 100,000. A session takes about 400 bytes and what handlers keep in it. 0 \
              means the largest value.",
        accessor: field!(Count { min: 0, max: 10_000_000 }, max_users, limit, or_zero),
    },
    Key {
        name: "Server_Restricted",
        unit: "",
        default: DefaultValue::Fixed("0"),
        reloadable: true,
        doc: "Refuses new sessions; existing ones continue. 0: no. 1: until the next start, so it has no effect in this file. \
              2: until this line is changed.",
        accessor: field!(Count { min: 0, max: 2 }, restricted),
    },
    Key {
        name: "Log_Sessions",
        unit: "",
        default: DefaultValue::Fixed("0"),
        reloadable: true,
        doc: "1 logs each session when it is opened and closed, with its client and its number of calls, within the log's \
              limit of lines about clients (250 in 10 seconds about one client, 750 about all).",
        accessor: field!(Switch, log_sessions),
    },
    Key {
        name: "Server_Max_Connects_Per_Minute",
        unit: "connections",
        default: DefaultValue::Fixed("0"),
        reloadable: false,
        doc: "Limit of new connections from one address in a minute; further ones are refused. Of IPv6 it applies to a /64, \
              and 64 times as many to a /48. The log names addresses above the limit, or without a limit those that make many \
              short connections. 0 is no limit.",
        accessor: field!(Count { min: 0, max: 1_000_000 }, max_connects, limit, or_zero),
    },
];
