//! Keys of the admin server and of what it observes.

use super::key::{DefaultValue, Key, address_text, field, in_seconds, path_text, seconds};
use std::time::Duration;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Admin_Address",
        unit: "",
        default: DefaultValue::Fixed("127.0.0.1:1353"),
        reloadable: false,
        doc: "Address of the admin server: status page, /metrics, /health and console. It runs on a thread of its own and \
              responds even when every worker is stuck. Empty: none. Without Admin_Token_File this address is read-only. An \
              address that other machines can reach requires Admin_Token_File.",
        accessor: field!(AdminAddress, admin_address, address_text),
    },
    Key {
        name: "Admin_Token_File",
        unit: "",
        default: DefaultValue::Fixed(""),
        reloadable: false,
        doc: "File whose first line is the access token, at least 16 characters, readable by its owner only. Requests to \
              Admin_Address must carry the token and may then use every command. Empty: no token is required. /health never \
              requires one.",
        accessor: field!(Path, admin_token_file, path_text),
    },
    Key {
        name: "Admin_Socket",
        unit: "",
        default: DefaultValue::Fixed("auto"),
        reloadable: false,
        doc: "Unix socket of the admin server, with mode 0600: over it the server's own user and root may use every command \
              without a token; boneyard console finds it automatically. auto: next to the settings file, with .admin appended \
              to its name. off or empty: none.",
        accessor: field!(AdminSocket, admin_socket),
    },
    Key {
        name: "Server_Busy_Seconds",
        unit: "seconds",
        default: DefaultValue::Fixed("10"),
        reloadable: true,
        doc: "Time after which a full port makes /health/ready report not ready. A port is full while every sample finds \
              transactions waiting for a worker or a permit. 0 disables this.",
        accessor: field!(Count { min: 0, max: 86_400 }, busy_limit, seconds, in_seconds),
    },
    Key {
        name: "Server_Stall_Seconds",
        unit: "seconds",
        default: DefaultValue::Fixed("30"),
        reloadable: true,
        doc: "Time after which a stalled port is logged, with the activity of each of its workers. A port is stalled while \
              transactions wait and none finishes. 0 disables this.",
        accessor: field!(Count { min: 0, max: 86_400 }, stall_limit, seconds, in_seconds),
    },
    Key {
        name: "Alarm_Command",
        unit: "",
        default: DefaultValue::Fixed(""),
        reloadable: false,
        doc: "Program that is run when a verdict other than nothing has stood for Alarm_After, and again when that is over. It \
              gets no arguments; its standard input is a line of JSON. It is run by the server's user and without a shell, \
              once a minute at most, and killed after 30 seconds. Empty: none. A relative path begins at the server's \
              working directory. It cannot contain ; or #.",
        accessor: field!(Path, alarm_command, path_text),
    },
    Key {
        name: "Alarm_After",
        unit: "seconds",
        default: DefaultValue::Fixed("60"),
        reloadable: true,
        doc: "Time for which a verdict stands before Alarm_Command is run.",
        accessor: field!(
            Count { min: 1, max: 86_400 },
            alarm_after,
            |seconds: u32| Duration::from_secs(seconds.into()),
            Duration::as_secs
        ),
    },
    Key {
        name: "Server_Slow_Calls",
        unit: "transactions",
        default: DefaultValue::Fixed("10"),
        reloadable: false,
        doc: "Slowest transactions of the last hour kept for each method, with the parts of their time, for show slow. 0 keeps \
              none.",
        accessor: field!(
            Count { min: 0, max: 100 },
            slow_calls,
            |calls: u32| calls as usize,
            |calls: &usize| *calls
        ),
    },
    Key {
        name: "Server_Show_Performance",
        unit: "",
        default: DefaultValue::Fixed("0"),
        reloadable: true,
        doc: "1 logs the number of completed transactions and of sessions every minute.",
        accessor: field!(Switch, show_performance),
    },
];
