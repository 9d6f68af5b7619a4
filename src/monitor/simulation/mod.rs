//! A simulation of the server under the load of the last minutes: what other settings would bring.
//!
//! `recorder` keeps counts and times of each second (`record`), and `levels` how run times went with the number that
//! ran; `estimate` and `sources` make a [`Workload`] of them, plain data. `engine` simulates one from event to event,
//! and `what_if` compares two: the settings in force, by which the simulation shows its own error, and others.
//!
//! Invariants: no clock and no chance but a seed; memory and events are bounded; contents of calls are unknown here.

mod engine;
mod estimate;
mod levels;
mod outcome;
mod random;
mod record;
mod recorder;
mod sources;
mod state;
mod station;
#[cfg(test)]
mod tests;
mod what_if;
mod workload;

pub(super) use recorder::Recorder;
pub(super) use what_if::{Expectation, LimitedBy, PresentLoad, change, expect};
pub(super) use workload::{Contention, MethodPlaces, MethodWorkload, Workload};
