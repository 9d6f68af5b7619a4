//! Values that parts of the server derive from the settings.

use super::error::StartError;
use super::listener::TimeoutLimits;
use crate::config::{CodelMode, Config, ConfigErrors, Limit, LimitLine, check_methods};
use crate::pool::{CodelRules, MethodLimit};
use crate::service::{ServicesBuilder, builtin_handlers};
use crate::wire::limits::{FRAME_BYTES_MIN, HEADER_BYTES};
use std::num::NonZeroU32;

/// Returns the throttle's limit; `None` for no throttle.
pub(super) fn permits_max(config: &Config) -> Option<NonZeroU32> {
    match config.max_concurrent_trans.value {
        Limit::Unlimited => None,
        Limit::AtMost(limit) => Some(limit),
    }
}

/// Returns the limit of a line of `[Limits]`; `None` for no limit.
pub(super) fn method_limit(line: &LimitLine) -> Option<MethodLimit> {
    let limit = |(run, wait): (u32, u32)| MethodLimit { run: run as usize, wait: wait as usize };
    line.limit.value.map(limit)
}

/// Checks that `[Limits]` names methods of these services or built-in ones.
///
/// # Errors
/// The lines that do not.
pub(super) fn check_limits(config: &Config, services: &ServicesBuilder) -> Result<(), ConfigErrors> {
    let known: Vec<String> = services.names().chain(builtin_handlers::NAMES).map(str::to_owned).collect();
    check_methods(&config.method_limits, config.file.as_deref(), &known)
}

pub(super) fn codel_rules(config: &Config) -> CodelRules {
    CodelRules {
        target: config.codel_target.value,
        interval: config.codel_interval.value,
        refuse: config.codel_mode.value == CodelMode::Refuse,
    }
}

pub(super) fn timeout_limits(config: &Config) -> TimeoutLimits {
    TimeoutLimits {
        hello: config.hello_timeout.value,
        frame: config.frame_timeout.value,
        send: config.send_timeout.value,
    }
}

/// Returns the largest body of a Call or Reply. `Server_Max_Frame_KB` includes the header.
pub(super) fn body_bytes_max(config: &Config) -> u32 {
    config.max_frame_bytes.value.max(FRAME_BYTES_MIN as u32) - HEADER_BYTES as u32
}

/// Returns the limit on connections over all ports. `extra_sockets` are listening sockets beyond one for each port.
///
/// # Errors
/// [`StartError::Descriptors`] if no descriptor is left for a connection.
pub(super) fn connections_max(
    config: &Config,
    descriptors: Option<u64>,
    extra_sockets: u64,
) -> Result<usize, StartError> {
    let Some(limit) = descriptors else { return Ok(usize::MAX) };
    match config.connections_max(limit.saturating_sub(extra_sockets)) {
        0 => Err(StartError::Descriptors { limit }),
        connections => Ok(usize::try_from(connections).unwrap_or(usize::MAX)),
    }
}

/// Returns how many refused connections one port may keep for a lingering close: its part of half the descriptor
/// reserve.
pub(super) fn lingering_places(config: &Config) -> usize {
    config.descriptor_reserve.value as usize / 2 / config.ports.len()
}
