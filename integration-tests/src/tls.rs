//! Certificates for servers with TLS: good ones, and one of each kind a client or server must refuse.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

use crate::janitor::Janitor;

/// Whose certificate and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A server on 127.0.0.1, ::1 and localhost.
    Server,
    /// The same, expired on 2 January 2020.
    ExpiredServer,
    /// A server called `elsewhere.example`, at no address of this machine.
    WrongHostServer,
    /// The same as [`Identity::Server`], signed by a CA nobody trusts.
    StrangerServer,
    /// A client.
    Client,
    /// A client whose certificate expired on 2 January 2020.
    ExpiredClient,
    /// A client signed by a CA nobody trusts.
    StrangerClient,
}

impl Identity {
    const ALL: [Self; 7] = [
        Self::Server,
        Self::ExpiredServer,
        Self::WrongHostServer,
        Self::StrangerServer,
        Self::Client,
        Self::ExpiredClient,
        Self::StrangerClient,
    ];

    fn is_server(self) -> bool {
        matches!(self, Self::Server | Self::ExpiredServer | Self::WrongHostServer | Self::StrangerServer)
    }

    fn is_expired(self) -> bool {
        matches!(self, Self::ExpiredServer | Self::ExpiredClient)
    }

    fn is_stranger(self) -> bool {
        matches!(self, Self::StrangerServer | Self::StrangerClient)
    }

    fn file_name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    fn params(self) -> CertificateParams {
        let names: &[&str] = match self {
            Self::WrongHostServer => &["elsewhere.example"],
            _ if self.is_server() => &["127.0.0.1", "::1", "localhost"],
            _ => &[],
        };
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("these names are valid");
        params.distinguished_name.push(DnType::CommonName, self.file_name());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match self.is_server() {
            true => ExtendedKeyUsagePurpose::ServerAuth,
            false => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        if self.is_expired() {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 2);
        }
        params
    }
}

/// A certificate authority with one certificate and key of each [`Identity`], as PEM files. Clones share the
/// files, which are removed with the last clone.
#[derive(Clone, Debug)]
pub struct Certificates {
    folder: Arc<TempDir>,
    served: Identity,
}

impl Certificates {
    /// Makes a new authority and everything it signs: P-256 keys, a few milliseconds each.
    pub fn generate() -> Self {
        let root = Janitor::get().root();
        let folder = tempfile::Builder::new().prefix("certificates-").tempdir_in(root).expect("a folder");
        let trusted = authority("state-redis tests");
        let stranger = authority("nobody trusts this");
        write(&folder.path().join("ca.crt"), &trusted.pem());
        for identity in Identity::ALL {
            let issuer = if identity.is_stranger() { &stranger } else { &trusted };
            let key = KeyPair::generate().expect("a P-256 key");
            let certificate = identity.params().signed_by(&key, issuer).expect("the authority signs");
            write(&folder.path().join(identity.file_name() + ".crt"), &certificate.pem());
            write(&folder.path().join(identity.file_name() + ".key"), &key.serialize_pem());
        }
        Self { folder: Arc::new(folder), served: Identity::Server }
    }

    /// The same files, for a server that presents another certificate than [`Identity::Server`].
    pub fn serving(&self, identity: Identity) -> Self {
        Self { folder: Arc::clone(&self.folder), served: identity }
    }

    /// The path of the trusted authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// The path of a certificate.
    pub fn certificate(&self, identity: Identity) -> PathBuf {
        self.folder.path().join(identity.file_name() + ".crt")
    }

    /// The path of the key that belongs to [`Certificates::certificate`].
    pub fn key(&self, identity: Identity) -> PathBuf {
        self.folder.path().join(identity.file_name() + ".key")
    }

    /// The lines of `redis.conf`, without `tls-port`.
    pub(crate) fn options(&self) -> Vec<(&'static str, String)> {
        let quoted = |path: PathBuf| format!("\"{}\"", path.display());
        vec![
            ("tls-cert-file", quoted(self.certificate(self.served))),
            ("tls-key-file", quoted(self.key(self.served))),
            // What a node presents to its peers, where it is the client.
            ("tls-client-cert-file", quoted(self.certificate(Identity::Client))),
            ("tls-client-key-file", quoted(self.key(Identity::Client))),
            ("tls-ca-cert-file", quoted(self.ca())),
            ("tls-auth-clients", "yes".to_owned()),
            ("tls-protocols", "\"TLSv1.2 TLSv1.3\"".to_owned()),
            ("tls-replication", "yes".to_owned()),
            ("tls-cluster", "yes".to_owned()),
        ]
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a P-256 key");
    CertifiedIssuer::self_signed(params, key).expect("an authority signs itself")
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a certificate can be written");
}
