//! The suites, one a file.

pub mod batch;
pub mod codec;
pub mod layers;
pub mod locks;
pub mod memory;
pub mod ops;
pub mod ops_limit;
pub mod scan;
pub mod startup;

use std::pin::Pin;

use crate::Outcome;
use crate::case::Case;
use crate::lab::Lab;

/// A suite on its way.
pub type Running<'a> = Pin<Box<dyn Future<Output = Outcome<Vec<Case>>> + 'a>>;

/// A suite: its name, and what runs it.
#[derive(Clone, Copy)]
pub struct Suite {
    /// Its name.
    pub name: &'static str,
    /// What it asks.
    pub question: &'static str,
    /// Runs it.
    pub run: for<'a> fn(&'a Lab) -> Running<'a>,
}

/// All suites, in the order in which they run.
pub const ALL: [Suite; 8] = [
    Suite {
        name: "ops",
        question: "How many single operations a second?",
        run: |lab| Box::pin(ops::run(lab)),
    },
    Suite {
        name: "batch",
        question: "How many keys a second, many at once?",
        run: |lab| Box::pin(batch::run(lab)),
    },
    Suite {
        name: "codec",
        question: "What does compression cost, end to end?",
        run: |lab| Box::pin(codec::run(lab)),
    },
    Suite { name: "locks", question: "How many locks a second?", run: |lab| Box::pin(locks::run(lab)) },
    Suite { name: "scan", question: "Do scans stay linear, and small?", run: |lab| Box::pin(scan::run(lab)) },
    Suite {
        name: "startup",
        question: "How long until the first answer?",
        run: |lab| Box::pin(startup::run(lab)),
    },
    Suite {
        name: "memory",
        question: "How much memory do operations in flight take?",
        run: |lab| Box::pin(memory::run(lab)),
    },
    Suite { name: "layers", question: "What does each layer cost?", run: |lab| Box::pin(layers::run(lab)) },
];
