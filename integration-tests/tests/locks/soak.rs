//! E19: many clients, five masters, and something that hurts them at random.

use std::time::Instant;

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::support::*;

/// E19: 64 tasks on one lock, five masters that are killed, restarted empty, stopped and flushed at random, at most two
/// at a time. Ten seconds, with `STATE_REDIS_LONG=1` five minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e19_many_clients_and_random_faults() {
    let begun = Instant::now();
    let long = std::env::var_os("STATE_REDIS_LONG").is_some_and(|value| value == "1");
    let span = if long { 300 * SECOND } else { 10 * SECOND };
    let seed =
        std::env::var("STATE_REDIS_SEED").map_or_else(|_| rand::rng().random(), |seed| seed.parse().unwrap());
    println!("E19: seed {seed} (STATE_REDIS_SEED)");
    let mut chance = StdRng::seed_from_u64(seed);
    let servers = forgetful_masters(5).await;
    // Short locks, so that nodes are back from quarantine while the test runs.
    let config = || config().with_max_ttl(2 * SECOND).with_node_timeout(ms(200));
    let managers = [quorum(&servers, config()).await, quorum(&servers, config()).await];
    let register = Register::default();
    let work = tokio::spawn({
        let (managers, register) = (managers.clone(), register.clone());
        async move { contend(&managers, 64, &register, begun + span).await }
    });
    let mut faults = 0;
    while !work.is_finished() {
        let victims: Vec<_> = servers.sample(&mut chance, 2).collect();
        let restarts = chance.random_bool(0.7);
        for victim in &victims {
            if restarts { victim.kill() } else { victim.freeze() }
        }
        tokio::time::sleep(ms(chance.random_range(50..400))).await;
        for victim in &victims {
            if restarts { victim.restart_empty().await } else { victim.thaw() }
        }
        faults += 1;
        // Long enough for a quarantine to end, or three of five would abstain for ever.
        let pause =
            if restarts { ms(chance.random_range(3100..3600)) } else { ms(chance.random_range(100..600)) };
        tokio::time::sleep(pause).await;
    }
    let (work, report) = (work.await.unwrap(), register.report());
    figures(
        "E19",
        &format!(
            "seed {seed}, {faults} faults on two nodes each, {} grants, {} failures, slowest acquire {:?} \
        over its wait, {report:?}",
            work.done, work.failed, work.slowest
        ),
        begun,
    );
    assert!(work.done > 50, "{work:?}");
    assert_eq!((report.overlaps, report.inversions, report.refused), (0, 0, 0), "seed {seed}");
    assert!(work.slowest < 3 * SECOND, "seed {seed}");
}
