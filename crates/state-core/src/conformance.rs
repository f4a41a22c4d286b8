//! What every backend has to do, as functions that panic when it does not.
//!
//! Each check takes an empty backend and leaves it empty; [`run_all`] runs them one after the other.
//! Checks that race take an `Arc`, since they spawn tasks on tokio's runtime; all need its clock.
//! Nobody else may use the backend's namespace meanwhile. The expiry checks take about 10 s of tokio's time,
//! which is none with paused time.
//!
//! ```
//! # use std::sync::Arc;
//! # use state_core::{MemoryBackend, conformance};
//! #[tokio::main(flavor = "current_thread", start_paused = true)]
//! async fn main() {
//!     conformance::run_all(Arc::new(MemoryBackend::new())).await;
//! }
//! ```
#![allow(clippy::unwrap_used)] // A failed check is a panic, here as in any test.

use std::sync::Arc;

use crate::StateBackend;

mod atomicity;
mod batches;
mod expiry;
mod input;
mod model;
mod scans;
mod snapshots;
mod values;

pub use self::atomicity::*;
pub use self::batches::*;
pub use self::expiry::*;
pub use self::input::*;
pub use self::model::*;
pub use self::scans::*;
pub use self::snapshots::*;
pub use self::values::*;

macro_rules! run {
    ($backend:expr, $($check:ident),+ $(,)?) => {
        $(
            $check($backend).await;
            assert_is_empty($backend, stringify!($check)).await;
        )+
    };
}

/// Runs every check.
///
/// # Panics
/// When a check fails, and right away when the backend holds anything: the checks would destroy it.
pub async fn run_all(backend: Arc<dyn StateBackend>) {
    assert_is_empty(&*backend, "the caller").await;
    run!(
        &*backend,
        values_are_stored_replaced_and_removed,
        keys_and_values_are_arbitrary_bytes,
        values_of_a_mebibyte_come_back,
        prefixes_are_bytes_and_no_patterns,
        clear_leaves_nothing,
        health_is_good,
        keys_out_of_bounds_are_refused,
        ttls_out_of_bounds_are_refused,
        page_sizes_out_of_bounds_are_refused,
        conditions_decide_whether_a_put_happens,
        compare_and_swap_follows_its_table,
        get_and_delete_returns_what_it_removes,
        increments_are_decimal_text,
        increments_refuse_what_is_no_integer,
        increments_refuse_to_overflow,
        batches_answer_item_by_item,
        batches_keep_order_among_duplicates,
        batches_isolate_a_bad_item,
        batches_carry_a_ttl_per_item,
        empty_batches_are_empty,
        large_batches_are_whole,
    );
    run!(
        &*backend,
        expired_keys_are_absent_everywhere,
        keys_that_expire_together_go_together,
        expiry_is_reported_and_changed,
        replacing_a_value_replaces_its_ttl,
        changing_a_value_keeps_its_ttl,
        expired_keys_start_anew,
        scans_yield_each_key_once,
        scans_yield_entries_with_their_ttl,
        snapshots_restore_what_was,
        snapshot_files_are_whole_or_absent,
        damaged_snapshots_change_nothing,
        copies_carry_values_and_ttls,
        random_operations_agree_with_a_model,
    );
    run!(
        &backend,
        one_of_many_puts_if_absent_wins,
        one_of_many_takers_gets_the_value,
        concurrent_swaps_lose_no_update,
        concurrent_increments_lose_nothing,
        scans_bear_concurrent_changes,
    );
}

/// Asserts that the namespaces of two backends on the same store do not touch: the one of `inner` may be named as if
/// it lay inside that of `outer` (`app:` and `app:staging:`).
///
/// # Panics
/// When a key of one is seen or removed through the other.
pub async fn namespaces_do_not_touch(outer: &dyn StateBackend, inner: &dyn StateBackend) {
    outer.put(b"staging:key", b"outer").await.unwrap();
    inner.put(b"key", b"inner").await.unwrap();
    assert_eq!(outer.list_keys(b"").await.unwrap(), [b"staging:key"]);
    assert_eq!(inner.list_keys(b"").await.unwrap(), [b"key"]);
    outer.clear().await.unwrap();
    assert_eq!(inner.get(b"key").await.unwrap().as_deref(), Some(&b"inner"[..]), "clear reached too far");
    outer.put(b"staging:key", b"outer").await.unwrap();
    inner.clear().await.unwrap();
    assert_eq!(outer.count().await.unwrap(), 1, "clear reached too far");
    outer.clear().await.unwrap();
}

async fn assert_is_empty(backend: &dyn StateBackend, who: &str) {
    let count = backend.count().await.unwrap();
    assert_eq!(count, 0, "{who} left keys behind; the checks need a namespace of their own");
}
