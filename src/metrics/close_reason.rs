//! Why a connection ended: the one list, from which the enum, its order and the size of every table of counters come.

use super::counter::counted_enum;

counted_enum! {
    /// Why a connection ended. One counter each; `show stat` and `/metrics` name it as it is named here.
    pub enum CloseReason {
        /// The peer closed between two frames.
        PeerClosed,
        /// The peer closed in the middle of a frame.
        PeerClosedMidFrame,
        /// The socket failed: reset, timed out.
        SocketError,
        /// The first bytes are not the protocol's.
        BadMagic,
        /// No common version.
        UnsupportedVersion,
        /// A frame over the limit.
        FrameTooLarge,
        /// Bytes that break the protocol in another way.
        ProtocolError,
        /// The server or the port stopped.
        ServerStopped,
        /// The peer sent no Hello in time (`Server_Hello_Timeout`).
        SlowHello,
        /// The peer did not finish a frame in time (`Server_Frame_Timeout`).
        SlowFrame,
        /// The peer did not read its replies in time (`Server_Send_Timeout`).
        SlowReader,
        /// The peer left more replies unread than a connection may hold (`Server_Send_Buffer_KB`).
        OutboundFull,
        /// The peer held the most when the server's buffers were full (`Server_Buffer_Memory_MB`).
        BuffersFull,
        /// The peer called and cancelled too often.
        Abusive,
        /// No session for the peer: `Server_MaxUsers`.
        MaxUsers,
        /// No session for the peer: `Server_Restricted`.
        Restricted,
        /// Idle for too long (`Server_Session_Timeout`), or while another connection needed its place
        /// (`Server_MaxSessions`).
        Idle,
        /// Closed by an administrator.
        Dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
