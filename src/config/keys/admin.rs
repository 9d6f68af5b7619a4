//! What the administrator sees, and where.

use super::{Accessor, DefaultValue, Key, shown};
use crate::config::value_kind::ValueKind;
use std::path::Path;
use std::time::Duration;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Admin_Address",
        unit: "",
        default: DefaultValue::ReportedValue("127.0.0.1:1353"),
        reloadable: false,
        doc: "Where the admin server listens: the status page, /metrics, /health and the console. It has a thread \
              of its own and answers when every worker is stuck. Empty: nowhere. Without Admin_Token_File one can look \
              there and change nothing. An address that other machines reach needs Admin_Token_File.",
        slot: Accessor::Server {
            kind: ValueKind::AdminAddress { store: |c, s| c.admin_address = s },
            show: |c| {
                let address = c.admin_address.value.as_ref().map(ToString::to_string);
                shown(address.unwrap_or_default(), &c.admin_address.source)
            },
        },
    },
    Key {
        name: "Admin_Token_File",
        unit: "",
        default: DefaultValue::ReportedValue(""),
        reloadable: false,
        doc: "File whose first line is a token of at least 16 characters, readable by its owner alone: who asks at \
              Admin_Address must know it, and may then give every command. Empty: no token is asked for. /health is \
              answered without.",
        slot: Accessor::Server {
            kind: ValueKind::Path { store: |c, s| c.admin_token_file = s },
            show: |c| {
                let path = c.admin_token_file.value.as_deref().unwrap_or(Path::new(""));
                shown(path.display(), &c.admin_token_file.source)
            },
        },
    },
    Key {
        name: "Admin_Socket",
        unit: "",
        default: DefaultValue::ReportedValue("auto"),
        reloadable: false,
        doc: "Unix socket of the admin server, with mode 0600: over it the server's own user and root give every command, \
              without a token; boneyard console finds it by itself. auto: beside the settings file, under its name \
              and .admin. off or empty: none.",
        slot: Accessor::Server {
            kind: ValueKind::AdminSocket { store: |c, s| c.admin_socket = s },
            show: |c| shown(&c.admin_socket.value, &c.admin_socket.source),
        },
    },
    Key {
        name: "Server_Busy_Seconds",
        unit: "seconds",
        default: DefaultValue::ReportedValue("10"),
        reloadable: true,
        doc: "When transactions of a port have been waiting for a worker or a permit at every look for so long, \
              /health/ready says no. 0 is never.",
        slot: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 86_400, store: |c, s| c.busy_limit = s.map(time) },
            show: |c| shown(seconds(c.busy_limit.value), &c.busy_limit.source),
        },
    },
    Key {
        name: "Server_Stall_Seconds",
        unit: "seconds",
        default: DefaultValue::ReportedValue("30"),
        reloadable: true,
        doc: "When transactions of a port wait, and it has finished none for so long, the log shows what each of its workers \
              does. 0 is never.",
        slot: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 86_400, store: |c, s| c.stall_limit = s.map(time) },
            show: |c| shown(seconds(c.stall_limit.value), &c.stall_limit.source),
        },
    },
    Key {
        name: "Server_Slow_Calls",
        unit: "transactions",
        default: DefaultValue::ReportedValue("10"),
        reloadable: false,
        doc: "Slowest transactions of the last hour that are kept of each method, with the parts of their time, for show \
              slow. 0 keeps none.",
        slot: Accessor::Server {
            kind: ValueKind::Count {
                min: 0,
                max: 100,
                store: |c, s| c.slow_calls = s.map(|calls| calls as usize),
            },
            show: |c| shown(c.slow_calls.value, &c.slow_calls.source),
        },
    },
    Key {
        name: "Server_Show_Performance",
        unit: "",
        default: DefaultValue::ReportedValue("0"),
        reloadable: true,
        doc: "1: the log tells each minute how many transactions were done and how many sessions there are.",
        slot: Accessor::Server {
            kind: ValueKind::Switch { store: |c, s| c.show_performance = s },
            show: |c| shown(u8::from(c.show_performance.value), &c.show_performance.source),
        },
    },
];

fn time(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

fn seconds(time: Option<Duration>) -> u64 {
    time.map_or(0, |time| time.as_secs())
}
