//! The backend: what it is made of, and the operations on one key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::Cmd;
use redis_conn::Conn;
use state_core::{
    CasOutcome, Condition, Expiry, PutOptions, StateBackend, StateResult, Ttl, check_value, ttl_millis,
};

use crate::config::RedisConfig;
use crate::exec::{Door, Task};
use crate::instruments::Instruments;
use crate::keyspace::Keyspace;
use crate::observe::Watcher;
use crate::operation::Operation;
use crate::policy::Policy;
use crate::put::{Put, TtlOnServer};
use crate::records::Records;
use crate::values::Values;
use crate::{atomic, error, reply, validate};

/// State on Redis. A clone is another handle to the same backend; the last one closes the connections.
///
/// The methods for single keys are those of [`StateBackend`], without the allocation that a call through a trait
/// object takes.
#[derive(Clone)]
pub struct RedisBackend {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) door: Door,
    pub(crate) values: Values,
    pub(crate) keyspace: Keyspace,
    pub(crate) records: Records,
    pub(crate) config: RedisConfig,
    pub(crate) default_ttl_ms: Option<u64>,
    #[cfg(feature = "resilience")]
    pub(crate) breakers: Option<Arc<crate::breakers::Breakers>>,
    #[cfg(feature = "locks")]
    pub(crate) locks: crate::locks::Locks,
}

impl RedisBackend {
    /// Connects.
    ///
    /// # Errors
    /// `InvalidConfig` naming the field; `Unavailable` or `Timeout` when no server answered within
    /// `connect_timeout`; `Auth` when it refuses the credentials; `Unsupported` when it is too old.
    pub async fn new(config: RedisConfig) -> StateResult<Self> {
        config.validate()?;
        let inner = Arc::new(Inner::connect(config).await?);
        let weak = Arc::downgrade(&inner);
        inner.door.instruments.sample_pool(move || Some(weak.upgrade()?.door.conn().pool_stats()));
        Ok(Self { inner })
    }

