//! Listening addresses: `host:port` as text, and the rules for writing it.
//!
//! Invariant: a [`ListenAddress`] read from a file has an IP address or a well-formed host name, IPv6 without its
//! brackets. Does not know sockets: nothing is resolved or bound here, a host name stays a name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// TCP port of a listening address without one: 1352, the number registered for Domino.
pub const DEFAULT_PORT: u16 = 1352;

/// TCP port of an `Admin_Address` without one.
pub const ADMIN_PORT: u16 = 1353;

/// Completes "expected ..." when an address is wrong.
pub(super) const EXPECTED: &str =
    "0,host or 0,host:port, an IPv6 address in brackets, the port from 0 to 65535";

/// Host and TCP port of a listening socket.
///
/// Displays as `host:port`, with brackets around an IPv6 address, the form that the standard library resolves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    /// IPv4 address, IPv6 address without brackets (with its zone where it needs one: `fe80::1%eth0`), or host name.
    /// Default `127.0.0.1`.
    pub host: String,
    /// TCP port; 0 lets the system choose a free one. Default [`DEFAULT_PORT`].
    pub port: u16,
}

impl ListenAddress {
    /// Returns an address from its parts, without brackets around an IPv6 address.
    pub fn new(host: &str, port: u16) -> ListenAddress {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        ListenAddress { host: bare.to_owned(), port }
    }

    /// Reads `[0,]host[:port]`; `None` if it is not of that form (see [`EXPECTED`]).
    pub(super) fn parse(text: &str) -> Option<ListenAddress> {
        ListenAddress::parse_with(text, DEFAULT_PORT)
    }

    /// Reads the same with another default port.
    pub(super) fn parse_with(text: &str, default_port: u16) -> Option<ListenAddress> {
        let text = match text.split_once(',') {
            // Domino's leading number is the index of a network adapter and always 0 for TCP.
            Some((lead, rest)) if lead.trim() == "0" => rest.trim(),
            Some(_) => return None,
            None => text,
        };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, tail) = rest.split_once(']')?;
                ipv6_and_zone(host)?;
                (host, if tail.is_empty() { None } else { Some(tail.strip_prefix(':')?) })
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if !text.starts_with('[') && !is_host(host) {
            return None;
        }
        let port = match port {
            // `parse` would accept a leading plus sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
            None => default_port,
        };
        Some(ListenAddress { host: host.to_owned(), port })
    }

    /// Returns whether only this machine can reach the address.
    pub fn is_local(&self) -> bool {
        self.ip().map_or_else(|| self.host.eq_ignore_ascii_case("localhost"), |(ip, _)| ip.is_loopback())
    }

    /// The host as an address, IPv4-mapped IPv6 as IPv4, and its zone; `None` for a name.
    fn ip(&self) -> Option<(IpAddr, &str)> {
        if let Some((ip, zone)) = ipv6_and_zone(&self.host) {
            return Some((IpAddr::V6(ip).to_canonical(), zone));
        }
        self.host.parse::<Ipv4Addr>().ok().map(|ip| (IpAddr::V4(ip), ""))
    }

    /// Returns whether two listeners could not hold both addresses: the same port, and the same host or one that covers
    /// it.
    ///
    /// `0.0.0.0` covers every IPv4 address and `[::]` every IPv6 one; neither covers the other. `localhost` is at least
    /// `127.0.0.1`. Other names are resolved only at the start. Port 0 never overlaps: the system chooses another port
    /// each time.
    pub(super) fn overlaps(&self, other: &ListenAddress) -> bool {
        if self.port != other.port || self.port == 0 {
            return false;
        }
        let known = |address: &ListenAddress| match address.host.eq_ignore_ascii_case("localhost") {
            true => Some((IpAddr::V4(Ipv4Addr::LOCALHOST), "".to_owned())),
            false => address.ip().map(|(ip, zone)| (ip, zone.to_owned())),
        };
        match (known(self), known(other)) {
            (Some((one, one_zone)), Some((two, two_zone))) => {
                (one == two && one_zone == two_zone)
                    || (one.is_ipv4() == two.is_ipv4() && (one.is_unspecified() || two.is_unspecified()))
            }
            _ => self.host.eq_ignore_ascii_case(&other.host),
        }
    }
}

/// Reads `fe80::1%eth0` as address and zone, which may be empty; `None` for anything else.
fn ipv6_and_zone(host: &str) -> Option<(Ipv6Addr, &str)> {
    let (ip, zone) = match host.split_once('%') {
        // No interface has a longer name.
        Some((ip, zone)) if (1..=15).contains(&zone.len()) => (ip, zone),
        Some(_) => return None,
        None => (host, ""),
    };
    let named = zone.bytes().all(|byte| byte.is_ascii_graphic() && !b"/%[]".contains(&byte));
    let ip: Ipv6Addr = ip.parse().ok()?;
    // As for a client's addresses: the system accepts zone names only of link-local addresses.
    (named && (zone.is_empty() || ip.is_unicast_link_local())).then_some((ip, zone))
}

