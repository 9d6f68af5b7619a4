//! Keys of the resources that one client may use: messages, buffers, descriptors, time.

use super::key::{DefaultValue, Key, field, in_kib, in_seconds, kib, seconds};

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Server_Max_Frame_KB",
        unit: "KiB",
        default: DefaultValue::Fixed("4096"),
        reloadable: false,
        doc: "Largest message in either direction, header included.",
        accessor: field!(
            Count { min: 1, max: 65_536 },
            max_frame_bytes,
            |kib: u32| kib * 1024,
            |bytes: &u32| bytes / 1024
        ),
    },
    Key {
        name: "Server_Send_Buffer_KB",
        unit: "KiB",
        default: DefaultValue::Fixed("16384"),
        reloadable: false,
        doc: "Limit of unread replies on one connection; above it the connection is closed. The server stops reading its \
              calls long before.",
        accessor: field!(Count { min: 1024, max: 1048576 }, send_buffer_bytes, kib, in_kib),
    },
    Key {
        name: "Server_Buffer_Memory_MB",
        unit: "MiB",
        default: DefaultValue::Fixed("1024"),
        reloadable: false,
        doc: "Memory for the messages of all connections together: half-read, queued, and unread replies. When it is full, \
              calls are refused, and if necessary the connections that hold the most are closed.",
        accessor: field!(
            Count { min: 16, max: 1048576 },
            buffer_memory_bytes,
            |mib: u32| mib as usize * 1024 * 1024,
            |bytes: &usize| bytes / 1024 / 1024
        ),
    },
    Key {
        name: "Server_Hello_Timeout",
        unit: "seconds",
        default: DefaultValue::Fixed("10"),
        reloadable: false,
        doc: "Time that a new connection has to send its Hello. 0 is no limit.",
        accessor: field!(Count { min: 0, max: 3600 }, hello_timeout, seconds, in_seconds),
    },
    Key {
        name: "Server_Frame_Timeout",
        unit: "seconds",
        default: DefaultValue::Fixed("60"),
        reloadable: false,
        doc: "Time that a message has to arrive, from its first byte to its last, not counting the time in which the server \
              does not read. 0 is no limit.",
        accessor: field!(Count { min: 0, max: 3600 }, frame_timeout, seconds, in_seconds),
    },
    Key {
        name: "Server_Send_Timeout",
        unit: "seconds",
        default: DefaultValue::Fixed("60"),
        reloadable: false,
        doc: "Time in which a client must read 64 KiB of the replies that wait for it, or all of them. 0 is no limit.",
        accessor: field!(Count { min: 0, max: 3600 }, send_timeout, seconds, in_seconds),
    },
    Key {
        name: "Server_Keepalive",
        unit: "seconds",
        default: DefaultValue::Fixed("60"),
        reloadable: false,
        doc: "Idle time after which TCP keepalive probes the peer: three times within the same time again, then the connection \
              is closed, but not before twice Server_Send_Timeout. 0 disables this.",
        accessor: field!(Count { min: 0, max: 7200 }, keepalive, seconds, in_seconds),
    },
    Key {
        name: "Server_Descriptors_Per_Session",
        unit: "descriptors",
        default: DefaultValue::Fixed("1"),
        reloadable: false,
        doc: "File descriptors that a connection needs: its own, and those of the files and sockets that handlers open for it.",
        accessor: field!(Count { min: 1, max: 64 }, descriptors_per_session),
    },
    Key {
        name: "Server_Descriptor_Reserve",
        unit: "descriptors",
        default: DefaultValue::Fixed("64"),
        reloadable: false,
        doc: "File descriptors reserved for other uses than connections: the log, connections that are being refused, what \
              handlers open occasionally.",
        accessor: field!(Count { min: 16, max: 100000 }, descriptor_reserve),
    },
];
