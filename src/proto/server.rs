//! The server's half of one connection's protocol.
//!
//! Preface -> Hello -> Open -> left. Everything that can be answered without a handler is answered here: the
//! greeting, pings, calls that are refused. Step 3 of a transaction's way (see docs/ARCHITECTURE.md).

use super::call::Call;
use super::frames;
use crate::admission::{
    ANSWERS_MAX, Admission, Ahead, Allowance, AllowanceDecision, Answered, CancelAbuse, Forecast,
    ReceivedChain,
};
use crate::metrics::{Batch, CloseReason, MethodsStats, PortStats};
use crate::service::{Refusal, Status};
use crate::sync::Arc;
use crate::wire::body::Hello;
use crate::wire::limits::{HEADER_BYTES, HELLO_BODY_BYTES_MAX, PREFACE_BYTES, SIGNAL_BODY_BYTES_MAX};
use crate::wire::{CallPrelude, Chain, Codec, Flags, FrameKind, Header, Preface, WireError, cut};
use std::time::{Duration, Instant};

/// What a port knows when bytes arrive, and what it allows.
#[derive(Debug, Clone, Copy)]
pub struct ReceiveContext<'a> {
    /// The Welcome's bytes.
    pub welcome: &'a [u8],
    /// Largest body of a Call, in bytes.
    pub body_bytes_max: usize,
    /// What of it is let in.
    pub admission: Admission<'a>,
    /// Calls this connection may still have out. At 0 nothing more is consumed.
    pub window_room: usize,
    /// When the bytes were read: deadlines count from here.
    pub arrived: Instant,
    /// Later than that where they had to wait for the window.
    pub now: Instant,
    /// Where calls and refusals are counted.
    pub stats: &'a PortStats,
    /// Where refusals are counted by method.
    pub methods: &'a MethodsStats,
}

/// What one [`ServerProtocol::receive`] brings forth. Reused, so that nothing is allocated for each call.
#[derive(Debug, Default)]
pub struct Received {
    /// Calls admitted; their arguments are ranges of the bytes received.
    pub calls: Vec<Call>,
    /// Frames to send at once.
    pub replies: Vec<u8>,
    /// Calls the peer no longer wants.
    pub cancels: Vec<u64>,
    /// Chains of the admitted calls that have one.
    pub chains: Vec<Arc<ReceivedChain>>,
    /// Frames of this read that were answered here, or carried out, and not by a worker.
    pub answered: u32,
    /// Of these, calls that were refused for what the server is like now, and not for what they are.
    by_load: u32,
    /// The connection is not to be read for so long.
    pub put_off: Option<Duration>,
    /// Likely cost of the calls admitted, in nanoseconds.
    cost_ns: u64,
    /// When the queue was last found full, and until when that is not likely to have been emptied.
    found_full: Option<(Instant, Instant)>,
    /// Not yet in the port's counters.
    counts: Counts,
}

/// Calls that arrived whole, and those of them that were refused: counted together once for each read.
#[derive(Debug, Default)]
struct Counts {
    calls: u64,
    refusals: Batch<{ Status::ALL.len() }>,
}

impl Counts {
    /// Calls first: no one sees more answers than calls.
    fn hand_over(&mut self, stats: &PortStats) {
        if self.calls > 0 {
            stats.calls.add(std::mem::take(&mut self.calls));
            stats.answers.add_all(&mut self.refusals);
        }
    }
}

impl Received {
    /// Has the read had answered as much as one may? What follows is for a later turn.
    pub fn is_turn_over(&self) -> bool {
        self.answered >= ANSWERS_MAX || self.put_off.is_some()
    }

    /// What the allowance is to know. Whose calls are refused for load may well cancel as many, whose time is over.
    fn answered(&self) -> Answered {
        let excused = self.by_load.min(self.cancels.len() as u32);
        Answered { all: self.answered, by_load: (self.by_load + excused).min(self.answered) }
    }

