//! Passwords that rotate while connections are in use.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use integration_tests::{Server, ServerConfig, eventually, margin};
use parking_lot::Mutex;
use redis_conn::{Config, Conn, Credentials, CredentialsProvider, Dedicated, ErrorKind, Event, Notice};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::support::{ping, refused, soon};

/// Hands out what it was last given.
struct Rotating {
    current: Mutex<Credentials>,
    asked: AtomicU64,
    rotations: Option<watch::Sender<u64>>,
}

impl Rotating {
    fn new(user: &str, password: &str) -> Arc<Self> {
        Arc::new(Self::silent(user, password))
    }

    /// One that tells of its rotations.
    fn announcing(user: &str, password: &str) -> Arc<Self> {
        Arc::new(Self { rotations: Some(watch::Sender::new(0)), ..Self::silent(user, password) })
    }

    fn silent(user: &str, password: &str) -> Self {
        Self {
            current: Mutex::new(Credentials::user(user, password)),
            asked: AtomicU64::new(0),
            rotations: None,
        }
    }

    fn rotate(&self, user: &str, password: &str) {
        *self.current.lock() = Credentials::user(user, password);
        if let Some(rotations) = &self.rotations {
            rotations.send_modify(|count| *count += 1);
        }
    }
}

#[async_trait]
impl CredentialsProvider for Rotating {
    async fn credentials(&self) -> Result<Option<Credentials>, Box<dyn StdError + Send + Sync>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(Some(self.current.lock().clone()))
    }

    fn rotations(&self) -> Option<watch::Receiver<u64>> {
        self.rotations.as_ref().map(watch::Sender::subscribe)
    }
}

async fn server() -> Server {
    ServerConfig::default()
        .with_acl("user default off")
        .with_acl("user app on >first ~* &* +@all")
        .start()
        .await
}

fn config(server: &Server, provider: &Arc<Rotating>) -> Config {
    let config = Config::from_url(&format!("redis://{}/", server.address())).expect("a valid URL");
    config.with_credentials_provider(Arc::clone(provider) as Arc<dyn CredentialsProvider>)
}

async fn set_user(server: &Server, rules: &[&str]) {
    server.command::<()>(redis::cmd("ACL").arg("SETUSER").arg("app").arg(rules)).await;
}

/// The usual order: the new password is added, the provider hands it out, the old one is removed. Redis does
/// not end sessions whose password was removed.
#[tokio::test]
async fn a_rotation_with_both_passwords_valid_costs_no_error() {
    let server = server().await;
    let provider = Rotating::new("app", "first");
    let conn = Conn::connect(config(&server, &provider)).await.expect("connected");
    set_user(&server, &[">second"]).await;
    provider.rotate("app", "second");
    set_user(&server, &["<first"]).await;
    for _ in 0..50 {
        ping(&conn).await.expect("PING");
    }
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("USER").arg("app");
    server.command::<i64>(&kill).await;
    eventually("connected with the new password", Duration::from_secs(30), async || {
        ping(&conn).await.map_err(|error| error.to_string())
    })
    .await;
}

/// The hard order: the password is replaced at once and sessions are ended by deleting the user, as an operator
/// does after a leak. Errors end soon after the provider knows the new one.
#[tokio::test]
async fn after_a_hard_rotation_errors_end_once_the_provider_knows_the_new_password() {
    let server = server().await;
    let provider = Rotating::new("app", "first");
    let conn = Conn::connect(config(&server, &provider)).await.expect("connected");
    server.command::<()>(redis::cmd("ACL").arg("DELUSER").arg("app")).await;
    set_user(&server, &["on", ">second", "~*", "&*", "+@all"]).await;
    let seen = eventually("the old password is refused", Duration::from_secs(30), async || {
        ping(&conn).await.err().ok_or_else(|| "still served".to_owned()).and_then(|error| {
            match error.kind() {
                ErrorKind::Auth => Ok(error),
                _ => Err(format!("{error:?}")),
            }
        })
    })
    .await;
    assert!(seen.is_safe_to_repeat() || seen.code().is_some(), "{seen:?}");
    let rotated = Instant::now();
    provider.rotate("app", "second");
    eventually("connected with the new password", Duration::from_secs(30), async || {
        ping(&conn).await.map_err(|error| error.to_string())
    })
    .await;
    println!("errors ended {:?} after the provider knew", rotated.elapsed());
    assert!(rotated.elapsed() < margin());
}

