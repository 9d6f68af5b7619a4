//! The floor of every comparison: one thread, one epoll, every byte echoed. It knows no frames and no calls, so no
//! server that does more can be expected to be faster. Usage: `floor ADDRESS`.

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Result, Write};

const ACCEPT: Token = Token(usize::MAX);

/// A connection and its unsent bytes.
struct Echo {
    stream: TcpStream,
    unsent: Vec<u8>,
    closed: bool,
}

impl Echo {
    fn flush(&mut self) {
        while !self.unsent.is_empty() && !self.closed {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.closed = true,
            }
        }
    }

    fn echo(&mut self, buffer: &mut [u8]) {
        self.flush();
        while self.unsent.is_empty() && !self.closed {
            let filled = match self.stream.read(buffer) {
                Ok(0) => return self.closed = true,
                Ok(filled) => filled,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.closed = true,
            };
            let sent = self.stream.write(&buffer[..filled]).unwrap_or(0);
            self.unsent.extend_from_slice(&buffer[sent..filled]);
            self.flush();
            if filled < buffer.len() {
                return;
            }
        }
    }
}

fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7001".to_owned());
    let address = address.parse().map_err(|_| std::io::Error::from(ErrorKind::InvalidInput))?;
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, ACCEPT, Interest::READABLE)?;
    let mut echoes: Vec<Option<Echo>> = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 256 << 10];
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in &events {
            if event.token() == ACCEPT {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let token = Token(echoes.len());
                    poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                    echoes.push(Some(Echo { stream, unsent: Vec::new(), closed: false }));
                }
            } else if let Some(slot) = echoes.get_mut(event.token().0)
                && let Some(echo) = slot
            {
                echo.echo(&mut buffer);
                if echo.closed {
                    *slot = None;
                }
            }
        }
    }
}
