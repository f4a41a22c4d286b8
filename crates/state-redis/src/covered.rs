//! No setting is ignored: each field with the test that shows what it does, on real servers.

use std::fs;
use std::path::Path;

use crate::config::RedisConfig;

/// Takes the settings apart without a rest, so that a new field does not compile before its test is named here.
macro_rules! shown_by {
    ($($field:ident: $test:literal;)*) => {
        fn every_field(config: RedisConfig) -> Vec<(&'static str, &'static str)> {
            let RedisConfig { $($field: _),* } = config;
            vec![$((stringify!($field), $test)),*]
        }
    };
}

shown_by! {
    mode: "after_a_failover_writes_go_to_the_new_master_and_health_is_good";
    credentials: "credentials_are_preferred_over_those_of_the_url";
    key_prefix: "nested_prefixes_are_namespaces_of_their_own";
    layout: "clearing_a_whole_database_has_to_be_allowed";
    default_ttl: "ttls_reach_the_server_in_milliseconds";
    max_value_len: "what_is_too_long_is_refused_and_not_written";
    connect_timeout: "connecting_to_a_server_that_hangs_ends_by_its_timeout";
    command_timeout: "a_pause_of_the_server_beyond_the_deadline_is_a_timeout";
    pool_min: "the_least_number_of_dedicated_connections_is_open_at_once";
    pool_max: "a_caller_beyond_the_most_waits_for_the_pool_timeout";
    pool_timeout: "a_caller_beyond_the_most_waits_for_the_pool_timeout";
    pool_idle_timeout: "dedicated_connections_that_nobody_uses_are_closed_down_to_the_least_number";
    pool_max_lifetime: "dedicated_connections_beyond_their_lifetime_are_replaced";
    pipeline_batch_size: "requests_of_an_atomic_batch_are_transactions";
    atomic_batches: "requests_of_an_atomic_batch_are_transactions";
    clear_whole_database: "clearing_a_whole_database_has_to_be_allowed";
    read_from: "reads_go_to_replicas_and_a_second_copy_to_the_master";
    write_concern: "every_kind_of_write_is_on_the_replica_when_it_returns";
    health_interval: "health_is_checked_in_the_interval";
    fallback: "reads_are_answered_by_the_fallback_while_redis_is_gone_and_writes_fail";
    connection: "further_settings_of_the_connection_are_applied";
    compression: "only_what_shrinks_above_the_threshold_is_stored_compressed";
    compression_threshold: "only_what_shrinks_above_the_threshold_is_stored_compressed";
    dictionary: "small_values_shrink_by_a_dictionary_that_every_reader_finds";
    dictionary_store: "dictionaries_go_to_the_store_that_is_given";
    serialization: "the_setting_chooses_the_format_of_a_backends_own_views";
    encryption_keys: "encrypted_values_are_swapped_by_what_they_say";
    plaintext: "plaintext_is_accepted_until_it_is_refused";
    retry: "a_read_is_attempted_exactly_as_often_as_set";
    retry_budget: "an_empty_budget_ends_repeats_but_not_first_attempts";
    attempt_timeout: "an_attempt_timeout_leaves_time_for_another_attempt";
    enable_circuit_breaker: "without_a_breaker_every_call_is_tried";
    breaker: "a_slow_server_opens_the_breaker_which_probes_and_closes_again";
    hedge_after: "a_read_that_is_not_answered_is_sent_a_second_time";
    rate_limit: "beyond_the_rate_limit_operations_are_refused_unsent";
    bulkhead: "beyond_the_bulkhead_operations_wait_in_line_or_are_refused";
    enable_metrics: "without_metrics_figures_are_counted_and_not_published";
    instruments: "the_documented_names_are_exported_exactly";
    enable_slow_query_log: "the_slow_log_keeps_what_takes_longer_than_its_threshold";
    redlock_nodes: "a_quorum_grants_locks_with_a_minority_down_even_from_the_first";
    redlock_credentials: "a_quorum_on_servers_with_a_password_takes_it_from_the_settings";
    redlock_tls: "a_quorum_over_tls_with_an_authority_of_its_own_is_told_by_a_file";
    redlock_connection: "a_quorum_over_tls_is_told_by_the_builder";
    locks: "the_settings_of_locks_are_kept";
    lock_wait: "a_held_lock_is_refused_at_once_or_waited_for";
}

#[test]
fn each_setting_has_a_test_that_shows_its_effect() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../integration-tests/tests");
    let mut source = String::new();
    for binary in ["backend", "layers"] {
        for file in fs::read_dir(tests.join(binary)).expect("the tests of the workspace") {
            source.push_str(&fs::read_to_string(file.expect("a file").path()).expect("a source file"));
        }
    }
    for (field, test) in every_field(RedisConfig::default()) {
        assert!(source.contains(&format!("async fn {test}()")), "{field}: there is no test {test}");
    }
}
