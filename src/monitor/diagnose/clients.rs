//! Load by client: connections with calls in progress, grouped by address.

use crate::monitor::snapshot::ConnectionInfo;
use crate::service::ClientId;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Age below which a connection is young. A client that connects again for every few calls has few others.
pub(super) const YOUNG: Duration = Duration::from_secs(5);

/// Share of all calls in progress from which on one client takes most.
const MOST: f64 = 0.75;

/// Load of one address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ClientLoad {
    /// Connections with calls in progress.
    pub(super) connections: u64,
    /// Of them those made within the last [`YOUNG`].
    pub(super) young: u64,
    /// Calls admitted and not yet answered.
    pub(super) in_flight: u64,
}

/// The client, or the one connection, that leaves the others little.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Noisy {
    /// Its address; of a connection with the port.
    pub(super) peer: String,
    /// It is one connection beside others of its address.
    pub(super) one_connection: bool,
    pub(super) client: ClientLoad,
    /// Its share of all calls in progress, 0 to 1.
    pub(super) share: f64,
    /// The others: how many, and their calls in progress.
    pub(super) others: (usize, u64),
}

/// The client that has most of the calls while others have some too; or the connection, among those of one client.
pub(super) fn noisy(connections: &[ConnectionInfo]) -> Option<Noisy> {
    let of_client = most_of(connections, |peer| ClientId::of(peer.ip()).to_string());
    of_client.or_else(|| {
        let one = most_of(connections, |peer| peer.to_string())?;
        Some(Noisy { one_connection: true, ..one })
    })
}

fn most_of(connections: &[ConnectionInfo], name: impl Fn(&SocketAddr) -> String) -> Option<Noisy> {
    let mut clients = BTreeMap::<String, ClientLoad>::new();
    for connection in connections.iter().filter(|connection| connection.in_flight > 0) {
        let client = clients.entry(name(&connection.peer)).or_default();
        client.connections += 1;
        client.young += u64::from(connection.age < YOUNG);
        client.in_flight += connection.in_flight;
    }
    let all: u64 = clients.values().map(|client| client.in_flight).sum();
    let (peer, client) = clients.iter().max_by_key(|(_, client)| client.in_flight)?;
    let share = client.in_flight as f64 / all as f64;
    let others = (clients.len() - 1, all - client.in_flight);
    let one = Noisy { peer: peer.clone(), one_connection: false, client: *client, share, others };
    (others.0 > 0 && share >= MOST).then_some(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(id: u64, peer: &str, age_s: u64, in_flight: u64) -> ConnectionInfo {
        ConnectionInfo {
            port: "TCPIP".into(),
            id,
            peer: format!("{peer}:5000").parse().unwrap(),
            age: Duration::from_secs(age_s),
            idle: Duration::ZERO,
            calls: 0,
            in_flight,
            bytes: 0,
            sessions: 1,
        }
    }

    #[test]
    fn a_client_is_noisy_if_it_has_most_calls_while_others_have_some() {
        let loud = [connection(1, "192.0.2.1", 500, 60), connection(2, "192.0.2.1", 4, 30)];
        assert_eq!(noisy(&loud), None, "it is the only client");
        let idle = connection(3, "192.0.2.2", 9, 0);
        assert_eq!(noisy(&[loud.as_slice(), &[idle]].concat()), None, "an idle connection waits for nothing");
        let quiet = [connection(4, "192.0.2.3", 900, 5), connection(5, "192.0.2.4", 900, 5)];
        let found = noisy(&[loud.as_slice(), &quiet].concat()).expect("90 of 100");
        assert_eq!((found.peer.to_string().as_str(), found.share, found.others), ("192.0.2.1", 0.9, (2, 10)));
        assert_eq!(found.client, ClientLoad { connections: 2, young: 1, in_flight: 90 });
        assert_eq!(noisy(&[connection(1, "192.0.2.1", 1, 50), connection(2, "192.0.2.2", 1, 40)]), None);
    }
}
