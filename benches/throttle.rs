//! Cost of the pool without sockets: a permit taken and given back, and the way of a call to a worker and back.
//!
//! `cargo bench --bench throttle`. Under `throttle` no thread sleeps, so the lock and the lists are timed; under `queue`
//! it is mostly the time of the system to wake a thread.

use boneyard::internal::{BenchPool, BenchThrottle};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

fn throttle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("throttle");
    let free = BenchThrottle::new(1, None);
    group.bench_function("take and give, free", |bench| {
        bench.iter(|| {
            assert!(free.take(0), "there is no limit");
            free.give(0);
        });
    });
    for threads in [2, 4] {
        group.bench_function(format!("take and give, {threads} threads"), |bench| {
            bench.iter_custom(|rounds| contended(threads, rounds));
        });
    }
    let spent = BenchThrottle::new(2, NonZeroU32::new(1));
    assert!(spent.take(0), "the only permit is home");
    group.bench_function("take, none left", |bench| bench.iter(|| spent.take(1)));
    let saturated = BenchThrottle::new(2, NonZeroU32::new(1));
    saturated.fill();
    assert!(saturated.take(0) && !saturated.take(1), "port 0 has the only permit, port 1 waits for it");
    group.bench_function("there and back between two ports, saturated", |bench| {
        bench.iter(|| {
            saturated.hand_over(0, 1);
            saturated.hand_over(1, 0);
        });
    });
    group.finish();
}

/// Runs `rounds` in each thread, every thread at a port of its own under the one lock.
fn contended(threads: usize, rounds: u64) -> Duration {
    let throttle = BenchThrottle::new(threads, None);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for port in 0..threads {
            let throttle = &throttle;
            scope.spawn(move || {
                for _ in 0..rounds {
                    assert!(throttle.take(port), "there is no limit");
                    throttle.give(port);
                }
            });
        }
    });
    start.elapsed()
}

/// The calls of one read to a worker, and their replies back.
fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    let pool = BenchPool::start(40, NonZeroU32::new(20)).expect("40 threads can be made");
    for calls in [1, 32, 512] {
        group.throughput(Throughput::Elements(calls as u64));
        group.bench_function(BenchmarkId::new("there and back, asleep between", calls), |bench| {
            bench.iter(|| {
                pool.push(calls);
                pool.await_answers();
            });
        });
    }
    // Always enough queued, so that no worker goes to sleep: the cost of the queue without that of wake-ups.
    for calls in [1, 32] {
        group.throughput(Throughput::Elements(calls as u64));
        group.bench_function(BenchmarkId::new("workers kept busy", calls), |bench| {
            bench.iter(|| {
                pool.push(calls);
                while pool.in_flight() > 4096 {
                    std::thread::yield_now();
                }
            });
            pool.await_answers();
        });
    }
    group.finish();
}

criterion_group!(benches, throttle, queue);
criterion_main!(benches);
