//! The one table of settings: the parser, `server.ini`, `boneyard check` and the docs are made from it.
//!
//! A new setting is one entry in [`KEYS`] and one field of [`Config`]. The entry says how the value is written, what it
//! means, where it goes and how it is shown; nothing else has to learn of it.
//!
//! Must not know lines or files. Invariants: names are unique without regard to case; a per-port name begins with
//! `<Port>`; each fixed default is a value that its own type accepts (tests hold all three).

use super::kind::{Kind, PortKind};
use super::{Config, PortConfig, Source};
use std::path::Path;
use std::time::Duration;

/// What stands for a port's name in the name of a per-port key.
pub(super) const PORT_MARK: &str = "<Port>";

/// One setting.
#[allow(missing_debug_implementations, reason = "a table of functions has nothing to print")]
pub struct Key {
    name: &'static str,
    unit: &'static str,
    default: Standard,
    doc: &'static str,
    pub(super) slot: Slot,
}

/// What holds when no line gives the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standard {
    /// This value, written as in a file.
    Value(&'static str),
    /// What a rule computes: the rule in words, and what it gives on 2 CPUs.
    Rule { words: &'static str, on_two_cpus: &'static str },
}

/// Where a value goes and how it is read back.
pub(super) enum Slot {
    /// A setting of the whole server.
    Server { kind: Kind, show: fn(&Config) -> Shown },
    /// A setting of one port.
    Port { kind: PortKind, show: fn(&PortConfig) -> Shown },
}

/// A value in force as text, with where it came from.
pub(super) struct Shown {
    pub(super) value: String,
    pub(super) source: Source,
}

fn shown(value: impl ToString, source: &Source) -> Shown {
    Shown { value: value.to_string(), source: source.clone() }
}

impl Key {
    /// Name as it is documented; a per-port key begins with `<Port>`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Unit of the value; empty when it has none.
    pub fn unit(&self) -> &'static str {
        self.unit
    }

    /// What holds when no line gives the key, in words or as it would be written.
    pub fn default(&self) -> &'static str {
        match self.default {
            Standard::Value(text) => text,
            Standard::Rule { words, .. } => words,
        }
    }

    /// What the key does, in sentences.
    pub fn doc(&self) -> &'static str {
        self.doc
    }

    /// What a value may be, in words.
    pub fn range(&self) -> String {
        match &self.slot {
            Slot::Server { kind, .. } => kind.expected(),
            Slot::Port { kind, .. } => kind.expected(),
        }
    }

    /// Whether each port has a setting of this sort.
    pub fn is_per_port(&self) -> bool {
        matches!(self.slot, Slot::Port { .. })
    }

    /// The default as it would be written into a file for a machine of 2 CPUs.
    pub(super) fn written_default(&self) -> &'static str {
        match self.default {
            Standard::Value(text) => text,
            Standard::Rule { on_two_cpus, .. } => on_two_cpus,
        }
    }

    /// The default, when it is a fixed value.
    pub(super) fn fixed_default(&self) -> Option<&'static str> {
        match self.default {
            Standard::Value(text) => Some(text),
            Standard::Rule { .. } => None,
        }
    }

    /// What follows the port's name in a per-port key.
    pub(super) fn suffix(&self) -> Option<&'static str> {
        self.is_per_port().then(|| self.name.strip_prefix(PORT_MARK).unwrap_or(self.name))
    }

    /// The name for one port.
    pub(super) fn name_for(&self, port: &str) -> String {
        self.name.replacen(PORT_MARK, port, 1)
    }
}

/// Endings of the per-port keys, the empty one of the driver line included.
pub(super) fn port_suffixes() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(Key::suffix)
}

/// `text` without `suffix` at its end, letter case ignored; both are ASCII where this is used.
pub(super) fn strip_suffix_ignoring_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    tail.eq_ignore_ascii_case(suffix).then_some(head)
}

