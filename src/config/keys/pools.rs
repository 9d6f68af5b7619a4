//! Ports and their pools, and the throttle over them.

use super::{Accessor, DefaultValue, Key, names, shown};
use crate::config::value_kind::{PortKind, ValueKind};

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Ports",
        unit: "",
        default: DefaultValue::ReportedValue("TCPIP"),
        reloadable: false,
        doc: "Ports that are opened, 1 to 64. Each gets one listener thread and a pool of worker threads of its own. A name \
              has letters, digits, hyphens and underscores, at most 32.",
        slot: Accessor::Server {
            kind: ValueKind::PortNames,
            show: |c| shown(names(&c.ports), &c.ports_source),
        },
    },
    Key {
        name: "DisabledPorts",
        unit: "",
        default: DefaultValue::ReportedValue(""),
        reloadable: false,
        doc: "Ports that are described here and not opened. Their settings are checked like those of the others.",
        slot: Accessor::Server {
            kind: ValueKind::PortNames,
            show: |c| shown(names(&c.disabled_ports), &c.disabled_ports_source),
        },
    },
    Key {
        name: "<Port>",
        unit: "",
        default: DefaultValue::ReportedValue("TCP"),
        reloadable: false,
        doc: "Domino's line of a port. The first field is the driver and must be TCP; the others are ignored, and check says \
              so. Encryption and compression in the flags field are not supported yet.",
        slot: Accessor::Port { kind: PortKind::Driver, show: |p| shown("TCP", &p.driver_source) },
    },
    Key {
        name: "<Port>_TCPIPAddress",
        unit: "",
        default: DefaultValue::ReportedValue("0,127.0.0.1:1352"),
        reloadable: false,
        doc: "Address the port listens on. The leading 0 is Domino's and may be left out. An IPv6 address stands in \
              brackets. Without a TCP port it is 1352; with TCP port 0 the system chooses one. Two ports cannot share an \
              address. 0.0.0.0 listens on every IPv4 address of this machine, [::] on every IPv6 one, a host name on every \
              address it has. A link-local address has its zone behind it: [fe80::1%eth0].",
        slot: Accessor::Port {
            kind: PortKind::Address,
            show: |p| shown(format_args!("0,{}", p.address), &p.address_source),
        },
    },
    Key {
        name: "Server_Pool_Tasks",
        unit: "threads",
        default: DefaultValue::Rule { words: "by Server_Pool_Rule", on_two_cpus: "40" },
        reloadable: false,
        doc: "Worker threads of each port that has no line of its own. The number is fixed while the server runs.",
        slot: Accessor::Server {
            kind: ValueKind::Count {
                min: 1,
                max: crate::config::sizing::POOL_TASKS_MAX,
                store: |c, s| c.pool_tasks = s,
            },
            show: |c| shown(c.pool_tasks.value, &c.pool_tasks.source),
        },
    },
    Key {
        name: "<Port>_Pool_Tasks",
        unit: "threads",
        default: DefaultValue::Rule { words: "Server_Pool_Tasks", on_two_cpus: "40" },
        reloadable: false,
        doc: "Worker threads of this port.",
        slot: Accessor::Port {
            kind: PortKind::Count {
                min: 1,
                max: crate::config::sizing::POOL_TASKS_MAX,
                store: |p, s| p.pool_tasks = s,
            },
            show: |p| shown(p.pool_tasks.value, &p.pool_tasks.source),
        },
    },
    Key {
        name: "Server_Max_Concurrent_Trans",
        unit: "transactions",
        default: DefaultValue::Rule { words: "by Server_Pool_Rule", on_two_cpus: "40" },
        reloadable: true,
        doc: "Transactions that may run at once over all ports together: the throttle. With -1 there is none, and what runs \
              is bounded by the worker threads. Set it together with Server_Pool_Tasks: above the number of all workers it \
              has no effect, below it some can only wait.",
        slot: Accessor::Server {
            kind: ValueKind::Limit { max: 100_000, store: |c, s| c.max_concurrent_trans = s },
            show: |c| shown(c.max_concurrent_trans.value, &c.max_concurrent_trans.source),
        },
    },
    Key {
        name: "Server_Pool_Rule",
        unit: "",
        default: DefaultValue::ReportedValue("8.0.1"),
        reloadable: false,
        doc: "Release of Domino whose rule sizes the throttle and the pools where no line gives them. R5: throttle 20, pool \
              twice the throttle. 8.0: throttle 20 for each CPU and at most 100, pool twice the throttle and at most 100. \
              8.0.1: the same throttle, pool equal to it while it is 1 to 100, else 100. zOS: no throttle, pool 100. \
              zLinux: no throttle, pool 40.",
        slot: Accessor::Server {
            kind: ValueKind::Rule { store: |c, s| c.pool_rule = s },
            show: |c| shown(c.pool_rule.value, &c.pool_rule.source),
        },
    },
];