#[tokio::test]
async fn a_user_switched_off_leaves_other_users_alone_and_comes_back() {
    let server = server().await;
    server
        .command::<()>(redis::cmd("ACL").arg("SETUSER").arg("other").arg(&["on", ">pw", "~*", "+@all"]))
        .await;
    let app = Conn::connect(config(&server, &Rotating::new("app", "first"))).await.expect("connected");
    let other = Conn::connect(config(&server, &Rotating::new("other", "pw"))).await.expect("connected");
    set_user(&server, &["off"]).await;
    server.command::<i64>(redis::cmd("CLIENT").arg("KILL").arg("USER").arg("app")).await;
    eventually("the user is refused", Duration::from_secs(30), async || match ping(&app).await {
        Err(error) if error.kind() == ErrorKind::Auth => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    ping(&other).await.expect("the other user is served");
    set_user(&server, &["on"]).await;
    eventually("the user is served again", Duration::from_secs(30), async || {
        ping(&app).await.map_err(|error| error.to_string())
    })
    .await;
    ping(&other).await.expect("the other user is served");
}

#[tokio::test]
async fn wrong_credentials_fail_at_once_and_forbidden_commands_are_denied() {
    let server = server().await;
    let began = Instant::now();
    let patient =
        config(&server, &Rotating::new("app", "wrong")).with_connect_timeout(Duration::from_secs(60));
    let error = refused(patient).await;
    assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
    assert!(began.elapsed() < margin(), "not only after connect_timeout");
    set_user(&server, &["-flushall"]).await;
    let conn = Conn::connect(config(&server, &Rotating::new("app", "first"))).await.expect("connected");
    let error = conn.run(&redis::cmd("FLUSHALL"), soon()).await.expect_err("forbidden");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, Some("NOPERM")));
}

#[tokio::test]
async fn a_connection_refused_for_its_password_is_not_tried_in_a_tight_loop() {
    let server = server().await;
    let provider = Rotating::new("app", "first");
    let conn = Conn::connect(config(&server, &provider)).await.expect("connected");
    let mut events = conn.events();
    provider.rotate("app", "wrong");
    server.command::<i64>(redis::cmd("CLIENT").arg("KILL").arg("USER").arg("app")).await;
    while !matches!(events.recv().await, Ok(Event::ConnectFailed { kind: ErrorKind::Auth, .. })) {}
    let before = provider.asked.load(Ordering::SeqCst);
    // The time over which attempts are counted.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let attempts = provider.asked.load(Ordering::SeqCst) - before;
    println!("{attempts} attempts in 2 s with a wrong password");
    assert!(attempts <= 20, "{attempts}");
}

async fn who_am_i(conn: &Conn) -> (String, i64) {
    let user = conn.run(redis::cmd("ACL").arg("WHOAMI"), soon()).await.expect("WHOAMI");
    let id = conn.run(redis::cmd("CLIENT").arg("ID"), soon()).await.expect("CLIENT ID");
    (redis::from_redis_value(user).expect("a name"), redis::from_redis_value(id).expect("a number"))
}

