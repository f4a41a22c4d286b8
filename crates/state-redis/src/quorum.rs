//! The connections to the masters that grant locks by majority.

use redis_conn::{Config, Servers};
use state_core::StateResult;

use crate::config::RedisConfig;
use crate::{error, validate};

/// The settings of the connection to each of `redlock_nodes`.
///
/// # Errors
/// `InvalidConfig`, naming the node by its place; no URL is repeated.
pub(crate) fn quorum(config: &RedisConfig) -> StateResult<Vec<Config>> {
    let urls = config.redlock_nodes.iter().enumerate();
    urls.map(|(index, url)| node(config, &format!("redlock_nodes[{index}]"), url)).collect()
}

fn node(config: &RedisConfig, name: &str, url: &str) -> StateResult<Config> {
    let node = Config::from_url(url).map_err(|cause| error::in_config(name, cause))?;
    validate::demand(
        matches!(node.servers, Servers::Standalone(_)),
        format!("{name} is no single server; the nodes are masters that know nothing of each other"),
    )?;
    let mut node =
        node.with_connect_timeout(config.connect_timeout).with_command_timeout(config.command_timeout);
    node.dial_timeout = validate::attempt_within(node.dial_timeout, config.connect_timeout);
    node.credentials = node.credentials.or_else(|| config.redlock_credentials.clone());
    #[cfg(feature = "tls")]
    if let Some(common) = &config.redlock_tls {
        let Some(own) = node.tls.take() else {
            return Err(validate::invalid(format!("{name} is not reached over TLS; write rediss")));
        };
        node.tls = Some(over(own, common));
    }
    if let Some(further) = &config.redlock_connection {
        node = further(node);
    }
    node.validate().map_err(|cause| error::in_config(name, cause))?;
    Ok(node)
}

/// What the URL of a node says of TLS, over what holds for all of them.
#[cfg(feature = "tls")]
fn over(own: redis_conn::Tls, common: &redis_conn::Tls) -> redis_conn::Tls {
    let mut tls = common.clone();
    tls.roots = own.roots.or(tls.roots);
    tls.identity = own.identity.or(tls.identity);
    tls
}

#[cfg(test)]
mod tests {
    use redis_conn::Credentials;
    use state_core::ErrorKind;

    use super::*;
    use crate::RedisConfigBuilder;

    fn nodes(third: &str) -> RedisConfigBuilder {
        RedisConfig::builder().redlock_nodes(["rediss://a:1", "rediss://b:2", third])
    }

    #[test]
    fn a_node_that_does_not_fit_is_named_by_its_place() {
        for (third, says) in [
            ("no url s3cret", "redlock_nodes[2]"),
            ("redis+cluster://a:1,b:2", "redlock_nodes[2] is no single server"),
        ] {
            let error = nodes(third).build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.context().contains(says), "{error}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
    }

    #[test]
    #[cfg(feature = "tls")]
    fn with_certificates_a_node_without_tls_is_refused() {
        let error = nodes("redis://c:3").redlock_tls(redis_conn::Tls::default()).build().unwrap_err();
        assert!(error.context().contains("redlock_nodes[2] is not reached over TLS"), "{error}");
    }

    #[test]
    fn what_holds_for_all_is_given_to_each_and_a_url_adds_to_it() {
        let config = nodes("rediss://c:3?client_name=third")
            .redlock_credentials(Credentials::user("all", "pw"))
            .redlock_connection(|connection| connection.with_max_queued(7));
        let nodes = quorum(&config.build().unwrap()).unwrap();
        assert!(nodes.iter().all(|node| node.credentials.is_some() && node.max_queued == 7));
        let names: Vec<_> = nodes.iter().map(|node| node.client_name.as_deref()).collect();
        assert_eq!(names, [None, None, Some("third")]);
    }
}
