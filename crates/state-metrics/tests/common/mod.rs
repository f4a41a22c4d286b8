//! A workload that touches every metric, for the tests that look at what is exported.

use std::time::{Duration, Instant};

use state_metrics::{
    BatchKind, BreakerState, Codec, ConnectionEvent, ErrorType, HedgeOutcome, Instruments, Lock, LockEnd,
    LockKind, LockMode, LockOutcome, LossReason, Op, Operation, Outcome, Pool, PoolState, Rejection,
};

/// Records something of everything; the same each time.
pub(crate) fn touch_everything(instruments: &Instruments) {
    let started = Instant::now();
    let after = |micros| started + Duration::from_micros(micros);
    for (micros, outcome) in [
        (50, Outcome::Success),
        (51, Outcome::Success),
        (4_000, Outcome::Success),
        (250_000, Outcome::Error(ErrorType::Timeout)),
        (90, Outcome::Cancelled),
    ] {
        let get = Operation::new(Op::Get, outcome, started, after(micros)).with_key(b"user:1");
        instruments.record(&get.with_bytes(7, 0).with_lookups(1, 1));
    }
    instruments.record(&Operation::new(Op::Put, Outcome::Success, started, after(200)).with_bytes(0, 1000));
    let node = instruments.endpoint("10.0.0.1:6379");
    let lock = Lock::new(LockMode::Single, LockKind::Mutex);
    let (brief, second) = (Duration::from_micros(300), Duration::from_secs(1));
    instruments.connected(node, brief);
    instruments.disconnected(node, LossReason::Lost);
    instruments.connected(node, brief);
    instruments.connection_event(ConnectionEvent::MasterSwitched);
    for pool in Pool::ALL {
        instruments.pool_state(*pool, PoolState { active: 3, idle: 2, pending: 1, max: 8 });
        instruments.pool_waited(*pool, brief);
    }
    instruments.pool_timed_out(Pool::Dedicated, second);
    instruments.queue_waited(brief);
    BatchKind::ALL.iter().for_each(|kind| instruments.batch_sent(*kind, 32));
    instruments.compressed(Codec::Lz4, 1000, 270);
    instruments.retry(Op::Get, ErrorType::Timeout, 1, brief);
    Rejection::ALL.iter().for_each(|reason| instruments.rejected(*reason));
    HedgeOutcome::ALL.iter().for_each(|outcome| instruments.hedged(*outcome));
    instruments.fell_back(Op::Get);
    instruments.breaker(node, None, BreakerState::Closed);
    instruments.breaker(node, Some(BreakerState::Closed), BreakerState::Open);
    LockOutcome::ALL.iter().for_each(|outcome| instruments.lock_attempted(lock, *outcome, brief));
    LockEnd::ALL.iter().for_each(|end| instruments.lock_released(lock, *end, second));
    instruments.lock_renewed(lock);
    instruments.lock_lost(lock, second);
}
