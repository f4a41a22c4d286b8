//! Random operations against a model: a map that does what the contract says in the plainest way.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::{CasOutcome, Condition, PutItem, PutOptions, StateBackend};

const STEPS: usize = 2_000;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// 2,000 random operations on few keys answer as the model does. The seed of a failure is in its message.
pub async fn random_operations_agree_with_a_model(backend: &dyn StateBackend) {
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let mut model = Model::new();
    for step in 0..STEPS {
        let operation = random.random_range(0..10);
        let (key, value) = (pick(&mut random, "key"), pick(&mut random, ""));
        let agrees = match operation {
            0..4 => read(backend, &model, &key, operation).await,
            4..8 => write(backend, &mut model, &key, &value, operation).await,
            8 => swap(backend, &mut model, &key, &value, &mut random).await,
            _ => batch(backend, &mut model, &mut random).await,
        };
        assert!(agrees, "operation {operation} at step {step} disagrees, seed {seed}");
    }
    backend.clear().await.unwrap();
}

async fn read(backend: &dyn StateBackend, model: &Model, key: &[u8], operation: u32) -> bool {
    match operation {
        0 => backend.get(key).await.unwrap() == model.get(key).cloned(),
        1 => backend.contains(key).await.unwrap() == model.contains_key(key),
        2 => backend.count().await.unwrap() == model.len(),
        _ => {
            let mut listed = backend.list_keys(key).await.unwrap();
            listed.sort();
            listed.iter().eq(model.keys().filter(|stored| stored.starts_with(key)))
        }
    }
}

async fn write(
    backend: &dyn StateBackend,
    model: &mut Model,
    key: &[u8],
    value: &[u8],
    operation: u32,
) -> bool {
    match operation {
        4 => {
            backend.put(key, value).await.unwrap();
            model.insert(key.to_vec(), value.to_vec());
            true
        }
        5 => backend.get_and_delete(key).await.unwrap() == model.remove(key),
        6 => {
            let options = PutOptions::default().with_condition(Condition::IfPresent);
            let stored = model.contains_key(key);
            model.entry(key.to_vec()).and_modify(|old| *old = value.to_vec());
            if !stored {
                model.remove(key);
            }
            backend.put_with(key, value, options).await.unwrap() == stored
        }
        _ => {
            let start =
                model.get(key).map_or(Some(0), |text| String::from_utf8_lossy(text).parse::<i64>().ok());
            if let Some(start) = start {
                model.insert(key.to_vec(), (start + 7).to_string().into_bytes());
            }
            backend.increment(key, 7).await.ok() == start.map(|start| start + 7)
        }
    }
}

async fn swap(
    backend: &dyn StateBackend,
    model: &mut Model,
    key: &[u8],
    value: &[u8],
    random: &mut StdRng,
) -> bool {
    // Half of the time the expectation is right, so that both outcomes are common.
    let current = model.get(key).cloned();
    let expected = if random.random() { current.clone() } else { Some(pick(random, "")) };
    let new = random.random::<bool>().then(|| value.to_vec());
    let outcome = backend.compare_and_swap(key, expected.as_deref(), new.as_deref()).await.unwrap();
    if expected != current {
        return outcome == CasOutcome::Mismatch { current };
    }
    match new {
        Some(new) => model.insert(key.to_vec(), new),
        None => model.remove(key),
    };
    outcome == CasOutcome::Swapped
}

async fn batch(backend: &dyn StateBackend, model: &mut Model, random: &mut StdRng) -> bool {
    let pairs: Vec<_> = (0..8).map(|_| (pick(random, "key"), pick(random, ""))).collect();
    let items: Vec<PutItem<'_>> = pairs.iter().map(|(key, value)| PutItem::new(key, value)).collect();
    let keys: Vec<&[u8]> = pairs.iter().map(|(key, _)| key.as_slice()).collect();
    let stored = backend.batch_put_if_absent(&items[..4]).await;
    let mut agrees = true;
    for ((key, value), result) in pairs.iter().zip(stored) {
        let wanted = !model.contains_key(key);
        model.entry(key.clone()).or_insert_with(|| value.clone());
        agrees &= result.unwrap() == wanted;
    }
    for (key, value) in &pairs[4..] {
        model.insert(key.clone(), value.clone());
    }
    agrees &= backend.batch_put(&items[4..]).await.iter().all(Result::is_ok);
    for (key, result) in keys.iter().zip(backend.batch_get(&keys).await) {
        agrees &= result.unwrap().as_ref() == model.get(*key);
    }
    agrees &= backend.batch_delete(&keys[2..6]).await.iter().all(Result::is_ok);
    keys[2..6].iter().for_each(|key| drop(model.remove(*key)));
    agrees
}

/// One of a dozen keys, or a small number as text, which is a value.
fn pick(random: &mut StdRng, prefix: &str) -> Vec<u8> {
    format!("{prefix}{}", random.random_range(0..12)).into_bytes()
}
