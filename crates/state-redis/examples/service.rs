//! A web service on axum and tower: state behind HTTP, with limits, a health check and a graceful end.
//!
//! `cargo run -p state-redis --example service`, with a server on localhost or the one that `REDIS_URL` names, then
//! `curl -X PUT -d hello http://127.0.0.1:8080/state/greeting` and `curl http://127.0.0.1:8080/state/greeting`.
//! `ADDRESS` is another place to listen. Ctrl-C or SIGTERM ends it: requests under way are finished first.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use axum::body::Bytes;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{BoxError, Router};
use state_redis::{ErrorKind, RedisBackend, RedisConfig, StateBackend, StateError};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://localhost:6379".to_owned());
    let address = std::env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let state =
        RedisBackend::new(RedisConfig::builder().url(url).key_prefix("example:service:").build()?).await?;

    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router(state.clone())).with_graceful_shutdown(told_to_end()?).await?;

    // No request is under way any more: whatever the backend has in the background ends with it.
    state.close().await;
    println!("ended");
    Ok(())
}

/// More than 256 requests at a time are refused, and none takes longer than the backend's own deadline allows.
fn router(state: RedisBackend) -> Router {
    let limits = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(async |error: BoxError| {
            (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }))
        .load_shed()
        .concurrency_limit(256)
        .timeout(Duration::from_secs(10));
    Router::new()
        .route("/state/{key}", get(read).put(write).delete(remove))
        .layer(limits)
        // Outside of the limits: a service that is busy is not ill.
        .route("/healthz", get(health))
        .with_state(state)
}

async fn read(State(state): State<RedisBackend>, Path(key): Path<String>) -> Result<Response, Failure> {
    Ok(match state.get(key.as_bytes()).await? {
        Some(value) => value.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

async fn write(
    State(state): State<RedisBackend>,
    Path(key): Path<String>,
    value: Bytes,
) -> Result<StatusCode, Failure> {
    state.put(key.as_bytes(), &value).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(State(state): State<RedisBackend>, Path(key): Path<String>) -> Result<StatusCode, Failure> {
    state.delete(key.as_bytes()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn health(State(state): State<RedisBackend>) -> Result<StatusCode, Failure> {
    Ok(if state.health_check().await? { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
}

/// A backend's error as an answer: what the client can do about it is in the kind.
struct Failure(StateError);

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0.kind() {
            ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::Conflict | ErrorKind::WrongType => StatusCode::CONFLICT,
            ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            ErrorKind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Unavailable | ErrorKind::CircuitOpen | ErrorKind::ReadOnly => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.0.to_string()).into_response()
    }
}

/// Completes on SIGTERM and on Ctrl-C.
fn told_to_end() -> std::io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
