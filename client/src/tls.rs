//! What a client trusts when it encrypts its connections. Read once, when the client starts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use thrustmq_remoting::TlsOptions;

use crate::error::StartError;

/// TLS to every broker and name server. They speak it on the port that they have anyway; TLS 1.2 or 1.3.
///
/// ```no_run
/// use thrustmq_client::{ClientConfig, Tls};
/// let tls = Tls::ca_file("/etc/rocketmq/ca.pem")
///     .client_certificate("/etc/rocketmq/client.pem", "/etc/rocketmq/client.key");
/// let config = ClientConfig::new().name_servers("mq.example:9876").tls(tls);
/// # let _ = config;
/// ```
#[derive(Debug, Clone)]
#[must_use = "it does nothing until a `ClientConfig` gets it"]
pub struct Tls {
    trust: Trust,
    identity: Option<Identity>,
    server_name: Option<String>,
}

#[derive(Debug, Clone)]
enum Trust {
    System,
    CaFile(PathBuf),
    Anybody,
}

#[derive(Debug, Clone)]
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
}

impl Tls {
    /// Trusts what the operating system trusts.
    pub fn system_roots() -> Self {
        Self::trusting(Trust::System)
    }

    /// Trusts the authorities in a PEM file, and no other.
    pub fn ca_file(path: impl Into<PathBuf>) -> Self {
        Self::trusting(Trust::CaFile(path.into()))
    }

    /// Trusts anybody: what is sent is encrypted, but who reads it nobody knows. For tests, and for
    /// brokers with `tls.test.mode.enable`, who make a new certificate with every start.
    pub fn danger_accept_any_certificate() -> Self {
        Self::trusting(Trust::Anybody)
    }

    fn trusting(trust: Trust) -> Self {
        Self {
            trust,
            identity: None,
            server_name: None,
        }
    }

    /// Shows brokers that ask for it (`tls.server.need.client.auth`) who the client is: PEM files of a
    /// certificate, with those that lead to its authority, and of its key without a password. Default:
    /// none.
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.identity = Some(Identity {
            certificate: certificate.into(),
            key: key.into(),
        });
        self
    }

    /// The name that all servers' certificates are for. Routes mostly tell brokers' IP addresses, which
    /// certificates do not. Default: each server's must be for the host name, or the address, that it
    /// is reached by.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Reads the files.
    pub(crate) fn load(&self) -> Result<TlsOptions, StartError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|cause| failed("TLS", &cause))?;
        let builder = match self.roots()? {
            Some(roots) => builder.with_root_certificates(roots),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAny::new(&provider))),
        };
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(certificates(&identity.certificate)?, key(&identity.key)?)
                .map_err(|cause| in_file(&identity.certificate, &cause))?,
        };
        Ok(TlsOptions::new(Arc::new(config), self.name()?))
    }

    fn name(&self) -> Result<Option<ServerName<'static>>, StartError> {
        let name = self.server_name.clone().map(ServerName::try_from);
        name.transpose()
            .map_err(|cause| failed("`server_name`", &cause))
    }

    /// None: anybody is trusted.
    fn roots(&self) -> Result<Option<RootCertStore>, StartError> {
        let mut roots = RootCertStore::empty();
        match &self.trust {
            Trust::Anybody => return Ok(None),
            Trust::CaFile(path) => {
                for certificate in certificates(path)? {
                    let added = roots.add(certificate);
                    added.map_err(|cause| in_file(path, &cause))?;
                }
            }
            Trust::System => {
                let loaded = rustls_native_certs::load_native_certs();
                // Some that cannot be read are usual; without any no server could be trusted.
                roots.add_parsable_certificates(loaded.certs);
                if roots.is_empty() {
                    let cause = format!("none was found {:?}", loaded.errors);
                    return Err(failed("the system's authorities", &cause));
                }
            }
        }
        Ok(Some(roots))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|cause| in_file(path, &cause))?;
    if certificates.is_empty() {
        return Err(in_file(path, &"it holds no certificate in PEM form"));
    }
    Ok(certificates)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, StartError> {
    PrivateKeyDer::from_pem_file(path).map_err(|cause| in_file(path, &cause))
}

fn in_file(path: &Path, cause: &dyn fmt::Display) -> StartError {
    failed(&path.display().to_string(), cause)
}

fn failed(what: &str, cause: &dyn fmt::Display) -> StartError {
    StartError::Tls {
        what: what.to_owned(),
        cause: cause.to_string(),
    }
}

/// Takes any certificate, but checks that the server has its key: rustls would not go on otherwise.
#[derive(Debug)]
struct AcceptAny {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AcceptAny {
    fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(tls: &Tls) -> String {
        tls.load().unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_with_files_is_told_at_the_start() {
        let missing = cause(&Tls::ca_file("/nowhere/ca.pem"));
        assert!(missing.contains("/nowhere/ca.pem"), "{missing}");
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        let nothing = cause(&Tls::ca_file(&empty));
        assert!(nothing.contains("holds no certificate"), "{nothing}");
        let name = cause(&Tls::danger_accept_any_certificate().server_name("no name"));
        assert!(name.contains("server_name"), "{name}");
        let key = Tls::danger_accept_any_certificate().client_certificate(&empty, &empty);
        assert!(cause(&key).contains("empty.pem"));
    }
}