/// Every setting, in the order of `server.ini`.
pub static KEYS: &[Key] = &[
    Key {
        name: "Ports",
        unit: "",
        default: Standard::Value("TCPIP"),
        doc: "Ports that are opened, 1 to 64. Each gets one listener thread and a pool of worker threads of its own. A name \
              has letters, digits, hyphens and underscores, at most 32.",
        slot: Slot::Server { kind: Kind::PortNames, show: |c| shown(names(&c.ports), &c.ports_source) },
    },
    Key {
        name: "DisabledPorts",
        unit: "",
        default: Standard::Value(""),
        doc: "Ports that are described here and not opened. Their settings are checked like those of the others.",
        slot: Slot::Server {
            kind: Kind::PortNames,
            show: |c| shown(names(&c.disabled_ports), &c.disabled_ports_source),
        },
    },
    Key {
        name: "<Port>",
        unit: "",
        default: Standard::Value("TCP"),
        doc: "Domino's line of a port. The first field is the driver and must be TCP; the others are ignored, and check says \
              so. Encryption and compression in the flags field are not supported yet.",
        slot: Slot::Port { kind: PortKind::Driver, show: |p| shown("TCP", &p.driver_source) },
    },
    Key {
        name: "<Port>_TCPIPAddress",
        unit: "",
        default: Standard::Value("0,127.0.0.1:1352"),
        doc: "Address the port listens on. The leading 0 is Domino's and may be left out. An IPv6 address stands in \
              brackets. Without a TCP port it is 1352; with TCP port 0 the system chooses one. Two ports cannot share an \
              address. 0.0.0.0 or [::] listens on every address of this machine.",
        slot: Slot::Port {
            kind: PortKind::Address,
            show: |p| shown(format_args!("0,{}", p.address), &p.address_source),
        },
    },
    Key {
        name: "Server_Pool_Tasks",
        unit: "threads",
        default: Standard::Rule { words: "by Server_Pool_Rule", on_two_cpus: "40" },
        doc: "Worker threads of each port that has no line of its own. The number is fixed while the server runs.",
        slot: Slot::Server {
            kind: Kind::Count { min: 1, max: super::sizing::POOL_TASKS_MAX, store: |c, s| c.pool_tasks = s },
            show: |c| shown(c.pool_tasks.value, &c.pool_tasks.source),
        },
    },
    Key {
        name: "<Port>_Pool_Tasks",
        unit: "threads",
        default: Standard::Rule { words: "Server_Pool_Tasks", on_two_cpus: "40" },
        doc: "Worker threads of this port.",
        slot: Slot::Port {
            kind: PortKind::Count {
                min: 1,
                max: super::sizing::POOL_TASKS_MAX,
                store: |p, s| p.pool_tasks = s,
            },
            show: |p| shown(p.pool_tasks.value, &p.pool_tasks.source),
        },
    },
    Key {
        name: "Server_Max_Concurrent_Trans",
        unit: "transactions",
        default: Standard::Rule { words: "by Server_Pool_Rule", on_two_cpus: "40" },
        doc: "Transactions that may run at once over all ports together: the throttle. With -1 there is none, and what runs \
              is bounded by the worker threads. Set it together with Server_Pool_Tasks: above the number of all workers it \
              has no effect, below it some can only wait.",
        slot: Slot::Server {
            kind: Kind::Limit { max: 100_000, store: |c, s| c.max_concurrent_trans = s },
            show: |c| shown(c.max_concurrent_trans.value, &c.max_concurrent_trans.source),
        },
    },
    Key {
        name: "Server_Pool_Rule",
        unit: "",
        default: Standard::Value("8.0.1"),
        doc: "Release of Domino whose rule sizes the throttle and the pools where no line gives them. R5: throttle 20, pool \
              twice the throttle. 8.0: throttle 20 for each CPU and at most 100, pool twice the throttle and at most 100. \
              8.0.1: the same throttle, pool equal to it while it is 1 to 100, else 100. zOS: no throttle, pool 100. \
              zLinux: no throttle, pool 40.",
        slot: Slot::Server {
            kind: Kind::Rule { store: |c, s| c.pool_rule = s },
            show: |c| shown(c.pool_rule.value, &c.pool_rule.source),
        },
    },
    Key {
        name: "Server_Queue_Limit",
        unit: "transactions",
        default: Standard::Value("10000"),
        doc: "Transactions that may wait in one port's queue. The next one is refused at once.",
        slot: Slot::Server {
            kind: Kind::Count { min: 1, max: 1_000_000, store: |c, s| c.queue_limit = s },
            show: |c| shown(c.queue_limit.value, &c.queue_limit.source),
        },
    },
    Key {
        name: "Server_Session_Calls",
        unit: "transactions",
        default: Standard::Value("0"),
        doc: "Transactions that one session may have out on a connection; the next one is refused at once. With 0 none is \
              refused: what is over 512 waits in the session's own socket.",
        slot: Slot::Server {
            kind: Kind::Count {
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
        default: Standard::Value("5"),
        doc: "How long a transaction may well wait for a worker and a permit. A port where for a whole Server_CoDel_Interval \
              none waited less is overloaded, and those that wait more than twice as long are for Server_CoDel_Mode. 0 \
              switches this off. Transactions that would miss their own deadline are refused in any case.",
        slot: Slot::Server {
            kind: Kind::Count {
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
        default: Standard::Value("100"),
        doc: "For how long every transaction of a port may wait longer than Server_CoDel_Target.",
        slot: Slot::Server {
            kind: Kind::Count {
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
        default: Standard::Value("observe"),
        doc: "What becomes of transactions that wait too long at an overloaded port. observe: the log and a counter say how \
              many would have been refused. refuse: they are refused, and the queue stays short.",
        slot: Slot::Server {
            kind: Kind::CodelMode { store: |c, s| c.codel_mode = s },
            show: |c| shown(c.codel_mode.value.name(), &c.codel_mode.source),
        },
    },
    Key {
        name: "Server_Long_Transaction",
        unit: "seconds",
        default: Standard::Value("60"),
        doc: "A transaction that runs longer is told of in the log, once, with its method, caller and worker. 0 tells of none.",
        slot: Slot::Server {
            kind: Kind::Count {
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
        default: Standard::Value("0"),
        doc: "Workers of each port that only run calls made by handlers of this very server, directly or through another. \
              They keep a pool from waiting for itself: with calls nested once, 1 is enough. One worker at least is left \
              for the other calls.",
        slot: Slot::Server {
            kind: Kind::Count {
                min: 0,
                max: super::sizing::POOL_TASKS_MAX - 1,
                store: |c, s| c.nested_reserve = s,
            },
            show: |c| shown(c.nested_reserve.value, &c.nested_reserve.source),
        },
    },
    Key {
        name: "Server_Max_Frame_KB",
        unit: "KiB",
        default: Standard::Value("4096"),
        doc: "Largest message a client may send or be sent, header included.",
        slot: Slot::Server {
            kind: Kind::Count {
                min: 1,
                max: 65_536,
                store: |c, s| c.max_frame_bytes = s.map(|kib| kib * 1024),
            },
            show: |c| shown(c.max_frame_bytes.value / 1024, &c.max_frame_bytes.source),
        },
    },
    Key {
        name: "Server_Thread_Stack_KB",
        unit: "KiB",
        default: Standard::Value("1024"),
        doc: "Stack of each worker thread. It is reserved as virtual memory; only what a handler uses becomes real.",
        slot: Slot::Server {
            kind: Kind::Count {
                min: 64,
                max: 65_536,
                store: |c, s| c.thread_stack_bytes = s.map(|kib| kib as usize * 1024),
            },
            show: |c| shown(c.thread_stack_bytes.value / 1024, &c.thread_stack_bytes.source),
        },
    },
    Key {
        name: "Server_Shutdown_Timeout",
        unit: "seconds",
        default: Standard::Value("30"),
        doc: "How long a stopping server waits for the transactions it has admitted. With 0 it does not wait.",
        slot: Slot::Server {
            kind: Kind::Count {
                min: 0,
                max: 3_600,
                store: |c, s| c.shutdown_timeout = s.map(|seconds| Duration::from_secs(seconds.into())),
            },
            show: |c| shown(c.shutdown_timeout.value.as_secs(), &c.shutdown_timeout.source),
        },
    },
    Key {
        name: "Load_Service",
        unit: "",
        default: Standard::Value("0"),
        doc: "Offers the rehearsal methods load.*, which echo, burn CPU time or sleep. For trials, not for a server that \
              others rely on.",
        slot: Slot::Server {
            kind: Kind::Switch { store: |c, s| c.load_service = s },
            show: |c| shown(u8::from(c.load_service.value), &c.load_service.source),
        },
    },
    Key {
        name: "Log_Level",
        unit: "",
        default: Standard::Value("info"),
        doc: "Least severe message that is logged. The environment variable RUST_LOG, where it is set, wins.",
        slot: Slot::Server {
            kind: Kind::Level { store: |c, s| c.log_level = s },
            show: |c| shown(c.log_level.value.as_str().to_ascii_lowercase(), &c.log_level.source),
        },
    },
    Key {
        name: "Log_File",
        unit: "",
        default: Standard::Value(""),
        doc: "File the log is appended to. Empty: standard error. A relative path begins in the directory the server was \
              started in. It cannot hold ; or #.",
        slot: Slot::Server {
            kind: Kind::Path { store: |c, s| c.log_file = s },
            show: |c| {
                let path = c.log_file.value.as_deref().unwrap_or(Path::new(""));
                shown(path.display(), &c.log_file.source)
            },
        },
    },
];

fn names(ports: &[PortConfig]) -> String {
    ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_marked() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(
                KEYS[..index].iter().all(|other| !other.name.eq_ignore_ascii_case(key.name)),
                "{}",
                key.name
            );
            assert_eq!(key.name.starts_with(PORT_MARK), key.is_per_port(), "{}", key.name);
            assert!(key.doc.ends_with('.') && !key.doc.contains("  "), "{}", key.name);
        }
    }

    #[test]
    fn what_is_shown_by_default_is_what_the_table_says() {
        let config = Config::default_with(2);
        for key in KEYS {
            let shown = match &key.slot {
                Slot::Server { show, .. } => show(&config),
                Slot::Port { show, .. } => show(&config.ports[0]),
            };
            assert_eq!(shown.value, key.written_default(), "{}", key.name);
            assert_eq!(shown.source.word(), "default", "{}", key.name);
        }
    }

    #[test]
    fn suffixes_are_found_in_any_case() {
        assert_eq!(strip_suffix_ignoring_case("LAN_pool_TASKS", "_Pool_Tasks"), Some("LAN"));
        assert_eq!(strip_suffix_ignoring_case("LAN", ""), Some("LAN"));
        assert_eq!(strip_suffix_ignoring_case("AN", "LAN"), None);
        assert_eq!(strip_suffix_ignoring_case("éa", "xa"), None);
    }
}
