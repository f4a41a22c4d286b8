//! fred: one client, standalone or on a cluster.

use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientLike as _, KeysInterface as _, LuaInterface as _};
use fred::types::config::{Config, ServerConfig, TcpConfig};
use fred::types::{Builder, Expiration, SetOptions};

use crate::Outcome;
use crate::candidate::{Candidate, Key, SWAP, fault};

/// fred's client.
#[derive(Clone)]
pub struct Fred {
    client: Client,
    swap: String,
    cluster: bool,
}

impl Fred {
    /// Connects to one server.
    pub async fn connect(url: &str) -> Outcome<Self> {
        Self::build(Config::from_url(url)?, false).await
    }

    /// Connects to a cluster.
    pub async fn connect_cluster(addresses: &[String]) -> Outcome<Self> {
        let mut hosts = Vec::new();
        for address in addresses {
            let (host, port) = address.rsplit_once(':').ok_or("an address without a port")?;
            hosts.push((host.to_owned(), port.parse()?));
        }
        Self::build(Config { server: ServerConfig::new_clustered(hosts), ..Config::default() }, true).await
    }

    async fn build(config: Config, cluster: bool) -> Outcome<Self> {
        let client = Builder::from_config(config)
            .with_connection_config(|connection| {
                connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
            })
            .build()?;
        client.init().await?;
        let swap =
            if cluster { client.script_load_cluster(SWAP).await? } else { client.script_load(SWAP).await? };
        Ok(Self { client, swap, cluster })
    }
}

impl Candidate for Fred {
    async fn get(&self, key: &Key) -> Outcome<usize> {
        let value: Option<Vec<u8>> = self.client.get(key.stored.as_slice()).await?;
        value.map_or_else(|| fault("nothing there"), |value| Ok(value.len()))
    }

    async fn put(&self, key: &Key, value: &[u8]) -> Outcome<()> {
        Ok(self.client.set(key.stored.as_slice(), value, None, None, false).await?)
    }

    async fn put_ttl(&self, key: &Key, value: &[u8], ttl: Duration) -> Outcome<()> {
        let expire = Some(Expiration::PX(ttl.as_millis() as i64));
        Ok(self.client.set(key.stored.as_slice(), value, expire, None, false).await?)
    }

    async fn put_if_absent(&self, key: &Key, value: &[u8], ttl: Duration) -> Outcome<bool> {
        let expire = Some(Expiration::PX(ttl.as_millis() as i64));
        let options = Some(SetOptions::NX);
        let answer: Option<String> =
            self.client.set(key.stored.as_slice(), value, expire, options, false).await?;
        Ok(answer.is_some())
    }

    async fn swap(&self, key: &Key, expected: &[u8], new: &[u8]) -> Outcome<bool> {
        let arguments = vec![expected, new];
        Ok(self.client.evalsha(self.swap.as_str(), key.stored.as_slice(), arguments).await?)
    }

    async fn increment(&self, key: &Key, delta: i64) -> Outcome<i64> {
        Ok(self.client.incr_by(key.stored.as_slice(), delta).await?)
    }

    async fn batch_get(&self, keys: &[Key]) -> Outcome<usize> {
        // MGET is not split by slot.
        let values: Vec<Option<Vec<u8>>> = if self.cluster {
            let pipeline = self.client.pipeline();
            for key in keys {
                let () = pipeline.get(key.stored.as_slice()).await?;
            }
            pipeline.all().await?
        } else {
            self.client.mget(stored(keys)).await?
        };
        Ok(values.iter().flatten().count())
    }

    async fn batch_put(&self, keys: &[Key], value: &[u8]) -> Outcome<()> {
        let pipeline = self.client.pipeline();
        for key in keys {
            let () = pipeline.set(key.stored.as_slice(), value, None, None, false).await?;
        }
        let _: Vec<String> = pipeline.all().await?;
        Ok(())
    }

    async fn batch_delete(&self, keys: &[Key]) -> Outcome<()> {
        let gone: usize = if self.cluster {
            let pipeline = self.client.pipeline();
            for key in keys {
                let () = pipeline.unlink(key.stored.as_slice()).await?;
            }
            pipeline.all::<Vec<usize>>().await?.into_iter().sum()
        } else {
            self.client.unlink(stored(keys)).await?
        };
        if gone == keys.len() { Ok(()) } else { fault(format!("{gone} of {} were there", keys.len())) }
    }
}

fn stored(keys: &[Key]) -> Vec<&[u8]> {
    keys.iter().map(|key| key.stored.as_slice()).collect()
}
