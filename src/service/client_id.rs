//! Identity of a client for limits: sessions, connects, places in a queue and lines of the log are counted by it.
//!
//! A client is its address. IPv6 counts by /64, the least that one subscriber is given (RFC 6177): a client that
//! changes its address within it remains the same. An IPv4 client of an IPv6 socket is an IPv4 client.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The /48 network of an IPv6 client. Shown as `2001:db8::/48`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site(u64);

/// The identity of a client. Shown as its IPv4 address, or as its IPv6 prefix: `2001:db8:0:7::/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Network);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Network {
    V4(Ipv4Addr),
    /// The upper half of the address.
    V6(u64),
}

impl ClientId {
    /// Returns the client behind an address.
    pub fn of(address: IpAddr) -> ClientId {
        ClientId(match address.to_canonical() {
            IpAddr::V4(address) => Network::V4(address),
            IpAddr::V6(address) => Network::V6((u128::from(address) >> 64) as u64),
        })
    }

    /// Returns the /48 network of an IPv6 client, which holds 65,536 clients.
    pub fn site(self) -> Option<Site> {
        match self.0 {
            Network::V4(_) => None,
            Network::V6(prefix) => Some(Site(prefix >> 16)),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/48", Ipv6Addr::from(u128::from(self.0) << 80))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Network::V4(address) => address.fmt(f),
            Network::V6(prefix) => write!(f, "{}/64", Ipv6Addr::from(u128::from(prefix) << 64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(address: &str) -> ClientId {
        ClientId::of(address.parse().unwrap())
    }

    #[test]
    fn an_ipv4_client_is_its_address_whatever_the_socket() {
        assert_eq!(id("10.0.0.1"), id("::ffff:10.0.0.1"));
        assert_ne!(id("10.0.0.1"), id("10.0.0.2"));
        assert_eq!(id("::ffff:10.0.0.1").to_string(), "10.0.0.1");
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        assert_eq!(id("2001:db8:0:7::1"), id("2001:db8:0:7:ffff::2"));
        assert_ne!(id("2001:db8:0:7::1"), id("2001:db8:0:8::1"));
        assert_eq!(id("2001:db8:0:7::1").to_string(), "2001:db8:0:7::/64");
        assert_eq!(id("::1").to_string(), "::/64");
        assert_eq!(id("2001:db8:0:7::1").site().unwrap().to_string(), "2001:db8::/48");
        assert_eq!(id("2001:db8:0:7::1").site(), id("2001:db8:0:8::1").site());
        assert_ne!(id("2001:db8:0:7::1").site(), id("2001:db8:1:7::1").site());
        assert!(id("10.0.0.1").site().is_none());
    }
}
