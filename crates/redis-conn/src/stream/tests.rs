//! When a write waits for the tasks that are ready.

use futures_util::task::noop_waker;
use tokio::io::{empty, join, sink};

use super::*;
use crate::config::Config;
use crate::endpoint::Endpoint;

fn shared() -> (Watched, Arc<Budget>) {
    let budget = Arc::new(Budget::new(&Config::standalone(Endpoint::tcp("unused", 1))));
    let traffic = Arc::new(Traffic::default());
    traffic.share(&budget);
    (Watched::new(Box::new(join(empty(), sink())), traffic), budget)
}

fn write(stream: &mut Watched) -> bool {
    let waker = noop_waker();
    Pin::new(stream).poll_write(&mut Context::from_waker(&waker), b"PING").is_ready()
}

fn flush(stream: &mut Watched) {
    let waker = noop_waker();
    let flushed = Pin::new(stream).poll_flush(&mut Context::from_waker(&waker));
    assert!(matches!(flushed, Poll::Ready(Ok(()))));
}

#[tokio::test]
async fn a_lone_operation_is_written_at_once() {
    let (mut stream, budget) = shared();
    let _charge = budget.count_always();
    assert!(write(&mut stream));
    assert_eq!(stream.traffic.written(), 4);
}

#[tokio::test]
async fn a_write_among_others_is_put_off_once_and_until_it_is_flushed_no_more() {
    let (mut stream, budget) = shared();
    let _charges = (budget.count_always(), budget.count_always());
    assert!(!write(&mut stream));
    assert_eq!(stream.traffic.written(), 0);
    assert!(write(&mut stream) && write(&mut stream));
    flush(&mut stream);
    assert!(!write(&mut stream), "the next request is put off anew");
}

#[tokio::test]
async fn a_write_that_is_put_off_wakes_its_task() {
    let (mut stream, budget) = shared();
    let _charges = (budget.count_always(), budget.count_always());
    let writing = std::future::poll_fn(|context| Pin::new(&mut stream).poll_write(context, b"PING"));
    let written = tokio::time::timeout(std::time::Duration::from_secs(5), writing).await;
    assert_eq!(written.expect("woken").expect("open"), 4);
}
