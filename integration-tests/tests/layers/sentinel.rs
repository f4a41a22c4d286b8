//! Behind sentinels: failover, reads from replicas, writes that replicas confirm.

use futures_util::future::join_all;
use integration_tests::{SentinelConfig, SentinelGroup, eventually};
use state_redis::{
    ErrorKind, PutItem, ReadFrom, RedisBackend, RedisConfig, RedisConfigBuilder, RedisMode, StateBackend,
    StateBackendExt, WriteConcern,
};

use crate::support::{backend, ms};

fn on(group: &SentinelGroup) -> RedisConfigBuilder {
    let sentinels = group.addresses().iter().map(|address| format!("redis://{address}")).collect();
    RedisConfig::builder().mode(RedisMode::Sentinel { sentinels, service_name: group.service().to_owned() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_writes_go_to_the_new_master_and_health_is_good() {
    let group = SentinelGroup::start().await;
    let backend = backend(on(&group)).await;
    backend.put(b"before", b"v").await.unwrap();
    let new = group.failover().await;
    eventually("a write is taken by the new master", ms(30_000), async || {
        backend.put(b"after", b"v").await.map_err(|error| error.to_string())?;
        let there: Option<String> = new.command(redis::cmd("GET").arg("state:d|after")).await;
        if there.is_some() { Ok(()) } else { Err("written elsewhere".to_owned()) }
    })
    .await;
    for n in 0..50 {
        backend.put(format!("k{n}").as_bytes(), b"v").await.expect("no write fails any more");
    }
    let copies: i64 = new.command(&redis::cmd("DBSIZE")).await;
    assert!(copies >= 51, "{copies} keys on the new master");
    assert!(backend.health_check().await.unwrap());
    assert!(backend.stats().await.connections.masters_switched >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_write_is_on_the_replica_when_it_returns() {
    let group = SentinelConfig::default().with_replicas(1).start().await;
    let concern = WriteConcern::Wait { replicas: 1, timeout: ms(5_000) };
    let backend = backend(on(&group).write_concern(concern).command_timeout(ms(10_000))).await;
    let replica = &group.nodes()[1];
    let copy = async |key: &str| -> Option<String> {
        replica.command(redis::cmd("GET").arg(format!("state:d|{key}"))).await
    };
    for round in 0..30_u32 {
        let value = round.to_string();
        backend.put(b"put", value.as_bytes()).await.unwrap();
        assert_eq!(copy("put").await.as_ref(), Some(&value));
        let items = [PutItem::new(b"a", value.as_bytes()), PutItem::new(b"b", value.as_bytes())];
        assert!(backend.batch_put(&items).await.iter().all(Result::is_ok));
        assert_eq!((copy("a").await.as_ref(), copy("b").await.as_ref()), (Some(&value), Some(&value)));
        let swapped =
            backend.compare_and_swap(b"put", Some(value.as_bytes()), Some(b"swapped")).await.unwrap();
        assert!(swapped.is_swapped());
        assert_eq!(copy("put").await.as_deref(), Some("swapped"));
        let sum = backend.increment(b"n", 1).await.unwrap();
        assert_eq!(copy("n").await, Some(sum.to_string()));
        backend.delete(b"put").await.unwrap();
        assert_eq!(copy("put").await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_no_replica_confirms_says_so_and_is_not_repeated() {
    let group = SentinelConfig::default().with_replicas(1).start().await;
    let concern = WriteConcern::Wait { replicas: 1, timeout: ms(200) };
    let backend = backend(on(&group).write_concern(concern)).await;
    eventually("the replica confirms in time", ms(30_000), async || {
        backend.put(b"k", b"v").await.map_err(|error| error.to_string())
    })
    .await;
    group.nodes()[1].freeze();
    let errors = [
        backend.put(b"k", b"w").await.map(drop).unwrap_err(),
        backend.increment(b"n", 1).await.map(drop).unwrap_err(),
        backend.batch_put(&[PutItem::new(b"b", b"v")]).await.remove(0).unwrap_err(),
        backend.compare_and_swap(b"c", None, Some(b"v")).await.map(drop).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.context().contains("not confirmed"), "{error}");
    }
    assert_eq!(backend.get(b"n").await.unwrap().as_deref(), Some(&b"1"[..]), "the master has it, once");
    group.nodes()[1].thaw();
}

async fn replicated(backend: &RedisBackend, group: &SentinelGroup, key: &str) {
    let replicas = group.replicas().await;
    for replica in replicas {
        eventually("the value is on the replica", ms(30_000), async || {
            let copy: Option<String> = replica
                .try_command(redis::cmd("GET").arg(format!("state:d|{key}")))
                .await
                .map_err(|e| e.to_string())?;
            copy.map(drop).ok_or_else(|| "absent".to_owned())
        })
        .await;
    }
    assert!(backend.contains(key.as_bytes()).await.expect("EXISTS"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_to_replicas_and_a_second_copy_to_the_master() {
    let group = SentinelConfig::default().with_replicas(1).start().await;
    let settings =
        on(&group).read_from(ReadFrom::PreferReplica).hedge_after(ms(100)).command_timeout(ms(30_000));
    let backend = backend(settings).await;
    backend.put(b"k", b"v").await.unwrap();
    replicated(&backend, &group, "k").await;
    let replica = &group.nodes()[1];
    eventually("a read is answered by the replica", ms(30_000), async || {
        let before = crate::support::calls(replica, "get").await;
        assert_eq!(backend.get(b"k").await.unwrap().as_deref(), Some(&b"v"[..]));
        let gets = crate::support::calls(replica, "get").await - before;
        if gets == 1 { Ok(()) } else { Err(format!("{gets} GETs on the replica")) }
    })
    .await;
    let _: () = replica.command(redis::cmd("CLIENT").arg("PAUSE").arg(2_500).arg("ALL")).await;
    let start = tokio::time::Instant::now();
    let reads = join_all((0..5).map(|_| backend.get(b"k"))).await;
    let took = start.elapsed();
    assert!(reads.into_iter().all(|read| read.unwrap().as_deref() == Some(b"v")));
    println!("5 reads while the replica pauses for 2.5 s: {took:?}");
    assert!(backend.stats().await.resilience.hedges_won >= 5, "{:?}", backend.stats().await.resilience);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_follow_the_master() {
    let group = SentinelGroup::start().await;
    let backend = backend(on(&group)).await;
    drop(backend.acquire_lock("job", ms(2_000)).await.unwrap());
    group.failover().await;
    eventually("a lock is granted by the new master", ms(30_000), async || {
        let guard = backend.try_acquire_lock("job", ms(2_000)).await.map_err(|error| error.to_string())?;
        guard.map(drop).ok_or_else(|| "held".to_owned())
    })
    .await;
    backend.put_if_absent(b"k", b"v", state_redis::Ttl::Default).await.expect("data follow it too");
}
