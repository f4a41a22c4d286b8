//! The Prometheus recorder: our buckets, upkeep that always runs, text on demand.

use std::fmt;
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use metrics::Recorder;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::config::Naming;
use crate::error::{Error, ErrorKind, Result};
use crate::publish;
use crate::table::{MetricKind, TABLE};

/// How often samples are drained; a recorder keeps 16 bytes a sample until then.
const UPKEEP: Duration = Duration::from_secs(1);

/// A Prometheus recorder with the buckets of this crate's metrics.
///
/// A thread drains its samples every second, so that its memory does not grow between scrapes; it ends with the
/// last clone, unless the recorder is [installed](Self::install), which is for the life of the process.
#[derive(Clone)]
pub struct Prometheus {
    shared: Arc<Shared>,
}

struct Shared {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    upkeep: Thread,
}

impl Prometheus {
    /// A recorder that is not installed; `naming` has to be that of the instruments.
    ///
    /// With [`Naming::OpenTelemetry`] it appends units and `_total` to the exported names, as the OpenTelemetry
    /// specification's mapping to Prometheus does: `db_client_operation_duration_seconds`.
    ///
    /// # Errors
    /// `Resource` when the upkeep thread cannot be started.
    pub fn new(naming: Naming) -> Result<Self> {
        let recorder = Arc::new(builder(naming)?.build_recorder());
        let handle = recorder.handle();
        let upkeep = start_upkeep(Arc::downgrade(&recorder), handle.clone())?;
        Ok(Self { shared: Arc::new(Shared { recorder, handle, upkeep }) })
    }

    /// Makes it the recorder of the whole process, for good.
    ///
    /// # Errors
    /// `RecorderInstalled` when the process has one already.
    pub fn install(&self) -> Result<()> {
        metrics::set_global_recorder(Arc::clone(&self.shared.recorder))
            .map_err(|_| Error::new(ErrorKind::RecorderInstalled, "installing the Prometheus recorder"))
    }

    /// The recorder, for [`Instruments::bind`](crate::Instruments::bind) where a global one is not wanted.
    #[must_use]
    pub fn recorder(&self) -> Arc<dyn Recorder + Send + Sync> {
        Arc::clone(&self.shared.recorder) as _
    }

    /// Publishes every instrument of the process, then renders all metrics in the Prometheus text format 0.0.4:
    /// what an application mounts in its own server.
    ///
    /// Takes a millisecond or a few for a thousand series; call it off the async workers if that matters.
    #[must_use]
    pub fn render(&self) -> String {
        publish::publish_all();
        publish::undisturbed(|| self.shared.handle.render())
    }
}

/// The exporter's default is a summary, which cannot be aggregated, so each histogram gets its buckets by name.
fn builder(naming: Naming) -> Result<PrometheusBuilder> {
    let mut builder = PrometheusBuilder::new().with_recommended_naming(naming == Naming::OpenTelemetry);
    for spec in TABLE {
        if let MetricKind::Histogram { buckets } = spec.kind {
            let matcher = match naming {
                Naming::Prometheus => Matcher::Suffix(format!("_{}", spec.name)),
                Naming::OpenTelemetry => Matcher::Full(spec.otel_name.to_owned()),
            };
            builder = builder
                .set_buckets_for_metric(matcher, buckets)
                .map_err(|error| Error::invalid("buckets").with_source(error))?;
        }
    }
    Ok(builder)
}

fn start_upkeep(recorder: Weak<PrometheusRecorder>, handle: PrometheusHandle) -> Result<Thread> {
    thread::Builder::new()
        .name("state-metrics-upkeep".to_owned())
        .stack_size(256 * 1024)
        .spawn(move || {
            while recorder.strong_count() > 0 {
                run_upkeep(&handle);
                thread::park_timeout(UPKEEP);
            }
        })
        .map(|thread| thread.thread().clone())
        .map_err(|error| Error::new(ErrorKind::Resource, "upkeep thread").with_source(error))
}

fn run_upkeep(handle: &PrometheusHandle) {
    publish::undisturbed(|| handle.run_upkeep());
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.upkeep.unpark();
    }
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{Instruments, InstrumentsConfig, Op, Operation, Outcome, Publishing};

    #[test]
    fn no_sample_is_lost_that_is_published_while_others_are_drained() {
        const SAMPLES: u64 = 2_000_000;
        let prometheus = Prometheus::new(Naming::Prometheus).expect("a recorder");
        let config = InstrumentsConfig::default().with_publishing(Publishing::Manual);
        let instruments = Instruments::new(&config).expect("instruments");
        assert!(instruments.bind(prometheus.recorder()));
        thread::scope(|scope| {
            let recording = scope.spawn(|| {
                let started = Instant::now();
                for i in 1..=SAMPLES {
                    let ended = started + Duration::from_nanos(50_000 + i % 1_000_000);
                    instruments.record(&Operation::new(Op::Get, Outcome::Success, started, ended));
                    if i % 5_000 == 0 {
                        instruments.publish();
                    }
                }
            });
            while !recording.is_finished() {
                run_upkeep(&prometheus.shared.handle);
            }
        });
        let text = prometheus.render();
        let line = |line: &&str| {
            line.starts_with("redis_operation_duration_seconds_count") && line.contains(r#""get""#)
        };
        let counts: Vec<_> = text.lines().filter(line).filter_map(|line| line.rsplit(' ').next()).collect();
        assert!(counts.contains(&SAMPLES.to_string().as_str()), "{counts:?}");
    }
}
