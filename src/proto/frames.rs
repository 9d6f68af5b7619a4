//! Frames that a server sends.

use crate::service::{Refusal, Status};
use crate::wire::body::{MethodEntry, Welcome};
use crate::wire::limits::{HEADER_BYTES, REPLY_PRELUDE_BYTES};
use crate::wire::{Codec, FrameKind, Header, ReplyPrelude, VERSION};

/// Appends a frame. `write` appends the body and returns the header's `code`.
fn frame(
    kind: FrameKind,
    codec: Codec,
    call: u64,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> u16,
) {
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    let code = write(out);
    let body_bytes =
        u32::try_from(out.len() - start - HEADER_BYTES).expect("a body is bounded far below 4 GiB");
    let header = Header { body_bytes, kind, flags: codec.flags(), code, call };
    out[start..start + HEADER_BYTES].copy_from_slice(&header.write());
}

/// Appends a Reply. `run` appends the result and returns the status and the times.
pub fn reply(
    call: u64,
    codec: Codec,
    out: &mut Vec<u8>,
    run: impl FnOnce(&mut Vec<u8>) -> (Status, ReplyPrelude),
) {
    frame(FrameKind::Reply, codec, call, out, |out| {
        let start = out.len();
        out.resize(start + REPLY_PRELUDE_BYTES, 0);
        let (status, prelude) = run(out);
        out[start..start + REPLY_PRELUDE_BYTES].copy_from_slice(&prelude.write());
        status.code()
    });
}

/// Appends a Reply that refuses a call.
pub(super) fn refusal(call: u64, codec: Codec, refusal: &Refusal, out: &mut Vec<u8>) {
    reply(call, codec, out, |out| {
        refusal.encode(codec, out);
        (refusal.status, ReplyPrelude::default())
    });
}

/// Appends a Pong.
pub(super) fn pong(call: u64, out: &mut Vec<u8>) {
    frame(FrameKind::Pong, Codec::Bincode, call, out, |_| 0);
}

/// Appends a GoAway.
pub fn goaway(refusal: &Refusal, out: &mut Vec<u8>) {
    frame(FrameKind::GoAway, Codec::Bincode, 0, out, |out| {
        refusal.encode(Codec::Bincode, out);
        refusal.status.code()
    });
}

/// The Welcome of a server as bytes, the same for every client.
pub fn welcome(server: String, body_bytes_max: u32, methods: Vec<MethodEntry>) -> Vec<u8> {
    let body = Welcome { server, body_bytes_max, methods };
    let mut out = Vec::new();
    frame(FrameKind::Welcome, Codec::Bincode, 0, &mut out, |out| {
        Codec::Bincode.encode(&body, out).expect("numbers and text always encode");
        VERSION
    });
    out
}
