//! Limits of methods (`[Limits]`): how many calls of a method may run at once in the whole server, and how many more
//! may wait for that in the method's line, where they hold neither a worker nor a permit.
//!
//! A worker that has taken a call of a limited method asks for a place. The call runs, or waits in the line, or is
//! refused. A place that comes free is kept for the first call of the line, which is *recalled*: it goes to its port's
//! queue again, and asks once more when a worker has taken it. A kept place blocks no nested call, whose caller holds a
//! worker: such a call takes it if it comes first, and the recalled one goes back to the front of the line. Nor does a
//! full line refuse it: it waits there all the same, so that a deadlock is seen; `outgoing_calls.rs` bounds such calls.
//!
//! Invariants, true whenever a line's lock is free: no more calls run than the limit, save those that ran when it was
//! lowered; while calls wait, as many run or are recalled as the limit, or a call of [`MethodLimits::recall`] is due;
//! `limited` is set while the method has a limit, or calls that count.
//!
//! Knows bursts and ports by number; knows neither queues nor workers (`limited_calls.rs` does).

use super::burst::{Burst, BurstOrigin, Work};
use crate::admission::LineForecast;
use crate::proto::Call;
use crate::sync::unordered::{AtomicBool, AtomicUsize};
use crate::sync::{Arc, Mutex, Ordering, Planted, planted};
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// A method's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodLimit {
    /// Calls that may run at once.
    pub(crate) run: usize,
    /// Calls that may wait for that; nested ones wait in any case.
    pub(crate) wait: usize,
}

/// The limits of a server's methods, and the calls that wait for them.
#[derive(Debug)]
pub(crate) struct MethodLimits {
    /// Whether each method's calls are counted, by number. Written under the lock of its line.
    limited: Vec<AtomicBool>,
    /// How many of these are set.
    limited_count: AtomicUsize,
    /// Calls in all lines.
    waiting: AtomicUsize,
    lines: Vec<Mutex<Line>>,
}

/// A method's line.
#[derive(Debug, Default)]
struct Line {
    limit: Option<MethodLimit>,
    /// Calls that ran before the limit was set are being counted: no place is given meanwhile.
    is_adopting: bool,
    /// Calls that run. Below zero while calls that are being counted end.
    running: isize,
    /// Recalled calls that no worker has taken yet.
    recalled: usize,
    /// Calls that clients made, and those that handlers of this server made, which come first.
    waiting: [VecDeque<SetAside>; 2],
}

/// A call that waits in its method's line.
#[derive(Debug)]
pub(super) struct SetAside {
    pub(super) port: usize,
    /// The call alone.
    pub(super) burst: Burst,
}

/// Answer to a call that asks for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// It needs none: its method has no limit, or it will not be run.
    Unlimited,
    /// It has a place, until [`MethodLimits::leave`].
    Runs,
    /// It was put into the line.
    Waits,
    /// The line is full.
    Refused,
}

/// A line at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineState {
    /// Number of the method.
    pub(crate) method: u16,
    pub(crate) limit: MethodLimit,
    pub(crate) running: usize,
    /// Recalled calls included.
    pub(crate) waiting: usize,
}

impl Line {
    fn waiting(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum::<usize>() + self.recalled
    }

    /// Returns whether one more call may run where places are kept for `kept` others.
    fn has_place(&self, kept: usize) -> bool {
        let taken = self.running + kept as isize;
        self.limit.is_none_or(|limit| !self.is_adopting && taken < limit.run as isize)
    }

    fn is_unused(&self) -> bool {
        self.limit.is_none() && self.running == 0 && self.waiting() == 0
    }
}

impl MethodLimits {
    /// For methods 1 to `methods`, none of them limited.
    pub(super) fn new(methods: usize) -> MethodLimits {
        MethodLimits {
            limited: (0..=methods).map(|_| AtomicBool::new(false)).collect(),
            limited_count: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            lines: (0..=methods).map(|_| Mutex::default()).collect(),
        }
    }

    /// Returns whether calls of this method are counted.
    #[inline]
    pub(super) fn is_limited(&self, method: u16) -> bool {
        self.limited[usize::from(method)].load(Ordering::Relaxed)
    }

    /// Returns whether calls of any method are counted.
    pub(crate) fn any(&self) -> bool {
        self.limited_count.load(Ordering::Relaxed) > 0
    }

    /// Returns whether calls wait in any line.
    pub(crate) fn any_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn line(&self, method: u16) -> &Mutex<Line> {
        &self.lines[usize::from(method)]
    }

    fn numbers(&self) -> impl Iterator<Item = u16> {
        self.limited.iter().zip(0..).filter(|(limited, _)| limited.load(Ordering::Relaxed)).map(|(_, n)| n)
    }

    /// Changes a limit, `None` for none. Returns whether the method was not limited before: then the calls that run are
    /// to be counted ([`MethodLimits::adopt`]), and none begins until then.
    pub(super) fn set(&self, method: u16, limit: Option<MethodLimit>) -> bool {
        let mut line = self.line(method).lock();
        line.limit = limit;
        let begins = limit.is_some() && !self.is_limited(method);
        if begins {
            line.is_adopting = true;
            self.set_limited(method, true);
        } else if line.is_unused() {
            self.set_limited(method, false);
        }
        begins
    }

    /// Counts the calls that ran when the limit was set.
    pub(super) fn adopt(&self, method: u16, running: usize) {
        let mut line = self.line(method).lock();
        line.running += running as isize;
        line.is_adopting = false;
    }