    /// A call found no place in the queue. Those that come before it can be empty again belong together: with so many
    /// places more, none of them would have been refused.
    fn found_full(&mut self, port: &ReceiveContext<'_>) {
        let Forecast { queue_ns, workers, calls, .. } = port.admission.view.forecast(false);
        // Of calls before this read the queue may be empty already, sooner than was likely.
        let anew = |(found, until)| port.now != found && (calls == 0 || port.now > until);
        if self.found_full.is_none_or(anew) {
            port.stats.queue_filled.add(1);
        }
        let turn = Duration::from_nanos((queue_ns + self.cost_ns) / workers.max(1));
        self.found_full = Some((port.now, port.now + turn));
    }
}

/// The connection must be closed, after the replies in the [`Received`] were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolClose(pub CloseReason);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preface,
    Hello,
    Open,
    Left,
}

/// One connection's protocol state; some 140 bytes.
#[derive(Debug)]
pub struct ServerProtocol {
    state: State,
    whims: CancelAbuse,
    allowance: Allowance,
    chained: bool,
}

impl Default for ServerProtocol {
    fn default() -> Self {
        ServerProtocol {
            state: State::Preface,
            whims: CancelAbuse::default(),
            allowance: Allowance::default(),
            chained: false,
        }
    }
}

impl ServerProtocol {
    /// Looks at all that was received and not yet consumed, and returns how much of it is consumed now.
    ///
    /// # Errors
    /// [`ProtocolClose`]: the peer broke the protocol. It is told why where a reply is possible; nothing is consumed
    /// after.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        port: &ReceiveContext<'_>,
        intake: &mut Received,
    ) -> Result<usize, ProtocolClose> {
        (intake.cost_ns, intake.answered, intake.by_load, intake.put_off) = (0, 0, 0, None);
        let used = self.steps(bytes, port, intake);
        intake.counts.hand_over(port.stats);
        debug_assert!(intake.calls.len() <= port.window_room);
        let used = used?;
        match self.allowance.settle(intake.calls.len(), intake.answered(), port.now) {
            AllowanceDecision::GoOn => {}
            AllowanceDecision::PutOff(time) => intake.put_off = Some(time),
            AllowanceDecision::Abusive => {
                return Err(self.tell_off("nothing but refused calls, Pings and Cancels", intake));
            }
        }
        Ok(used)
    }

    /// The peer makes no use of the server.
    fn tell_off(&mut self, what: &str, intake: &mut Received) -> ProtocolClose {
        self.part(&Refusal::new(Status::ProtocolError, what), &mut intake.replies);
        ProtocolClose(CloseReason::Abusive)
    }

    fn steps(
        &mut self,
        bytes: &[u8],
        port: &ReceiveContext<'_>,
        intake: &mut Received,
    ) -> Result<usize, ProtocolClose> {
        let mut used = 0;
        while let Some(step) = self.step(&bytes[used..], used, port, intake)? {
            used += step;
        }
        Ok(used)
    }

    /// The peer has closed, with `left` bytes not consumed.
    pub fn hung_up(&self, left: usize) -> CloseReason {
        if left == 0 { CloseReason::PeerClosed } else { CloseReason::PeerClosedMidFrame }
    }

    /// Has the peer not said Hello yet?
    pub fn awaits_hello(&self) -> bool {
        matches!(self.state, State::Preface | State::Hello)
    }

    /// Have handlers called over it: of this server, or of others? Also those count that were refused.
    pub fn is_chained(&self) -> bool {
        self.chained
    }

    /// All that the peer had sent at that time was received.
    pub fn caught_up(&mut self, at: Instant) {
        self.whims.emptied(at);
    }

    /// Reading had been put off; from now on it goes on.
    pub fn held_up(&mut self, until: Instant) {
        self.whims.held_up(until);
    }

    /// Ends the conversation for a reason that is not in the bytes. The peer is told this.
    pub fn part(&mut self, refusal: &Refusal, replies: &mut Vec<u8>) {
        self.state = State::Left;
        frames::goaway(refusal, replies);
    }

    fn step(
        &mut self,
        bytes: &[u8],
        at: usize,
        port: &ReceiveContext<'_>,
        intake: &mut Received,
    ) -> Result<Option<usize>, ProtocolClose> {
        match self.state {
            State::Left => Ok(None),
            State::Preface => self.preface(bytes, intake),
            State::Hello | State::Open => self.frame(bytes, at, port, intake),
        }
    }

    fn preface(&mut self, bytes: &[u8], intake: &mut Received) -> Result<Option<usize>, ProtocolClose> {
        match Preface::read(bytes) {
            Ok(None) => Ok(None),
            Ok(Some(_)) => {
                self.state = State::Hello;
                Ok(Some(PREFACE_BYTES))
            }
            Err(error) => Err(self.leave(error, None, intake)),
        }
    }

    fn frame(
        &mut self,
        bytes: &[u8],
        at: usize,
        port: &ReceiveContext<'_>,
        intake: &mut Received,
    ) -> Result<Option<usize>, ProtocolClose> {
        let limit = |header: &Header| match header.kind {
            FrameKind::Call => port.body_bytes_max,
            FrameKind::Hello => HELLO_BODY_BYTES_MAX,
            _ => SIGNAL_BODY_BYTES_MAX,
        };
        if intake.calls.len() >= port.window_room || intake.answered >= ANSWERS_MAX {
            return Ok(None);
        }
        let header = match cut(bytes, limit) {
            Ok(None) => return Ok(None),
            Ok(Some(header)) => header,
            Err((error, header)) => {
                let call =
                    header.filter(|header| header.kind == FrameKind::Call && self.state == State::Open);
                if let Some(header) = call {
                    intake.counts.calls += 1;
                    refuse(&header, &Refusal::from(error.clone()), port, intake);
                }
                return Err(self.leave(error, header, intake));
            }
        };
        let end = HEADER_BYTES + header.body_bytes as usize;
        let body = &bytes[HEADER_BYTES..end];
        let taken = match (self.state, header.kind) {
            (State::Hello, FrameKind::Hello) => match self.hello(body, port, intake) {
                Ok(Err(refusal)) => return Err(self.turn_away(&refusal, intake)),
                read => read.map(|_| ()),
            },
            (State::Open, FrameKind::Call) => self.call(&header, body, at + HEADER_BYTES, port, intake),
            (State::Open, FrameKind::Cancel) => {
                port.stats.cancels.add(1);
                intake.cancels.push(header.call);
                intake.answered += 1;
                if self.whims.cancelled(header.call, port.now) {
                    return Err(self.tell_off("called and cancelled too often", intake));
                }
                Ok(())
            }
            (State::Open, FrameKind::Ping) => {
                frames::pong(header.call, &mut intake.replies);
                intake.answered += 1;
                Ok(())
            }
            (_, kind) => Err(WireError::UnexpectedKind(kind)),
        };
        match taken {
            Ok(()) => Ok(Some(end)),
            Err(error) => Err(self.leave(error, Some(header), intake)),
        }
    }

    /// Welcomes a client, or returns why it is not let in.
    fn hello(
        &mut self,
        body: &[u8],
        port: &ReceiveContext<'_>,
        intake: &mut Received,
    ) -> Result<Result<(), Refusal>, WireError> {
        let Hello { client } = Codec::Bincode.decode(body)?;
        if let Err(refusal) = port.admission.view.open_session(&client) {
            return Ok(Err(refusal));
        }
        self.state = State::Open;
        intake.replies.extend_from_slice(port.welcome);
        Ok(Ok(()))
    }

    /// There is no session for this client.
    fn turn_away(&mut self, refusal: &Refusal, intake: &mut Received) -> ProtocolClose {
        self.state = State::Left;
        frames::goaway(refusal, &mut intake.replies);
        let restricted = refusal.status == Status::Restricted;
        ProtocolClose(if restricted { CloseReason::Restricted } else { CloseReason::MaxUsers })
    }

    /// Admits a call or answers why not. `at` is where the body begins in the bytes received.
    fn call(
        &mut self,
        header: &Header,
        body: &[u8],
        at: usize,
        port: &ReceiveContext<'_>,
        intake: &mut Received,
    ) -> Result<(), WireError> {
        intake.counts.calls += 1;
        let (prelude, chain, arguments) = match split(header, body) {
            Ok(split) => split,
            Err(error) => {
                let refusal = Refusal::new(Status::BadRequest, error.to_string());
                refuse(header, &refusal, port, intake);
                return Ok(());
            }
        };
        self.whims.called(header.call, prelude.deadline_ms);
        self.chained |= chain.is_some();
        let wait = Duration::from_millis(prelude.deadline_ms.into());
        let deadline = (prelude.deadline_ms > 0).then(|| port.arrived + wait);
        let ahead = Ahead { calls: intake.calls.len(), ns: intake.cost_ns };
        let view = port.admission.view;
        let chain = chain.map(|chain| {
            let found = view.own_callers(&chain);
            ReceivedChain::new(chain, found)
        });
        let nested = chain.as_ref().is_some_and(|chain| chain.by().is_some());
        if let Some(refusal) = port.admission.refusal(header, nested, deadline, port.now, ahead) {
            if let Some(chain) = chain.filter(|_| nested) {
                view.nested_refused(&chain);
            }
            refuse(header, &refusal, port, intake);
            return Ok(());
        }
        if ahead.calls >= port.admission.queue_room {
            // Another call was refused for this one.
            intake.found_full(port);
        }
        intake.cost_ns += u64::from(port.admission.paces.mean_ns(header.code));
        let mut call =
            Call::new(header.call, header.code, Codec::of(header.flags), prelude.session, deadline);
        if let Some(chain) = chain {
            call = call.chained(intake.chains.len(), nested);
            intake.chains.push(Arc::new(chain));
        }
        let end = at + body.len();
        intake.calls.push(call.at(end - arguments.len()..end));
        Ok(())
    }

    /// Tells the peer why, where it can be expected to understand, and ends the conversation.
    fn leave(&mut self, error: WireError, header: Option<Header>, intake: &mut Received) -> ProtocolClose {
        self.state = State::Left;
        let reason = match &error {
            WireError::BadMagic => return ProtocolClose(CloseReason::BadMagic),
            WireError::UnsupportedVersion { .. } => CloseReason::UnsupportedVersion,
            WireError::TooLarge { .. } => CloseReason::FrameTooLarge,
            _ => CloseReason::ProtocolError,
        };
        let mut refusal = Refusal::from(error);
        if let (Status::BadRequest, Some(header)) = (refusal.status, header) {
            refusal =
                Refusal::new(Status::ProtocolError, format!("{:?}: {}", header.kind, refusal.fault.message));
        }
        frames::goaway(&refusal, &mut intake.replies);
        ProtocolClose(reason)
    }
}

