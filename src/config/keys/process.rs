//! Keys of the process: threads, shutdown, log.

use super::key::{Accessor, DefaultValue, Key, shown};
use crate::config::value_kind::ValueKind;
use std::path::Path;
use std::time::Duration;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Server_Thread_Stack_KB",
        unit: "KiB",
        default: DefaultValue::Fixed("1024"),
        reloadable: false,
        doc: "Stack size of each worker thread. It is reserved as virtual memory; only the part that a handler uses becomes \
              resident.",
        accessor: Accessor::Server {
            kind: ValueKind::Count {
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
        default: DefaultValue::Fixed("30"),
        reloadable: true,
        doc: "Time that a stopping server waits for the transactions it has admitted. With 0 it does not wait.",
        accessor: Accessor::Server {
            kind: ValueKind::Count {
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
        default: DefaultValue::Fixed("0"),
        reloadable: false,
        doc: "1 offers the load-test methods load.*, which echo, use CPU time or sleep. For tests, not for production servers.",
        accessor: Accessor::Server {
            kind: ValueKind::Switch { store: |c, s| c.load_service = s },
            show: |c| shown(u8::from(c.load_service.value), &c.load_service.source),
        },
    },
    Key {
        name: "Log_Level",
        unit: "",
        default: DefaultValue::Fixed("info"),
        reloadable: true,
        doc: "Least severe level that is logged. The environment variable RUST_LOG overrides it.",
        accessor: Accessor::Server {
            kind: ValueKind::Level { store: |c, s| c.log_level = s },
            show: |c| shown(c.log_level.value.as_str().to_ascii_lowercase(), &c.log_level.source),
        },
    },
    Key {
        name: "Log_File",
        unit: "",
        default: DefaultValue::Fixed(""),
        reloadable: false,
        doc: "File that the log is appended to. Empty: standard error. A relative path begins at the server's working \
              directory. It cannot contain ; or #.",
        accessor: Accessor::Server {
            kind: ValueKind::Path { store: |c, s| c.log_file = s },
            show: |c| {
                let path = c.log_file.value.as_deref().unwrap_or(Path::new(""));
                shown(path.display(), &c.log_file.source)
            },
        },
    },
];
