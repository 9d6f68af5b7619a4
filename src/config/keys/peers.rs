//! What a peer may cost: messages, buffers, descriptors, time.

use super::{Key, Slot, Standard, shown};
use crate::config::kind::Kind;
use std::time::Duration;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "Server_Max_Frame_KB",
        unit: "KiB",
        default: Standard::Value("4096"),
        at_once: false,
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
        name: "Server_Send_Buffer_KB",
        unit: "KiB",
        default: Standard::Value("16384"),
        at_once: false,
        doc: "Replies that a client has not read may pile up to so much for one connection; then it is closed. Its calls are no \
              longer read long before.",
        slot: Slot::Server {
            kind: Kind::Count {
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
        default: Standard::Value("1024"),
        at_once: false,
        doc: "Memory for the messages of all connections together: half-read, queued, and replies not yet read. When it is full, \
              calls are refused, and if need be those connections are closed that hold the most.",
        slot: Slot::Server {
            kind: Kind::Count {
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
        default: Standard::Value("10"),
        at_once: false,
        doc: "How long a new connection may take to say Hello. 0 is without end.",
        slot: Slot::Server {
            kind: Kind::Count { min: 0, max: 3600, store: |c, s| c.hello_timeout = s.map(seconds) },
            show: |c| shown(in_seconds(c.hello_timeout.value), &c.hello_timeout.source),
        },
    },
    Key {
        name: "Server_Frame_Timeout",
        unit: "seconds",
        default: Standard::Value("60"),
        at_once: false,
        doc: "How long a message may take from its first byte to its last, save for the time in which the server does not read. 0 \
              is without end.",
        slot: Slot::Server {
            kind: Kind::Count { min: 0, max: 3600, store: |c, s| c.frame_timeout = s.map(seconds) },
            show: |c| shown(in_seconds(c.frame_timeout.value), &c.frame_timeout.source),
        },
    },
    Key {
        name: "Server_Send_Timeout",
        unit: "seconds",
        default: Standard::Value("60"),
        at_once: false,
        doc: "In such a time a client has to take 64 KiB of the replies that wait for it, or all. 0 is without end.",
        slot: Slot::Server {
            kind: Kind::Count { min: 0, max: 3600, store: |c, s| c.send_timeout = s.map(seconds) },
            show: |c| shown(in_seconds(c.send_timeout.value), &c.send_timeout.source),
        },
    },
    Key {
        name: "Server_Keepalive",
        unit: "seconds",
        default: Standard::Value("60"),
        at_once: false,
        doc: "After so much silence the system asks whether the peer is still there, three times within as long again, and \
              gives it up; after twice Server_Send_Timeout where that is later. 0 never asks.",
        slot: Slot::Server {
            kind: Kind::Count { min: 0, max: 7200, store: |c, s| c.keepalive = s.map(seconds) },
            show: |c| shown(in_seconds(c.keepalive.value), &c.keepalive.source),
        },
    },
    Key {
        name: "Server_Descriptors_Per_Session",
        unit: "descriptors",
        default: Standard::Value("1"),
        at_once: false,
        doc: "Descriptors that a connection needs: its own, and those of the files and sockets that handlers open for it.",
        slot: Slot::Server {
            kind: Kind::Count { min: 1, max: 64, store: |c, s| c.descriptors_per_session = s },
            show: |c| shown(c.descriptors_per_session.value, &c.descriptors_per_session.source),
        },
    },
    Key {
        name: "Server_Descriptor_Reserve",
        unit: "descriptors",
        default: Standard::Value("64"),
        at_once: false,
        doc: "Descriptors kept for other things than connections: the log, connections just being refused, what handlers open \
              now and then.",
        slot: Slot::Server {
            kind: Kind::Count { min: 16, max: 100000, store: |c, s| c.descriptor_reserve = s },
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
