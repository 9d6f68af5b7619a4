//! Addresses of servers, as text or as values: a host, or an IP address, and a port.
//!
//! Pure: reads text and values. Whether such a host or network interface exists, `dns_lookup` finds out.

use crate::service::ClientError;
use std::fmt::{Display, Formatter, Result as FmtResult};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Port of an address that names none: Domino's own for NRPC.
const PORT: u16 = 1352;

/// Address of a server: a host name or IP address, and a port. A name is looked up at each connect, never before.
///
/// ```
/// use boneyard::client::ServerAddress;
///
/// let address: ServerAddress = "one.example".parse()?;
/// assert_eq!(address.to_string(), "one.example:1352");
/// # Ok::<(), boneyard::ClientError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// Name or address, without brackets; that of a link-local address with its zone.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Address of a server in any form that a client takes. Reads its value only: no I/O, never blocks.
///
/// | value | port | example |
/// |---|---|---|
/// | `&str`, `String` | 1352 where left out | `"host"`, `"host:1352"`, `"[::1]:1352"`, `"[fe80::1%eth0]:1352"` |
/// | `SocketAddr` | its own | `server.address()` |
/// | `(&str, u16)`, `(IpAddr, u16)` | the number | `("host", 1352)`, `("fe80::1%eth0", 1352)` |
/// | [`ServerAddress`] | its own | one parsed before |
pub trait ToServerAddress {
    /// The address.
    ///
    /// # Errors
    /// [`ClientError::InvalidAddress`]: the text is no address, or the port is 0.
    fn to_server_address(&self) -> Result<ServerAddress, ClientError>;
}

impl ToServerAddress for str {
    fn to_server_address(&self) -> Result<ServerAddress, ClientError> {
        ServerAddress::parse(self).map_err(|reason| invalid(self, reason))
    }
}

impl ToServerAddress for String {
    fn to_server_address(&self) -> Result<ServerAddress, ClientError> {
        self.as_str().to_server_address()
    }
}

impl ToServerAddress for (&str, u16) {
    fn to_server_address(&self) -> Result<ServerAddress, ClientError> {
        let (host, port) = *self;
        let checked = check_host(host).and_then(|()| check_port(port));
        let address = ServerAddress { host: host.to_owned(), port };
        checked.map(|()| address).map_err(|reason| invalid(&format!("{host}:{port}"), reason))
    }
}

impl ToServerAddress for (IpAddr, u16) {
    fn to_server_address(&self) -> Result<ServerAddress, ClientError> {
        SocketAddr::from(*self).to_server_address()
    }
}

impl ToServerAddress for SocketAddr {
    fn to_server_address(&self) -> Result<ServerAddress, ClientError> {
        let host = match self {
            // A scope means something for link-local addresses only.
            SocketAddr::V6(v6) if v6.scope_id() != 0 && v6.ip().is_unicast_link_local() => {
                format!("{}%{}", v6.ip(), v6.scope_id())
            }
            other => other.ip().to_string(),
        };
        check_port(self.port()).map_err(|reason| invalid(&self.to_string(), reason))?;
        Ok(ServerAddress { host, port: self.port() })
    }
}

impl ToServerAddress for ServerAddress {
    fn to_server_address(&self) -> Result<ServerAddress, ClientError> {
        Ok(self.clone())
    }
}

impl<T: ToServerAddress + ?Sized> ToServerAddress for &T {
    fn to_server_address(&self) -> Result<ServerAddress, ClientError> {
        (**self).to_server_address()
    }
}

impl FromStr for ServerAddress {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<ServerAddress, ClientError> {
        text.to_server_address()
    }
}

