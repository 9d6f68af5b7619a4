//! Keys of the behaviour under load: queues, refusals, long and nested transactions.

use super::key::{DefaultValue, Key, field, in_seconds, limit, milliseconds, or_zero, seconds};
use crate::config::settings::CodelMode;
use crate::config::sizing::POOL_TASKS_MAX;
use std::time::Duration;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Server_Queue_Limit",
        unit: "transactions",
        default: DefaultValue::Fixed("10000"),
        reloadable: true,
        doc: "Limit of each port's queue. In a full queue the new transaction is refused, or instead one of the client that \
              has the most transactions there. While the server runs the limit can be lowered, and raised again up to its \
              value at the start; a higher one takes a restart.",
        accessor: field!(Count { min: 1, max: 1_000_000 }, queue_limit),
    },
    Key {
        name: "Server_Session_Calls",
        unit: "transactions",
        default: DefaultValue::Fixed("0"),
        reloadable: false,
        doc: "Limit of unanswered transactions on one connection, over all its sessions; further ones are refused at once. \
              0 refuses none: those beyond 512 wait in the connection's socket.",
        accessor: field!(
            Count { min: 0, max: 511 },
            session_calls,
            |calls: u32| (calls > 0).then_some(calls as usize),
            |calls: &Option<usize>| calls.unwrap_or(0)
        ),
    },
    Key {
        name: "Server_Client_Calls",
        unit: "transactions",
        default: DefaultValue::Fixed("0"),
        reloadable: true,
        doc: "Limit of the transactions that one client may have in progress, over all its connections and all ports; further \
              ones are refused at once. A client is an address, or of IPv6 a /64. Transactions of this server's own handlers \
              count and are not refused. 0 is no limit.",
        accessor: field!(Count { min: 0, max: 1_000_000 }, client_calls, limit, or_zero),
    },
    Key {
        name: "Server_CoDel_Target",
        unit: "milliseconds",
        default: DefaultValue::Fixed("5"),
        reloadable: true,
        doc: "Target queueing delay (CoDel target): the time that a transaction waits for a worker and a permit. A port is \
              overloaded when every transaction of a whole Server_CoDel_Interval waited longer; Server_CoDel_Mode then \
              applies to those that wait more than twice as long. 0 disables CoDel. Transactions that would miss their own \
              deadline are refused in any case.",
        accessor: field!(Count { min: 0, max: 10_000 }, codel_target, milliseconds, Duration::as_millis),
    },
    Key {
        name: "Server_CoDel_Interval",
        unit: "milliseconds",
        default: DefaultValue::Fixed("100"),
        reloadable: true,
        doc: "CoDel interval: a port is overloaded when every transaction of this period waited longer than \
              Server_CoDel_Target.",
        accessor: field!(Count { min: 10, max: 60_000 }, codel_interval, milliseconds, Duration::as_millis),
    },
    Key {
        name: "Server_CoDel_Mode",
        unit: "",
        default: DefaultValue::Fixed("observe"),
        reloadable: true,
        doc: "Action of CoDel at an overloaded port. observe: counts and logs the transactions that it would refuse. refuse: \
              refuses them, which keeps the queue short.",
        accessor: field!(CodelMode, codel_mode, |mode: &CodelMode| mode.name()),
    },
    Key {
        name: "Server_Long_Transaction",
        unit: "seconds",
        default: DefaultValue::Fixed("60"),
        reloadable: true,
        doc: "Run time after which a transaction is logged, once, with its method, caller and worker. 0 disables this.",
        accessor: field!(Count { min: 0, max: 86_400 }, long_transaction, seconds, in_seconds),
    },
    Key {
        name: "Server_Nested_Reserve",
        unit: "threads",
        default: DefaultValue::Fixed("0"),
        reloadable: false,
        doc: "Workers of each port that only run calls made by handlers of this server, directly or through another server. \
              They prevent a pool from waiting for itself: for one level of nesting, 1 is enough. At least one worker is left \
              for the other calls.",
        accessor: field!(Count { min: 0, max: POOL_TASKS_MAX - 1 }, nested_reserve),
    },
    Key {
        name: "Server_Run_Where_Read",
        unit: "",
        default: DefaultValue::Fixed("0"),
        reloadable: false,
        doc: "1 lets the thread that listens to a port run short calls itself while no worker of the port is awake, in the place \
              and with the permit of an idle worker. A call that comes within 2 ms of the one before then needs no thread switch \
              in the server. If such a call turns out to be slow, another thread listens from then on, after 1 to 2 ms. What a \
              handler keeps in a thread local is then on one thread more than the port has workers.",
        accessor: field!(Switch, run_where_read),
    },
];
