//! Simulations of loads whose truth is known.

mod made;
mod queues;
