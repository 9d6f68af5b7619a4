//! Calls of limited methods on their way through the pool: a worker asks for a place and sets a call aside that has
//! none; a place that comes free recalls the next (see `method_limits.rs`).
//!
//! Why no recalled call is left: at the worker's own port the worker itself looks at the queue before it sleeps, and
//! announces what is there before it runs a call not known to be short. At another port a worker is woken for it.
//!
//! Invariant: a call that is set aside is in flight and is answered once, by a worker or by the stop that refuses it.

use super::burst::{Burst, BurstOrigin, ReplySink, Work};
use super::method_limits::{Entry, MethodLimit, SetAside};
use super::shared::{PortShared, Shared};
use super::worker::{LimitedCall, Worker};
use crate::admission::LineForecast;
use crate::proto::Call;
use crate::sync::{Arc, Ordering, Planted, planted};
use std::time::Instant;

impl Worker {
    /// Asks for a place for a call of a limited method, unless it will not be run.
    #[inline(never)]
    pub(super) fn enter_line(&self, limited: &LimitedCall<'_>, sink: &dyn ReplySink, now: Instant) -> Entry {
        let (shared, port) = (&self.shared, self.port.index);
        let call = &limited.work.calls[limited.call];
        if !self.is_not_run(call, sink, now) {
            return shared.enter_line(port, limited);
        }
        if limited.origin == BurstOrigin::Recalled {
            shared.limits.renounce(call.method);
            shared.recall(call.method, Some(port));
        }
        Entry::Unlimited
    }
}

impl Shared {
    /// Asks for a place for a call.
    fn enter_line(&self, port: usize, LimitedCall { work, call, origin }: &LimitedCall<'_>) -> Entry {
        let mut burst = Burst::for_line(Arc::clone(work), *call);
        if *origin == BurstOrigin::Recalled {
            burst.set_origin(*origin);
        }
        let call = &work.calls[*call];
        // Before it is in the line: from then on another thread may recall it.
        self.nested.set_line(work, call, Some(call.method));
        let closed = || self.abandoned.load(Ordering::SeqCst);
        self.limits.enter(call.method, SetAside { port, burst }, closed)
    }

    /// A call has ended that had a place.
    pub(super) fn leave_line(&self, method: u16, port: usize) {
        self.limits.leave(method);
        if !planted(Planted::UnpassedPlace) {
            self.recall(method, Some(port));
        }
    }

    /// Recalls as many calls of a method as there are places. A worker of port `by` is about to look at its queue.
    pub(super) fn recall(&self, method: u16, by: Option<usize>) {
        while let Some(call) = self.limits.recall(method) {
            self.queue_again(call, by);
        }
    }

    fn queue_again(&self, SetAside { port, burst }: SetAside, by: Option<usize>) {
        let work = Arc::clone(burst.work());
        self.nested.set_line(&work, &work.calls[burst.first()], None);
        self.throttle.ports[port].queue.recall(burst, &self.service_times);
        if by != Some(port) {
            self.throttle.wake_one(port);
        }
    }

    /// The state of a method's line, for a call that arrives now, which a handler made if `nested`.
    pub(crate) fn line_forecast(&self, method: u16, nested: bool) -> LineForecast {
        self.limits.forecast(method, nested, self.service_times.mean_ns(method))
    }

    /// Changes the limit of a method. Calls that run go on and count, those that wait run as soon as the limit allows.
    /// `ports` are all ports.
    pub(crate) fn limit_method<'a>(
        &self,
        ports: impl Iterator<Item = &'a PortShared>,
        method: u16,
        limit: Option<MethodLimit>,
    ) {
        if self.limits.set(method, limit) {
            let adopt = |port: &PortShared| port.slots.iter().filter(|slot| slot.adopt(method)).count();
            self.limits.adopt(method, ports.map(adopt).sum());
        }
        self.recall(method, None);
    }

    /// While calls wait in lines: has those answered that are cancelled or whose deadlines have passed.
    pub(crate) fn answer_overdue(&self, now: Instant) {
        let is_overdue = |work: &Work, call: &Call| {
            call.deadline.is_some_and(|deadline| deadline <= now) || work.sink().is_cancelled(call.id)
        };
        self.limits.take_if(is_overdue).into_iter().for_each(|call| self.queue_again(call, None));
    }

    /// Puts all calls that wait in lines into their queues, to be refused there.
    pub(super) fn empty_lines(&self) {
        self.limits.take_if(|_, _| true).into_iter().for_each(|call| self.queue_again(call, None));
    }
}
