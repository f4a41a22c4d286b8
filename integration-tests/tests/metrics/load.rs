//! A process under load, as the instruments see it: healthy for eight seconds, then a node fails for four.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use state_metrics::{
    BatchKind, BreakerState, Codec, ConnectionEvent, Endpoint, ErrorType, HedgeOutcome, Instruments, Lock,
    LockEnd, LockKind, LockMode, LockOutcome, LossReason, Op, Operation, Outcome, Pool, PoolState, Rejection,
};

const CYCLE: Duration = Duration::from_secs(12);
const HEALTHY: Duration = Duration::from_secs(8);
/// Operations of one round, and the rounds' distance.
const ROUND: (u32, Duration) = (100, Duration::from_millis(50));

const MUTEX: Lock = Lock::new(LockMode::Single, LockKind::Mutex);
const QUORUM: Lock = Lock::new(LockMode::Quorum, LockKind::Write);

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    pub(crate) fn start(instruments: Instruments) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || Generator::new(instruments).run(&stopped));
        Self { stop, thread }
    }

    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

struct Generator {
    instruments: Instruments,
    nodes: [Endpoint; 2],
    random: StdRng,
}

impl Generator {
    fn new(instruments: Instruments) -> Self {
        let nodes = ["10.0.0.1:6379", "10.0.0.2:6379"].map(|node| instruments.endpoint(node));
        for node in nodes {
            instruments.connected(node, Duration::from_micros(400));
            instruments.breaker(node, None, BreakerState::Closed);
        }
        // The same load each time; nothing is asserted of its figures.
        Self { instruments, nodes, random: StdRng::seed_from_u64(7) }
    }

    fn run(&mut self, stop: &AtomicBool) {
        let started = Instant::now();
        let mut was_failing = false;
        while !stop.load(Ordering::Relaxed) {
            let into_cycle = started.elapsed().as_secs_f64() % CYCLE.as_secs_f64();
            let failing = into_cycle >= HEALTHY.as_secs_f64();
            match (was_failing, failing) {
                (false, true) => self.fail_node(),
                (true, false) => self.recover_node(),
                _ => {}
            }
            was_failing = failing;
            (0..ROUND.0).for_each(|_| self.operation(failing));
            self.surroundings(failing);
            thread::sleep(ROUND.1);
        }
    }

    fn fail_node(&self) {
        let node = self.nodes[0];
        self.instruments.disconnected(node, LossReason::Stalled);
        self.instruments.breaker(node, Some(BreakerState::Closed), BreakerState::Open);
        self.instruments.lock_lost(QUORUM, Duration::from_millis(700));
    }

    fn recover_node(&self) {
        let node = self.nodes[0];
        self.instruments.connection_event(ConnectionEvent::MasterSwitched);
        self.instruments.breaker(node, Some(BreakerState::Open), BreakerState::HalfOpen);
        self.instruments.breaker(node, Some(BreakerState::HalfOpen), BreakerState::Closed);
        self.instruments.connected(node, Duration::from_millis(2));
    }

    fn operation(&mut self, failing: bool) {
        let op =
            [Op::Get, Op::Get, Op::Get, Op::Put, Op::Delete, Op::BatchGet][self.random.random_range(0..6)];
        // Skewed as latencies are: a square of a uniform number, with a tail.
        let skew: f64 = self.random.random();
        let typical = if failing { 30_000.0 } else { 400.0 };
        let elapsed = Duration::from_secs_f64((60.0 + typical * skew * skew) / 1e6);
        let outcome = match self.random.random_range(0..100) {
            0..10 if failing => Outcome::Error(ErrorType::Timeout),
            10..30 if failing => Outcome::Error(ErrorType::CircuitOpen),
            30 => Outcome::Error(ErrorType::Conflict),
            31 => Outcome::Cancelled,
            _ => Outcome::Success,
        };
        let hot = self.random.random_range(0..10) < 7;
        let key = if hot {
            "config:1".to_owned()
        } else {
            format!("user:{}:cart", self.random.random_range(0..1000))
        };
        let started = Instant::now();
        let operation = Operation::new(op, outcome, started, started + elapsed).with_key(key.as_bytes());
        let hits = u32::from(self.random.random_range(0..10) < 8);
        self.instruments.record(&match op {
            Op::Get | Op::BatchGet => operation.with_lookups(hits, 1 - hits).with_bytes(512, 0),
            _ => operation.with_bytes(0, 2048),
        });
        if failing && self.random.random_range(0..2) == 0 {
            self.instruments.retry(op, ErrorType::Timeout, 1, Duration::from_millis(20));
        }
    }

    /// What goes on beside the operations, once a round.
    fn surroundings(&mut self, failing: bool) {
        let instruments = &self.instruments;
        let wait = Duration::from_micros(self.random.random_range(100..900));
        let long = Duration::from_millis(self.random.random_range(150..400));
        let active = if failing { 10 } else { self.random.random_range(2..7) };
        let pending = if failing { 4 } else { 0 };
        let dedicated = PoolState { active, idle: 10 - active, pending, max: 10 };
        instruments.pool_state(Pool::Dedicated, dedicated);
        instruments.pool_state(Pool::Shared, PoolState { active: 1, idle: 0, pending: 0, max: 1 });
        instruments.pool_waited(Pool::Dedicated, if failing { long } else { wait });
        instruments.queue_waited(wait);
        instruments.batch_sent(BatchKind::Read, self.random.random_range(1..64));
        instruments.batch_sent(BatchKind::Write, self.random.random_range(1..24));
        instruments.compressed(Codec::Lz4, 2048, self.random.random_range(500..900));
        instruments.compressed(Codec::Zstd, 2048, self.random.random_range(300..500));
        let outcome = if failing { LockOutcome::TimedOut } else { LockOutcome::Acquired };
        for lock in [MUTEX, QUORUM] {
            instruments.lock_attempted(lock, outcome, wait * 4);
            instruments.lock_released(lock, LockEnd::Released, wait * 100);
            instruments.lock_renewed(lock);
        }
        instruments.hedged(if failing { HedgeOutcome::Won } else { HedgeOutcome::Lost });
        if failing {
            instruments.connection_event(ConnectionEvent::ConnectFailed);
            instruments.pool_timed_out(Pool::Dedicated, long);
            instruments.fell_back(Op::Get);
            for (times, reason) in Rejection::ALL.iter().enumerate() {
                (0..5 - times).for_each(|_| instruments.rejected(*reason));
            }
            let started = Instant::now();
            let late = Outcome::Error(ErrorType::Timeout);
            instruments.record(&Operation::new(Op::Put, late, started, started + long));
        }
    }
}
