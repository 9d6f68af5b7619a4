//! Lingering close for refused connections: sends a GoAway and waits up to 1 s for the peer's FIN.
//!
//! The side that closes first keeps the address of the connection in TIME_WAIT for a minute, so that is left to the
//! client; and closing while its bytes are unread would reset the connection, and might destroy the GoAway on its way.
//! So the socket stays until the client has closed, or for [`WAIT_MAX`].
//!
//! Knows sockets and refusals; knows nothing of connections: these have never been any. One for each listener.
//! Invariant: no more sockets than its places are kept; one more gets its GoAway and is closed at once.

use crate::proto::goaway;
use crate::server::connection::Transport;
use crate::service::Refusal;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// The token of all these sockets: they are so few that all are read.
pub(super) const LINGERING: Token = Token(usize::MAX - 2);

/// Time for a client to close.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Most sockets kept, however many descriptors there are.
const PLACES_MAX: usize = 64;

/// Most reads of 4 KiB from one socket in a row. A client that sends more does not read.
const READS_MAX: usize = 16;

/// The refused connections of one listener.
#[derive(Debug)]
pub(in crate::server) struct LingeringClose {
    places: usize,
    /// With the time at which each is closed, the earliest in front.
    waiting: VecDeque<(Instant, Transport)>,
}

impl LingeringClose {
    /// Keeps at most so many sockets.
    pub(in crate::server) fn new(places: usize) -> LingeringClose {
        LingeringClose { places: places.min(PLACES_MAX), waiting: VecDeque::new() }
    }

    /// Refuses a connection and waits for its client to close, if there is a place.
    pub(super) fn refuse(
        &mut self,
        mut stream: TcpStream,
        refusal: &Refusal,
        registry: &Registry,
        now: Instant,
    ) {
        let place = self.waiting.len() < self.places
            && registry.register(&mut stream, LINGERING, Interest::READABLE).is_ok();
        let transport = Transport::Plain(stream);
        send_goaway(&transport, refusal);
        if place && discard(&transport) {
            self.waiting.push_back((now + WAIT_MAX, transport));
        }
    }

    /// Refuses a connection whose descriptor is needed at once.
    pub(super) fn refuse_at_once(stream: TcpStream, refusal: &Refusal) {
        let transport = Transport::Plain(stream);
        send_goaway(&transport, refusal);
        discard(&transport);
    }

    /// Drops those whose client has closed; the poll reports that some have, or have sent something.
    pub(super) fn read_all(&mut self) {
        self.waiting.retain(|(_, transport)| discard(transport));
    }

    /// Closes those whose time is over.
    pub(super) fn close_overdue(&mut self) {
        while self.next().is_some_and(|at| at <= Instant::now()) {
            self.waiting.pop_front();
        }
    }

    /// Returns when the next is closed.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.front().map(|next| next.0)
    }
}

/// The buffer of a new socket has room for this. If the socket has failed already, it is lost.
fn send_goaway(transport: &Transport, refusal: &Refusal) {
    let mut frame = Vec::new();
    goaway(refusal, &mut frame);
    transport.send(&frame).ok();
}

/// Reads and discards what is there. Returns false when the client has closed, or does not stop sending.
fn discard(transport: &Transport) -> bool {
    let mut buffer = [0; 4096];
    for _ in 0..READS_MAX {
        match transport.receive(&mut buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tests::connected;
    use crate::service::Status;
    use mio::Poll;
    use std::io::{Read, Write};

    #[test]
    fn refused_connections_linger_if_they_are_few_and_end_when_their_clients_close() {
        let (mut poll, mut events) = (Poll::new().unwrap(), mio::Events::with_capacity(8));
        let refusal = Refusal::new(Status::ConnectLimit, "no");
        let (mut lingering_close, start) = (LingeringClose::new(2), Instant::now());
        let mut clients: Vec<_> = (0..3)
            .map(|_| {
                let (client, stream) = connected();
                lingering_close.refuse(stream, &refusal, poll.registry(), start);
                client
            })
            .collect();
        assert_eq!((lingering_close.waiting.len(), lingering_close.next()), (2, Some(start + WAIT_MAX)));
        let mut heard = Vec::new();
        clients.pop().unwrap().read_to_end(&mut heard).unwrap();
        let mut sent = Vec::new();
        goaway(&refusal, &mut sent);
        assert_eq!(heard, sent, "the third is closed after its GoAway");
        clients[0].write_all(b"Hello, which is not read").unwrap();
        clients.remove(1);
        while lingering_close.waiting.len() > 1 {
            poll.poll(&mut events, None).unwrap();
            assert!(events.iter().all(|event| event.token() == LINGERING));
            lingering_close.read_all();
        }
        // A client that does not stop sending is not waited for.
        while lingering_close.next().is_some() {
            clients[0].write_all(&[0; 2 * 4096 * READS_MAX]).unwrap();
            poll.poll(&mut events, None).unwrap();
            lingering_close.read_all();
        }
    }

    #[test]
    fn refused_connections_are_closed_when_their_time_is_over() {
        let poll = Poll::new().unwrap();
        let mut lingering_close = LingeringClose::new(10);
        let (mut client, stream) = connected();
        let long_ago = Instant::now().checked_sub(WAIT_MAX).unwrap();
        lingering_close.refuse(stream, &Refusal::new(Status::NoDescriptors, "no"), poll.registry(), long_ago);
        assert_eq!(lingering_close.waiting.len(), 1);
        lingering_close.close_overdue();
        assert_eq!(lingering_close.next(), None);
        assert!(client.read_to_end(&mut Vec::new()).unwrap() > 0, "a GoAway, and then the end");
    }
}
