//! Models of the limits of methods: a place that is passed between workers, ports and a stop.

use super::*;
use crate::pool::MethodLimit;

/// Limits a method to one call at once.
fn limit(model: &Model, method: u16, run: usize) {
    let limit = Some(MethodLimit { run, wait: 8 });
    model.shared.limit_method(model.ports.iter().map(|port| &**port), method, limit);
}

#[test]
fn model_a_place_is_passed_to_a_call_that_waits() {
    check(2, || {
        let model = Model::start(1, 2, 2);
        limit(&model, RUN, 1);
        model.push(0, 1);
        model.push(0, 1);
        model.finish(2);
    });
}

#[test]
fn model_no_more_handlers_run_than_the_limit_of_their_method() {
    check(2, || {
        // Both have a permit, so what keeps them apart is the limit.
        let model = Model::start(1, 2, 2);
        limit(&model, WAIT, 1);
        model.push_for(WAIT, 0, 1);
        model.push_for(WAIT, 0, 1);
        model.finish(2);
    });
}

#[test]
fn model_a_place_is_passed_to_another_port() {
    check(2, || {
        let model = Model::start(2, 1, 2);
        limit(&model, RUN, 1);
        model.push(0, 1);
        model.push(1, 1);
        model.push(0, 1);
        model.finish(3);
    });
}

#[test]
fn model_a_limit_is_raised_and_removed_while_calls_wait() {
    check(2, || {
        let model = Model::start(1, 2, 2);
        // Each waits for the other.
        model.push_for(PAIR, 0, 1);
        limit(&model, PAIR, 1);
        model.push_for(PAIR, 0, 1);
        limit(&model, PAIR, 2);
        model.shared.limit_method(model.ports.iter().map(|port| &**port), PAIR, None);
        model.finish(2);
    });
}

#[test]
fn model_a_nested_call_takes_a_place_that_is_kept() {
    check(2, || {
        let model = Model::start_with(1, 1, 2, 1);
        limit(&model, RUN, 1);
        model.push(0, 1);
        model.push_nested(RUN, 0);
        model.push(0, 1);
        model.finish(3);
    });
}

#[test]
fn model_a_stop_refuses_what_waits_in_a_line() {
    check(2, || {
        let model = Model::start(1, 2, 2);
        limit(&model, RUN, 1);
        (0..3).for_each(|_| model.push(0, 1));
        model.shared.abandoned.store(true, Ordering::SeqCst);
        model.ports[0].refuse_queued(&model.shared);
        model.finish(3);
    });
}
