//! Server side of one connection's protocol.
//!
//! Preface -> Hello -> Open -> Closed. Answers all that needs no handler: the Hello, Pings, refused calls. Step 3 of a
//! transaction's way (see docs/ARCHITECTURE.md).

use super::call::Call;
use super::frames;
use super::received::{ProtocolClose, ReceiveContext, Received};
use crate::admission::{ANSWERS_MAX, Ahead, Allowance, AllowanceDecision, CancelAbuse, ReceivedChain};
use crate::metrics::CloseReason;
use crate::service::{Refusal, Status};
use crate::sync::Arc;
use crate::wire::body::Hello;
use crate::wire::limits::{HEADER_BYTES, HELLO_BODY_BYTES_MAX, PREFACE_BYTES, SIGNAL_BODY_BYTES_MAX};
use crate::wire::{CallPrelude, Chain, Codec, Flags, FrameKind, Header, Preface, WireError, peek_frame};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preface,
    Hello,
    Open,
    Closed,
}

/// Protocol state of one connection, server side; some 140 bytes.
#[derive(Debug)]
pub struct ServerProtocol {
    state: State,
    cancel_abuse: CancelAbuse,
    allowance: Allowance,
    chained: bool,
}

impl Default for ServerProtocol {
    fn default() -> Self {
        ServerProtocol {
            state: State::Preface,
            cancel_abuse: CancelAbuse::default(),
            allowance: Allowance::default(),
            chained: false,
        }
    }
}

