//! Addresses as a client is given them: a host, or an IP address, and a port.
//!
//! Pure: reads text. Whether there is such a host, or such a network interface, `lookup` finds out.

use std::net::{IpAddr, Ipv6Addr};

/// Port of an address that names none: Domino's own for NRPC.
pub const PORT: u16 = 1352;

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ServerAddress {
    /// Name or address, without brackets; of a link-local address with its zone.
    pub(super) host: String,
    pub(super) port: u16,
}

impl ServerAddress {
    /// `host`, `host:port`, `[IPv6]`, `[IPv6]:port`, or an IPv6 address alone.
    pub(super) fn parse(text: &str) -> Result<ServerAddress, &'static str> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or("the bracket is not closed")?;
                ipv6(host).unwrap_or(Err("there is no IPv6 address in the brackets"))?;
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return Err("only :port may follow the brackets"),
                }
            }
            None => match ipv6(text) {
                Some(sound) => (text, sound.map(|()| None)?),
                None => match text.split_once(':') {
                    Some((_, port)) if port.contains(':') => {
                        return Err("an IPv6 address with a port needs brackets");
                    }
                    Some((host, port)) => (host, Some(port)),
                    None => (text, None),
                },
            },
        };
        let word = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() {
            return Err("there is no host");
        }
        if host.parse::<IpAddr>().is_err() && ipv6(host).is_none() && !host.chars().all(word) {
            return Err("a host has letters, digits, dots and hyphens only");
        }
        let port = match port.map(str::parse) {
            None => PORT,
            Some(Ok(0)) | Some(Err(_)) => return Err("a port is a number from 1 to 65535"),
            Some(Ok(port)) => port,
        };
        Ok(ServerAddress { host: host.to_owned(), port })
    }

    /// The zone of a link-local address, by name or number.
    pub(super) fn zone(&self) -> Option<&str> {
        self.host.split_once('%').map(|(_, zone)| zone)
    }
}

/// Is it an IPv6 address, and is its zone one, if it has any? `None` for what is no such address.
fn ipv6(text: &str) -> Option<Result<(), &'static str>> {
    let Some((address, zone)) = text.split_once('%') else {
        return text.parse::<Ipv6Addr>().ok().map(|_| Ok(()));
    };
    let address = address.parse::<Ipv6Addr>().ok()?;
    let word = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '/' | '%' | '[' | ']');
    Some(if !address.is_unicast_link_local() {
        Err("only a link-local address, fe80::, has a zone")
    } else if zone.is_empty() || !zone.chars().all(word) {
        Err("a zone is the name or the number of a network interface, as in fe80::1%eth0")
    } else {
        Ok(())
    })
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ServerAddress { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_or_without_a_port() {
        for (text, host, port) in [
            ("host", "host", 1352),
            ("host:1", "host", 1),
            ("127.0.0.1", "127.0.0.1", 1352),
            ("127.0.0.1:65535", "127.0.0.1", 65535),
            ("[::1]:99", "::1", 99),
            ("[::1]", "::1", 1352),
            ("::1", "::1", 1352),
            ("a-b.example:2", "a-b.example", 2),
            ("fe80::1%eth0", "fe80::1%eth0", 1352),
            ("[fe80::1%eth0]", "fe80::1%eth0", 1352),
            ("[fe80::1%eth0.7]:9", "fe80::1%eth0.7", 9),
            ("[fe80::1%2]:9", "fe80::1%2", 9),
        ] {
            assert_eq!(
                ServerAddress::parse(text),
                Ok(ServerAddress { host: host.to_owned(), port }),
                "{text}"
            );
        }
        assert_eq!(ServerAddress::parse("[fe80::1%eth0]:9").unwrap().zone(), Some("eth0"));
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        for text in
            ["", ":1", "host:", "host:0", "host:65536", "host:x", "a b", "a/b", "[::1", "[::1]x", "[host]:1"]
        {
            assert!(ServerAddress::parse(text).is_err(), "{text}");
        }
        assert_eq!(ServerAddress::parse("::1:99:x"), Err("an IPv6 address with a port needs brackets"));
        for text in ["fe80::1%", "[fe80::1%]:1", "[fe80::1%a b]", "fe80::1%a%b", "[fe80::1%/]:1"] {
            assert!(ServerAddress::parse(text).unwrap_err().contains("name or the number"), "{text}");
        }
        for text in ["::1%lo", "[2001:db8::1%eth0]:1"] {
            assert!(ServerAddress::parse(text).unwrap_err().contains("link-local"), "{text}");
        }
        for text in ["127.0.0.1%lo", "host%eth0", "host%eth0:1", "[host%eth0]"] {
            assert!(ServerAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_target_is_shown_as_it_is_written() {
        for text in ["host:1", "[::1]:99", "[fe80::1%eth0]:99"] {
            assert_eq!(ServerAddress::parse(text).unwrap().to_string(), text);
        }
    }
}
