//! The process: threads, its end, its log.

use super::{Accessor, DefaultValue, Key, shown};
use crate::config::value_kind::ValueKind;
use std::path::Path;
use std::time::Duration;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Server_Thread_Stack_KB",
        unit: "KiB",
        default: DefaultValue::ReportedValue("1024"),
        reloadable: false,
        doc: "Stack of each worker thread. It is reserved as virtual memory; only what a handler uses becomes real.",
        slot: Accessor::Server {
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
        default: DefaultValue::ReportedValue("30"),
        reloadable: true,
        doc: "How long a stopping server waits for the transactions it has admitted. With 0 it does not wait.",
        slot: Accessor::Server {
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
        default: DefaultValue::ReportedValue("0"),
        reloadable: false,
        doc: "Offers the rehearsal methods load.*, which echo, burn CPU time or sleep. For trials, not for a server that \
              others rely on.",
        slot: Accessor::Server {
            kind: ValueKind::Switch { store: |c, s| c.load_service = s },
            show: |c| shown(u8::from(c.load_service.value), &c.load_service.source),
        },
    },
    Key {
        name: "Log_Level",
        unit: "",
        default: DefaultValue::ReportedValue("info"),
        reloadable: true,
        doc: "Least severe message that is logged. The environment variable RUST_LOG, where it is set, wins.",
        slot: Accessor::Server {
            kind: ValueKind::Level { store: |c, s| c.log_level = s },
            show: |c| shown(c.log_level.value.as_str().to_ascii_lowercase(), &c.log_level.source),
        },
    },
    Key {
        name: "Log_File",
        unit: "",
        default: DefaultValue::ReportedValue(""),
        reloadable: false,
        doc: "File the log is appended to. Empty: standard error. A relative path begins in the directory the server was \
              started in. It cannot hold ; or #.",
        slot: Accessor::Server {
            kind: ValueKind::Path { store: |c, s| c.log_file = s },
            show: |c| {
                let path = c.log_file.value.as_deref().unwrap_or(Path::new(""));
                shown(path.display(), &c.log_file.source)
            },
        },
    },
];
