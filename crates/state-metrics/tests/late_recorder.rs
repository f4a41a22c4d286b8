//! A global recorder installed after the instruments is found without a call.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

mod common;

use std::time::{Duration, Instant};

use state_metrics::{ErrorKind, Instruments, InstrumentsConfig, Naming, Prometheus, Publishing};

/// The only test of this binary, since it installs the process's recorder.
#[test]
fn a_recorder_installed_later_gets_everything_and_a_second_one_is_refused() {
    let every = Publishing::Every(Duration::from_millis(10));
    let instruments = Instruments::new(&InstrumentsConfig::default().with_publishing(every)).unwrap();
    common::touch_everything(&instruments);
    let prometheus = Prometheus::new(Naming::Prometheus).unwrap();
    prometheus.install().unwrap();
    let expected = r#"redis_operations_total{operation="get",status="success"} 3"#;
    assert!(prometheus.render().contains(expected), "rendering finds the recorder at once");

    // The thread publishes without anybody rendering: the handle alone shows it.
    let deadline = Instant::now() + Duration::from_secs(20);
    common::touch_everything(&instruments);
    while instruments.stats().operations_total != 12 || !published(&prometheus) {
        assert!(Instant::now() < deadline, "{}", prometheus.render());
        std::thread::sleep(Duration::from_millis(5));
    }

    let refused = Prometheus::new(Naming::Prometheus).unwrap().install().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RecorderInstalled);

    // The last words of instruments that are dropped arrive, and their connections are gone.
    common::touch_everything(&instruments);
    drop(instruments);
    let last = [
        r#"redis_operations_total{operation="get",status="success"} 9"#,
        r#"redis_pool_connections_active{pool="shared"} 0"#,
        r#"redis_circuit_breaker_state{endpoint="10.0.0.1:6379"} 0"#,
        r#"redis_connection_up{endpoint="10.0.0.1:6379"} 0"#,
    ];
    // The thread, where it publishes just now, is the last to let go of them.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = prometheus.render();
        if last.iter().all(|line| text.contains(line)) {
            break;
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn published(prometheus: &Prometheus) -> bool {
    prometheus.render().contains(r#"redis_operations_total{operation="get",status="success"} 6"#)
}
