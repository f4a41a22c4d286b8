//! Canaries: passwords, user names and certificate paths that must appear nowhere.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use integration_tests::{Certificates, Identity, SentinelConfig, ServerConfig, eventually};
use parking_lot::Mutex;
use redis_conn::{Config, Conn, Credentials, SentinelSettings};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::support::{ping, soon};

/// Each holds a character that URLs escape.
const USER: &str = "c4nary-us@r";
const PASSWORD: &str = "c4nary-p@ss/w0rd";
const WRONG: &str = "c4nary-wr0ng@";
const VALUE: &str = "c4nary-v@lue";
const FOLDER: &str = "c4nary-f@lder";

/// Everything logged and shown in the course of a test.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u8>>>);

impl io::Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Seen {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Seen {
    fn show(&self, shown: &(impl Debug + ?Sized)) {
        self.0.lock().extend_from_slice(format!("{shown:?}\n{shown:#?}\n").as_bytes());
    }

    /// An error with its whole chain of sources.
    fn show_error(&self, error: &(dyn std::error::Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.0.lock().extend_from_slice(format!("{error}\n{error:?}\n").as_bytes());
            next = error.source();
        }
    }

    /// Returns how many bytes were searched.
    fn assert_clean(&self) -> usize {
        let seen = String::from_utf8_lossy(&self.0.lock()).to_lowercase();
        assert!(seen.lines().count() > 20, "the logs were not captured:\n{seen}");
        for canary in [USER, PASSWORD, WRONG, VALUE, FOLDER] {
            for form in [canary.to_owned(), percent_encoded(canary), base64(canary)] {
                let form = form.to_lowercase();
                let found = seen.lines().find(|line| line.contains(&form));
                assert!(found.is_none(), "{form} in: {}", found.unwrap_or_default());
            }
        }
        seen.len()
    }
}

fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'-' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Without the last group, which depends on what follows.
fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |group: &[u8]| {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
    };
    text.as_bytes().chunks_exact(3).flat_map(digits).collect()
}

#[tokio::test]
async fn no_secret_is_logged_or_shown_in_good_times_and_bad() {
    let seen = Seen::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(seen.clone())
        .finish();
    // Records of the `log` crate, as rustls writes them, are captured too. Other tests of this process log into
    // the same buffer, which only adds to what is searched.
    subscriber.try_init().expect("no other subscriber");
    over_tls(&seen).await;
    over_sentinels(&seen).await;
    unusable_urls(&seen);
    println!("{} bytes of logs and output searched", seen.assert_clean());
}

async fn over_tls(seen: &Seen) {
    let certificates = Certificates::generate();
    let folder = tempfile::tempdir().expect("a folder");
    let hidden = folder.path().join(FOLDER);
    std::fs::create_dir(&hidden).expect("a folder");
    let copy = |from: std::path::PathBuf, name: &str| {
        std::fs::copy(from, hidden.join(name)).expect("copy");
        hidden.join(name)
    };
    let files = [
        ("ssl_ca_certs", copy(certificates.ca(), "ca")),
        ("ssl_certfile", copy(certificates.certificate(Identity::Client), "crt")),
        ("ssl_keyfile", copy(certificates.key(Identity::Client), "key")),
    ];
    let files =
        files.map(|(name, path)| format!("{name}={}", percent_encoded(path.to_str().expect("UTF-8"))));
    let rule = format!("user {USER} on >{PASSWORD} ~* &* +@all");
    let server = ServerConfig::default().with_tls(certificates).with_acl(rule).start().await;
    let login = format!("{}:{}", percent_encoded(USER), percent_encoded(PASSWORD));
    let url = format!("rediss://{login}@{}/?{}", server.address(), files.join("&"));
    let config = Config::from_url(&url).expect("a valid URL");
    seen.show(&config);
    let conn = Conn::connect(config.clone()).await.expect("connected");
    seen.show(&conn);
    conn.set(b"k", VALUE.as_bytes(), Default::default(), soon()).await.expect("SET");
    let script = redis::cmd("EVAL").arg(format!("return redis.error_reply('{VALUE}')")).arg(0).to_owned();
    seen.show_error(&conn.run(&script, soon()).await.expect_err("an error reply"));
    seen.show_error(
        &conn.run(redis::cmd("INCRBY").arg("k").arg(VALUE), soon()).await.expect_err("no number"),
    );
    let wrong = config.clone().with_credentials(Credentials::user(USER, WRONG));
    seen.show_error(&Conn::connect(wrong).await.expect_err("a wrong password"));
    std::fs::remove_file(hidden.join("key")).expect("remove");
    seen.show_error(&conn.reload_tls().await.expect_err("no key"));
    seen.show_error(&Conn::connect(config).await.expect_err("no key"));
    server.kill();
    eventually("the loss is noticed", Duration::from_secs(30), async || match ping(&conn).await {
        Err(error) => {
            seen.show_error(&error);
            Ok(())
        }
        Ok(_) => Err("still served".to_owned()),
    })
    .await;
}

async fn over_sentinels(seen: &Seen) {
    let group = SentinelConfig::default()
        .with_node(ServerConfig::default().with_password(PASSWORD))
        .with_sentinel(ServerConfig::default().with_password(PASSWORD))
        .with_replicas(1)
        .start()
        .await;
    let url =
        format!("redis+sentinel://:{}@{}/mymaster", percent_encoded(PASSWORD), group.addresses().join(","));
    let settings =
        |password: &str| SentinelSettings::default().with_credentials(Credentials::password(password));
    let config = Config::from_url(&url).expect("a valid URL").with_sentinel(settings(PASSWORD));
    seen.show(&config);
    let conn = Conn::connect(config.clone()).await.expect("connected");
    ping(&conn).await.expect("PING");
    seen.show_error(
        &Conn::connect(config.with_sentinel(settings(WRONG))).await.expect_err("a wrong password"),
    );
}

fn unusable_urls(seen: &Seen) {
    for url in [
        PASSWORD.to_owned(),
        format!("redis://{USER}:{PASSWORD}"),
        format!("rediss://{USER}:{WRONG}host:port"),
        format!("redis+sentinel://{USER}:{WRONG}host"),
        format!("redis://:{WRONG}h1,h2"),
        format!("redis://host?{FOLDER}={PASSWORD}"),
        format!("redis://host?password={WRONG}%zz"),
        format!("nonsense://{PASSWORD}"),
        format!("redis://host?ssl_ca_certs=/{FOLDER}/ca"),
        format!("rediss://host?ssl_certfile=/{FOLDER}/crt"),
    ] {
        seen.show_error(&Config::from_url(&url).expect_err(&url));
    }
}
