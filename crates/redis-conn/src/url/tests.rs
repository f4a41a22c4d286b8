//! URLs that must open, and URLs that must not, without their secrets in the error.

use super::*;
use crate::config::Protocol;
use crate::error::ErrorKind;

fn standalone(url: &str) -> Config {
    parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn a_full_url_sets_every_part() {
    let config = standalone("redis://svc:p%40ss@example.test:6380/7?protocol=resp2&client_name=web-1");
    assert_eq!(config.servers, Servers::Standalone(Endpoint::tcp("example.test", 6380)));
    let credentials = config.credentials.expect("credentials");
    assert_eq!(credentials.expose_user(), Some("svc"));
    assert_eq!(credentials.expose_password(), "p@ss");
    assert_eq!((config.db, config.protocol), (7, Protocol::Resp2));
    assert_eq!(config.client_name.as_deref(), Some("web-1"));
}

#[test]
fn port_and_database_have_defaults() {
    let config = standalone("redis://localhost");
    assert_eq!(config.servers, Servers::Standalone(Endpoint::tcp("localhost", 6379)));
    assert_eq!(config.db, 0);
    assert!(config.credentials.is_none());
}

#[test]
fn a_password_without_a_user_and_an_ipv6_address_are_read() {
    let config = standalone("redis://:secret@[::1]:7000/");
    assert_eq!(config.servers, Servers::Standalone(Endpoint::tcp("::1", 7000)));
    assert_eq!(config.credentials.expect("credentials").expose_user(), None);
}

#[test]
fn a_password_may_contain_an_at_sign() {
    let config = standalone("redis://:a@b@host");
    assert_eq!(config.credentials.expect("credentials").expose_password(), "a@b");
}

#[test]
fn unix_sockets_open_in_all_three_spellings() {
    for url in [
        "redis+unix:///run/redis.sock?db=2",
        "redis-unix:/run/redis.sock?db=2",
        "unix:///run/redis.sock?db=2",
    ] {
        let config = standalone(url);
        assert_eq!(config.servers, Servers::Standalone(Endpoint::Unix("/run/redis.sock".into())));
        assert_eq!(config.db, 2);
    }
}

#[test]
fn wrong_urls_are_refused_without_being_repeated() {
    let wrong = [
        "c4nary",
        "http://:c4nary@host",
        "redis:c4nary@host",
        "redis://:c4nary@",
        "redis://c4nary@host",
        "redis://:c4nary@host:99999",
        "redis://:c4nary@host:0",
        "redis://:c4nary@host/one",
        "redis://:c4nary%zz@host",
        "redis://:c4nary%e2%28@host",
        "redis://:c4nary@[::1",
        "redis://:c4nary@h1,h2",
        "redis://host?nonsense=c4nary",
        "redis://host?user=c4nary",
        "redis://host?protocol=c4nary",
        "redis+unix://c4nary",
        "redis+sentinel://:c4nary@h1,h2",
        "redis+cluster://:c4nary@h1,h2/3",
    ];
    for url in wrong {
        let error = parse(url).expect_err(url);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}");
        assert!(!format!("{error} {error:?}").contains("c4nary"), "{error:?}");
    }
}

#[test]
fn percent_escapes_at_a_character_boundary_do_not_panic() {
    for url in ["redis://:%é@host", "redis://:%", "redis://:%a@host", "redis://:%+a@host"] {
        assert!(parse(url).is_err(), "{url}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_sentinel_url_names_sentinels_service_database_and_both_logins() {
    let url = "rediss+sentinel://app:m%40ster@h1,[::2]:27000/orders/4?sentinel_user=w&sentinel_password=s%26";
    let config = standalone(url);
    let sentinels = vec![Endpoint::tcp("h1", 26379), Endpoint::tcp("::2", 27000)];
    assert_eq!(config.servers, Servers::Sentinel { sentinels, service: "orders".to_owned() });
    assert_eq!(config.db, 4);
    assert_eq!(config.credentials.expect("of the master").expose_password(), "m@ster");
    let watcher = config.sentinel.credentials.expect("of the sentinels");
    assert_eq!((watcher.expose_user(), watcher.expose_password()), (Some("w"), "s&"));
    assert!(config.tls.is_some() && config.sentinel.tls.is_some());
}

#[cfg(feature = "tls")]
#[test]
fn rediss_means_tls_and_redis_means_none() {
    assert!(standalone("rediss://host").tls.is_some());
    assert!(standalone("redis://host").tls.is_none());
}

#[cfg(feature = "tls")]
#[test]
fn certificate_files_are_for_servers_and_sentinels_over_tls() {
    let files = "ssl_ca_certs=/c4nary/ca.crt&ssl_certfile=/c4nary/a%26b.crt&ssl_keyfile=/c4nary/a.key";
    let config = standalone(&format!("rediss+sentinel://h1/orders?{files}"));
    for tls in [config.tls.as_ref(), config.sentinel.tls.as_ref()] {
        let tls = tls.expect("TLS");
        let identity = tls.identity.as_ref().expect("a client certificate");
        let path = |pem: &crate::Pem| match pem {
            crate::Pem::File(path) => path.display().to_string(),
            crate::Pem::Bytes(_) => panic!("not a file"),
        };
        assert_eq!(path(tls.roots.as_ref().expect("roots")), "/c4nary/ca.crt");
        assert_eq!(path(&identity.certificate), "/c4nary/a&b.crt");
        assert_eq!(path(&identity.key), "/c4nary/a.key");
    }
    assert!(!format!("{config:?}").contains("c4nary"));
}

#[cfg(feature = "tls")]
#[test]
fn certificate_files_that_make_no_sense_are_refused_without_being_repeated() {
    for url in [
        "redis://host?ssl_ca_certs=/c4nary/ca.crt",
        "rediss://host?ssl_certfile=/c4nary/a.crt",
        "rediss://host?ssl_keyfile=/c4nary/a.key",
        "rediss://host?ssl_cert_reqs=none&ssl_ca_certs=/c4nary/ca.crt",
    ] {
        let error = parse(url).expect_err(url);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}");
        assert!(!format!("{error} {error:?}").contains("c4nary"), "{error:?}");
    }
}
