//! Connects to a server: name, addresses, TCP or unix socket, TLS.
//!
//! Names are resolved anew for every connection. It refuses to know what is sent on it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::upstream::wire::Socket;
use crate::upstream::{Error, Origin};

/// Most addresses of one name that are tried for one connection.
const ADDRESSES: usize = 8;

/// Makes connections; holds what TLS needs for it.
pub(crate) struct Dialer {
    /// Absent if no server wants TLS: reading the machine's roots takes long.
    tls: Option<TlsConnector>,
}

impl Dialer {
    /// Loads the root certificates if one of the servers needs them.
    pub(crate) fn new(origins: &[Origin], roots: &[CertificateDer<'static>]) -> Result<Self, Error> {
        let mut tls = None;
        for origin in origins {
            if let Origin::Tcp { tls: true, host, .. } = origin {
                let fail = |source| Error::Tls { origin: origin.clone(), source };
                server_name(host).map_err(fail)?;
                if tls.is_none() {
                    tls = Some(connector(roots).map_err(fail)?);
                }
            }
        }
        Ok(Self { tls })
    }

    /// A connection to `origin` within `limit`, TLS included.
    pub(crate) async fn dial(&self, origin: &Origin, limit: Duration) -> Result<Box<dyn Socket>, Error> {
        let deadline = Instant::now() + limit;
        match origin {
            Origin::Unix(path) => {
                Ok(Box::new(within(deadline, origin, unreachable, UnixStream::connect(path)).await?))
            }
            Origin::Tcp { tls, host, port } => {
                let tcp = within(deadline, origin, unreachable, tcp(host, *port, deadline)).await?;
                match &self.tls {
                    Some(connector) if *tls => {
                        let shake = async { connector.connect(server_name(host)?, tcp).await };
                        let fail = |origin, source| Error::Tls { origin, source };
                        Ok(Box::new(within(deadline, origin, fail, shake).await?))
                    }
                    _ => Ok(Box::new(tcp)),
                }
            }
        }
    }

    /// Whether `origin` accepts connections; no TLS, no bytes.
    pub(crate) async fn probe(&self, origin: &Origin, limit: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + limit;
        let connected = async {
            match origin {
                Origin::Unix(path) => UnixStream::connect(Path::new(path)).await.map(drop),
                Origin::Tcp { host, port, .. } => tcp(host, *port, deadline).await.map(drop),
            }
        };
        within(deadline, origin, unreachable, connected).await
    }
}

fn unreachable(origin: Origin, source: io::Error) -> Error {
    Error::Unreachable { origin, source }
}

async fn within<T>(
    deadline: Instant,
    origin: &Origin,
    fail: impl Fn(Origin, io::Error) -> Error,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, Error> {
    match timeout_at(deadline, step).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(source)) if source.kind() != io::ErrorKind::TimedOut => Err(fail(origin.clone(), source)),
        Ok(Err(_)) | Err(_) => Err(Error::ConnectTimeout { origin: origin.clone() }),
    }
}

/// One address after the other, each with its share of the time that is left.
async fn tcp(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    addresses.truncate(ADDRESSES);
    let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / (addresses.len() - tried) as u32;
        outcome = timeout(share, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if outcome.is_ok() {
            break;
        }
    }
    let stream = outcome?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn connector(extra: &[CertificateDer<'static>]) -> io::Result<TlsConnector> {
    let native = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(native.certs.into_iter().chain(extra.iter().cloned()));
    if roots.is_empty() {
        let why = native.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(io::Error::other(format!("no root certificates found{why}")));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
