//! TLS at the front door: reads certificate and key, offers HTTP/2 and HTTP/1.1.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// Reads both files.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it.
pub fn acceptor(tls: &Tls) -> Result<TlsAcceptor, TlsError> {
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
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn open(what: &'static str, path: &Path) -> Result<BufReader<std::fs::File>, TlsError> {
    std::fs::File::open(path).map(BufReader::new).map_err(|why| file(what, path, why))
}

fn file(what: &'static str, path: &Path, why: impl ToString) -> TlsError {
    TlsError::File { what, path: path.to_owned(), why: why.to_string() }
}