#[tokio::test]
async fn an_announced_rotation_changes_the_user_of_the_connection_that_stands() {
    let server = server().await;
    server
        .command::<()>(redis::cmd("ACL").arg("SETUSER").arg("next").arg(&["on", ">pw", "~*", "+@all"]))
        .await;
    let provider = Rotating::announcing("app", "first");
    let conn = Conn::connect(config(&server, &provider)).await.expect("connected");
    let (user, id) = who_am_i(&conn).await;
    assert_eq!(user, "app");
    provider.rotate("next", "pw");
    eventually("the user has changed", Duration::from_secs(30), async || match who_am_i(&conn).await {
        seen if seen == ("next".to_owned(), id) => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
}

#[tokio::test]
async fn a_provider_ahead_of_the_server_costs_no_error() {
    let server = server().await;
    let provider = Rotating::announcing("app", "first");
    let conn = Conn::connect(config(&server, &provider)).await.expect("connected");
    let (_, id) = who_am_i(&conn).await;
    let mut events = conn.events();
    provider.rotate("app", "second");
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        ping(&conn).await.expect("the old session stands");
    }
    set_user(&server, &[">second", "<first"]).await;
    let reauthenticated =
        async { while !matches!(events.recv().await, Ok(Event::Reauthenticated { .. })) {} };
    tokio::time::timeout(Duration::from_secs(30), reauthenticated).await.expect("authenticated anew");
    assert_eq!(who_am_i(&conn).await, ("app".to_owned(), id), "the same connection");
}

async fn name_of(dedicated: &mut Dedicated) -> (String, i64) {
    let user = dedicated.run(redis::cmd("ACL").arg("WHOAMI"), soon()).await.expect("WHOAMI");
    let id = dedicated.run(redis::cmd("CLIENT").arg("ID"), soon()).await.expect("CLIENT ID");
    (redis::from_redis_value(user).expect("a name"), redis::from_redis_value(id).expect("a number"))
}

async fn add_user(server: &Server, name: &str) {
    let rules = ["on", ">pw", "~*", "&*", "+@all"];
    server.command::<()>(redis::cmd("ACL").arg("SETUSER").arg(name).arg(&rules)).await;
}

#[tokio::test]
async fn an_announced_rotation_reaches_dedicated_connections_lent_and_idle() {
    let server = server().await;
    add_user(&server, "next").await;
    let provider = Rotating::announcing("app", "first");
    let conn = Conn::connect(config(&server, &provider)).await.expect("connected");
    let mut lent = conn.dedicated().await.expect("a connection");
    let mut idle = conn.dedicated().await.expect("a connection");
    let ((user, lent_id), (_, idle_id)) = (name_of(&mut lent).await, name_of(&mut idle).await);
    assert_eq!(user, "app");
    drop(idle);
    provider.rotate("next", "pw");
    assert_eq!(name_of(&mut lent).await, ("next".to_owned(), lent_id), "the same connection, another user");
    let mut idle = conn.dedicated().await.expect("a connection");
    assert_eq!(name_of(&mut idle).await, ("next".to_owned(), idle_id), "the same connection, another user");
    assert_eq!(conn.pool_stats().opened, 2);
}

/// Within `MULTI` an `AUTH` would only be queued, as one more command of the transaction.
#[tokio::test]
async fn a_rotation_within_a_transaction_waits_for_its_end() {
    let server = server().await;
    add_user(&server, "next").await;
    let provider = Rotating::announcing("app", "first");
    let conn = Conn::connect(config(&server, &provider)).await.expect("connected");
    let mut dedicated = conn.dedicated().await.expect("a connection");
    dedicated.run(&redis::cmd("MULTI"), soon()).await.expect("MULTI");
    provider.rotate("next", "pw");
    dedicated.run(redis::cmd("INCR").arg("n"), soon()).await.expect("INCR");
    let done = dedicated.run(&redis::cmd("EXEC"), soon()).await.expect("EXEC");
    assert_eq!(done, redis::Value::Array(vec![redis::Value::Int(1)]));
    assert_eq!(name_of(&mut dedicated).await.0, "next");
}

#[tokio::test]
async fn a_dedicated_connection_goes_on_while_rotated_credentials_are_refused() {
    let server = server().await;
    let provider = Rotating::announcing("app", "first");
    let conn = Conn::connect(config(&server, &provider)).await.expect("connected");
    let mut dedicated = conn.dedicated().await.expect("a connection");
    let (_, id) = name_of(&mut dedicated).await;
    provider.rotate("next", "pw");
    assert_eq!(name_of(&mut dedicated).await, ("app".to_owned(), id));
    add_user(&server, "next").await;
    eventually("the user has changed", Duration::from_secs(30), async || {
        match name_of(&mut dedicated).await {
            seen if seen == ("next".to_owned(), id) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
}

/// Users of the clients that are subscribed.
async fn subscribers(server: &Server) -> Vec<String> {
    let list: String = server.command(redis::cmd("CLIENT").arg("LIST").arg("TYPE").arg("pubsub")).await;
    let users = list.lines().filter_map(|line| line.split(' ').find_map(|field| field.strip_prefix("user=")));
    users.map(str::to_owned).collect()
}

#[tokio::test]
async fn an_announced_rotation_moves_a_subscription_to_a_connection_of_the_new_user() {
    let server = server().await;
    let provider = Rotating::announcing("app", "first");
    let conn = Conn::connect(config(&server, &provider)).await.expect("connected");
    let mut subscription = conn.subscribe().await.expect("a subscription");
    subscription.subscribe("news", soon()).await.expect("SUBSCRIBE");
    let publish = redis::cmd("PUBLISH").arg("news").arg("x").to_owned();
    // Refused at first: the old connection goes on.
    provider.rotate("next", "pw");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(subscribers(&server).await, ["app"]);
    server.command::<i64>(&publish).await;
    assert!(matches!(subscription.next().await, Some(Notice::Message { .. })));
    add_user(&server, "next").await;
    let moved = tokio::time::timeout(Duration::from_secs(30), subscription.next()).await;
    assert_eq!(moved.expect("in time"), Some(Notice::Gap));
    eventually("only the new connection is left", Duration::from_secs(30), async || {
        let seen = subscribers(&server).await;
        if seen == ["next"] { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    server.command::<i64>(&publish).await;
    assert!(matches!(subscription.next().await, Some(Notice::Message { .. })));
}
