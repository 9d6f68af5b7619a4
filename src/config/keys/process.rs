//! Keys of the process: threads, shutdown, log.

use super::key::{DefaultValue, Key, field, in_kib, kib, path_text};
use log::LevelFilter;
use std::time::Duration;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Server_Thread_Stack_KB",
        unit: "KiB",
        default: DefaultValue::Fixed("1024"),
        reloadable: false,
        doc: "Stack size of each thread that runs handlers. It is reserved as virtual memory; only the part that a handler uses becomes \
              resident.",
        accessor: field!(Count { min: 64, max: 65_536 }, thread_stack_bytes, kib, in_kib),
    },
    Key {
        name: "Server_Shutdown_Timeout",
        unit: "seconds",
        default: DefaultValue::Fixed("30"),
        reloadable: true,
        doc: "Time that a stopping server waits for the transactions it has admitted. With 0 it does not wait.",
        accessor: field!(
            Count { min: 0, max: 3_600 },
            shutdown_timeout,
            |seconds: u32| Duration::from_secs(seconds.into()),
            Duration::as_secs
        ),
    },
    Key {
        name: "Load_Service",
        unit: "",
        default: DefaultValue::Fixed("0"),
        reloadable: false,
        doc: "1 offers the load-test methods load.*, which echo, use CPU time or sleep. For tests, not for production servers.",
        accessor: field!(Switch, load_service),
    },
    Key {
        name: "Log_Level",
        unit: "",
        default: DefaultValue::Fixed("info"),
        reloadable: true,
        doc: "Least severe level that is logged. The environment variable RUST_LOG overrides it.",
        accessor: field!(Level, log_level, |level: &LevelFilter| level.as_str().to_ascii_lowercase()),
    },
    Key {
        name: "Log_File",
        unit: "",
        default: DefaultValue::Fixed(""),
        reloadable: false,
        doc: "File that the log is appended to. Empty: standard error. A relative path begins at the server's working \
              directory. It cannot contain ; or #.",
        accessor: field!(Path, log_file, path_text),
    },
];
