//! Conversions between the number of a line, where 0 switches a limit off, and the value of a field.

use std::time::Duration;

/// The limit, or `None` for 0.
pub(super) fn limit(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}

/// The time, or `None` for 0.
pub(super) fn seconds(seconds: u32) -> Option<Duration> {
    limit(seconds).map(|seconds| Duration::from_secs(seconds.into()))
}

/// The number of a line for this time.
pub(super) fn in_seconds(time: Option<Duration>) -> u64 {
    time.map_or(0, |time| time.as_secs())
}

/// The time of so many milliseconds.
pub(super) fn milliseconds(milliseconds: u32) -> Duration {
    Duration::from_millis(milliseconds.into())
}