    /// The settings it was built from.
    pub fn config(&self) -> &RedisConfig {
        &self.inner.config
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// Those of [`StateBackend::get`].
    pub async fn get(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
        let mut task = self.inner.door.begin(Operation::Get).on(key);
        let mut result = self.inner.read(&task, key).await;
        if let Some(fallback) = self.inner.fallback_for(&task, &result) {
            result = fallback.get(key).await;
        }
        if let Ok(value) = &result {
            task.found(value.as_deref());
        }
        task.end(result)
    }

    /// Stores `value` under `key`, over whatever was there, with the default TTL.
    ///
    /// # Errors
    /// Those of [`StateBackend::put`].
    pub async fn put(&self, key: &[u8], value: &[u8]) -> StateResult<()> {
        self.put_with(key, value, PutOptions::default()).await.map(|_stored| ())
    }

    /// Stores `value` under `key` with a TTL and a condition, and tells whether the condition held.
    ///
    /// # Errors
    /// Those of [`StateBackend::put_with`].
    pub async fn put_with(&self, key: &[u8], value: &[u8], options: PutOptions) -> StateResult<bool> {
        let is_conditional = options.condition != Condition::Always;
        let operation = if is_conditional { Operation::PutIf } else { Operation::Put };
        let mut task = self.inner.door.begin(operation).on(key);
        let result = self.inner.write(&task, key, value, options).await;
        if let Ok(true) = result {
            task.wrote(value.len());
        }
        task.end(result)
    }

    /// Stores `value` for `ttl`.
    ///
    /// # Errors
    /// Those of [`StateBackend::put_with`].
    pub async fn put_with_ttl(&self, key: &[u8], value: &[u8], ttl: Duration) -> StateResult<()> {
        let options = PutOptions { ttl: Ttl::After(ttl), ..PutOptions::default() };
        self.put_with(key, value, options).await.map(|_stored| ())
    }

    /// Removes `key`.
    ///
    /// # Errors
    /// Those of [`StateBackend::delete`].
    pub async fn delete(&self, key: &[u8]) -> StateResult<()> {
        self.ask(Operation::Delete, "UNLINK", key, &[]).await.map(|_removed| ())
    }

    /// Whether there is a value under `key`.
    ///
    /// # Errors
    /// Those of [`StateBackend::contains`].
    pub async fn contains(&self, key: &[u8]) -> StateResult<bool> {
        let task = self.inner.door.begin(Operation::Contains).on(key);
        let mut result = self.inner.integer(&task, "EXISTS", key, &[]).await.map(|found| found == 1);
        if let Some(fallback) = self.inner.fallback_for(&task, &result) {
            result = fallback.contains(key).await;
        }
        task.end(result)
    }

    /// Replaces the value under `key` by `new` if it is `expected`.
    ///
    /// # Errors
    /// Those of [`StateBackend::compare_and_swap`].
    pub async fn compare_and_swap(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> StateResult<CasOutcome> {
        let mut task = self.inner.door.begin(Operation::CompareAndSwap).on(key);
        let result = atomic::compare_and_swap(&self.inner, &task, key, expected, new).await;
        if let Ok(CasOutcome::Swapped) = result {
            task.wrote(new.map_or(0, <[u8]>::len));
        }
        task.end(result)
    }

    /// Adds `delta` to the integer under `key`, and returns the sum.
    ///
    /// # Errors
    /// Those of [`StateBackend::increment`]; `Unsupported` where values are encrypted.
    pub async fn increment(&self, key: &[u8], delta: i64) -> StateResult<i64> {
        let task = self.inner.door.begin(Operation::Increment).on(key);
        let result = atomic::increment(&self.inner, &task, key, delta).await;
        task.end(result)
    }

    /// Reads and removes the value under `key`.
    ///
    /// # Errors
    /// Those of [`StateBackend::get_and_delete`]. A value that cannot be decoded stays.
    pub async fn get_and_delete(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
        let mut task = self.inner.door.begin(Operation::GetAndDelete).on(key);
        let result = atomic::get_and_delete(&self.inner, &task, key).await;
        if let Ok(value) = &result {
            task.found(value.as_deref());
        }
        task.end(result)
    }

    pub(crate) async fn time_left(&self, key: &[u8]) -> StateResult<Expiry> {
        let millis = self.ask(Operation::Ttl, "PTTL", key, &[]).await?;
        Ok(match u64::try_from(millis) {
            Ok(millis) => Expiry::After(Duration::from_millis(millis)),
            Err(_) if millis == -1 => Expiry::Never,
            Err(_) => Expiry::Absent,
        })
    }

    /// Runs a command on one key that answers with an integer, as an operation of its own.
    pub(crate) async fn ask(
        &self,
        operation: Operation,
        name: &str,
        key: &[u8],
        arguments: &[u64],
    ) -> StateResult<i64> {
        let task = self.inner.door.begin(operation).on(key);
        let result = self.inner.integer(&task, name, key, arguments).await;
        task.end(result)
    }
}

impl Inner {
    async fn connect(config: RedisConfig) -> StateResult<Self> {
        let keyspace = validate::keyspace(&config)?;
        let default_ttl_ms = config.default_ttl.map(ttl_millis).transpose()?;
        let instruments = Instruments::new(&config)?;
        #[cfg(feature = "resilience")]
        let breakers = config
            .enable_circuit_breaker
            .then(|| crate::breakers::Breakers::new(&config, &instruments).map(Arc::new))
            .transpose()?;
        let watcher = Watcher {
            instruments: instruments.clone(),
            #[cfg(feature = "resilience")]
            breakers: breakers.clone(),
        };
        let connection = validate::connection(&config)?.with_observer(Arc::new(watcher));
        #[cfg(feature = "resilience")]
        let connection = match &breakers {
            Some(breakers) => connection.with_gate(Arc::clone(breakers) as _),
            None => connection,
        };
        let conn = Conn::connect(connection).await.map_err(error::in_connect)?;
        let values = values(&config, &conn, &instruments).await?;
        let policy = Policy::new(&config)?;
        #[cfg(feature = "locks")]
        let locks = crate::locks::Locks::new(&config, &instruments);
        let door = Door::new(conn, policy, instruments, &config);
        Ok(Self {
            door,
            values,
            keyspace,
            records: Records::new(&config),
            default_ttl_ms,
            config,
            #[cfg(feature = "resilience")]
            breakers,
            #[cfg(feature = "locks")]
            locks,
        })
    }

    pub(crate) fn check_value(&self, value: &[u8]) -> StateResult<()> {
        check_value(value, self.config.max_value_len)
    }

    /// Everything there is to know before a value can be stored.
    pub(crate) fn put<'a>(
        &self,
        operation: Operation,
        key: &[u8],
        value: &'a [u8],
        options: PutOptions,
    ) -> StateResult<Put<'a>> {
        let stored = self.keyspace.encode(key)?;
        self.check_value(value)?;
        let ttl = TtlOnServer::resolve(options.ttl, self.default_ttl_ms)?;
        let value = self.values.encode(operation, key, value)?;
        Ok(Put::new(stored, value, options.condition, ttl))
    }

