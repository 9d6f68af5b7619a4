//! Numbers in sentences: counts with their noun, sizes with their unit, the workers of all ports.

use super::settings::Config;
use std::fmt::Display;

/// Returns `1 port`, `3 ports`.
pub(crate) fn plural(count: impl Display, noun: &str) -> String {
    let count = count.to_string();
    let ending = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// Returns `3 ports x 40 = 120 workers`, or the sum where the pools differ.
pub(crate) fn workers_in_words(config: &Config) -> String {
    let total = plural(config.total_workers(), "worker");
    let ports = &config.ports;
    let Some(first) = ports.first().map(|port| port.pool_tasks.value) else { return total };
    if ports.iter().all(|port| port.pool_tasks.value == first) {
        return format!("{} x {first} = {total}", plural(ports.len(), "port"));
    }
    let parts: Vec<_> = ports.iter().map(|port| format!("{} {}", port.name, port.pool_tasks.value)).collect();
    format!("{} = {total}", parts.join(" + "))
}

/// Returns `40 MiB`: a whole number of the largest unit that leaves at least 10, rounded down, so that a limit is never
/// overstated.
pub(super) fn bytes_in_words(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let exact = units.iter().find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size));
    let round = units.iter().find(|(size, _)| bytes / size >= 10);
    match exact.into_iter().chain(round).max_by_key(|(size, _)| *size) {
        Some((size, name)) => format!("{} {name}", bytes / size),
        None => format!("{bytes} bytes"),
    }
}
