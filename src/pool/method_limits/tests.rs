//! Tests of the limits of methods.

use super::*;
use crate::pool::buffers::Buffers;
use crate::wire::Codec;
use std::time::Instant;

const METHOD: u16 = 2;

/// A call with this number, which a client or a handler made.
fn call(id: u64, nested: bool) -> SetAside {
    let mut work = Work::new(&Buffers::unbounded(), Instant::now());
    work.calls.push(Call::new(id, METHOD, Codec::Bincode, 0, None));
    work.nested_from = usize::from(!nested);
    SetAside { port: 0, burst: Burst::for_line(Arc::new(work), 0) }
}

fn id(call: &SetAside) -> u64 {
    call.burst.calls()[0].id
}

fn enter(limits: &MethodLimits, call: SetAside) -> Entry {
    limits.enter(METHOD, call, || false)
}

fn limited(run: usize, wait: usize) -> MethodLimits {
    let limits = MethodLimits::new(METHOD.into());
    assert!(limits.set(METHOD, Some(MethodLimit { run, wait })));
    limits.adopt(METHOD, 0);
    limits
}

#[test]
fn no_more_run_than_the_limit_and_no_more_wait() {
    use Entry::{Refused, Runs, Waits};
    let limits = limited(2, 2);
    assert!(limits.is_limited(METHOD) && !limits.is_limited(METHOD - 1));
    let entries: Vec<_> = (1..=5).map(|id| enter(&limits, call(id, false))).collect();
    assert_eq!(entries, [Runs, Runs, Waits, Waits, Refused]);
    let [line] = limits.lines()[..] else { panic!("one method is limited") };
    assert_eq!((line.running, line.waiting), (2, 2));
    assert!(limits.recall(METHOD).is_none(), "no place is free");
    limits.leave(METHOD);
    let recalled = limits.recall(METHOD).unwrap();
    assert_eq!(id(&recalled), 3);
    assert_eq!(enter(&limits, call(6, false)), Refused, "the place is kept");
    assert_eq!(enter(&limits, recalled), Runs);
    assert!(limits.recall(METHOD).is_none());
}

#[test]
fn a_nested_call_comes_first_and_takes_a_kept_place() {
    use Entry::{Runs, Waits};
    let limits = limited(1, 9);
    assert_eq!(enter(&limits, call(1, false)), Runs);
    for (number, nested) in [(2, false), (3, true)] {
        assert_eq!(enter(&limits, call(number, nested)), Waits);
    }
    limits.leave(METHOD);
    let first = limits.recall(METHOD).unwrap();
    assert_eq!(id(&first), 3);
    limits.renounce(METHOD);
    let second = limits.recall(METHOD).unwrap();
    assert_eq!(id(&second), 2);
    assert_eq!(enter(&limits, call(4, true)), Runs);
    assert_eq!(enter(&limits, call(5, false)), Waits);
    assert_eq!(enter(&limits, second), Waits, "in front");
    limits.leave(METHOD);
    assert_eq!(limits.recall(METHOD).map(|call| id(&call)), Some(2));
}

#[test]
fn a_nested_call_waits_in_a_full_line() {
    use Entry::{Refused, Runs, Waits};
    let limits = limited(1, 1);
    assert_eq!([1, 2, 3].map(|id| enter(&limits, call(id, false))), [Runs, Waits, Refused]);
    let forecast = |nested| limits.forecast(METHOD, nested, 1000);
    assert!(forecast(false).is_full && !forecast(true).is_full);
    assert_eq!([false, true].map(|nested| forecast(nested).wait.as_nanos()), [2000, 1000]);
    assert_eq!(enter(&limits, call(4, true)), Waits);
    assert_eq!(enter(&limits, call(5, false)), Refused);
    limits.leave(METHOD);
    assert_eq!(limits.recall(METHOD).map(|call| id(&call)), Some(4));
}

#[test]
fn a_limit_changes_while_calls_run_and_wait() {
    use Entry::{Runs, Waits};
    let limits = limited(1, 9);
    assert_eq!([1, 2, 3, 4].map(|id| enter(&limits, call(id, false))), [Runs, Waits, Waits, Waits]);
    assert!(!limits.set(METHOD, Some(MethodLimit { run: 2, wait: 0 })), "its calls are counted");
    let second = limits.recall(METHOD).unwrap();
    assert!(limits.recall(METHOD).is_none());
    assert_eq!(enter(&limits, second), Runs);
    limits.set(METHOD, Some(MethodLimit { run: 1, wait: 0 }));
    limits.leave(METHOD);
    assert!(limits.recall(METHOD).is_none(), "one still runs");
    limits.set(METHOD, None);
    let left: Vec<_> = std::iter::from_fn(|| limits.recall(METHOD)).collect();
    assert_eq!(left.iter().map(id).collect::<Vec<_>>(), [3, 4]);
    assert!(limits.is_limited(METHOD) && limits.lines().is_empty(), "calls are still counted");
    left.into_iter().for_each(|call| assert_eq!(enter(&limits, call), Runs));
    (0..3).for_each(|_| limits.leave(METHOD));
    assert!(!limits.is_limited(METHOD) && !limits.any() && !limits.any_waiting());
}

#[test]
fn calls_that_ran_before_the_limit_count() {
    let limits = MethodLimits::new(METHOD.into());
    assert!(limits.set(METHOD, Some(MethodLimit { run: 2, wait: 9 })));
    assert_eq!(enter(&limits, call(1, false)), Entry::Waits, "it is not known yet how many run");
    limits.leave(METHOD);
    assert!(limits.recall(METHOD).is_none(), "one of them has ended");
    limits.adopt(METHOD, 3);
    assert!(limits.recall(METHOD).is_none());
    limits.leave(METHOD);
    assert!(limits.recall(METHOD).is_some());
}

#[test]
fn selected_calls_leave_their_line() {
    let limits = limited(1, 9);
    (1..=4).for_each(|id| _ = enter(&limits, call(id, id == 3)));
    let taken = limits.take_if(|_, call| call.id != 2);
    assert_eq!(taken.iter().map(id).collect::<Vec<_>>(), [4, 3]);
    assert!(taken.iter().all(|call| call.burst.origin() == BurstOrigin::Line));
    assert!(limits.any_waiting());
    limits.leave(METHOD);
    assert_eq!(limits.recall(METHOD).map(|call| id(&call)), Some(2));
    assert!(!limits.any_waiting());
    let closed = limits.enter(METHOD, call(5, false), || true);
    assert_eq!(closed, Entry::Refused);
}
