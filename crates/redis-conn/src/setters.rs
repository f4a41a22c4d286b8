//! The consuming setters of [`Config`]: one per field, named `with_` and the field.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Backoff, Batching, Config, Pooling, Protocol, Tcp};
use crate::credentials::{Credentials, CredentialsProvider};
use crate::endpoint::Endpoint;
use crate::observe::{EndpointGate, Observer};
use crate::reader::ReadFrom;
use crate::sentinel::SentinelSettings;
#[cfg(feature = "tls")]
use crate::tls::Tls;
use crate::wait::WriteConcern;

macro_rules! setters {
    ($($setter:ident: $field:ident, $type:ty;)*) => {
        impl Config {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
}

#[cfg(feature = "tls")]
setters! {
    with_tls: tls, Tls;
}

setters! {
    with_sentinel: sentinel, SentinelSettings;
}

setters! {
    with_credentials: credentials, Credentials;
    with_credentials_provider: credentials_provider, Arc<dyn CredentialsProvider>;
    with_db: db, u32;
    with_protocol: protocol, Protocol;
    with_client_name: client_name, String;
    with_connect_timeout: connect_timeout, Duration;
    with_dial_timeout: dial_timeout, Duration;
    with_command_timeout: command_timeout, Duration;
    with_stall_timeout: stall_timeout, Duration;
    with_topology_interval: topology_interval, Duration;
    with_backoff: backoff, Backoff;
    with_tcp: tcp, Tcp;
    with_max_in_flight: max_in_flight, usize;
    with_max_in_flight_bytes: max_in_flight_bytes, usize;
    with_max_queued: max_queued, usize;
    with_batching: batching, Batching;
    with_read_from: read_from, ReadFrom;
    with_write_concern: write_concern, WriteConcern;
    with_pool: pool, Pooling;
    with_health_interval: health_interval, Duration;
    with_observer: observer, Arc<dyn Observer>;
    with_gate: gate, Arc<dyn EndpointGate>;
}

impl Config {
    /// Sets [`address_map`](Self#structfield.address_map).
    #[must_use]
    pub fn with_address_map(mut self, map: impl Fn(&Endpoint) -> Endpoint + Send + Sync + 'static) -> Self {
        self.address_map = Some(Arc::new(map));
        self
    }
}