impl Default for ListenAddress {
    fn default() -> ListenAddress {
        ListenAddress { host: Ipv4Addr::LOCALHOST.to_string(), port: DEFAULT_PORT }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Returns whether this is an IPv4 address or a host name. Digits and dots alone must be a complete IPv4 address:
/// resolvers read `10.1` as `10.0.0.1`.
fn is_host(host: &str) -> bool {
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_form() {
        for (text, shown) in [
            ("0,127.0.0.1:1352", "127.0.0.1:1352"),
            ("0,127.0.0.1", "127.0.0.1:1352"),
            ("0, 10.0.0.1:0", "10.0.0.1:0"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("0,[::1]:1353", "[::1]:1353"),
            ("0,[2001:db8::7]", "[2001:db8::7]:1352"),
            ("[::]", "[::]:1352"),
            ("0,notes-1.example.com:65535", "notes-1.example.com:65535"),
            ("0,localhost", "localhost:1352"),
            ("0,[fe80::1%eth0]:1353", "[fe80::1%eth0]:1353"),
            ("[fe80::1%2]", "[fe80::1%2]:1352"),
        ] {
            let address = ListenAddress::parse(text).expect(text);
            assert_eq!(address.to_string(), shown, "{text}");
            assert_eq!(ListenAddress::parse(shown), Some(address), "the shown form can be read: {shown}");
        }
    }

    #[test]
    fn every_refused_form() {
        for text in [
            "",
            "0,",
            "0,:1352",
            "0,host:",
            "0,host:65536",
            "0,host:+80",
            "0,host:-1",
            "0,host:8o",
            "1,host:80",
            "0,::1",
            "0,::1:1352",
            "0,[::1",
            "0,[::1]80",
            "0,[::1]:",
            "0,[host]:80",
            "0,[fe80::1%]:80",
            "0,[fe80::1%eth 0]:80",
            "0,[fe80::1%a-name-of-sixteen]:80",
            "0,[%eth0]:80",
            "0,fe80::1%eth0",
            "0,[::1%lo]:80",
            "0,[::%eth0]:80",
            "0,[2001:db8::1%eth0]:80",
            "0,10.0.0.1%eth0:80",
            "0,[1.2.3.4]:80",
            "0,10.1:80",
            "0,999.1.1.1",
            "0,ho st",
            "0,a..b",
            "0,0,host",
            "TCP,0",
            "0,host/24",
            "0,*:1352",
        ] {
            assert_eq!(ListenAddress::parse(text), None, "{text}");
        }
    }

    #[test]
    fn overlap_is_same_port_and_covering_host() {
        for (one, two, expected) in [
            ("10.0.0.1:1352", "10.0.0.1:1352", true),
            ("10.0.0.1:1352", "10.0.0.1:1353", false),
            ("10.0.0.1:1352", "10.0.0.2:1352", false),
            ("0.0.0.0:1352", "10.0.0.2:1352", true),
            ("10.0.0.2:0", "10.0.0.2:0", false),
            ("[::1]:5", "[0:0:0:0:0:0:0:1]:5", true),
            ("[::]:5", "[::1]:5", true),
            ("[::]:5", "0.0.0.0:5", false),
            ("Host:5", "hOST:5", true),
            ("host:5", "10.0.0.2:5", false),
            ("localhost:5", "127.0.0.1:5", true),
            ("localhost:5", "0.0.0.0:5", true),
            ("LocalHost:5", "localhost:5", true),
            ("localhost:5", "127.0.0.2:5", false),
            ("[::ffff:10.0.0.2]:5", "0.0.0.0:5", true),
            ("[fe80::1%a]:5", "[fe80::1%b]:5", false),
            ("[fe80::1%a]:5", "[fe80::1%a]:5", true),
            ("[fe80::1%a]:5", "[::]:5", true),
        ] {
            let (one, two) = (ListenAddress::parse(one).expect(one), ListenAddress::parse(two).expect(two));
            assert_eq!(one.overlaps(&two), expected, "{one} {two}");
            assert_eq!(two.overlaps(&one), expected, "{two} {one}");
        }
    }

    #[test]
    fn new_removes_brackets() {
        assert_eq!(ListenAddress::new("[::1]", 7), ListenAddress::new("::1", 7));
        assert_eq!(ListenAddress::new("::1", 7).to_string(), "[::1]:7");
    }
}
