//! Tests of the throttle without threads: the words for the workers stay in their parkers.

use super::*;
use crate::pool::queue::QueueSizes;

/// Ports of two workers each, without work and threads: the words for the workers stay in their parkers.
fn throttle(ports: usize, permits: u32) -> Throttle {
    let sizes = QueueSizes { calls_max: 8, workers: 2, reserve: 0, cores: 2 };
    let workers = |_| PortWorkers::new(Arc::new(Queue::new(sizes, now())), 2);
    Throttle::new(NonZeroU32::new(permits), (0..ports).map(workers).collect())
}

/// The word that was handed to a worker. Waits for ever if there is none.
fn word(throttle: &Throttle, port: usize, worker: usize) -> u32 {
    throttle.ports[port].parkers[worker].park()
}

/// Wakes a worker, which is the next of its port.
fn wake(throttle: &Throttle, port: usize, worker: usize) {
    assert!(throttle.wake_one(port));
    assert_eq!(word(throttle, port, worker), PERMIT);
}

#[test]
fn returning_workers_get_permits_in_order_and_before_idle_ones() {
    let throttle = throttle(2, 1);
    for (port, worker) in [(0, 0), (0, 1), (1, 0)] {
        assert!(throttle.wake_one(port), "the worker before has returned its permit");
        assert_eq!(word(&throttle, port, worker), PERMIT);
        throttle.pause(port, worker);
    }
    assert_eq!(throttle.permits(), (0, 1));
    assert!(throttle.resume(0, 1), "a permit is free");
    assert!(!throttle.resume(1, 0) && !throttle.resume(0, 0));
    assert!(!throttle.wake_one(1), "no idle worker is woken before them");
    assert!(throttle.others_starve(0) && throttle.others_starve(1), "of their own port too");
    assert_eq!(throttle.pass_on(0, 1), Next::Park);
    assert_eq!(word(&throttle, 1, 0), PERMIT);
    throttle.pause(1, 0);
    assert_eq!(word(&throttle, 0, 0), PERMIT);
    assert!(!throttle.others_starve(1));
    assert_eq!(throttle.retire(0, 0), Next::Park);
    assert_eq!(throttle.permits(), (0, 1));
}

#[test]
fn a_close_leaves_returning_workers_in_line() {
    let throttle = throttle(1, 1);
    wake(&throttle, 0, 0);
    throttle.pause(0, 0);
    wake(&throttle, 0, 1);
    assert!(!throttle.resume(0, 0));
    throttle.close();
    assert_eq!(throttle.pass_on(0, 1), Next::Go, "no worker goes to sleep any more");
    assert_eq!(throttle.retire(0, 1), Next::Exit);
    assert_eq!(word(&throttle, 0, 0), PERMIT);
    assert_eq!(throttle.retire(0, 0), Next::Exit);
    assert_eq!(throttle.permits(), (0, 1));
}

#[test]
fn permits_above_a_lowered_limit_are_returned_and_a_raised_limit_grants_them_to_waiters() {
    let throttle = throttle(2, 3);
    for (port, worker) in [(0, 0), (0, 1), (1, 0)] {
        wake(&throttle, port, worker);
    }
    throttle.set_limit(NonZeroU32::new(1));
    assert_eq!((throttle.limit(), throttle.permits()), (Some(1), (3, 3)), "permits that are out stay out");
    assert!(!throttle.wake_one(1) && throttle.others_starve(0), "none is granted above the limit");
    assert_eq!(throttle.pass_on(0, 0), Next::Park, "though no other worker waits");
    throttle.pause(0, 0);
    assert!(!throttle.resume(0, 1), "one is out, which is the limit");
    assert_eq!(throttle.permits().0, 1);
    throttle.set_limit(NonZeroU32::new(3));
    assert_eq!(word(&throttle, 0, 1), PERMIT, "the waiting worker has one at once");
    assert_eq!(throttle.permits().0, 2);
    throttle.set_limit(None);
    assert_eq!(throttle.limit(), None);
    for (port, worker) in [(0, 1), (1, 0)] {
        assert_eq!(throttle.retire(port, worker), Next::Park);
    }
    assert_eq!(throttle.permits(), (0, 3));
}

#[test]
fn without_a_limit_no_worker_waits_for_a_permit() {
    let throttle = throttle(1, 0);
    assert!(throttle.wake_one(0) && throttle.wake_one(0));
    throttle.pause(0, 0);
    assert!(throttle.resume(0, 0));
    assert_eq!(throttle.permits(), (2, 2));
}
