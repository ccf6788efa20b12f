//! TLS between a client and a name server: here a proxy speaks it, with certificates of our own
//! (`tests/certificates/make.sh`). Traffic with Java's servers is tested in integration-tests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thrustmq_client::{Admin, AdminError, ClientConfig, StartError, Tls};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::standalone::Standalone;

fn file(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/certificates");
    directory.join(name)
}

/// Speaks TLS at a free port, whose address it returns, and passes everything on to `target`.
async fn proxy(target: String, wants_certificate: bool) -> String {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if wants_certificate {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(file("ca.pem")).unwrap();
        roots.add(ca).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = builder.with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, target) = (acceptor.clone(), target.clone());
            tokio::spawn(async move {
                // Some clients here give up: that is what is tested.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut to = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut to).await;
            });
        }
    });
    address
}

fn config(address: &str) -> ClientConfig {
    ClientConfig::new()
        .name_servers(address)
        .call_timeout(Duration::from_secs(20))
        .connect_timeout(Duration::from_secs(20))
}

/// Asks the server; what it failed with, if it did.
async fn ask(config: ClientConfig) -> Result<(), String> {
    let admin = Admin::with_config(config).await.unwrap();
    let clusters = admin.clusters().await;
    admin.close().await;
    clusters.map(|_| ()).map_err(|cause| {
        assert!(matches!(cause, AdminError::Route(_)));
        cause.to_string()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_server_with_a_trusted_certificate_is_talked_to() {
    let servers = Standalone::start().await;
    let address = proxy(servers.name_servers(), false).await;
    let asked = async |tls: Tls| ask(config(&address).tls(tls)).await;
    asked(Tls::ca_file(file("ca.pem"))).await.unwrap();
    let by_name = Tls::ca_file(file("ca.pem")).server_name("mq.example");
    asked(by_name).await.unwrap();
    asked(Tls::danger_accept_any_certificate()).await.unwrap();

    let other_ca = asked(Tls::ca_file(file("other-ca.pem"))).await.unwrap_err();
    assert!(other_ca.contains("certificate"), "{other_ca}");
    let other_name = Tls::ca_file(file("ca.pem")).server_name("else.example");
    let other_name = asked(other_name).await.unwrap_err();
    assert!(other_name.contains("else.example"), "{other_name}");
    let unencrypted = ask(config(&address)).await.unwrap_err();
    assert!(unencrypted.contains("closed"), "{unencrypted}");
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_ask_who_the_client_is() {
    let servers = Standalone::start().await;
    let address = proxy(servers.name_servers(), true).await;
    let trusting = Tls::ca_file(file("ca.pem"));
    let known = trusting
        .clone()
        .client_certificate(file("client.pem"), file("client.key"));
    ask(config(&address).tls(known)).await.unwrap();
    ask(config(&address).tls(trusting)).await.unwrap_err();
    servers.stop().await;
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart_from_one_that_is_gone() {
    let servers = Standalone::start().await;
    let encrypted = config(&servers.name_servers()).tls(Tls::danger_accept_any_certificate());
    let failed = ask(encrypted).await.unwrap_err();
    assert!(failed.contains("TLS handshake"), "{failed}");
    servers.stop().await;
}

#[tokio::test]
async fn a_missing_file_is_told_at_the_start() {
    let config = config("127.0.0.1:1").tls(Tls::ca_file("/nowhere/ca.pem"));
    let failed = Admin::with_config(config).await.unwrap_err();
    assert!(matches!(failed, StartError::Tls { .. }), "{failed}");
}
