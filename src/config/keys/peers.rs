//! What a peer may cost: messages, buffers, descriptors, time.

use super::{Accessor, DefaultValue, Key, shown};
use crate::config::value_kind::ValueKind;
use std::time::Duration;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Server_Max_Frame_KB",
        unit: "KiB",
        default: DefaultValue::ReportedValue("4096"),
        reloadable: false,
        doc: "Largest message a client may send or be sent, header included.",
        slot: Accessor::Server {
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
        default: DefaultValue::ReportedValue("16384"),
        reloadable: false,
        doc: "Replies that a client has not read may pile up to so much for one connection; then it is closed. Its calls are no \
              longer read long before.",
        slot: Accessor::Server {
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
        default: DefaultValue::ReportedValue("1024"),
        reloadable: false,
        doc: "Memory for the messages of all connections together: half-read, queued, and replies not yet read. When it is full, \
              calls are refused, and if need be those connections are closed that hold the most.",
        slot: Accessor::Server {
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
        default: DefaultValue::ReportedValue("10"),
        reloadable: false,
        doc: "How long a new connection may take to say Hello. 0 is without end.",
        slot: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 3600, store: |c, s| c.hello_timeout = s.map(seconds) },
            show: |c| shown(in_seconds(c.hello_timeout.value), &c.hello_timeout.source),
        },
    },
    Key {
        name: "Server_Frame_Timeout",
        unit: "seconds",
        default: DefaultValue::ReportedValue("60"),
        reloadable: false,
        doc: "How long a message may take from its first byte to its last, save for the time in which the server does not read. 0 \
              is without end.",
        slot: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 3600, store: |c, s| c.frame_timeout = s.map(seconds) },
            show: |c| shown(in_seconds(c.frame_timeout.value), &c.frame_timeout.source),
        },
    },
    Key {
        name: "Server_Send_Timeout",
        unit: "seconds",
        default: DefaultValue::ReportedValue("60"),
        reloadable: false,
        doc: "In such a time a client has to take 64 KiB of the replies that wait for it, or all. 0 is without end.",
        slot: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 3600, store: |c, s| c.send_timeout = s.map(seconds) },
            show: |c| shown(in_seconds(c.send_timeout.value), &c.send_timeout.source),
        },
    },
    Key {
        name: "Server_Keepalive",
        unit: "seconds",
        default: DefaultValue::ReportedValue("60"),
        reloadable: false,
        doc: "After so much silence the system asks whether the peer is still there, three times within as long again, and \
              gives it up; after twice Server_Send_Timeout where that is later. 0 never asks.",
        slot: Accessor::Server {
            kind: ValueKind::Count { min: 0, max: 7200, store: |c, s| c.keepalive = s.map(seconds) },
            show: |c| shown(in_seconds(c.keepalive.value), &c.keepalive.source),
        },
    },
    Key {
        name: "Server_Descriptors_Per_Session",
        unit: "descriptors",
        default: DefaultValue::ReportedValue("1"),
        reloadable: false,
        doc: "Descriptors that a connection needs: its own, and those of the files and sockets that handlers open for it.",
        slot: Accessor::Server {
            kind: ValueKind::Count { min: 1, max: 64, store: |c, s| c.descriptors_per_session = s },
            show: |c| shown(c.descriptors_per_session.value, &c.descriptors_per_session.source),
        },
    },
    Key {
        name: "Server_Descriptor_Reserve",
        unit: "descriptors",
        default: DefaultValue::ReportedValue("64"),
        reloadable: false,
        doc: "Descriptors kept for other things than connections: the log, connections just being refused, what handlers open \
              now and then.",
        slot: Accessor::Server {
            kind: ValueKind::Count { min: 16, max: 100000, store: |c, s| c.descriptor_reserve = s },
            show: |c| shown(c.descriptor_reserve.value, &c.descriptor_reserve.source),
        },
    },
];

/// 0 is without end.
fn seconds(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

fn in_seconds(time: Option<Duration>) -> u64 {
    time.map_or(0, |time| time.as_secs())
}
