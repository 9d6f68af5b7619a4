//! Made loads.

use crate::monitor::simulation::workload::{
    CallSource, Contention, MethodWorkload, PortMeasured, PortWorkload, ProcessorWorkload, SourceKind,
    Workload,
};

/// Equally likely times of an exponential distribution of mean 1.
pub(super) fn exponential() -> Vec<f64> {
    let points: Vec<f64> = (0..500).map(|n| -(1.0 - (f64::from(n) + 0.5) / 500.0).ln()).collect();
    let mean = points.iter().sum::<f64>() / 500.0;
    points.into_iter().map(|point| point / mean).collect()
}

/// A method whose calls are held up for so long.
pub(super) fn method(held_s: f64, spread: Vec<f64>) -> MethodWorkload {
    MethodWorkload {
        name: "a.b".to_owned(),
        per_s: 0.0,
        busy: 0.0,
        spread,
        processor_s: 0.0,
        held_s,
        blocked_s: 0.0,
        contention: Contention::None,
        limit: None,
    }
}

/// A port, each of whose methods has a source of its own.
pub(super) fn port(workers: u32, methods: Vec<(MethodWorkload, SourceKind)>) -> PortWorkload {
    let (methods, kinds): (Vec<_>, Vec<_>) = methods.into_iter().unzip();
    let source = |(method, kind)| CallSource { kind, methods: vec![(method, 1.0)], in_flight: 0.0 };
    PortWorkload {
        name: "P".to_owned(),
        workers,
        queue_limit: 10_000,
        connections: 10,
        methods,
        sources: kinds.into_iter().enumerate().map(source).collect(),
        alternatives: Vec::new(),
        measured: PortMeasured::default(),
    }
}

/// A server with processors in plenty.
pub(super) fn server(ports: Vec<PortWorkload>) -> Workload {
    Workload { ports, permits: None, processors: processors(1000.0) }
}

pub(super) fn processors(cores: f64) -> ProcessorWorkload {
    ProcessorWorkload { cores, ours: cores, used: 0.0, others: 0.0, background_s: 0.0, others_s: 0.0 }
}

pub(super) fn callers(count: u32, think_s: f64) -> SourceKind {
    SourceKind::Callers { count, think_s }
}
