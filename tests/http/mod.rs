//! HTTP for tests, byte by byte: what a client library would not send is what is of interest.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// A connection on which nothing has been said.
pub fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the admin server listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time above zero");
    stream
}

/// Sends these bytes, and reads to the end of the connection; `None` if nothing was said.
pub fn send(address: SocketAddr, bytes: &[u8]) -> Option<Said> {
    let mut stream = dial(address);
    // It may refuse before it has read all.
    stream.write_all(bytes).ok();
    hear(stream)
}

/// Reads to the end of the connection.
pub fn hear(mut stream: TcpStream) -> Option<Said> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer, and then the end");
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    Some(Said { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// Asks for a page, with these further lines in the head.
pub fn get(address: SocketAddr, path: &str, lines: &[&str]) -> Said {
    ask(address, "GET", path, lines, "")
}

/// Gives a command.
pub fn command(address: SocketAddr, line: &str, lines: &[&str]) -> Said {
    ask(address, "POST", "/console", lines, line)
}

fn ask(address: SocketAddr, method: &str, path: &str, lines: &[&str], body: &str) -> Said {
    let host = format!("host: {address}");
    let named = lines.iter().any(|line| line.starts_with("host:"));
    let mut head = vec![format!("{method} {path} HTTP/1.1"), "connection: close".to_owned()];
    head.extend((!named).then_some(host));
    head.extend(lines.iter().map(|line| (*line).to_owned()));
    head.push(format!("content-length: {}\r\n\r\n{body}", body.len()));
    send(address, head.join("\r\n").as_bytes()).expect("an answer")
}
