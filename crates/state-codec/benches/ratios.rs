//! The promise that the codec costs next to nothing beside the library it calls:
//! `cargo bench -p state-codec --bench ratios`.
//!
//! The codec, the bare library with the same checksum, and the bare library take turns, so that a busy
//! machine hits all three alike; what is shown is the median over the rounds. From 16 KiB up the codec
//! has to reach 0.97 of the library with the checksum, and raw 100 B have to pass within 20 ns, or the
//! run fails. On a machine busy with other work a case or two may miss by a percent.
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

mod support;

use std::{
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

use state_codec::{Codec, CodecConfig, Compression};
use support::Case;

const ROUNDS: usize = 101;
const BATCH: Duration = Duration::from_millis(2);
const MIN_ITERATIONS: u32 = 4;
const PROMISED_RATIO: f64 = 0.97;
const PROMISED_FROM: usize = 16 << 10;
const PROMISED_RAW_NANOSECONDS: f64 = 20.0;

fn main() -> ExitCode {
    // `cargo test` runs benches too, with this flag missing, and only wants to know that they run.
    let measure = std::env::args().any(|argument| argument == "--bench");
    let mut kept = measure_raw(measure);
    println!(
        "| case | codec MB/s | codec / (bare + XXH3-128) | checksum's share of bare |\n|---|---|---|---|"
    );
    for case in support::cases() {
        let figures = Figures::of(&case, measure);
        let fails = case.len >= PROMISED_FROM && figures.ratio < PROMISED_RATIO;
        println!(
            "| {} | {:.0} | {:.3}{} | {:.1} % |",
            case.name,
            figures.megabytes,
            figures.ratio,
            if fails { " (below 0.97)" } else { "" },
            figures.checksum_share * 100.0
        );
        kept &= !fails;
    }
    if kept || !measure { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Figures {
    megabytes: f64,
    ratio: f64,
    checksum_share: f64,
}

impl Figures {
    fn of(case: &Case, measure: bool) -> Self {
        let (rounds, batch) = if measure { (ROUNDS, BATCH) } else { (1, Duration::ZERO) };
        let iterations = calibrate(&case.checked, batch);
        let work: [&dyn Fn(); 3] = [&case.codec, &case.checked, &case.bare];
        let mut times = [const { Vec::new() }; 3];
        for round in 0..rounds {
            for turn in 0..work.len() {
                let which = (round + turn) % work.len();
                times[which].push(time(work[which], iterations));
            }
        }
        let [codec, checked, bare] = &times;
        Self {
            megabytes: case.len as f64 * 1e3 / median(codec.clone()),
            ratio: median(checked.iter().zip(codec).map(|(checked, codec)| checked / codec).collect()),
            checksum_share: median(
                checked.iter().zip(bare).map(|(checked, bare)| checked / bare - 1.0).collect(),
            ),
        }
    }
}

/// Prints how long raw values take, and tells whether that is within what is promised.
fn measure_raw(measure: bool) -> bool {
    let config = CodecConfig::default().with_compression(Compression::Lz4);
    let codec = Codec::new(config).expect("valid settings");
    let value = [b'x'; 100];
    let encode = || {
        black_box(codec.encode(b"key", black_box(&value)).expect("it is small"));
    };
    let stored = std::cell::RefCell::new(value.to_vec());
    let decode = || {
        let raw = codec.decode(b"key", black_box(stored.take())).expect("it is raw");
        stored.replace(raw);
    };
    let mut kept = true;
    for (name, work) in [("encode", &encode as &dyn Fn()), ("decode", &decode)] {
        let rounds = if measure { ROUNDS } else { 1 };
        let nanoseconds = median((0..rounds).map(|_| time(work, 100_000)).collect());
        println!("raw 100 B, {name}: {nanoseconds:.1} ns");
        kept &= nanoseconds < PROMISED_RAW_NANOSECONDS;
    }
    kept
}

/// How often the work fits into a batch.
fn calibrate(work: &dyn Fn(), batch: Duration) -> u32 {
    let mut iterations = if batch.is_zero() { 1 } else { MIN_ITERATIONS };
    while time(work, iterations) * f64::from(iterations) < batch.as_nanos() as f64 {
        iterations *= 2;
    }
    iterations
}

/// Nanoseconds for each iteration.
fn time(work: &dyn Fn(), iterations: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..iterations {
        work();
    }
    start.elapsed().as_nanos() as f64 / f64::from(iterations)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
