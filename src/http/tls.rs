//! TLS: the key and the certificate chain, read at the start and again when their files change. Existing connections
//! keep their certificate. If the new files cannot be used, the old ones stay in use.

use crate::error::ServeError;
use crate::sync::{Arc, Mutex, lock};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// Time of modification and length of both files, to detect a change.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// Key and certificate for new connections, from two PEM files. Clones share them.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<Files>);

#[derive(Debug)]
struct Files {
    key_file: PathBuf,
    chain_file: PathBuf,
    present: Mutex<Arc<CertifiedKey>>,
    stamp: Mutex<Stamp>,
}

impl Certificate {
    /// Reads the private key and the certificate chain.
    ///
    /// # Errors
    /// [`ServeError::Tls`] if a file cannot be read or used, or if key and certificate do not belong together.
    pub fn load(key_file: impl Into<PathBuf>, chain_file: impl Into<PathBuf>) -> Result<Self, ServeError> {
        let (key_file, chain_file) = (key_file.into(), chain_file.into());
        let stamp = stamp(&key_file, &chain_file);
        let present = Mutex::new(Arc::new(read(&key_file, &chain_file)?));
        Ok(Self(Arc::new(Files { key_file, chain_file, present, stamp: Mutex::new(stamp) })))
    }

    /// Accepts TLS connections with the present certificate.
    ///
    /// # Errors
    /// [`ServeError::System`] if TLS cannot be set up.
    #[doc(hidden)]
    pub fn acceptor(&self) -> Result<TlsAcceptor, ServeError> {
        let builder = ServerConfig::builder_with_provider(ring::default_provider().into());
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| ServeError::System(crate::error::SystemError::new(&error)))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&self.0) as _;
        Ok(TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_cert_resolver(resolver))))
    }

    /// Reloads the files if they have changed, or always with `in_any_case`. Logs the result.
    pub fn refresh(&self, in_any_case: bool) {
        let files = &*self.0;
        let now = stamp(&files.key_file, &files.chain_file);
        let mut seen = lock(&files.stamp);
        if *seen == now && !in_any_case {
            return;
        }
        // Store the stamp first, so that unusable files are reported once, until the next change.
        *seen = now;
        drop(seen);
        match read(&files.key_file, &files.chain_file) {
            Ok(read) => {
                *lock(&files.present) = Arc::new(read);
                tracing::info!("reloaded key and certificate; new connections use them");
            }
            Err(error) => {
                tracing::error!(%error, "cannot reload key and certificate; the old ones stay in use");
            }
        }
    }
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&lock(&self.present)))
    }
}

fn stamp(key_file: &Path, chain_file: &Path) -> Stamp {
    [key_file, chain_file].map(|file| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn read(key_file: &Path, chain_file: &Path) -> Result<CertifiedKey, ServeError> {
    let wrong = |is_key: bool, error: &dyn fmt::Display| {
        let file = if is_key { key_file } else { chain_file };
        ServeError::Tls { is_key, file: file.to_owned(), problem: error.to_string() }
    };
    let key_text = std::fs::read(key_file).map_err(|error| wrong(true, &error))?;
    let key = PrivateKeyDer::from_pem_slice(&key_text).map_err(|error| {
        if String::from_utf8_lossy(&key_text).contains("ENCRYPTED") {
            let advice = "the key is encrypted, and the server does not ask for a passphrase; \
                          decrypt the key first: openssl pkey -in KEY -out PLAIN";
            return wrong(true, &advice);
        }
        wrong(true, &format_args!("no private key in PEM form: {error}"))
    })?;
    let chain = CertificateDer::pem_file_iter(chain_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(false, &error))?;
    if chain.is_empty() {
        return Err(wrong(false, &"no certificate in PEM form"));
    }
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|error| wrong(false, &format_args!("does not match the key: {error}")))
}
