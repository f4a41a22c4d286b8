//! Throughput of the codec beside the bare libraries, by criterion: `cargo bench -p state-codec --bench throughput`.
#![allow(missing_docs, reason = "criterion's macros make public items")]

mod support;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use state_codec::Compression;

fn compressed(criterion: &mut Criterion) {
    for case in support::cases() {
        let mut group = criterion.benchmark_group(&case.name);
        group.throughput(Throughput::Bytes(case.len as u64));
        group.bench_function("codec", |bencher| bencher.iter(&case.codec));
        group.bench_function("bare + XXH3-128", |bencher| bencher.iter(&case.checked));
        group.bench_function("bare", |bencher| bencher.iter(&case.bare));
        group.finish();
    }
}

fn raw(criterion: &mut Criterion) {
    let codec =
        state_codec::Codec::new(state_codec::CodecConfig::default().with_compression(Compression::Lz4))
            .expect("valid settings");
    let value = [b'x'; 100];
    let mut group = criterion.benchmark_group("raw 100 B");
    group
        .bench_function("encode", |bencher| bencher.iter(|| codec.encode(b"key", black_box(&value)).is_ok()));
    let mut stored = value.to_vec();
    group.bench_function("decode", |bencher| {
        bencher.iter(|| stored = codec.decode(b"key", std::mem::take(&mut stored)).expect("it is raw"));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    targets = raw, compressed
}
criterion_main!(benches);
