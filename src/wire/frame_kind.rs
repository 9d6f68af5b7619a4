//! Kinds of frames.

/// Kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// First frame of a client: its name.
    Hello = 1,
    /// The server's answer to it: limits and the table of methods.
    Welcome = 2,
    /// A call.
    Call = 3,
    /// The only answer to a call.
    Reply = 4,
    /// The client no longer wants the result of a call.
    Cancel = 5,
    /// Request for a Pong.
    Ping = 6,
    /// Answer to a Ping, with its call id.
    Pong = 7,
    /// The server accepts no further calls on this connection; with the reason.
    GoAway = 8,
}

impl FrameKind {
    /// The kind with this number, if there is one.
    pub(super) fn from_byte(byte: u8) -> Option<FrameKind> {
        Some(match byte {
            1 => FrameKind::Hello,
            2 => FrameKind::Welcome,
            3 => FrameKind::Call,
            4 => FrameKind::Reply,
            5 => FrameKind::Cancel,
            6 => FrameKind::Ping,
            7 => FrameKind::Pong,
            8 => FrameKind::GoAway,
            _ => return None,
        })
    }
}
