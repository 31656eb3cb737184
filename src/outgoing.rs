//! What the exporters share that send over HTTP: the checks of their options, and the client.

use crate::error::ExportError;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::typestate::WithBody;
use ureq::{Agent, RequestBuilder};

/// The most bytes of an answer that are read.
const ANSWER_BYTES: u64 = 16 << 20;
/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

const fn refused(option: &'static str, must: &'static str) -> ExportError {
    ExportError::Invalid { option, must }
}

/// Checks the options that every exporter has.
pub(crate) fn check(url: &str, interval: Duration, request_timeout: Duration) -> Result<(), ExportError> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let is_url = |rest: &str| {
        !rest.is_empty()
            && !rest.starts_with(['/', ':'])
            && !rest.contains(['?', '#', '@'])
            && rest.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !rest.is_some_and(is_url) {
        let must = "be http://HOST:PORT or https://HOST:PORT, without user, query or fragment";
        return Err(refused("url", must));
    }
    let second = Duration::from_secs(1);
    if !(second..=3600 * second).contains(&interval) {
        return Err(refused("interval", "be from 1 second to 1 hour"));
    }
    if !(second..=300 * second).contains(&request_timeout) {
        return Err(refused("request_timeout", "be from 1 second to 5 minutes"));
    }
    Ok(())
}

/// A client that trusts these certificates, or those of Mozilla's list.
pub(crate) fn agent(certificates: Option<&Path>, request_timeout: Duration) -> Result<Agent, ExportError> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = certificates {
        let pem = std::fs::read(path).map_err(|_| refused("certificates", "name a readable file"))?;
        let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if certificates.is_empty() {
            return Err(refused("certificates", "name a file with at least one PEM certificate"));
        }
        tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates)));
    }
    let config = Agent::config_builder()
        .timeout_global(Some(request_timeout))
        .timeout_connect(Some(request_timeout.min(CONNECT)))
        .http_status_as_error(false)
        // Credentials go to the configured server only.
        .max_redirects(0)
        .tls_config(tls.build())
        .user_agent(concat!("corelane/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(config.into())
}

/// Sends a request. Returns the status and the body, or what failed.
pub(crate) fn send(request: RequestBuilder<WithBody>, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
    let mut response = request.send(body).map_err(|error| explained(error.to_string()))?;
    let status = response.status().as_u16();
    let read = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec();
    Ok((status, read.map_err(|error| format!("the answer broke off: {error}"))?))
}

/// Adds what to do to an error that names only its cause.
fn explained(error: String) -> String {
    if error.contains("CaUsedAsEndEntity") {
        return format!("{error}: the server's certificate must have the basic constraint CA:FALSE");
    }
    error
}

/// A status and the beginning of what the server said.
pub(crate) fn said(status: u16, body: &[u8]) -> String {
    let hint = match status {
        401 | 403 => " (check the credentials and their rights)",
        _ => "",
    };
    let text = String::from_utf8_lossy(body);
    let shown: String = text.chars().take(SHOWN).filter(|char| !char.is_control()).collect();
    format!("the server answered {status}{hint}: {shown}")
}

/// The most characters of a server's text that a message repeats.
pub(crate) const SHOWN: usize = 300;

/// The name under which documents and figures are sent: the given one, or the name of the program.
pub(crate) fn service(given: &str) -> String {
    let program = || {
        let path = std::env::current_exe().ok()?;
        Some(path.file_stem()?.to_string_lossy().into_owned())
    };
    let given = Some(given.to_owned()).filter(|name| !name.is_empty());
    given.or_else(program).unwrap_or_else(|| "corelane".to_owned())
}

/// A random name of this run.
pub(crate) fn instance() -> String {
    format!("{:016x}", random())
}

/// A duration from half of `pause` to one and a half: many exporters then do not return to a restarted server at the
/// same moment.
#[cfg(feature = "elasticsearch")]
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + random() as f64 / u64::MAX as f64)
}

fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
