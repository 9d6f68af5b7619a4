//! Simulations of loads whose truth is known: by formulas, and by a made server that is observed like a real one.

mod made;
mod pipeline;
mod queues;
mod world;
