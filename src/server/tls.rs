//! TLS at the front door: reads certificate and key, offers HTTP/2 and HTTP/1.1.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// `tls: {cert, key}`.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM file with the certificate chain.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read or holds no PEM of the kind asked for.
    #[error("tls.{what}: {} cannot be used: {why}", path.display())]
    File {
        /// `cert` or `key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system or the parser said.
        why: String,
    },
    /// Certificate and key do not make a server.
    #[error("tls: certificate and key do not fit: {0}")]
    Pair(#[from] tokio_rustls::rustls::Error),
}

/// What clients are shown; another one may take its place. Clones are the same.
#[derive(Clone)]
pub struct Certificate(Arc<ArcSwap<ServerConfig>>);

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn read(tls: &Tls) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(server_config(tls)?))))
    }

    /// Connections that come from now on are shown `other`.
    pub fn replace_by(&self, other: Self) {
        self.0.store(other.0.load_full());
    }

    /// For a connection that comes now.
    pub(in crate::server) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load_full())
    }
}

fn server_config(tls: &Tls) -> Result<ServerConfig, TlsError> {
    let chain = CertificateDer::pem_reader_iter(open("cert", &tls.cert)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| file("cert", &tls.cert, why))?;
    if chain.is_empty() {
        return Err(file("cert", &tls.cert, "it holds no certificate"));
    }
    let key =
        PrivateKeyDer::from_pem_reader(open("key", &tls.key)?).map_err(|why| file("key", &tls.key, why))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn open(what: &'static str, path: &Path) -> Result<BufReader<std::fs::File>, TlsError> {
    std::fs::File::open(path).map(BufReader::new).map_err(|why| file(what, path, why))
}

fn file(what: &'static str, path: &Path, why: impl ToString) -> TlsError {
    TlsError::File { what, path: path.to_owned(), why: why.to_string() }
}
