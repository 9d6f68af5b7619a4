//! Keys of the resources that one client may use: messages, buffers, descriptors, time.

use super::key::{Accessor, DefaultValue, Key, in_seconds, seconds, shown};
use crate::config::value_kind::ValueKind;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Server_Max_Frame_KB",
        unit: "KiB",
        default: DefaultValue::Fixed("4096"),
        reloadable: false,
        doc: "Largest message in either direction, header included.",
        accessor: Accessor::Server {
            kind: ValueKind::Count {
                min: 1,
                max: 65_536,
                store: |c, s| c.max_frame_bytes = s.map(|kib| kib * 1024),
            },
            show: |c| shown(c.max_frame_bytes.value / 1024, &c.max_frame_bytes.source),
        },
    },
    Key {
        name: "Server_Send_Buffer_KB",
        unit: "KiB",
        default: DefaultValue::Fixed("16384"),
        reloadable: false,
        doc: "Limit of unread replies on one connection; above it the connection is closed. The server stops reading its \
              calls long before.",
        accessor: Accessor::Server {
            kind: ValueKind::Count {
                min: 1024,
                max: 1048576,
                store: |c, s| c.send_buffer_bytes = s.map(|kib| kib as usize * 1024),
            },
            show: |c| shown(c.send_buffer_bytes.value / 1024, &c.send_buffer_bytes.source),
        },
    },
    Key {
        name: "Server_Buffer_Memory_MB",
        unit: "MiB",
        default: DefaultValue::Fixed("1024"),
        reloadable: false,
        doc: "Memory for the messages of all connections together: half-read, queued, and unread replies. When it is full, \
              calls are refused, and if necessary the connections that hold the most are closed.",
        accessor: Accessor::Server {
            kind: ValueKind::Count {
                min: 16,
                max: 1048576,
                store: |c, s| c.buffer_memory_bytes = s.map(|mib| mib as usize * 1024 * 1024),
            },
            show: |c| shown(c.buffer_memory_bytes.value / 1024 / 1024, &c.buffer_memory_bytes.source),
        },
    },
    Key {
        name: "Server_Hello_Timeout",
        unit: "seconds",
        default: DefaultValue::Fixed("10"),
        reloadable: false,
        doc: "Time that a new connection has to send its Hello. 0 is no limit.",
        accessor: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 3600, store: |c, s| c.hello_timeout = s.map(seconds) },
            show: |c| shown(in_seconds(c.hello_timeout.value), &c.hello_timeout.source),
        },
    },
    Key {
        name: "Server_Frame_Timeout",
        unit: "seconds",
        default: DefaultValue::Fixed("60"),
        reloadable: false,
        doc: "Time that a message has to arrive, from its first byte to its last, not counting the time in which the server \
              does not read. 0 is no limit.",
        accessor: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 3600, store: |c, s| c.frame_timeout = s.map(seconds) },
            show: |c| shown(in_seconds(c.frame_timeout.value), &c.frame_timeout.source),
        },
    },
    Key {
        name: "Server_Send_Timeout",
        unit: "seconds",
        default: DefaultValue::Fixed("60"),
        reloadable: false,
        doc: "Time in which a client must read 64 KiB of the replies that wait for it, or all of them. 0 is no limit.",
        accessor: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 3600, store: |c, s| c.send_timeout = s.map(seconds) },
            show: |c| shown(in_seconds(c.send_timeout.value), &c.send_timeout.source),
        },
    },
    Key {
        name: "Server_Keepalive",
        unit: "seconds",
        default: DefaultValue::Fixed("60"),
        reloadable: false,
        doc: "Idle time after which TCP keepalive probes the peer: three times within the same time again, then the connection \
              is closed, but not before twice Server_Send_Timeout. 0 disables this.",
        accessor: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 7200, store: |c, s| c.keepalive = s.map(seconds) },
            show: |c| shown(in_seconds(c.keepalive.value), &c.keepalive.source),
        },
    },
    Key {
        name: "Server_Descriptors_Per_Session",
        unit: "descriptors",
        default: DefaultValue::Fixed("1"),
        reloadable: false,
        doc: "File descriptors that a connection needs: its own, and those of the files and sockets that handlers open for it.",
        accessor: Accessor::Server {
            kind: ValueKind::Count { min: 1, max: 64, store: |c, s| c.descriptors_per_session = s },
            show: |c| shown(c.descriptors_per_session.value, &c.descriptors_per_session.source),
        },
    },
    Key {
        name: "Server_Descriptor_Reserve",
        unit: "descriptors",
        default: DefaultValue::Fixed("64"),
        reloadable: false,
        doc: "File descriptors reserved for other uses than connections: the log, connections that are being refused, what \
              handlers open occasionally.",
        accessor: Accessor::Server {
            kind: ValueKind::Count { min: 16, max: 100000, store: |c, s| c.descriptor_reserve = s },
            show: |c| shown(c.descriptor_reserve.value, &c.descriptor_reserve.source),
        },
    },
];
