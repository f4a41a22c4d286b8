//! The table at the end.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// One row for each thing measured.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

/// The calls of one kind.
pub(crate) struct Row {
    title: &'static str,
    started: Instant,
    elapsed: Duration,
    operations: usize,
    bytes: u64,
    calls: Vec<Duration>,
    speed_up: Option<f64>,
}

impl Table {
    pub(crate) fn push(&mut self, row: Row) {
        self.0.push(row);
    }

    /// Adds a row and notes how many times faster it went, an operation, than the row called `base`.
    pub(crate) fn push_compared(&mut self, mut row: Row, base: &str) {
        let base = self.0.iter().find(|known| known.title == base);
        row.speed_up = base.map(|base| base.seconds_each() / row.seconds_each());
        self.0.push(row);
    }
}

impl Row {
    pub(crate) fn start(title: &'static str) -> Self {
        Self {
            title,
            started: Instant::now(),
            elapsed: Duration::ZERO,
            operations: 0,
            bytes: 0,
            calls: Vec::new(),
            speed_up: None,
        }
    }

    /// Counts a call that took from `since` until now, and did `operations` on `bytes`.
    pub(crate) fn call(&mut self, since: Instant, operations: usize, bytes: u64) {
        let call = since.elapsed();
        self.calls.push(call);
        self.operations += operations;
        self.bytes += bytes;
        self.elapsed += call;
    }

    /// Counts calls that several tasks made at the same time since the row was started, each one operation.
    pub(crate) fn calls(&mut self, calls: impl IntoIterator<Item = Duration>) {
        let before = self.calls.len();
        self.calls.extend(calls);
        self.operations += self.calls.len() - before;
        self.elapsed = self.started.elapsed();
    }

    fn seconds_each(&self) -> f64 {
        self.elapsed.as_secs_f64() / self.operations.max(1) as f64
    }

    fn cells(&self) -> [String; 8] {
        let mut calls = self.calls.clone();
        calls.sort();
        let percentile = |percent: usize| calls.get((calls.len() * percent).div_ceil(100).saturating_sub(1));
        [
            self.title.to_owned(),
            self.operations.to_string(),
            if self.bytes == 0 { String::new() } else { size(self.bytes) },
            self.calls.len().to_string(),
            percentile(50).map_or_else(String::new, |call| time(*call)),
            percentile(99).map_or_else(String::new, |call| time(*call)),
            format!("{:.0}", 1.0 / self.seconds_each()),
            self.speed_up.map_or_else(String::new, |times| format!("{times:.1} x")),
        ]
    }
}

const HEADINGS: [&str; 8] =
    ["", "operations", "bytes", "calls", "p50 a call", "p99 a call", "operations/s", "speed-up"];

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![HEADINGS.map(str::to_owned)];
        lines.extend(self.0.iter().map(Row::cells));
        let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
        for line in &lines {
            write!(f, "{:<width$}", line[0], width = widths[0])?;
            for (cell, width) in line.iter().zip(&widths).skip(1) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        let build =
            if cfg!(debug_assertions) { "unoptimized; --release for an optimized one" } else { "optimized" };
        writeln!(f, "speed-up: per operation, against one by one. This build is {build}.")
    }
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// A duration as people read it.
pub(crate) fn time(duration: Duration) -> String {
    match duration.as_micros() {
        0 => format!("{} ns", duration.as_nanos()),
        micros @ 1..10_000 => format!("{micros} us"),
        micros => format!("{} ms", micros / 1_000),
    }
}