/// What a Call's body is made of.
fn split<'a>(header: &Header, body: &'a [u8]) -> Result<(CallPrelude, Option<Chain>, &'a [u8]), WireError> {
    let (prelude, rest) = CallPrelude::split(body)?;
    if !header.flags.has(Flags::NESTED) {
        return Ok((prelude, None, rest));
    }
    let (chain, arguments) = Chain::split(rest)?;
    Ok((prelude, Some(chain), arguments))
}

/// Is it the server that cannot run the call now?
fn is_by_load(status: Status) -> bool {
    use Status::{
        BuffersFull, DeadlineExceeded, Draining, Overloaded, QueueFull, SessionClosed, WouldBeLate,
    };
    matches!(
        status,
        QueueFull | BuffersFull | WouldBeLate | Overloaded | DeadlineExceeded | Draining | SessionClosed
    )
}

fn refuse(header: &Header, refusal: &Refusal, port: &ReceiveContext<'_>, intake: &mut Received) {
    port.methods.refused(header.code, refusal.status);
    intake.counts.refusals.add(refusal.status.index());
    intake.answered += 1;
    intake.by_load += u32::from(is_by_load(refusal.status));
    if refusal.status == Status::QueueFull {
        intake.found_full(port);
    }
    frames::refusal(header.call, Codec::of(header.flags), refusal, &mut intake.replies);
}
