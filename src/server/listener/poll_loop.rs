//! A turn of the listener: polls, dispatches events to the connections, and does what is due.

use super::acceptor::{ACCEPT, Acceptor};
use super::close_log::CloseLog;
use super::lingering_close::{LINGERING, LingeringClose};
use super::mailbox::{EndNotice, ListenerHandle, MAILBOX};
use super::memory_pressure::{MemoryPressure, PART_EXCEEDED_PAUSE};
use super::slots::{Id, Slots};
use super::timeout_heap::Timeouts;
use super::watchdog::Watchdog;
use crate::metrics::CloseReason;
use crate::pool::{PortListener, TurnOutcome};
use crate::proto::Received;
use crate::server::connection::{Connection, ConnectionWriter, PortContext, QueueShares, ReadBuffers};
use crate::server::connection_limiter::ConnectionLimiter;
use crate::server::shutdown::Shutdown;
use crate::sync::Arc;
use mio::{Events, Poll};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Most events taken from one poll.
const EVENTS_MAX: usize = 1024;

/// Longest time for which calls are left to the listening thread while it reads others.
const LEFT_MAX: Duration = Duration::from_micros(100);

/// The parts that a listener is made of.
#[derive(Debug)]
pub(in crate::server) struct ListenerParts {
    pub(in crate::server) poll: Poll,
    pub(in crate::server) acceptor: Acceptor,
    pub(in crate::server) handle: Arc<ListenerHandle>,
    pub(in crate::server) context: PortContext,
    pub(in crate::server) connection_limiter: Arc<ConnectionLimiter>,
    pub(in crate::server) lingering_close: LingeringClose,
    pub(in crate::server) timeouts: Timeouts,
    pub(in crate::server) watchdog: Watchdog,
    /// A connection that gets another reply while it has more unsent bytes than this is closed.
    pub(in crate::server) unsent_bytes_max: usize,
}

/// The state of a port's listener.
#[derive(Debug)]
pub(in crate::server) struct Listener {
    pub(super) poll: Poll,
    pub(super) acceptor: Acceptor,
    pub(super) handle: Arc<ListenerHandle>,
    pub(super) context: PortContext,
    pub(super) connection_limiter: Arc<ConnectionLimiter>,
    pub(super) lingering_close: LingeringClose,
    pub(super) timeouts: Timeouts,
    pub(super) watchdog: Watchdog,
    pub(super) unsent_bytes_max: usize,
    /// The state of the port's stop.
    pub(super) shutdown: Shutdown,
    pub(super) connections: Slots<Connection>,
    pub(super) began: Instant,
    /// Connections accepted since then.
    pub(super) accepted: u64,
    /// Connections with something left to read.
    pub(super) ready: VecDeque<Id>,
    /// Connections that have used up their allowance of answers, with the time at which they are read again.
    pub(super) put_off: BinaryHeap<Reverse<(Instant, Id)>>,
    /// Evicted and closing connections with the time at which they are closed, the earliest in front.
    pub(super) closing: VecDeque<(Instant, Id)>,
    pub(super) memory_pressure: MemoryPressure,
    pub(super) close_log: CloseLog,
    pub(super) read_buffers: ReadBuffers,
    /// The result of the protocol for one read; reused.
    pub(super) received: Received,
    /// Frames that the listener itself has answered in this turn.
    pub(super) answered: u32,
    pub(super) queue_shares: QueueShares<ConnectionWriter>,
    /// Since when calls are queued that no worker was told of; `None` between two turns.
    pub(super) calls_left: Option<Instant>,
    /// The time of the last poll, if any peer is waited for.
    peers_awaited: Option<Instant>,
    /// Events of the last poll; reused.
    events: Option<Events>,
    /// The last field: by its drop the listener has ended.
    _end: EndNotice,
}

impl Listener {
    pub(in crate::server) fn new(parts: ListenerParts) -> Listener {
        let end = EndNotice::new(&parts.handle, &parts.context.port);
        Listener {
            poll: parts.poll,
            acceptor: parts.acceptor,
            handle: parts.handle,
            context: parts.context,
            connection_limiter: parts.connection_limiter,
            lingering_close: parts.lingering_close,
            timeouts: parts.timeouts,
            watchdog: parts.watchdog,
            unsent_bytes_max: parts.unsent_bytes_max,
            shutdown: Shutdown::No,
            connections: Slots::new(),
            began: Instant::now(),
            accepted: 0,
            ready: VecDeque::new(),
            put_off: BinaryHeap::new(),
            closing: VecDeque::new(),
            memory_pressure: MemoryPressure::default(),
            close_log: CloseLog::default(),
            read_buffers: ReadBuffers::default(),
            received: Received::default(),
            answered: 0,
            queue_shares: QueueShares::default(),
            calls_left: None,
            peers_awaited: None,
            events: None,
            _end: end,
        }
    }

