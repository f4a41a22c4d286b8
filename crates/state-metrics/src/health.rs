//! Where `/healthz` and `/readyz` get their answers.

use std::borrow::Cow;

use async_trait::async_trait;

/// Whether a part of the process can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It can.
    Up,
    /// It can, with less than it should have; the reason is shown to whoever asks, and the answer is still 200.
    Degraded(Cow<'static, str>),
    /// It cannot; the reason is shown to whoever asks, and the answer is 503.
    Down(Cow<'static, str>),
}

/// Answers for `/healthz` and `/readyz`. Reasons are shown as they are: put no secret, key or value there.
#[async_trait]
pub trait HealthSource: Send + Sync + 'static {
    /// Whether the process should go on (`/healthz`): an orchestrator restarts it otherwise. A Redis that is away
    /// is no reason, since a restart brings it no nearer. Default: [`Health::Up`].
    async fn live(&self) -> Health {
        Health::Up
    }

    /// Whether the process should get traffic (`/readyz`). An answer later than the exporter's health timeout
    /// counts as [`Health::Down`].
    async fn ready(&self) -> Health;
}

/// The source of an exporter that is given none: up as long as it answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysUp;

#[async_trait]
impl HealthSource for AlwaysUp {
    async fn ready(&self) -> Health {
        Health::Up
    }
}
