//! Why TLS failed, in one sentence each, with nothing of the certificates in it.

use std::error::Error as StdError;
use std::{fmt, io};

use rustls::{AlertDescription, CertificateError};

use crate::error::{Class, Error, ErrorKind};

/// What became of servers' wish for a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// None asked.
    No,
    /// One asked, and none is configured.
    InVain,
    /// One asked, and was shown ours.
    Presented,
}

/// Why a TLS connection could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    WrongHost,
    UnknownAuthority,
    Expired,
    NotYetValid,
    Revoked,
    BadServerCertificate,
    NoClientCertificate,
    ClientCertificateExpired,
    ClientAuthorityUnknown,
    ClientCertificateRejected,
    /// Not certain: the connection ended without an alert right after our certificate was shown.
    ClosedAfterCertificate,
    NotTls,
    NothingInCommon,
    Other,
}

impl Failure {
    /// `None` when the connection just broke, which says nothing about TLS.
    pub(super) fn of(cause: &io::Error, wanted: Wanted) -> Option<Self> {
        match (cause.get_ref().and_then(|inner| inner.downcast_ref()), wanted) {
            (Some(error), _) => Some(Self::of_rustls(error, wanted)),
            (None, Wanted::InVain) => Some(Self::NoClientCertificate),
            (None, Wanted::Presented) => Some(Self::ClosedAfterCertificate),
            (None, Wanted::No) => None,
        }
    }

    fn of_rustls(error: &rustls::Error, wanted: Wanted) -> Self {
        match error {
            rustls::Error::InvalidCertificate(cause) => Self::of_certificate(cause),
            rustls::Error::AlertReceived(alert) => Self::of_alert(*alert, wanted),
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::PeerIncompatible(_) => Self::NothingInCommon,
            _ => Self::Other,
        }
    }

    fn of_certificate(cause: &CertificateError) -> Self {
        match cause {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongHost
            }
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::Revoked => Self::Revoked,
            _ => Self::BadServerCertificate,
        }
    }

    fn of_alert(alert: AlertDescription, wanted: Wanted) -> Self {
        match (alert, wanted) {
            (AlertDescription::CertificateRequired, _) => Self::NoClientCertificate,
            (AlertDescription::CertificateExpired, _) => Self::ClientCertificateExpired,
            (AlertDescription::UnknownCA, _) => Self::ClientAuthorityUnknown,
            (AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity, _) => {
                Self::NothingInCommon
            }
            // TLS 1.2 has no alert of its own for a certificate that is missing.
            (_, Wanted::InVain) => Self::NoClientCertificate,
            (
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::AccessDenied,
                _,
            ) => Self::ClientCertificateRejected,
            _ => Self::Other,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::WrongHost => "the server's certificate is for another host",
            Self::UnknownAuthority => "the server's certificate is not signed by a trusted authority",
            Self::Expired => "the server's certificate has expired",
            Self::NotYetValid => "the server's certificate is not valid yet",
            Self::Revoked => "the server's certificate is revoked",
            Self::BadServerCertificate => "the server's certificate is not acceptable",
            Self::NoClientCertificate => "the server demands a client certificate and none is configured",
            Self::ClientCertificateExpired => "the server says that the client certificate has expired",
            Self::ClientAuthorityUnknown => "the server does not trust the client certificate's authority",
            Self::ClientCertificateRejected => "the server refuses the client certificate",
            Self::ClosedAfterCertificate => {
                "the server closed the connection on seeing the client certificate"
            }
            Self::NotTls => "the server does not answer in TLS, which rediss needs",
            Self::NothingInCommon => "no TLS version or cipher suite in common",
            Self::Other => "the TLS handshake failed",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl StdError for Failure {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = match failure {
            Failure::ClosedAfterCertificate => ErrorKind::Unavailable,
            _ => ErrorKind::Tls,
        };
        Self::new(kind, Class::NotSent, failure.sentence())
    }
}

/// Carries a failure through layers that know I/O errors only. It is the failure's parent in the chain of
/// sources, because `io::Error` leaves the error it wraps out of that chain.
#[derive(Debug)]
struct Carrier(Failure);

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS failed")
    }
}

impl StdError for Carrier {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::new(io::ErrorKind::ConnectionAborted, Carrier(failure))
    }
}

/// The error of a connection attempt, or the TLS failure behind it where there is one.
pub(crate) fn explain(error: Error) -> Error {
    let mut cause = StdError::source(&error);
    while let Some(source) = cause {
        if let Some(failure) = source.downcast_ref::<Failure>() {
            return (*failure).into();
        }
        cause = source.source();
    }
    error
}

/// The connection ended during the handshake, for a reason below TLS.
pub(super) fn broken(cause: io::Error) -> Error {
    Error::not_sent(ErrorKind::Unavailable, "the connection broke during the TLS handshake")
        .with_source(cause)
}
