//! Commands that change something.

use super::grammar::CommandError;
use crate::monitor::control::ConnectionFilter;
use crate::monitor::format::{plain, plain_lines, plural};
use crate::monitor::server_monitor::ServerMonitor;
use crate::monitor::text_page::TextPage;
use crate::service::ClientId;
use std::net::{IpAddr, Ipv6Addr};

/// Returns a port's name as the server writes it, from any letter case.
pub(super) fn port_name(monitor: &ServerMonitor, name: &str) -> Result<String, CommandError> {
    let snapshot = monitor.control().snapshot();
    let port = snapshot.ports.iter().find(|port| port.name.eq_ignore_ascii_case(name));
    port.map(|port| port.name.to_string()).ok_or_else(|| {
        let config = monitor.control().config();
        let disabled = config.disabled_ports.iter().find(|port| port.name.eq_ignore_ascii_case(name));
        CommandError::NotFound(match disabled {
            Some(port) => format!("Port {} is disabled: add it to Ports and restart the server", port.name),
            None => format!("Unable to find port {name}"),
        })
    })
}

pub(super) fn stop_port(monitor: &ServerMonitor, name: &str) -> Result<String, CommandError> {
    let name = port_name(monitor, name)?;
    monitor.control().stop_port(&name)?;
    Ok(format!("Port {name} is stopped: it takes no more connections and calls.\n"))
}

pub(super) fn start_port(monitor: &ServerMonitor, name: &str) -> Result<String, CommandError> {
    let name = port_name(monitor, name)?;
    monitor.control().start_port(&name)?;
    Ok(format!("Port {name} is started and listens.\n"))
}

pub(super) fn restart_port(monitor: &ServerMonitor, name: &str) -> Result<String, CommandError> {
    Ok(stop_port(monitor, name)? + &start_port(monitor, name)?)
}

/// Closes what `target` names: `ALL`, an address or an IPv6 prefix, a port and a connection's number, or a session's
/// number.
pub(super) fn close_connections(monitor: &ServerMonitor, target: &str) -> Result<String, CommandError> {
    let unknown = || {
        CommandError::NotFound(format!(
            "{target} is not ALL, an IP address, PORT/ID as show users names it, or a number that show sessions has"
        ))
    };
    let prefix = target.strip_suffix("/64").and_then(|prefix| prefix.parse::<Ipv6Addr>().ok());
    let target = if target.eq_ignore_ascii_case("all") {
        ConnectionFilter::All
    } else if let Ok(id) = target.parse::<u64>() {
        ConnectionFilter::Session(id)
    } else if let Some(prefix) = prefix {
        ConnectionFilter::Client(ClientId::of(prefix.into()))
    } else if let Some((port, id)) = target.rsplit_once('/') {
        ConnectionFilter::One(port_name(monitor, port)?, id.parse().map_err(|_| unknown())?)
    } else {
        ConnectionFilter::Peer(target.parse::<IpAddr>().map_err(|_| unknown())?)
    };
    // Connections first: then they open no more sessions.
    let (connections, sessions) =
        (monitor.control().close_connections(&target), monitor.control().drop_sessions(&target));
    match (connections, sessions) {
        (0, 0) if matches!(target, ConnectionFilter::Session(_)) => {
            Err(CommandError::NotFound("No such session".to_owned()))
        }
        (0, 0) if target != ConnectionFilter::All => {
            Err(CommandError::NotFound("No such connection".to_owned()))
        }
        (_, 0) => Ok(format!("{} closed.\n", plural(connections, "connection"))),
        (0, _) => Ok(format!("{} closed.\n", plural(sessions, "session"))),
        _ => {
            Ok(format!("{} and {} closed.\n", plural(connections, "connection"), plural(sessions, "session")))
        }
    }
}

pub(super) fn tell(monitor: &ServerMonitor, arguments: &[String]) -> Result<String, CommandError> {
    let reply = monitor.control().tell(&arguments[0], &arguments[1..].join(" "))?;
    Ok(plain_lines(&reply))
}

pub(super) fn quit(monitor: &ServerMonitor) -> Result<String, CommandError> {
    monitor.control().quit()?;
    let in_flight = monitor.control().snapshot().ports.iter().map(|port| port.in_flight).sum::<u64>();
    let mut page = TextPage::default();
    let timeout = monitor.control().config().shutdown_timeout.value.as_secs();
    let calls = plural(in_flight, "transaction");
    page.line(format_args!("The server is shutting down; {calls} in flight, {timeout} s to finish."));
    Ok(page.0)
}

/// Switches the log line of each minute on or off.
pub(super) fn toggle_performance(monitor: &ServerMonitor) -> String {
    let word = if monitor.console.toggle_performance() { "enabled" } else { "disabled" };
    format!("Server Performance Monitoring is now {word}.\n")
}

/// Follows a change of the setting that `show performance` switches.
pub(super) fn follow_performance(monitor: &ServerMonitor, key: &str) {
    if key.eq_ignore_ascii_case("Server_Show_Performance") {
        monitor.console.set_performance(monitor.control().config().show_performance.value);
    }
}

/// A setting as a line.
pub(super) fn line(key: &str, value: &str) -> String {
    plain(&format!("{key}={value}"))
}