    pub(crate) fn key_command(&self, name: &str, key: &[u8]) -> StateResult<Cmd> {
        let mut command = redis::cmd(name);
        command.arg(self.keyspace.encode(key)?);
        Ok(command)
    }

    /// Who answers a read that failed with `result`, if anybody does.
    pub(crate) fn fallback_for<T>(
        &self,
        task: &Task<'_>,
        result: &StateResult<T>,
    ) -> Option<&dyn StateBackend> {
        let fallback = self.config.fallback.as_deref().filter(|_| is_outage(result))?;
        self.door.instruments.fell_back(task.operation());
        Some(fallback)
    }

    async fn read(&self, task: &Task<'_>, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
        let stored = self.keyspace.encode(key)?;
        let found = task.get(&stored).await?;
        match found {
            Some(bytes) => self.values.decode(task.operation(), key, bytes).await.map(Some),
            None => Ok(None),
        }
    }

    async fn write(
        &self,
        task: &Task<'_>,
        key: &[u8],
        value: &[u8],
        options: PutOptions,
    ) -> StateResult<bool> {
        self.put(task.operation(), key, value, options)?.run(task).await
    }

    async fn integer(&self, task: &Task<'_>, name: &str, key: &[u8], arguments: &[u64]) -> StateResult<i64> {
        let stored = self.keyspace.encode(key)?;
        let mut command = redis::cmd(name);
        command.arg(&stored).arg(arguments);
        reply::integer(task.operation(), task.command_on(&stored, &command).await?)
    }
}

/// Whether Redis could not be used, so that a fallback may answer instead.
pub(crate) fn is_outage<T>(result: &StateResult<T>) -> bool {
    use state_core::ErrorKind::{CircuitOpen, Overloaded, Timeout, Unavailable};
    let is_outage = |kind| matches!(kind, Unavailable | Timeout | CircuitOpen | Overloaded);
    result.as_ref().is_err_and(|error| is_outage(error.kind()))
}

#[cfg(feature = "codec")]
async fn values(config: &RedisConfig, conn: &Conn, instruments: &Instruments) -> StateResult<Values> {
    use crate::dictionaries::Dictionaries;
    let dictionaries = match &config.dictionary_store {
        Some(store) => Some(Arc::clone(store)),
        // In the plain layout every key is data, so there is no place for others.
        None if config.layout == crate::Layout::Plain => None,
        None => Some(Arc::new(Dictionaries::new(conn, config)) as Arc<dyn state_codec::DictionaryStore>),
    };
    let values = Values::new(config, dictionaries, instruments)?;
    values.publish_dictionary().await?;
    Ok(values)
}

#[cfg(not(feature = "codec"))]
async fn values(_config: &RedisConfig, _conn: &Conn, _instruments: &Instruments) -> StateResult<Values> {
    Ok(Values)
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend").field("config", &self.inner.config).finish_non_exhaustive()
    }
}
