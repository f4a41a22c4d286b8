//! The old master is cut off from its replica and the sentinels, while we still reach it.

use std::time::Duration;

use integration_tests::proxy::{Fault, Proxy};
use integration_tests::{SentinelConfig, SentinelGroup, Server, eventually};
use redis_conn::{Config, Conn, Endpoint, WriteConcern};
use tokio::time::{Instant, sleep};

use crate::support::{Witness, Writer, config, endpoint, long};

/// A group whose members know the master by the address of a proxy, while clients go to it directly.
struct Divided {
    group: SentinelGroup,
    front: Proxy,
}

impl Divided {
    async fn start() -> Self {
        let group = SentinelConfig::default().with_replicas(1).start().await;
        let front = Proxy::start(group.nodes()[0].address()).await;
        let divided = Self { group, front };
        divided
            .replica()
            .command::<()>(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(divided.front.port()))
            .await;
        for sentinel in divided.group.sentinels() {
            divided.monitor_again(sentinel).await;
        }
        for sentinel in divided.group.sentinels() {
            eventually("the sentinel sees the group again", Duration::from_secs(60), async || {
                divided.check(sentinel).await
            })
            .await;
        }
        divided
    }

    fn master(&self) -> &Server {
        &self.group.nodes()[0]
    }

    fn replica(&self) -> &Server {
        &self.group.nodes()[1]
    }

    async fn monitor_again(&self, sentinel: &Server) {
        let service = self.group.service();
        sentinel.command::<()>(redis::cmd("SENTINEL").arg("REMOVE").arg(service)).await;
        let mut monitor = redis::cmd("SENTINEL");
        monitor.arg("MONITOR").arg(service).arg("127.0.0.1").arg(self.front.port()).arg(2);
        sentinel.command::<()>(&monitor).await;
        for (name, value) in [("down-after-milliseconds", 1000), ("failover-timeout", 3000)] {
            sentinel.command::<()>(redis::cmd("SENTINEL").arg("SET").arg(service).arg(name).arg(value)).await;
        }
    }

    async fn check(&self, sentinel: &Server) -> Result<(), String> {
        let ask = redis::cmd("SENTINEL").arg("CKQUORUM").arg(self.group.service()).to_owned();
        let quorum: String = sentinel.try_command(&ask).await.map_err(|error| error.to_string())?;
        let ask = redis::cmd("SENTINEL").arg("REPLICAS").arg(self.group.service()).to_owned();
        let replicas: Vec<std::collections::HashMap<String, String>> =
            sentinel.try_command(&ask).await.map_err(|error| error.to_string())?;
        let linked = replicas.iter().any(|replica| {
            replica["flags"] == "slave"
                && replica["master-link-status"] == "ok"
                && replica["port"] == self.replica().port().to_string()
        });
        let complete = quorum.starts_with("OK 3 usable") && linked;
        complete.then_some(()).ok_or_else(|| format!("{quorum}; {replicas:?}"))
    }

    /// Clients reach the master whatever happens between it and its peers.
    fn config(&self) -> Config {
        let (announced, direct) = (Endpoint::tcp("127.0.0.1", self.front.port()), endpoint(self.master()));
        let map = move |address: &Endpoint| match *address == announced {
            true => direct.clone(),
            false => address.clone(),
        };
        config(&self.group).with_address_map(map)
    }
}

/// A client that waits for errors goes on writing to the old master, and loses all of that.
#[tokio::test]
async fn a_master_cut_off_from_its_peers_is_left_at_the_promotion() {
    let outcome = cut_off(WriteConcern::Fast).await;
    println!("{}", outcome.report);
    let limit = Duration::from_millis(if long() { 100 } else { 1000 });
    assert!(outcome.last_lost.is_none_or(|last| last <= limit));
}

#[tokio::test]
async fn nothing_confirmed_by_the_replica_is_lost_with_the_master() {
    let rounds = if long() { 5 } else { 1 };
    for _ in 0..rounds {
        let concern = WriteConcern::Wait { replicas: 1, timeout: Duration::from_millis(200) };
        let outcome = cut_off(concern).await;
        println!("{}", outcome.report);
        assert_eq!(outcome.lost, 0);
    }
}

struct Outcome {
    lost: usize,
    /// How long after the promotion the last lost write was acknowledged.
    last_lost: Option<Duration>,
    report: String,
}

async fn cut_off(concern: WriteConcern) -> Outcome {
    let divided = Divided::start().await;
    let config = divided.config().with_write_concern(concern);
    let conn = Conn::connect(config).await.expect("connected");
    let witness = Witness::start(divided.group.sentinels()).await;
    let writer = Writer::start(&conn, 4);
    writer.advances(500).await;
    let cut = Instant::now();
    divided.front.set(Fault::BlackHole);
    let promotion = witness.promotion().await;
    sleep(Duration::from_secs(2)).await;
    // The new master has no replica, so nothing can be confirmed there.
    if concern == WriteConcern::Fast {
        writer.advances(500).await;
    }
    let ledger = writer.stop().await;
    let lost = ledger.lost_on(divided.replica()).await;
    let last_lost = lost.iter().max().map(|at| at.saturating_duration_since(promotion));
    let report = format!(
        "{concern:?}: promoted {:?} after the cut, {} of {} acknowledged writes lost, the last one {last_lost:?} after the promotion, write gap {:?}",
        promotion - cut,
        lost.len(),
        ledger.acknowledged.len(),
        ledger.gap()
    );
    assert!(lost.len() < ledger.acknowledged.len(), "the new master holds some");
    Outcome { lost: lost.len(), last_lost, report }
}
