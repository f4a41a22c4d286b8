//! What can be said about TLS without a server; the rest is in the integration tests.

use super::*;

const NO_PEM: &[u8] = b"c4nary";

async fn loading_fails(tls: Tls) -> Error {
    TlsConnector::new(tls).reload().await.expect_err("unusable material")
}

#[tokio::test]
async fn unusable_material_is_named_by_setting_and_not_repeated() {
    let missing = PathBuf::from("/c4nary/ca.pem");
    let cases = [
        (Tls::default().with_roots(missing.clone()), "tls.roots"),
        (Tls::default().with_roots(NO_PEM.to_vec()), "tls.roots"),
        (Tls::default().with_identity(missing.clone(), missing), "tls.identity.certificate"),
        (Tls::default().with_identity(NO_PEM.to_vec(), NO_PEM.to_vec()), "tls.identity.certificate"),
    ];
    for (tls, setting) in cases {
        assert!(!format!("{tls:?}").contains("c4nary"));
        let error = loading_fails(tls).await;
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
        assert!(error.context().contains(setting), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("c4nary"), "{error:?}");
    }
}

#[test]
fn a_server_name_that_is_none_is_refused() {
    assert!(Tls::default().with_server_name("not a name").validate().is_err());
    assert!(Tls::default().with_server_name("redis.example").validate().is_ok());
    assert!(Tls::default().with_server_name("10.0.0.1").validate().is_ok());
}

#[test]
fn a_failure_survives_the_layers_that_know_io_errors_only() {
    let io = io::Error::from(Failure::NoClientCertificate);
    let error = Error::not_sent(ErrorKind::Unavailable, "broke").with_source(redis::RedisError::from(io));
    let explained = explain(error);
    assert_eq!(explained.kind(), ErrorKind::Tls);
    assert!(explained.context().contains("demands a client certificate"), "{explained}");
}

#[test]
fn other_errors_are_left_as_they_are() {
    let io = io::Error::from(io::ErrorKind::ConnectionReset);
    let error = Error::not_sent(ErrorKind::Unavailable, "broke").with_source(redis::RedisError::from(io));
    assert_eq!(explain(error).kind(), ErrorKind::Unavailable);
}
