//! From what callers have put together to bytes of the stream, and to who waits for what comes back.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::group::Group;
use crate::mux::{Cause, Owed, Terms};
use crate::observe::{BatchKind, Permit};
use crate::outbox::{Entry, Requests};

/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 256 * 1024;

/// Share of members that a shared command leaves without an answer, from which on groups are sent as pipelines.
const MANY_APART: f32 = 0.2;

/// Bytes to write.
#[derive(Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    written: usize,
    /// Bytes of all requests so far: the position of the next one in the stream.
    end: u64,
}

/// For each kind of group, the share of members that a shared command left without an answer: a running average over
/// some eight groups.
#[derive(Default)]
pub(crate) struct Apart {
    reads: f32,
    writes: f32,
}

impl Output {
    /// What is not written yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub(crate) fn note_written(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written == self.bytes.len() {
            self.written = 0;
            recycle(&mut self.bytes);
        }
    }

    /// Takes `requests` over, and leaves their buffers empty. `terms` are those of a connection on which operations
    /// travel together.
    pub(crate) fn launch(
        &mut self,
        requests: &mut Requests,
        owed: &mut VecDeque<Owed>,
        apart: &Apart,
        terms: Option<&Terms>,
    ) {
        self.launch_group(BatchKind::Get, &mut requests.reads, owed, apart, terms);
        let mut rest = &requests.bytes[..];
        for entry in requests.entries.drain(..) {
            match entry {
                Entry::Alone(waiting) => {
                    let (own, others) = rest.split_at(waiting.len);
                    rest = others;
                    owed.push_back(Owed::Alone { start: self.end, waiting });
                    self.bytes.extend_from_slice(own);
                    self.end += own.len() as u64;
                }
                Entry::Together(kind, mut group) => {
                    self.launch_group(kind, &mut group, owed, apart, terms);
                }
            }
        }
        recycle(&mut requests.bytes);
        self.launch_group(BatchKind::Set, &mut requests.writes, owed, apart, terms);
    }

    /// Asks the gate for a group, as for one request.
    fn launch_group(
        &mut self,
        kind: BatchKind,
        group: &mut Group,
        owed: &mut VecDeque<Owed>,
        apart: &Apart,
        terms: Option<&Terms>,
    ) {
        if group.is_empty() {
            return;
        }
        group.take_back(Instant::now());
        if group.is_empty() {
            return;
        }
        let Some((terms, permit)) = terms.and_then(|terms| Some((terms, admit(terms)?))) else {
            return group.fail(&Cause::Rejected);
        };
        terms.setup.observe(|observer| observer.batch_sent(kind, group.len()));
        let merges = !terms.setup.many_slots && apart.of(kind) <= MANY_APART;
        let before = self.bytes.len();
        let flight = group.launch(kind, merges, permit, &mut self.bytes);
        owed.push_back(Owed::Together { start: self.end, flight });
        self.end += (self.bytes.len() - before) as u64;
    }
}

/// `None` when the gate refuses.
fn admit(terms: &Terms) -> Option<Permit> {
    match &terms.setup.config.gate {
        Some(gate) => gate.admit(&terms.endpoint),
        None => Some(Permit::untracked()),
    }
}

/// Empties a buffer for its next use.
pub(crate) fn recycle(bytes: &mut Vec<u8>) {
    if bytes.capacity() > KEPT {
        *bytes = Vec::new();
    } else {
        bytes.clear();
    }
}

impl Apart {
    fn of(&self, kind: BatchKind) -> f32 {
        match kind {
            BatchKind::Get => self.reads,
            BatchKind::Set => self.writes,
        }
    }

    /// Notes what became of a group.
    pub(crate) fn note(&mut self, kind: BatchKind, share: f32) {
        let average = match kind {
            BatchKind::Get => &mut self.reads,
            BatchKind::Set => &mut self.writes,
        };
        *average += (share - *average) / 8.0;
    }
}
