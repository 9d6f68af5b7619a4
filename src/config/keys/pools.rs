//! Keys of the ports, their pools, and the throttle over all of them.

use super::key::{Accessor, DefaultValue, Key, field, shown};
use crate::config::settings::PortConfig;
use crate::config::sizing::POOL_TASKS_MAX;
use crate::config::value_kind::{PortKind, ValueKind};

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Ports",
        unit: "",
        default: DefaultValue::Fixed("TCPIP"),
        reloadable: false,
        doc: "Ports to open, 1 to 64. Each has one listener thread and a pool of worker threads of its own. A name consists of \
              letters, digits, hyphens and underscores, at most 32.",
        accessor: Accessor::Server {
            kind: ValueKind::PortNames,
            show: |c| shown(names(&c.ports), &c.ports_source),
        },
    },
    Key {
        name: "DisabledPorts",
        unit: "",
        default: DefaultValue::Fixed(""),
        reloadable: false,
        doc: "Ports that are described but not opened. Their settings are checked like those of the others.",
        accessor: Accessor::Server {
            kind: ValueKind::PortNames,
            show: |c| shown(names(&c.disabled_ports), &c.disabled_ports_source),
        },
    },
    Key {
        name: "<Port>",
        unit: "",
        default: DefaultValue::Fixed("TCP"),
        reloadable: false,
        doc: "Domino's line of a port. The first field is the driver and must be TCP; the others are ignored, and check reports \
              it. Encryption and compression in the flags field are not supported yet.",
        accessor: Accessor::Port { kind: PortKind::Driver, show: |p| shown("TCP", &p.driver_source) },
    },
    Key {
        name: "<Port>_TCPIPAddress",
        unit: "",
        default: DefaultValue::Fixed("0,127.0.0.1:1352"),
        reloadable: false,
        doc: "Address that the port listens on. The leading 0 is Domino's and may be omitted. An IPv6 address is written in \
              brackets. The default TCP port is 1352; with TCP port 0 the system chooses one. Two ports cannot share an \
              address. 0.0.0.0 listens on every IPv4 address of this machine, [::] on every IPv6 address, a host name on every \
              address that it has. A link-local address is followed by its zone: [fe80::1%eth0].",
        accessor: Accessor::Port {
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
        accessor: field!(Count { min: 1, max: POOL_TASKS_MAX }, pool_tasks),
    },
    Key {
        name: "<Port>_Pool_Tasks",
        unit: "threads",
        default: DefaultValue::Rule { words: "Server_Pool_Tasks", on_two_cpus: "40" },
        reloadable: false,
        doc: "Worker threads of this port.",
        accessor: Accessor::Port {
            kind: PortKind::Count { min: 1, max: POOL_TASKS_MAX, store: |p, s| p.pool_tasks = s },
            show: |p| shown(p.pool_tasks.value, &p.pool_tasks.source),
        },
    },
    Key {
        name: "Server_Max_Concurrent_Trans",
        unit: "transactions",
        default: DefaultValue::Rule { words: "by Server_Pool_Rule", on_two_cpus: "40" },
        reloadable: true,
        doc: "Throttle: the number of transactions that may run at once over all ports. -1 removes it, and only the worker \
              threads limit what runs. Set it together with Server_Pool_Tasks: above the number of all workers it has no \
              effect, below it the surplus workers can only wait.",
        accessor: field!(Limit { max: 100_000 }, max_concurrent_trans),
    },
    Key {
        name: "Server_Pool_Rule",
        unit: "",
        default: DefaultValue::Fixed("8.0.1"),
        reloadable: false,
        doc: "Release of Domino whose rule sizes the throttle and the pools that no line sizes. R5: throttle 20, pool twice the \
              throttle. 8.0: throttle 20 per CPU and at most 100, pool twice the throttle and at most 100. 8.0.1: the same \
              throttle, pool equal to it while it is 1 to 100, else 100. zOS: no throttle, pool 100. zLinux: no throttle, pool \
              40.",
        accessor: field!(Rule, pool_rule),
    },
];

fn names(ports: &[PortConfig]) -> String {
    ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(",")
}
