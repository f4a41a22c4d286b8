//! rustis: one client, standalone or on a cluster.

use std::time::Duration;

use rustis::client::Client;
use rustis::commands::{
    GenericCommands as _, ScriptingCommands as _, SetCondition, SetExpiration, StringCommands as _,
};
use rustis::resp::BulkString;
use serde::{Serialize, Serializer};

use crate::Outcome;
use crate::candidate::{Candidate, Key, SWAP, fault};

/// rustis' client. Nagle's algorithm is off by its own default.
#[derive(Clone)]
pub struct Rustis {
    client: Client,
    swap: String,
}

impl Rustis {
    /// Connects to one server.
    pub async fn connect(url: &str) -> Outcome<Self> {
        Self::new(Client::connect(url).await?).await
    }

    /// Connects to a cluster.
    pub async fn connect_cluster(addresses: &[String]) -> Outcome<Self> {
        Self::new(Client::connect(format!("redis+cluster://{}", addresses.join(","))).await?).await
    }

    async fn new(client: Client) -> Outcome<Self> {
        let swap = client.script_load(SWAP).await?;
        Ok(Self { client, swap })
    }
}

/// Bytes that are serialized as one argument.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Candidate for Rustis {
    async fn get(&self, key: &Key) -> Outcome<usize> {
        let value: Option<BulkString> = self.client.get(Bytes(&key.stored)).await?;
        value.map_or_else(|| fault("nothing there"), |value| Ok(value.len()))
    }

    async fn put(&self, key: &Key, value: &[u8]) -> Outcome<()> {
        Ok(self.client.set(Bytes(&key.stored), Bytes(value)).await?)
    }

    async fn put_ttl(&self, key: &Key, value: &[u8], ttl: Duration) -> Outcome<()> {
        let expiration = SetExpiration::Px(ttl.as_millis() as u64);
        let set = self.client.set_with_options(Bytes(&key.stored), Bytes(value), None, expiration);
        if set.await? { Ok(()) } else { fault("not set") }
    }

    async fn put_if_absent(&self, key: &Key, value: &[u8], ttl: Duration) -> Outcome<bool> {
        let expiration = SetExpiration::Px(ttl.as_millis() as u64);
        let condition = SetCondition::NX;
        Ok(self.client.set_with_options(Bytes(&key.stored), Bytes(value), condition, expiration).await?)
    }

    async fn swap(&self, key: &Key, expected: &[u8], new: &[u8]) -> Outcome<bool> {
        let arguments = [Bytes(expected), Bytes(new)];
        Ok(self.client.evalsha(self.swap.as_str(), Bytes(&key.stored), arguments).await?)
    }

    async fn increment(&self, key: &Key, delta: i64) -> Outcome<i64> {
        Ok(self.client.incrby(Bytes(&key.stored), delta).await?)
    }

    async fn batch_get(&self, keys: &[Key]) -> Outcome<usize> {
        let values: Vec<Option<BulkString>> = self.client.mget(stored(keys)).await?;
        Ok(values.iter().flatten().count())
    }

    async fn batch_put(&self, keys: &[Key], value: &[u8]) -> Outcome<()> {
        let pairs: Vec<_> = keys.iter().map(|key| (Bytes(&key.stored), Bytes(value))).collect();
        Ok(self.client.mset(pairs).await?)
    }

    async fn batch_delete(&self, keys: &[Key]) -> Outcome<()> {
        let gone = self.client.unlink(stored(keys)).await?;
        if gone == keys.len() { Ok(()) } else { fault(format!("{gone} of {} were there", keys.len())) }
    }
}

fn stored(keys: &[Key]) -> Vec<Bytes<'_>> {
    keys.iter().map(|key| Bytes(&key.stored)).collect()
}
