//! TLS: the key and the certificate chain, read at the start and again when their files change. Existing connections
//! keep their certificate. If the new files cannot be used, the old ones stay in use.

use crate::Failure;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
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

/// The certificate for new connections.
#[derive(Debug)]
pub(crate) struct Certificate {
    key_file: PathBuf,
    chain_file: PathBuf,
    present: RwLock<Arc<CertifiedKey>>,
    stamp: Mutex<Stamp>,
}

impl Certificate {
    pub(crate) fn load(key_file: &Path, chain_file: &Path) -> Result<Arc<Self>, Failure> {
        let (key_file, chain_file) = (key_file.to_owned(), chain_file.to_owned());
        let stamp = stamp(&key_file, &chain_file);
        let present = read(&key_file, &chain_file).map_err(Failure::configuration)?;
        Ok(Arc::new(Self {
            key_file,
            chain_file,
            present: RwLock::new(present.into()),
            stamp: Mutex::new(stamp),
        }))
    }

    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, Failure> {
        let builder = ServerConfig::builder_with_provider(ring::default_provider().into());
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Failure::system("cannot set up TLS", error))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        Ok(TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_cert_resolver(resolver))))
    }

    /// Reloads the files if they have changed, or always with `in_any_case`.
    pub(crate) fn refresh(&self, in_any_case: bool) {
        let now = stamp(&self.key_file, &self.chain_file);
        let mut seen = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now && !in_any_case {
            return;
        }
        // Store the stamp first, so that unusable files are reported once, until the next change.
        *seen = now;
        drop(seen);
        match read(&self.key_file, &self.chain_file) {
            Ok(read) => {
                *self.present.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                tracing::info!("reloaded key and certificate; new connections use them");
            }
            Err(error) => {
                tracing::error!(%error, "cannot reload key and certificate; the old ones stay in use")
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn stamp(key_file: &Path, chain_file: &Path) -> Stamp {
    [key_file, chain_file].map(|file| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn read(key_file: &Path, chain_file: &Path) -> Result<CertifiedKey, String> {
    let wrong = |option: &str, file: &Path, error: &dyn fmt::Display| {
        format!("--{option} {}: {error}", file.display())
    };
    let key_text = std::fs::read(key_file).map_err(|error| wrong("sslkey", key_file, &error))?;
    let key = PrivateKeyDer::from_pem_slice(&key_text).map_err(|error| {
        let text = String::from_utf8_lossy(&key_text);
        if text.contains("ENCRYPTED") {
            let advice = "the key is encrypted, and the server does not ask for a passphrase; \
                          decrypt the key first: openssl pkey -in KEY -out PLAIN";
            return wrong("sslkey", key_file, &advice);
        }
        wrong("sslkey", key_file, &format_args!("no private key in PEM form: {error}"))
    })?;
    let chain = CertificateDer::pem_file_iter(chain_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong("sslcert", chain_file, &error))?;
    if chain.is_empty() {
        return Err(wrong("sslcert", chain_file, &"no certificate in PEM form"));
    }
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
        wrong("sslcert", chain_file, &format_args!("does not match the key of --sslkey: {error}"))
    })
}
