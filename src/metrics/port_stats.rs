//! Counters of one port: the one list, from which the fields, `show stat`, `/metrics` and the tests come.
//!
//! A counter that is added is one row of `port_counters!`, and the place that counts.

use super::close_reason::CloseReason;
use super::counter::{Counter, EnumCounters};
use crate::service::Status;

/// Declares the counters: a row is the field, its name in `show stat` (after `NET.<port>.`), the metric (without the
/// `_total`), and the help text of both, which is the field's documentation too.
macro_rules! port_counters {
    ($($field:ident, $statistic:literal, $metric:literal, $help:literal;)*) => {
        /// Counters of one port.
        #[derive(Debug, Default)]
        pub struct PortStats {
            /// Connections closed, by [`CloseReason::index`].
            pub closed: EnumCounters<{ CloseReason::ALL.len() }>,
            /// Calls that arrived whole. Each is answered once or its connection is gone.
            pub calls: Counter,
            /// Answers made, by [`Status::index`]; those for a connection that has gone meanwhile included.
            pub answers: EnumCounters<{ Status::ALL.len() }>,
            $(#[doc = $help] pub $field: Counter,)*
        }

        /// Readings of the counters of [`PORT_COUNTERS`] at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct PortCounts {
            $(#[doc = $help] pub $field: u64,)*
        }

        /// Every counter of a port that is not by status or reason, save [`PortStats::calls`].
        pub const PORT_COUNTERS: &[PortCounter] = &[$(PortCounter {
            field: stringify!($field),
            statistic: $statistic,
            metric: $metric,
            help: $help,
            of: |counts| counts.$field,
        },)*];

        impl PortStats {
            /// Reads the counters of [`PORT_COUNTERS`].
            pub fn counts(&self) -> PortCounts {
                PortCounts { $($field: self.$field.get(),)* }
            }
        }
    };
}

port_counters! {
    accepted, "Connections.Accepted", "boneyard_connections_accepted",
        "Connections accepted.";
    queue_filled, "QueueFilled", "boneyard_queue_filled",
        "Times the queue was full and calls were refused, counted once until it could have been emptied.";
    displaced, "Displaced", "boneyard_displaced",
        "Calls refused after they had waited, to make room in a full queue for a caller with fewer there.";
    would_refuse, "WouldRefuse", "boneyard_codel_would_refuse",
        "Calls run although CoDel would have refused them (Server_CoDel_Mode=observe).";
    long_transactions, "LongTransactions", "boneyard_long_calls",
        "Calls that ran longer than Server_Long_Transaction.";
    cancels, "Cancels", "boneyard_cancels",
        "Cancels that arrived.";
    window_full, "WindowFull", "boneyard_window_full",
        "Times reading of a connection was suspended because it had its window of calls out.";
    outbound_full, "OutboundFull", "boneyard_outbound_full",
        "Times reading of a connection was suspended because it did not take its replies.";
    buffers_full, "BuffersFull", "boneyard_buffers_full",
        "Times reading of a connection was suspended because the server's buffers were full.";
    put_off, "PutOff", "boneyard_put_off",
        "Times reading of a connection was suspended because it called in vain, or pinged or cancelled, too often.";
    nested_over, "NestedOver", "boneyard_nested_over",
        "Calls of handlers served like clients', because one call or handler had caused as many as it may.";
    from_handlers, "FromHandlers", "boneyard_calls_from_handlers",
        "Calls made by handlers of other servers, for transactions that none of this server waits for.";
    ran_where_read, "RanWhereRead", "boneyard_ran_where_read",
        "Calls taken by the listening thread to run them itself (Server_Run_Where_Read).";
    listener_passed, "ListenerPassed", "boneyard_listener_passed",
        "Times another thread took the listening over, because a call run by the listening thread was slow or waited.";
    accept_failed, "AcceptFailed", "boneyard_accept_failed",
        "Times accepting failed, for lack of descriptors or otherwise.";
    refused_descriptors, "Refused.Descriptors", "boneyard_connections_refused_descriptors",
        "Connections refused for lack of descriptors; not among those accepted.";
    refused_connects, "Refused.Connects", "boneyard_connections_refused_connects",
        "Connections refused because their address connects too often; not among those accepted.";
}

/// A row of [`PORT_COUNTERS`].
#[derive(Debug, Clone, Copy)]
pub struct PortCounter {
    /// Its field in [`PortStats`] and [`PortCounts`].
    pub field: &'static str,
    /// Its name in `show stat`, after `NET.<port>.`.
    pub statistic: &'static str,
    /// Its name in `/metrics`, without the `_total`.
    pub metric: &'static str,
    /// A sentence.
    pub help: &'static str,
    /// Reads it.
    pub of: fn(&PortCounts) -> u64,
}

impl PortStats {
    /// Connections open now.
    pub fn open(&self) -> u64 {
        // Closed is read first: a connection closed between the two reads must not make the difference negative.
        let closed = self.closed.sum();
        self.accepted.get() - closed
    }

    /// Answers with this status.
    pub fn answered(&self, status: Status) -> u64 {
        self.answers.get(status.index())
    }

    /// Connections closed for this reason.
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        self.closed.get(reason.index())
    }
}
