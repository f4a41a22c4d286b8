//! The paths of the exporter and their answers.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::health::{Health, HealthSource};
use crate::prometheus::Prometheus;

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

type Answer = Response<Full<Bytes>>;

pub(crate) struct Routes {
    prometheus: Prometheus,
    health: Arc<dyn HealthSource>,
    health_timeout: Duration,
    /// One rendering at a time, so that many scrapers cost no more memory than one.
    rendering: Semaphore,
}

impl Routes {
    pub(crate) fn new(
        prometheus: Prometheus,
        health: Arc<dyn HealthSource>,
        health_timeout: Duration,
    ) -> Self {
        Self { prometheus, health, health_timeout, rendering: Semaphore::new(1) }
    }

    pub(crate) async fn answer(&self, request: &Request<Incoming>) -> Answer {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match (request.uri().path(), is_read) {
            ("/metrics", true) => self.metrics().await,
            ("/healthz", true) => self.health(self.health.live()).await,
            ("/readyz", true) => self.health(self.health.ready()).await,
            ("/metrics" | "/healthz" | "/readyz", false) => {
                let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                answer
            }
            _ => text(StatusCode::NOT_FOUND, "try /metrics, /healthz or /readyz\n"),
        }
    }

    async fn metrics(&self) -> Answer {
        let rendered = match self.rendering.acquire().await {
            Ok(_one) => {
                let prometheus = self.prometheus.clone();
                spawn_blocking(move || prometheus.render()).await.ok()
            }
            Err(_) => None,
        };
        let Some(rendered) = rendered else {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "rendering failed\n");
        };
        let mut answer = text(StatusCode::OK, rendered);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
        answer
    }

    async fn health(&self, asked: impl Future<Output = Health>) -> Answer {
        match timeout(self.health_timeout, asked).await {
            Ok(Health::Up) => text(StatusCode::OK, "up\n"),
            Ok(Health::Degraded(reason)) => text(StatusCode::OK, format!("degraded: {reason}\n")),
            Ok(Health::Down(reason)) => text(StatusCode::SERVICE_UNAVAILABLE, format!("down: {reason}\n")),
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "down: the health check timed out\n"),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
