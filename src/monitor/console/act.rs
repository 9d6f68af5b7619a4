//! Commands that change something.

use super::Failure;
use super::layout::{Page, plain, plain_lines, plural};
use crate::monitor::{ConnectionFilter, ServerMonitor};
use crate::service::ClientId;
use crate::sync::Ordering;
use std::net::{IpAddr, Ipv6Addr};

/// A port's name as the server writes it, from any letter case.
pub(super) fn port_name(monitor: &ServerMonitor, name: &str) -> Result<String, Failure> {
    let snapshot = monitor.control().snapshot();
    let port = snapshot.ports.iter().find(|port| port.name.eq_ignore_ascii_case(name));
    port.map(|port| port.name.to_string()).ok_or_else(|| {
        let config = monitor.control().config();
        let disabled = config.disabled_ports.iter().find(|port| port.name.eq_ignore_ascii_case(name));
        Failure::NoSuch(match disabled {
            Some(port) => format!("Port {} is disabled: it takes a place in Ports and a restart", port.name),
            None => format!("Unable to find port {name}"),
        })
    })
}

pub(super) fn stop_port(monitor: &ServerMonitor, name: &str) -> Result<String, Failure> {
    let name = port_name(monitor, name)?;
    monitor.control().stop_port(&name).map_err(Failure::Refused)?;
    Ok(format!("Port {name} takes no more connections and calls.\n"))
}

pub(super) fn start_port(monitor: &ServerMonitor, name: &str) -> Result<String, Failure> {
    let name = port_name(monitor, name)?;
    monitor.control().start_port(&name).map_err(Failure::Refused)?;
    Ok(format!("Port {name} listens.\n"))
}

pub(super) fn restart_port(monitor: &ServerMonitor, name: &str) -> Result<String, Failure> {
    Ok(stop_port(monitor, name)? + &start_port(monitor, name)?)
}

/// `ALL`, an address or an IPv6 prefix, a port and a connection's number, or a session's number.
pub(super) fn close_connections(monitor: &ServerMonitor, whose: &str) -> Result<String, Failure> {
    let nobody = || {
        Failure::NoSuch(format!(
            "{whose} is not ALL, an IP address, PORT/ID as show users names it, or a number that show sessions has"
        ))
    };
    let prefix = whose.strip_suffix("/64").and_then(|prefix| prefix.parse::<Ipv6Addr>().ok());
    let whose = if whose.eq_ignore_ascii_case("all") {
        ConnectionFilter::All
    } else if let Ok(id) = whose.parse::<u64>() {
        ConnectionFilter::Session(id)
    } else if let Some(prefix) = prefix {
        ConnectionFilter::Client(ClientId::of(prefix.into()))
    } else if let Some((port, id)) = whose.rsplit_once('/') {
        ConnectionFilter::One(port_name(monitor, port)?, id.parse().map_err(|_| nobody())?)
    } else {
        ConnectionFilter::Peer(whose.parse::<IpAddr>().map_err(|_| nobody())?)
    };
    // Connections first: they open no more sessions then.
    let (connections, sessions) =
        (monitor.control().close_connections(&whose), monitor.control().drop_sessions(&whose));
    match (connections, sessions) {
        (0, 0) if matches!(whose, ConnectionFilter::Session(_)) => {
            Err(Failure::NoSuch("No such session".to_owned()))
        }
        (0, 0) if whose != ConnectionFilter::All => Err(Failure::NoSuch("No such connection".to_owned())),
        (_, 0) => Ok(format!("{} closed.\n", plural(connections, "connection"))),
        (0, _) => Ok(format!("{} closed.\n", plural(sessions, "session"))),
        _ => {
            Ok(format!("{} and {} closed.\n", plural(connections, "connection"), plural(sessions, "session")))
        }
    }
}

pub(super) fn tell(monitor: &ServerMonitor, arguments: &[String]) -> Result<String, Failure> {
    let said = monitor.control().tell(&arguments[0], &arguments[1..].join(" ")).map_err(Failure::Refused)?;
    Ok(plain_lines(&said))
}

pub(super) fn quit(monitor: &ServerMonitor) -> Result<String, Failure> {
    monitor.control().quit().map_err(Failure::Refused)?;
    let in_flight = monitor.control().snapshot().ports.iter().map(|port| port.in_flight).sum::<u64>();
    let mut page = Page::default();
    let timeout = monitor.control().config().shutdown_timeout.value.as_secs();
    let calls = plural(in_flight, "transaction");
    page.say(format_args!("The server stops; {calls} in flight, {timeout} s to finish."));
    Ok(page.0)
}

/// Does the log tell each minute how much is done? From now on the other way round.
pub(super) fn toggle_performance(monitor: &ServerMonitor) -> String {
    let now = !monitor.console.performance.fetch_xor(true, Ordering::Relaxed);
    let word = if now { "enabled" } else { "disabled" };
    format!("Server Performance Monitoring is now {word}.\n")
}

/// What was set may be what `show performance` switches.
pub(super) fn note_performance(monitor: &ServerMonitor, key: &str) {
    if key.eq_ignore_ascii_case("Server_Show_Performance") {
        let shows = monitor.control().config().show_performance.value;
        monitor.console.performance.store(shows, Ordering::Relaxed);
    }
}

/// A setting as a line.
pub(super) fn line(key: &str, value: &str) -> String {
    plain(&format!("{key}={value}"))
}
