//! Nothing: the benchmarks of this package are under `benches/`.
