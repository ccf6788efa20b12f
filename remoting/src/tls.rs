//! Encrypts the connections that a client makes. What is trusted the caller decides: it brings
//! rustls's configuration.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::connection::Stream;
use crate::options::TlsOptions;

/// Makes a connection to `addr` (`host:port`) an encrypted one.
pub(crate) async fn secure(
    options: &TlsOptions,
    addr: &str,
    stream: TcpStream,
) -> io::Result<TlsSocket> {
    let name = match &options.server_name {
        Some(name) => name.clone(),
        None => server_name(addr)?,
    };
    let connector = TlsConnector::from(Arc::clone(&options.config));
    match connector.connect(name, stream).await {
        Ok(stream) => Ok(TlsSocket { stream }),
        Err(cause) => {
            let why = format!("the TLS handshake failed: {cause}");
            Err(io::Error::new(cause.kind(), why))
        }
    }
}

fn server_name(addr: &str) -> io::Result<ServerName<'static>> {
    let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(|_| {
        let why = format!("'{host}' is no name that a certificate could be for");
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })
}

/// An encrypted connection. Only its task writes: no other thread may touch the session.
pub(crate) struct TlsSocket {
    stream: TlsStream<TcpStream>,
}

impl Stream for TlsSocket {}

impl AsyncRead for TlsSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_for_hosts_without_their_ports() {
        for (addr, host) in [
            ("broker.example:10911", "broker.example"),
            ("10.0.0.1:9876", "10.0.0.1"),
            ("[::1]:9876", "::1"),
        ] {
            assert_eq!(server_name(addr).unwrap().to_str(), host);
        }
        assert!(server_name("no name:1").is_err());
    }
}