impl ServerProtocol {
    /// Reads all bytes that were received and not yet consumed, and returns how many of them are consumed now.
    ///
    /// # Errors
    /// [`ProtocolClose`]: the peer broke the protocol. A GoAway with the reason is among the replies if the peer can
    /// read one; nothing is consumed any more.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        context: &ReceiveContext<'_>,
        received: &mut Received,
    ) -> Result<usize, ProtocolClose> {
        received.begin();
        let used = self.steps(bytes, context, received);
        received.flush_counts(context.stats);
        debug_assert!(received.calls.len() <= context.window_room);
        let used = used?;
        match self.allowance.settle(received.calls.len(), received.answered(), context.now) {
            AllowanceDecision::GoOn => {}
            AllowanceDecision::PutOff(time) => received.put_off = Some(time),
            AllowanceDecision::Abusive => {
                return Err(self.close_abusive("nothing but refused calls, Pings and Cancels", received));
            }
        }
        Ok(used)
    }

    /// Closes a connection that only costs the server work.
    fn close_abusive(&mut self, what: &str, received: &mut Received) -> ProtocolClose {
        self.close(&Refusal::new(Status::ProtocolError, what), &mut received.replies);
        ProtocolClose(CloseReason::Abusive)
    }

    fn steps(
        &mut self,
        bytes: &[u8],
        context: &ReceiveContext<'_>,
        received: &mut Received,
    ) -> Result<usize, ProtocolClose> {
        let mut used = 0;
        while let Some(step) = self.step(&bytes[used..], used, context, received)? {
            used += step;
        }
        Ok(used)
    }

    /// The reason to record after the peer has closed with `left` bytes not consumed.
    pub fn peer_closed(&self, left: usize) -> CloseReason {
        if left == 0 { CloseReason::PeerClosed } else { CloseReason::PeerClosedMidFrame }
    }

    /// Returns whether the peer has not yet sent its Hello.
    pub fn awaits_hello(&self) -> bool {
        matches!(self.state, State::Preface | State::Hello)
    }

    /// Returns whether a nested call has come over it, of this server's handlers or another's, refused ones included.
    pub fn is_chained(&self) -> bool {
        self.chained
    }

    /// Records that everything the peer had sent by then was received.
    pub fn socket_emptied(&mut self, at: Instant) {
        self.cancel_abuse.socket_emptied(at);
    }

    /// Records that reading was put off until then and continues.
    pub fn reading_resumed(&mut self, until: Instant) {
        self.cancel_abuse.reading_resumed(until);
    }

    /// Closes the protocol for a reason that is not in the bytes: appends a GoAway with it.
    pub fn close(&mut self, refusal: &Refusal, replies: &mut Vec<u8>) {
        self.state = State::Closed;
        frames::goaway(refusal, replies);
    }

    fn step(
        &mut self,
        bytes: &[u8],
        at: usize,
        context: &ReceiveContext<'_>,
        received: &mut Received,
    ) -> Result<Option<usize>, ProtocolClose> {
        match self.state {
            State::Closed => Ok(None),
            State::Preface => self.preface(bytes, received),
            State::Hello | State::Open => self.frame(bytes, at, context, received),
        }
    }

    fn preface(&mut self, bytes: &[u8], received: &mut Received) -> Result<Option<usize>, ProtocolClose> {
        match Preface::read(bytes) {
            Ok(None) => Ok(None),
            Ok(Some(_)) => {
                self.state = State::Hello;
                Ok(Some(PREFACE_BYTES))
            }
            Err(error) => Err(self.close_for(error, None, received)),
        }
    }

    fn frame(
        &mut self,
        bytes: &[u8],
        at: usize,
        context: &ReceiveContext<'_>,
        received: &mut Received,
    ) -> Result<Option<usize>, ProtocolClose> {
        let limit = |header: &Header| match header.kind {
            FrameKind::Call => context.body_bytes_max,
            FrameKind::Hello => HELLO_BODY_BYTES_MAX,
            _ => SIGNAL_BODY_BYTES_MAX,
        };
        if received.calls.len() >= context.window_room || received.answered >= ANSWERS_MAX {
            return Ok(None);
        }
        let header = match peek_frame(bytes, limit) {
            Ok(None) => return Ok(None),
            Ok(Some(header)) => header,
            Err((error, header)) => {
                let call =
                    header.filter(|header| header.kind == FrameKind::Call && self.state == State::Open);
                if let Some(header) = call {
                    received.count_call();
                    received.refuse(&header, &Refusal::from(error.clone()), context);
                }
                return Err(self.close_for(error, header, received));
            }
        };
        let end = HEADER_BYTES + header.body_bytes as usize;
        let body = &bytes[HEADER_BYTES..end];
        let taken = match (self.state, header.kind) {
            (State::Hello, FrameKind::Hello) => match self.hello(body, context, received) {
                Ok(Err(refusal)) => return Err(self.refuse_client(&refusal, received)),
                read => read.map(|_| ()),
            },
            (State::Open, FrameKind::Call) => self.call(&header, body, at + HEADER_BYTES, context, received),
            (State::Open, FrameKind::Cancel) => {
                context.stats.cancels.add(1);
                received.cancels.push(header.call);
                received.answered += 1;
                if self.cancel_abuse.cancelled(header.call, context.now) {
                    return Err(self.close_abusive("called and cancelled too often", received));
                }
                Ok(())
            }
            (State::Open, FrameKind::Ping) => {
                frames::pong(header.call, &mut received.replies);
                received.answered += 1;
                Ok(())
            }
            (_, kind) => Err(WireError::UnexpectedKind(kind)),
        };
        match taken {
            Ok(()) => Ok(Some(end)),
            Err(error) => Err(self.close_for(error, Some(header), received)),
        }
    }

    /// Reads a Hello and answers with the Welcome, or returns why the client is refused.
    fn hello(
        &mut self,
        body: &[u8],
        context: &ReceiveContext<'_>,
        received: &mut Received,
    ) -> Result<Result<(), Refusal>, WireError> {
        let Hello { client } = Codec::Bincode.decode(body)?;
        if let Err(refusal) = context.admission.view.open_session(&client) {
            return Ok(Err(refusal));
        }
        self.state = State::Open;
        received.replies.extend_from_slice(context.welcome);
        Ok(Ok(()))
    }

    /// Closes the connection of a client that gets no session.
    fn refuse_client(&mut self, refusal: &Refusal, received: &mut Received) -> ProtocolClose {
        self.state = State::Closed;
        frames::goaway(refusal, &mut received.replies);
        let restricted = refusal.status == Status::Restricted;
        ProtocolClose(if restricted { CloseReason::Restricted } else { CloseReason::MaxUsers })
    }

    /// Admits or refuses a call. `at` is the offset of its body in the received bytes.
    fn call(
        &mut self,
        header: &Header,
        body: &[u8],
        at: usize,
        context: &ReceiveContext<'_>,
        received: &mut Received,
    ) -> Result<(), WireError> {
        received.count_call();
        let (prelude, chain, arguments) = match split(header, body) {
            Ok(split) => split,
            Err(error) => {
                let refusal = Refusal::new(Status::BadRequest, error.to_string());
                received.refuse(header, &refusal, context);
                return Ok(());
            }
        };
        self.cancel_abuse.called(header.call, prelude.deadline_ms);
        self.chained |= chain.is_some();
        let wait = Duration::from_millis(prelude.deadline_ms.into());
        let deadline = (prelude.deadline_ms > 0).then(|| context.arrived + wait);
        let ahead = Ahead { calls: received.calls.len(), ns: received.cost_ns };
        let view = context.admission.view;
        let chain = chain.map(|chain| {
            let found = view.own_callers(&chain);
            ReceivedChain::new(chain, found)
        });
        let nested = chain.as_ref().is_some_and(|chain| chain.by().is_some());
        if chain.is_some() && !nested {
            context.stats.from_handlers.add(1);
        }
        if let Some(refusal) = context.admission.refusal(header, nested, deadline, context.now, ahead) {
            if let Some(chain) = chain.filter(|_| nested) {
                view.nested_refused(&chain);
            }
            received.refuse(header, &refusal, context);
            return Ok(());
        }
        if ahead.calls >= context.admission.queue_room {
            // A queued call of another connection was refused to make room for this one.
            received.found_full(context);
        }
        received.cost_ns += u64::from(context.admission.service_times.mean_ns(header.code));
        let mut call =
            Call::new(header.call, header.code, Codec::of(header.flags), prelude.session, deadline);
        if let Some(chain) = chain {
            call = call.chained(received.chains.len(), nested);
            received.chains.push(Arc::new(chain));
        }
        let end = at + body.len();
        received.calls.push(call.at(end - arguments.len()..end));
        Ok(())
    }

    /// Closes the connection for an error in its bytes, with a GoAway unless the peer does not speak the protocol.
    fn close_for(
        &mut self,
        error: WireError,
        header: Option<Header>,
        received: &mut Received,
    ) -> ProtocolClose {
        self.state = State::Closed;
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
        frames::goaway(&refusal, &mut received.replies);
        ProtocolClose(reason)
    }
}

/// Splits a Call's body into prelude, chain and arguments.
fn split<'a>(header: &Header, body: &'a [u8]) -> Result<(CallPrelude, Option<Chain>, &'a [u8]), WireError> {
    let (prelude, rest) = CallPrelude::split(body)?;
    if !header.flags.has(Flags::NESTED) {
        return Ok((prelude, None, rest));
    }
    let (chain, arguments) = Chain::split(rest)?;
    Ok((prelude, Some(chain), arguments))
}
