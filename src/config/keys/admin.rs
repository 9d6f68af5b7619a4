//! Keys of the admin server and of what it observes.

use super::key::{Accessor, DefaultValue, Key, in_seconds, seconds, shown};
use crate::config::value_kind::ValueKind;
use std::path::Path;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Admin_Address",
        unit: "",
        default: DefaultValue::Fixed("127.0.0.1:1353"),
        reloadable: false,
        doc: "Address of the admin server: status page, /metrics, /health and console. It runs on a thread of its own and \
              responds even when every worker is stuck. Empty: none. Without Admin_Token_File this address is read-only. An \
              address that other machines can reach requires Admin_Token_File.",
        accessor: Accessor::Server {
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
        default: DefaultValue::Fixed(""),
        reloadable: false,
        doc: "File whose first line is the access token, at least 16 characters, readable by its owner only. Requests to \
              Admin_Address must carry the token and may then use every command. Empty: no token is required. /health never \
              requires one.",
        accessor: Accessor::Server {
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
        default: DefaultValue::Fixed("auto"),
        reloadable: false,
        doc: "Unix socket of the admin server, with mode 0600: over it the server's own user and root may use every command \
              without a token; boneyard console finds it automatically. auto: next to the settings file, with .admin appended \
              to its name. off or empty: none.",
        accessor: Accessor::Server {
            kind: ValueKind::AdminSocket { store: |c, s| c.admin_socket = s },
            show: |c| shown(&c.admin_socket.value, &c.admin_socket.source),
        },
    },
    Key {
        name: "Server_Busy_Seconds",
        unit: "seconds",
        default: DefaultValue::Fixed("10"),
        reloadable: true,
        doc: "Time after which a full port makes /health/ready report not ready. A port is full while every sample finds \
              transactions waiting for a worker or a permit. 0 disables this.",
        accessor: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 86_400, store: |c, s| c.busy_limit = s.map(seconds) },
            show: |c| shown(in_seconds(c.busy_limit.value), &c.busy_limit.source),
        },
    },
    Key {
        name: "Server_Stall_Seconds",
        unit: "seconds",
        default: DefaultValue::Fixed("30"),
        reloadable: true,
        doc: "Time after which a stalled port is logged, with the activity of each of its workers. A port is stalled while \
              transactions wait and none finishes. 0 disables this.",
        accessor: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 86_400, store: |c, s| c.stall_limit = s.map(seconds) },
            show: |c| shown(in_seconds(c.stall_limit.value), &c.stall_limit.source),
        },
    },
    Key {
        name: "Server_Slow_Calls",
        unit: "transactions",
        default: DefaultValue::Fixed("10"),
        reloadable: false,
        doc: "Slowest transactions of the last hour kept for each method, with the parts of their time, for show slow. 0 keeps \
              none.",
        accessor: Accessor::Server {
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
        default: DefaultValue::Fixed("0"),
        reloadable: true,
        doc: "1 logs the number of completed transactions and of sessions every minute.",
        accessor: Accessor::Server {
            kind: ValueKind::Switch { store: |c, s| c.show_performance = s },
            show: |c| shown(u8::from(c.show_performance.value), &c.show_performance.source),
        },
    },
];
