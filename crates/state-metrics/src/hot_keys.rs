//! Hot keys: a sampled Space-Saving sketch (Metwally, Agrawal, El Abbadi 2005) with aging.

use std::cell::Cell;
use std::collections::HashMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::config::HotKeysConfig;
use crate::key::KeyDisplay;
use crate::stripe::Stripe;

/// All counts are halved each time this many samples a slot were taken, so that yesterday's hot keys fade.
const AGING_SAMPLES_PER_SLOT: u64 = 256;

/// A key, or a group of keys, that takes much of the traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HotKey {
    /// The key in the configured form.
    pub key: String,
    /// Estimated share of recent accesses, 0 to 1. Never below the truth by more than sampling error.
    pub share: f64,
    /// By how much `share` may be too high.
    pub share_error: f64,
}

#[derive(Debug)]
pub(crate) struct HotKeys {
    config: HotKeysConfig,
    sketch: Mutex<Sketch>,
}

#[derive(Debug, Default)]
struct Sketch {
    /// By the shown form, so that no raw key is kept.
    entries: HashMap<String, Entry>,
    samples: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    count: u64,
    /// What the key inherited from the one it displaced.
    error: u64,
}

impl HotKeys {
    pub(crate) fn new(config: HotKeysConfig) -> Self {
        Self { config, sketch: Mutex::default() }
    }

    /// Counts an access, if it is sampled.
    #[inline]
    pub(crate) fn observe(&self, key: &[u8]) {
        if sampled(self.config.sample_one_in) {
            self.count(key);
        }
    }

    pub(crate) fn top(&self) -> Vec<HotKey> {
        let sketch = self.sketch.lock();
        let share = |count: u64| count as f64 / sketch.samples.max(1) as f64;
        let mut keys: Vec<HotKey> = sketch
            .entries
            .iter()
            .map(|(key, entry)| HotKey {
                key: key.clone(),
                share: share(entry.count),
                share_error: share(entry.error),
            })
            .collect();
        keys.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.key.cmp(&b.key)));
        keys
    }

    /// The shares of the exported ranks, hottest first; ranks without a key are 0.
    pub(crate) fn exported_shares(&self) -> Vec<f64> {
        let mut shares: Vec<f64> = self.top().iter().map(|key| key.share).collect();
        shares.resize(self.config.exported_ranks, 0.0);
        shares
    }

    fn count(&self, key: &[u8]) {
        let shown = self.config.keys.show(key);
        self.sketch.lock().count(shown, self.config.capacity);
    }
}

impl Sketch {
    fn count(&mut self, key: String, capacity: usize) {
        self.samples += 1;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.count += 1;
        } else if self.entries.len() < capacity {
            self.entries.insert(key, Entry { count: 1, error: 0 });
        } else {
            self.displace_least(key);
        }
        if self.samples >= AGING_SAMPLES_PER_SLOT * capacity as u64 {
            self.age();
        }
    }

    /// The newcomer takes over the least count: it may have been there all along.
    fn displace_least(&mut self, key: String) {
        let least = self.entries.iter().min_by_key(|(_, entry)| entry.count);
        let Some((victim, count)) = least.map(|(key, entry)| (key.clone(), entry.count)) else { return };
        self.entries.remove(&victim);
        self.entries.insert(key, Entry { count: count + 1, error: count });
    }

    fn age(&mut self) {
        self.samples /= 2;
        self.entries.retain(|_, entry| {
            *entry = Entry { count: entry.count / 2, error: entry.error / 2 };
            entry.count > 0
        });
    }
}

/// Whether this access is the one in `one_in` to sample: by a generator of the thread's own (xorshift64,
/// Marsaglia 2003), since every n-th access would miss keys that recur in step.
#[inline]
fn sampled(one_in: u32) -> bool {
    thread_local!(static STATE: Cell<u64> = const { Cell::new(0) });
    let random = STATE.with(|state| {
        let mut x = state.get();
        if x == 0 {
            x = (Stripe::current().number() + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        x
    });
    (random >> 32).is_multiple_of(u64::from(one_in))
}

impl HotKeysConfig {
    /// Hot groups instead of hot keys: the default settings with [`KeyDisplay::Normalised`].
    #[must_use]
    pub fn grouped() -> Self {
        Self::default().with_keys(KeyDisplay::Normalised)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_access(capacity: usize) -> HotKeys {
        HotKeys::new(HotKeysConfig::grouped().with_capacity(capacity).with_sample_one_in(1_u32))
    }

    #[test]
    fn the_hottest_groups_lead_and_raw_keys_never_show() {
        let hot = every_access(64);
        for i in 0..1000 {
            hot.observe(format!("user:{i}:cart").as_bytes());
            if i % 2 == 0 {
                hot.observe(format!("session:{i}").as_bytes());
            }
        }
        let top = hot.top();
        assert_eq!(top[0].key, "user:*:cart");
        assert_eq!(top[1].key, "session:*");
        assert!((top[0].share - 1000.0 / 1500.0).abs() < 1e-9, "{top:?}");
        assert_eq!(hot.exported_shares().len(), 10);
    }

    #[test]
    fn a_heavy_key_survives_a_flood_of_cold_ones_within_the_error_bound() {
        let hot = HotKeys::new(HotKeysConfig::default().with_capacity(32_usize).with_sample_one_in(1_u32));
        let total = 4000_u64;
        for i in 0..total {
            let key = if i % 4 == 0 { "heavy".to_owned() } else { format!("cold-{i}") };
            hot.observe(key.as_bytes());
        }
        let top = hot.top();
        assert!(top.len() <= 32);
        assert_eq!(top[0].key, KeyDisplay::Digest.show(b"heavy"));
        assert!(
            top[0].share >= 0.25 - 1e-9 && top[0].share - top[0].share_error <= 0.25 + 1e-9,
            "{:?}",
            top[0]
        );
        assert!(top[0].share_error <= 1.0 / 32.0 + 1e-9);
    }

    #[test]
    fn counts_age_so_that_a_new_hot_key_takes_over() {
        let hot = every_access(8);
        (0..4000).for_each(|_| hot.observe(b"old:1"));
        (0..4000).for_each(|_| hot.observe(b"new:1"));
        assert_eq!(hot.top()[0].key, "new:*");
        assert!(hot.sketch.lock().samples < AGING_SAMPLES_PER_SLOT * 8);
    }

    #[test]
    fn sampling_takes_about_one_in_n_even_of_a_periodic_stream() {
        let hot = HotKeys::new(HotKeysConfig::grouped().with_sample_one_in(16_u32).with_capacity(4096_usize));
        for _ in 0..16_000 {
            for key in ["a:1", "b:1", "c:1", "d:1"] {
                hot.observe(key.as_bytes());
            }
        }
        let samples = hot.sketch.lock().samples;
        println!("samples of 64,000 at 1 in 16: {samples}");
        assert!((3000..5000).contains(&samples), "{samples}");
        assert_eq!(hot.top().len(), 4);
    }
}
