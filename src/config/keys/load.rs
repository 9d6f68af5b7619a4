//! What happens under load: queues, refusals, long and nested transactions.

use super::{Accessor, DefaultValue, Key, shown};
use crate::config::value_kind::ValueKind;
use std::time::Duration;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Server_Queue_Limit",
        unit: "transactions",
        default: DefaultValue::ReportedValue("10000"),
        reloadable: true,
        doc: "Transactions that may wait in one port's queue. The next one is refused at once, or one of the client that \
              has the most of them there. While the server runs it can be lowered, and raised again as far as it was at the \
              start; further it is raised by a restart.",
        slot: Accessor::Server {
            kind: ValueKind::Count { min: 1, max: 1_000_000, store: |c, s| c.queue_limit = s },
            show: |c| shown(c.queue_limit.value, &c.queue_limit.source),
        },
    },
    Key {
        name: "Server_Session_Calls",
        unit: "transactions",
        default: DefaultValue::ReportedValue("0"),
        reloadable: false,
        doc: "Transactions that one connection may have out, whatever sessions it carries; the next one is refused at \
              once. With 0 none is refused: what is over 512 waits in the connection's own socket.",
        slot: Accessor::Server {
            kind: ValueKind::Count {
                min: 0,
                max: 511,
                store: |c, s| c.session_calls = s.map(|calls| (calls > 0).then_some(calls as usize)),
            },
            show: |c| shown(c.session_calls.value.unwrap_or(0), &c.session_calls.source),
        },
    },
    Key {
        name: "Server_CoDel_Target",
        unit: "milliseconds",
        default: DefaultValue::ReportedValue("5"),
        reloadable: true,
        doc: "How long a transaction may well wait for a worker and a permit. A port where for a whole Server_CoDel_Interval \
              none waited less is overloaded, and those that wait more than twice as long are for Server_CoDel_Mode. 0 \
              switches this off. Transactions that would miss their own deadline are refused in any case.",
        slot: Accessor::Server {
            kind: ValueKind::Count {
                min: 0,
                max: 10_000,
                store: |c, s| c.codel_target = s.map(|ms| Duration::from_millis(ms.into())),
            },
            show: |c| shown(c.codel_target.value.as_millis(), &c.codel_target.source),
        },
    },
    Key {
        name: "Server_CoDel_Interval",
        unit: "milliseconds",
        default: DefaultValue::ReportedValue("100"),
        reloadable: true,
        doc: "For how long every transaction of a port may wait longer than Server_CoDel_Target.",
        slot: Accessor::Server {
            kind: ValueKind::Count {
                min: 10,
                max: 60_000,
                store: |c, s| c.codel_interval = s.map(|ms| Duration::from_millis(ms.into())),
            },
            show: |c| shown(c.codel_interval.value.as_millis(), &c.codel_interval.source),
        },
    },
    Key {
        name: "Server_CoDel_Mode",
        unit: "",
        default: DefaultValue::ReportedValue("observe"),
        reloadable: true,
        doc: "What becomes of transactions that wait too long at an overloaded port. observe: the log and a counter say how \
              many would have been refused. refuse: they are refused, and the queue stays short.",
        slot: Accessor::Server {
            kind: ValueKind::CodelMode { store: |c, s| c.codel_mode = s },
            show: |c| shown(c.codel_mode.value.name(), &c.codel_mode.source),
        },
    },
    Key {
        name: "Server_Long_Transaction",
        unit: "seconds",
        default: DefaultValue::ReportedValue("60"),
        reloadable: true,
        doc: "A transaction that runs longer is told of in the log, once, with its method, caller and worker. 0 tells of none.",
        slot: Accessor::Server {
            kind: ValueKind::Count {
                min: 0,
                max: 86_400,
                store: |c, s| {
                    c.long_transaction = s.map(|s| (s > 0).then(|| Duration::from_secs(s.into())));
                },
            },
            show: |c| {
                let seconds = c.long_transaction.value.map_or(0, |long| long.as_secs());
                shown(seconds, &c.long_transaction.source)
            },
        },
    },
    Key {
        name: "Server_Nested_Reserve",
        unit: "threads",
        default: DefaultValue::ReportedValue("0"),
        reloadable: false,
        doc: "Workers of each port that only run calls made by handlers of this very server, directly or through another. \
              They keep a pool from waiting for itself: with calls nested once, 1 is enough. One worker at least is left \
              for the other calls.",
        slot: Accessor::Server {
            kind: ValueKind::Count {
                min: 0,
                max: crate::config::sizing::POOL_TASKS_MAX - 1,
                store: |c, s| c.nested_reserve = s,
            },
            show: |c| shown(c.nested_reserve.value, &c.nested_reserve.source),
        },
    },
];
