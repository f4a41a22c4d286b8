//! The conformance suite on Redis, as it is used: bare, behind `dyn`, with other settings, behind wrappers.

use std::sync::Arc;
use std::time::Duration;

use integration_tests::{Cluster, SentinelGroup, Server, ServerConfig};
use state_core::{FaultyBackend, conformance};
use state_redis::{Layout, RedisConfigBuilder, StateBackend, open};

use crate::support::{backend, keys_on, on};

/// A server that does not sync each write to disk: the suite makes tens of thousands.
async fn server() -> Server {
    ServerConfig::default().with_option("appendfsync", "no").start().await
}

async fn conforms(settings: impl FnOnce(RedisConfigBuilder) -> RedisConfigBuilder) {
    let server = server().await;
    conformance::run_all(Arc::new(backend(settings(on(&server))).await)).await;
    assert_eq!(keys_on(&server).await, Vec::<String>::new(), "the suite left keys on the server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_conforms() {
    conforms(|settings| settings).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_conforms_with_a_default_ttl_and_small_requests() {
    conforms(|settings| {
        settings.default_ttl(Duration::from_secs(5_000)).pipeline_batch_size(3).key_prefix("{tag}*[a]:")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_conforms_in_the_plain_layout() {
    conforms(|settings| settings.layout(Layout::Plain).key_prefix("").clear_whole_database(true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_conforms_with_resp2() {
    let server = server().await;
    let url = format!("{}?protocol=resp2", server.url());
    conformance::run_all(Arc::new(backend(on(&server).url(url)).await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opened_backends_conform_behind_dyn() {
    let server = server().await;
    for url in [server.url(), server.unix_url(), "memory:".to_owned()] {
        let opened: Arc<dyn StateBackend> = open(&url).await.expect("a backend");
        conformance::run_all(opened).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_conforms() {
    let cluster = Cluster::start().await;
    let opened = open(&cluster.url()).await.expect("a backend");
    conformance::run_all(opened).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_behind_sentinels_conforms() {
    let group = SentinelGroup::start().await;
    let opened = open(&group.url()).await.expect("a backend");
    conformance::run_all(opened).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrapped_backend_conforms() {
    let server = server().await;
    conformance::run_all(Arc::new(FaultyBackend::new(backend(on(&server)).await))).await;
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    let acl = "user app on >pw ~state:* +@read +@write +@string +@keyspace +eval +evalsha +ping +role";
    let server = ServerConfig::default().with_acl(acl).start().await;
    let backend = backend(on(&server).url(format!("redis://app:pw@{}", server.address()))).await;
    conformance::values_are_stored_replaced_and_removed(&backend).await;
    conformance::compare_and_swap_follows_its_table(&backend).await;
    conformance::get_and_delete_returns_what_it_removes(&backend).await;
    conformance::increments_are_decimal_text(&backend).await;
    conformance::expiry_is_reported_and_changed(&backend).await;
    conformance::batches_answer_item_by_item(&backend).await;
    conformance::scans_yield_entries_with_their_ttl(&backend).await;
    conformance::health_is_good(&backend).await;
}

#[tokio::test]
async fn nested_prefixes_are_namespaces_of_their_own() {
    let server = server().await;
    let outer = backend(on(&server).key_prefix("app:")).await;
    let inner = backend(on(&server).key_prefix("app:staging:")).await;
    conformance::namespaces_do_not_touch(&outer, &inner).await;
    let globbing = backend(on(&server).key_prefix("tenant?:")).await;
    let other = backend(on(&server).key_prefix("tenantX:")).await;
    conformance::namespaces_do_not_touch(&globbing, &other).await;
    conformance::namespaces_do_not_touch(&other, &globbing).await;
}
