//! The exporter that brings the process's recorder: one at most, and nothing left behind by a failure.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

use std::net::TcpListener;

use state_metrics::{ErrorKind, Exporter, ExporterConfig};

/// The only test of this binary, since it installs the process's recorder.
#[tokio::test]
async fn install_takes_port_and_recorder_or_neither() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = Exporter::install(&ExporterConfig::new(taken.local_addr().unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddressUnavailable);

    // The recorder is still free after that failure.
    let exporter = Exporter::install(&ExporterConfig::new(([127, 0, 0, 1], 0))).await.unwrap();
    metrics::counter!("app_things_total").increment(3);
    assert!(exporter.prometheus().render().contains("app_things_total 3"));

    // An address of loopback that nothing else on the machine is given a port of.
    let free = TcpListener::bind("127.83.114.1:0").unwrap().local_addr().unwrap();
    let error = Exporter::install(&ExporterConfig::new(free)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RecorderInstalled);
    assert!(TcpListener::bind(free).is_ok(), "the port of the refused one is free again");
    exporter.shutdown().await;
}
