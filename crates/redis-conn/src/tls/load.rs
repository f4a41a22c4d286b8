//! From PEM text to a client configuration. Runs on a blocking thread: it reads files, and the system's trust
//! store may be hundreds of them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use secrecy::{ExposeSecret, SecretSlice};

use super::failure::Wanted;
use super::{Identity, Pem, Tls};
use crate::error::{Error, Result};

/// A client configuration, what became of it, and what it was made from.
pub(super) struct Loaded {
    pub(super) config: Arc<ClientConfig>,
    presenter: Arc<Presenter>,
    fingerprint: u64,
    doubted: AtomicBool,
}

impl Loaded {
    /// Notes that a handshake failed, so that the files are worth reading again.
    pub(super) fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }

    /// Notes that a server sent something, so was content with the certificate, or with none.
    pub(super) fn accepted(&self) {
        self.presenter.asked.store(false, Ordering::Relaxed);
    }

    pub(super) fn trust(&self) {
        self.doubted.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// Whether servers asked for a client certificate, and whether there was one.
    pub(super) fn wanted(&self) -> Wanted {
        match (self.presenter.asked.load(Ordering::Relaxed), &self.presenter.key) {
            (false, _) => Wanted::No,
            (true, None) => Wanted::InVain,
            (true, Some(_)) => Wanted::Presented,
        }
    }
}

/// Presents the client certificate if there is one, and remembers that a server asked.
#[derive(Debug)]
struct Presenter {
    key: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl ResolvesClientCert for Presenter {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

/// Reads and parses everything `settings` name.
///
/// # Errors
/// `InvalidConfig` names the setting, never a path or content.
pub(super) fn load(settings: &Tls) -> Result<Loaded> {
    // Named here and never taken from the process, where another crate's choice could be missing or different.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut fingerprint = DefaultHasher::new();
    let roots = match &settings.roots {
        Some(pem) => given_roots(pem, &mut fingerprint)?,
        None => system_roots(&mut fingerprint)?,
    };
    let key = settings.identity.as_ref().map(|identity| certified(identity, &provider, &mut fingerprint));
    let presenter = Arc::new(Presenter { key: key.transpose()?, asked: AtomicBool::new(false) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| invalid("no usable protocol version").with_source(cause))?
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::clone(&presenter) as Arc<dyn ResolvesClientCert>);
    Ok(Loaded {
        config: Arc::new(config),
        presenter,
        fingerprint: fingerprint.finish(),
        doubted: AtomicBool::new(false),
    })
}

fn given_roots(pem: &Pem, fingerprint: &mut DefaultHasher) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem, "roots", fingerprint)? {
        store.add(certificate).map_err(|cause| {
            invalid("roots holds a certificate that cannot be a trust anchor").with_source(cause)
        })?;
    }
    Ok(store)
}

fn system_roots(fingerprint: &mut DefaultHasher) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs().certs;
    found.iter().for_each(|certificate| certificate.as_ref().hash(fingerprint));
    // Single malformed ones are usual in system stores and are passed over.
    let (added, _) = store.add_parsable_certificates(found);
    match added {
        0 => Err(invalid("roots is not set, and the operating system's trust store has no certificate")),
        _ => Ok(store),
    }
}

fn certified(
    identity: &Identity,
    provider: &CryptoProvider,
    fingerprint: &mut DefaultHasher,
) -> Result<Arc<CertifiedKey>> {
    let chain = certificates(&identity.certificate, "identity.certificate", fingerprint)?;
    let text = read(&identity.key, "identity.key")?;
    text.expose_secret().hash(fingerprint);
    let key = PrivateKeyDer::from_pem_slice(text.expose_secret())
        .map_err(|_| invalid("identity.key holds no PEM private key that is not encrypted"))?;
    CertifiedKey::from_der(chain, key, provider).map(Arc::new).map_err(|cause| {
        // The cause says what is wrong with the pair and quotes nothing of it.
        invalid("identity.key is of an unsupported kind or does not belong to the certificate")
            .with_source(cause)
    })
}

fn certificates(
    pem: &Pem,
    setting: &'static str,
    fingerprint: &mut DefaultHasher,
) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(pem, setting)?;
    text.expose_secret().hash(fingerprint);
    let found = CertificateDer::pem_slice_iter(text.expose_secret()).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(invalid(format!("{setting} holds no PEM certificate"))),
    }
}

fn read(pem: &Pem, setting: &'static str) -> Result<SecretSlice<u8>> {
    match pem {
        Pem::Bytes(text) => Ok(text.clone()),
        Pem::File(path) => std::fs::read(path)
            .map(SecretSlice::from)
            .map_err(|cause| invalid(format!("{setting}: the file cannot be read")).with_source(cause)),
    }
}

fn invalid(what: impl std::fmt::Display) -> Error {
    Error::invalid(format!("tls.{what}"))
}
