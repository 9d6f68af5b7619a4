//! Counters, histograms and running averages: lock-free, reached by reference and never looked up by name. Counters are
//! exact.
//!
//! An [`EnumCounters`] has one counter for each value of a closed enum, so that no refusal and no close goes uncounted.

mod close_reason;
mod counter;
mod histogram;
mod local_stats;
mod method_stats;
mod port_stats;
mod service_times;

pub use close_reason::CloseReason;
pub(crate) use counter::{Batch, counted_enum};
pub use counter::{Counter, EnumCounters};
pub use histogram::{BUCKETS, Distribution, Histogram};
pub(crate) use local_stats::{CallRecord, LocalStats};
pub use method_stats::{MethodStats, MethodsStats, Parts};
pub use port_stats::{PORT_COUNTERS, PortCounter, PortCounts, PortStats};
pub use service_times::ServiceTimes;
pub(crate) use service_times::{PermitUsage, ServiceTimeBatch};