    fn end(&mut self) -> TurnOutcome {
        for id in self.connections.ids() {
            self.close(id, CloseReason::ServerStopped);
        }
        TurnOutcome::Ended
    }

    fn handle_events(&mut self, events: &Events) {
        self.peers_awaited = self.check_clock();
        let mut has_mail = false;
        for event in events {
            match event.token() {
                ACCEPT => self.acceptor.set_ready(),
                MAILBOX => has_mail = true,
                LINGERING => self.lingering_close.read_all(),
                token => {
                    self.announce_left(|since| since.elapsed() > LEFT_MAX);
                    if event.is_writable() {
                        self.writable(Id::of(token));
                    }
                    if event.is_readable() || event.is_error() || event.is_read_closed() {
                        self.readable(Id::of(token), event.is_read_closed());
                    }
                }
            }
        }
        let has_more = has_mail || self.acceptor.is_ready() || !self.ready.is_empty();
        self.announce_left(|_| has_more);
        self.accept();
        if has_mail {
            self.empty_mailbox();
        }
        self.read_ready();
    }

    /// Time-outs, reclaims and checks that are due. Before the poll: after it, calls left to this thread would wait for
    /// them.
    fn do_due(&mut self) {
        self.close_overdue();
        self.lingering_close.close_overdue();
        if let Some(now) = self.peers_awaited.take() {
            self.close_timed_out(now);
        }
        self.reclaim_buffers();
        self.check_drained();
        if let Some(line) = self.close_log.line(Instant::now) {
            log::info!("port {}: {line}", self.context.port.name);
        }
        self.announce_left(|_| true);
        self.watchdog.check(&self.context.port, &self.context.shared);
    }

    /// Tells a worker of the calls that were left to this thread, if those `are_due` that are queued since then.
    fn announce_left(&mut self, are_due: impl FnOnce(Instant) -> bool) {
        if self.calls_left.is_some_and(are_due) {
            self.calls_left = None;
            self.context.shared.throttle.announce(self.context.port.index);
        }
    }

    fn empty_mailbox(&mut self) {
        let mail = self.handle.take();
        for id in mail.connections {
            self.attend(id);
        }
        for command in mail.commands {
            self.execute(command);
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() || self.acceptor.is_ready() {
            return Some(Duration::ZERO);
        }
        let times = [
            self.watchdog.next(),
            self.closing.front().map(|(at, _)| *at),
            self.put_off.peek().map(|Reverse((at, _))| *at),
            self.lingering_close.next(),
            self.timeouts.next(),
            self.memory_pressure.next(),
            self.close_log.next(Instant::now),
            self.shutdown.next().filter(|_| self.connections.len() > 0),
        ];
        let buffers = &self.context.port.buffers;
        let part_exceeded = (buffers.bytes() > buffers.fair_part()).then_some(PART_EXCEEDED_PAUSE);
        let soonest = times.into_iter().flatten().min();
        let soonest = soonest.map(|at| at.saturating_duration_since(Instant::now()));
        [soonest, self.acceptor.retry_in(), part_exceeded].into_iter().flatten().min()
    }
}

impl PortListener for Listener {
    fn turn(&mut self) -> TurnOutcome {
        if self.is_over() {
            return self.end();
        }
        self.do_due();
        let timeout = self.poll_timeout();
        let mut events = self.events.take().unwrap_or_else(|| Events::with_capacity(EVENTS_MAX));
        match self.poll.poll(&mut events, timeout) {
            Ok(()) => self.handle_events(&events),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                // poll() only fails on a bug or a lost descriptor, so retrying would spin.
                log::error!("port {}: poll failed, port closed: {error}", self.context.port.name);
                return self.end();
            }
        }
        self.events = Some(events);
        if self.calls_left.take().is_some() { TurnOutcome::CallsLeft } else { TurnOutcome::Continue }
    }
}
