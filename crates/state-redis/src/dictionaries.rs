//! Dictionaries of the codec, kept on the same servers beside the data.

use async_trait::async_trait;
use redis_conn::{Conn, Expiry, SetOptions};
use state_codec::{Dictionary, DictionaryId, DictionaryStore, DictionaryStoreError};
use tokio::time::Instant;

use crate::config::RedisConfig;

/// Keeps dictionaries under `prefix`, `z|`, id. They never expire: values need them as long as they live.
pub(crate) struct Dictionaries {
    conn: Conn,
    prefix: String,
    timeout: std::time::Duration,
}

impl Dictionaries {
    pub(crate) fn new(conn: &Conn, config: &RedisConfig) -> Self {
        let prefix = format!("{}z|", config.key_prefix);
        Self { conn: conn.clone(), prefix, timeout: config.command_timeout }
    }

    fn key(&self, id: DictionaryId) -> Vec<u8> {
        format!("{}{id}", self.prefix).into_bytes()
    }
}

#[async_trait]
impl DictionaryStore for Dictionaries {
    async fn load(&self, id: DictionaryId) -> Result<Option<Vec<u8>>, DictionaryStoreError> {
        Ok(self.conn.get(&self.key(id), Instant::now() + self.timeout).await?)
    }

    async fn save(&self, dictionary: &Dictionary) -> Result<(), DictionaryStoreError> {
        let options = SetOptions::new().with_expiry(Expiry::Never);
        let deadline = Instant::now() + self.timeout;
        self.conn.set(&self.key(dictionary.id()), dictionary.as_bytes(), options, deadline).await?;
        Ok(())
    }
}
