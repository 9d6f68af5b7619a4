//! Models of the threads of a port whose listening thread runs calls: the code itself, with a listener that queues the
//! reads of a script.

use super::*;
use crate::pool::port_threads::{PortListener, TurnOutcome};
use crate::pool::run_where_read::{listen_and_work, run_deputy};
use crate::sync::{Planted, planted, yield_now};
use std::collections::VecDeque;

/// The bursts of one read: method and calls of each.
type Read = Vec<(u16, usize)>;

/// A listener that queues one read a turn, and ends when nothing waits any more.
struct Script {
    shared: Arc<Shared>,
    port: Arc<PortShared>,
    connection: Arc<NullSink>,
    reads: VecDeque<Read>,
    /// Looks for stuck calls before each turn, as a listener does, and goes on until none waits.
    watches: bool,
    ended: Arc<(Mutex<usize>, Condvar)>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script { .. }")
    }
}

impl PortListener for Script {
    fn turn(&mut self) -> TurnOutcome {
        let calls_wait = self.watches && self.port.queue.needs_watch() && !planted(Planted::NoRescue);
        if calls_wait {
            self.port.rescue_stalled(&self.shared, false, now());
        }
        let Some(read) = self.reads.pop_front() else {
            if calls_wait {
                yield_now();
                return TurnOutcome::Continue;
            }
            return TurnOutcome::Ended;
        };
        let mut outcome = TurnOutcome::Continue;
        for (method, calls) in read {
            let calls = (0..calls).map(|id| Call::new(id as u64, method, Codec::Bincode, 0, None));
            let work = work(&self.shared, &self.port, &self.connection, calls);
            for burst in Burst::split_work(Arc::new(work)) {
                let left = self.port.may_leave(&burst, &self.shared.service_times);
                self.port.queue.admit(burst, &self.shared.service_times);
                if left {
                    outcome = TurnOutcome::CallsLeft;
                } else {
                    self.shared.throttle.announce(self.port.index);
                }
            }
        }
        outcome
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        *self.ended.0.lock() += 1;
        self.ended.1.notify_all();
    }
}

/// Starts a model whose ports each have a listening thread with this script, and a deputy for all.
fn start(
    ports: usize,
    workers: usize,
    permits: u32,
    script: &[Read],
) -> (Model, Arc<(Mutex<usize>, Condvar)>) {
    let mut model = Model::start(ports, workers, permits);
    for method in [MEET, NOTE, PAIR, RUN, WAIT] {
        model.shared.service_times.add(method, 1, 0);
    }
    let ended = Arc::new((Mutex::new(0), Condvar::new()));
    for (port, connection) in model.ports.iter().zip(&model.connections) {
        let (shared, port) = (Arc::clone(&model.shared), Arc::clone(port));
        let (connection, ended) = (Arc::clone(connection), Arc::clone(&ended));
        let reads: VecDeque<Read> = script.to_vec().into();
        model.threads.push(thread::spawn(move || {
            let (its_shared, its_port) = (Arc::clone(&shared), Arc::clone(&port));
            let watches = reads.iter().flatten().any(|(method, _)| *method == PAIR);
            let script = Script { shared: its_shared, port: its_port, connection, reads, watches, ended };
            listen_and_work(shared, port, Box::new(script));
        }));
    }
    let shared = Arc::clone(&model.shared);
    model.threads.push(thread::spawn(move || run_deputy(&shared.throttle)));
    (model, ended)
}

/// Runs such a model to its end.
fn run(ports: usize, workers: usize, permits: u32, script: &[Read]) {
    let (model, ended) = start(ports, workers, permits, script);
    await_ended(&ended, ports);
    let calls: usize = script.iter().flatten().map(|(_, calls)| calls).sum();
    model.finish(ports * calls);
}

fn await_ended(ended: &(Mutex<usize>, Condvar), ports: usize) {
    let mut count = ended.0.lock();
    while *count < ports {
        ended.1.wait(&mut count);
    }
}

#[test]
fn model_short_calls_run_where_they_were_read() {
    check(2, || run(1, 1, 1, &[vec![(RUN, 1)], vec![(RUN, 2)]]));
}

#[test]
fn model_the_listening_thread_leaves_with_a_call_in_the_queue() {
    check(2, || run(1, 1, 1, &[vec![(RUN, 1), (RUN, 1)]]));
}

#[test]
fn model_a_slow_call_passes_the_listening_on() {
    // Each call waits for the other, with its worker and its permit.
    check(1, || run(1, 2, 2, &[vec![(PAIR, 1)], vec![(PAIR, 1)]]));
}

/// Loom would need as long again as for the model before.
#[cfg(shuttle)]
#[test]
fn model_a_slow_call_holds_back_no_call_of_its_burst() {
    check(1, || run(1, 2, 2, &[vec![(PAIR, 2)]]));
}

#[test]
fn model_a_call_that_waits_passes_the_listening_on() {
    // The second read is too long to be run where it was read.
    check(1, || run(1, 1, 1, &[vec![(WAIT, 1)], vec![(RUN, 5)]]));
}

#[test]
fn model_the_server_stops_while_the_listening_thread_runs_a_call() {
    check(2, || {
        let (model, ended) = start(1, 1, 1, &[vec![(NOTE, 1)]]);
        model.witness.await_calls(1);
        model.shared.throttle.close();
        await_ended(&ended, 1);
        model.join(1);
    });
}

#[test]
fn model_the_server_stops_while_a_worker_waits_for_the_permit_of_the_listening_thread() {
    check(1, || {
        let (model, ended) = start(1, 2, 1, &[vec![(WAIT, 1)], vec![(NOTE, 1)]]);
        model.witness.await_calls(1);
        model.shared.throttle.close();
        await_ended(&ended, 1);
        model.join(2);
    });
}

/// More threads than loom takes.
#[cfg(shuttle)]
#[test]
fn model_two_listening_threads_share_one_permit() {
    check(2, || run(2, 1, 1, &[vec![(RUN, 1)], vec![(WAIT, 1)], vec![(RUN, 1)]]));
}