    fn set_limited(&self, method: u16, limited: bool) {
        if self.limited[usize::from(method)].swap(limited, Ordering::Relaxed) != limited {
            let change = if limited { 1 } else { usize::MAX };
            self.limited_count.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// A worker has taken this call and asks for a place. `closed`: none is put into the line any more.
    pub(super) fn enter(&self, method: u16, call: SetAside, closed: impl FnOnce() -> bool) -> Entry {
        let (recalled, nested) = (call.burst.origin() == BurstOrigin::Recalled, call.burst.is_nested());
        let mut line = self.line(method).lock();
        line.recalled -= usize::from(recalled);
        let kept = if recalled || nested { 0 } else { line.recalled };
        if line.has_place(kept) {
            line.running += 1;
            return Entry::Runs;
        }
        if planted(Planted::LateLine) {
            drop(line);
            line = self.line(method).lock();
        }
        // A worker waits for a nested call: no line is too full for it.
        let full = !nested && line.limit.is_none_or(|limit| line.waiting() >= limit.wait);
        if closed() || full && !recalled {
            return Entry::Refused;
        }
        let SetAside { port, mut burst } = call;
        burst.set_origin(BurstOrigin::Line);
        let waiting = &mut line.waiting[usize::from(nested)];
        if recalled {
            waiting.push_front(SetAside { port, burst });
        } else {
            waiting.push_back(SetAside { port, burst });
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Entry::Waits
    }

    /// A call that ran has ended. [`MethodLimits::recall`] is to be called afterwards.
    pub(super) fn leave(&self, method: u16) {
        self.end(method, |line| line.running -= 1);
    }

    /// A recalled call is answered without asking for its place. [`MethodLimits::recall`] is to be called afterwards.
    pub(super) fn renounce(&self, method: u16) {
        self.end(method, |line| line.recalled -= 1);
    }

    /// Uncounts a call; the last one of a method without a limit ends the counting.
    fn end(&self, method: u16, uncount: impl FnOnce(&mut Line)) {
        let mut line = self.line(method).lock();
        uncount(&mut line);
        if line.is_unused() {
            self.set_limited(method, false);
        }
    }

    /// Takes the first call of the line out and keeps a place for it; `None` if none waits or no place is free.
    pub(super) fn recall(&self, method: u16) -> Option<SetAside> {
        let mut line = self.line(method).lock();
        if !line.has_place(line.recalled) {
            return None;
        }
        let [fresh, nested] = &mut line.waiting;
        let mut first = nested.pop_front().or_else(|| fresh.pop_front())?;
        first.burst.set_origin(BurstOrigin::Recalled);
        line.recalled += 1;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(first)
    }

    /// Takes the calls that `select` names out of all lines. It is asked without a lock.
    pub(super) fn take_if(&self, select: impl Fn(&Work, &Call) -> bool) -> Vec<SetAside> {
        let mut taken = Vec::new();
        for method in self.numbers() {
            // A call is known by its work, which is held meanwhile, and its place there.
            let copy = |call: &SetAside| (Arc::clone(call.burst.work()), call.burst.first());
            let all: Vec<_> = self.line(method).lock().waiting.iter().flatten().map(copy).collect();
            let selected = all.iter().filter(|(work, at)| select(work, &work.calls[*at]));
            let selected: HashSet<_> = selected.map(|(work, at)| (Arc::as_ptr(work), *at)).collect();
            let is_selected =
                |call: &SetAside| selected.contains(&(Arc::as_ptr(call.burst.work()), call.burst.first()));
            if selected.is_empty() {
                continue;
            }
            let before = taken.len();
            for waiting in &mut self.line(method).lock().waiting {
                let (out, left): (VecDeque<_>, _) =
                    std::mem::take(waiting).into_iter().partition(is_selected);
                *waiting = left;
                taken.extend(out);
            }
            self.waiting.fetch_sub(taken.len() - before, Ordering::Relaxed);
        }
        taken
    }

    /// Returns whether a line is full, and how long a call that comes now is likely to wait in it, by the method's mean
    /// run time. A `nested` one finds no line full, and waits for recalled and nested calls alone.
    pub(crate) fn forecast(&self, method: u16, nested: bool, mean_ns: u32) -> LineForecast {
        if !self.is_limited(method) {
            return LineForecast::default();
        }
        let line = self.line(method).lock();
        let Some(limit) = line.limit.filter(|_| !line.has_place(if nested { 0 } else { line.recalled }))
        else {
            return LineForecast::default();
        };
        let ahead = if nested { line.waiting[1].len() + line.recalled } else { line.waiting() };
        let wait_ns = (ahead as u64 + 1).saturating_mul(mean_ns.into()) / limit.run.max(1) as u64;
        let is_full = !nested && line.waiting() >= limit.wait;
        LineForecast { is_full, wait: Duration::from_nanos(wait_ns) }
    }

    /// The lines of all methods that have a limit.
    pub(crate) fn lines(&self) -> Vec<LineState> {
        let state = |method| {
            let line = self.line(method).lock();
            let (running, waiting) = (usize::try_from(line.running).unwrap_or(0), line.waiting());
            Some(LineState { method, limit: line.limit?, running, waiting })
        };
        self.numbers().filter_map(state).collect()
    }
}

#[cfg(test)]
mod tests;