impl Display for ServerAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        let ServerAddress { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl ServerAddress {
    /// Reads `host`, `host:port`, `[IPv6]`, `[IPv6]:port`, or an IPv6 address alone.
    fn parse(text: &str) -> Result<ServerAddress, &'static str> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or("the bracket is not closed")?;
                check_ipv6(host).unwrap_or(Err("there is no IPv6 address in the brackets"))?;
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return Err("only :port may follow the brackets"),
                }
            }
            None => match check_ipv6(text) {
                Some(checked) => (text, checked.map(|()| None)?),
                None => match text.split_once(':') {
                    Some((_, port)) if port.contains(':') => {
                        return Err("an IPv6 address with a port needs brackets");
                    }
                    Some((host, port)) => (host, Some(port)),
                    None => (text, None),
                },
            },
        };
        check_host(host)?;
        let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| NO_PORT))?;
        check_port(port)?;
        Ok(ServerAddress { host: host.to_owned(), port })
    }

    /// The zone of a link-local address, by name or number.
    pub(super) fn zone(&self) -> Option<&str> {
        self.host.split_once('%').map(|(_, zone)| zone)
    }
}

const NO_PORT: &str = "a port is a number from 1 to 65535";

fn invalid(address: &str, reason: &'static str) -> ClientError {
    ClientError::InvalidAddress { address: address.to_owned(), reason }
}

fn check_port(port: u16) -> Result<(), &'static str> {
    if port == 0 { Err(NO_PORT) } else { Ok(()) }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("there is no host");
    }
    if let Some(checked) = check_ipv6(host) {
        return checked;
    }
    let in_a_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.chars().all(in_a_name) {
        Ok(())
    } else {
        Err("a host has letters, digits, dots and hyphens only")
    }
}

/// Checks an IPv6 address and its zone, if it has one. `None` for text that is no IPv6 address.
fn check_ipv6(text: &str) -> Option<Result<(), &'static str>> {
    let Some((address, zone)) = text.split_once('%') else {
        return text.parse::<Ipv6Addr>().ok().map(|_| Ok(()));
    };
    let address = address.parse::<Ipv6Addr>().ok()?;
    let in_a_zone = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '/' | '%' | '[' | ']');
    Some(if !address.is_unicast_link_local() {
        Err("only a link-local address, fe80::, has a zone")
    } else if zone.is_empty() || !zone.chars().all(in_a_zone) {
        Err("a zone is the name or the number of a network interface, as in fe80::1%eth0")
    } else {
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> ServerAddress {
        ServerAddress { host: host.to_owned(), port }
    }

    #[test]
    fn text_is_a_host_with_or_without_a_port() {
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
            assert_eq!(ServerAddress::parse(text), Ok(address(host, port)), "{text}");
        }
        assert_eq!(ServerAddress::parse("[fe80::1%eth0]:9").unwrap().zone(), Some("eth0"));
    }

    #[test]
    fn text_that_is_no_address_is_refused_with_a_reason() {
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
    fn an_address_is_shown_as_it_is_written() {
        for text in ["host:1", "[::1]:99", "[fe80::1%eth0]:99"] {
            assert_eq!(ServerAddress::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn values_are_taken_as_the_text_that_means_the_same() {
        fn same(value: impl ToServerAddress, text: &str) {
            assert_eq!(value.to_server_address(), text.to_server_address(), "{text}");
        }
        let loopback: IpAddr = [127, 0, 0, 1].into();
        same(SocketAddr::new(loopback, 9), "127.0.0.1:9");
        same((loopback, 9), "127.0.0.1:9");
        same(("host", 9), "host:9");
        same(("fe80::1%eth0", 9), "[fe80::1%eth0]:9");
        same("[::1]:9".parse::<SocketAddr>().unwrap(), "[::1]:9");
        same("[fe80::1%2]:9".parse::<SocketAddr>().unwrap(), "[fe80::1%2]:9");
        same("[::1%2]:9".parse::<SocketAddr>().unwrap(), "[::1]:9");
        same("host".to_owned(), "host");
        same(address("host", 9), "host:9");
    }

    #[test]
    fn values_that_are_no_address_are_refused_with_a_reason() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        let refused = |value: &dyn ToServerAddress| match value.to_server_address() {
            Err(ClientError::InvalidAddress { address, reason }) => (address, reason),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&(loopback, 0)), ("127.0.0.1:0".to_owned(), NO_PORT));
        assert_eq!(refused(&("host", 0)), ("host:0".to_owned(), NO_PORT));
        assert_eq!(refused(&("", 1)), (":1".to_owned(), "there is no host"));
        assert!(refused(&("host:1", 2)).1.contains("letters"));
        assert!(refused(&("::1%lo", 1)).1.contains("link-local"));
    }
}
