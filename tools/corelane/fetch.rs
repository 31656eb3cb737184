//! Asks a monitor.

use crate::text;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// The largest answer that is read.
const ANSWER_BYTES: u64 = 64 << 20;
/// The most characters of an answer that an error shows.
const SHOWN: usize = 300;

/// A monitor's address, and how to ask there.
pub struct Monitor {
    agent: Agent,
    timeout: Duration,
    base: String,
    token: Option<String>,
}

impl Monitor {
    /// # Errors
    /// A text that says what is wrong with the address or the certificates.
    pub fn new(
        address: &str,
        token: Option<String>,
        certificates: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let base = base(address)?;
        let mut tls = TlsConfig::builder();
        if let Some(path) = certificates {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(read_certificates(path)?)));
        }
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            // The token goes to this address only: neither elsewhere nor through a proxy.
            .max_redirects(0)
            .proxy(None)
            .tls_config(tls.build())
            .user_agent(concat!("corelane/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.into(), timeout, base, token })
    }

    /// The address, as it is shown.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// The body of an answer.
    ///
    /// # Errors
    /// A text without line feeds that says what is wrong.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut response = request.call().map_err(|error| match error {
            ureq::Error::Timeout(_) => format!("no answer within {} s", self.timeout.as_secs_f64()),
            ureq::Error::Io(error) => explained(&text::clean(&error.to_string())),
            ureq::Error::Protocol(error) if self.base.starts_with("http://") => {
                let error = text::clean(&error.to_string());
                format!("the answer is not HTTP ({error}); does the address begin with https://?")
            }
            error => explained(&text::clean(&error.to_string())),
        })?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec();
        let body =
            body.map_err(|error| format!("the answer broke off: {}", text::clean(&error.to_string())))?;
        match (status, &self.token) {
            (200, _) => Ok(body),
            (401, None) => Err("the monitor wants a token: --token-file FILE, or CORELANE_TOKEN".to_owned()),
            (401, Some(_)) => Err("the monitor refuses the token".to_owned()),
            _ => {
                let said: String = String::from_utf8_lossy(&body).trim().chars().take(SHOWN).collect();
                Err(format!("{path}: the answer is {status}: {}", text::clean(&said)))
            }
        }
    }

    /// # Errors
    /// As [`get`](Self::get), and if the answer is not what it should be.
    pub fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let body = self.get(path)?;
        serde_json::from_slice(&body).map_err(|error| {
            let error = text::clean(&error.to_string());
            format!("{path}: the answer is not that of this version's monitor: {error}")
        })
    }
}

/// Adds what to do to an error that names only its cause.
fn explained(error: &str) -> String {
    if error.contains("CaUsedAsEndEntity") {
        return "the server's certificate is that of an authority, which no server may have: make it with \
                -addext basicConstraints=critical,CA:FALSE"
            .to_owned();
    }
    error.to_owned()
}

/// `http://HOST:PORT` from an address, which may lack the scheme and end with a slash.
fn base(address: &str) -> Result<String, String> {
    let whole = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let rest = whole.strip_prefix("http://").or_else(|| whole.strip_prefix("https://"));
    let is_address = |rest: &str| {
        !rest.is_empty()
            && !rest.starts_with(['/', ':'])
            && !rest.contains(['?', '#', '@'])
            && rest.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if rest.is_some_and(is_address) {
        return Ok(whole.trim_end_matches('/').to_owned());
    }
    Err(format!(
        "the address {} is not valid; allowed: HOST:PORT, http://HOST:PORT or https://HOST:PORT, without user, query or fragment",
        text::clean(address)
    ))
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let pem = read(path)?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(format!("{} has no PEM certificate", shown(path)));
    }
    Ok(certificates)
}

/// The token of a file, or else of the environment.
///
/// # Errors
/// A text that says what is wrong with it. It does not contain the token.
pub fn token(file: Option<&Path>) -> Result<Option<String>, String> {
    let (token, place) = match file {
        Some(path) => (String::from_utf8_lossy(&read(path)?).trim().to_owned(), shown(path)),
        None => match std::env::var("CORELANE_TOKEN") {
            Ok(token) if !token.is_empty() => (token, "CORELANE_TOKEN".to_owned()),
            _ => return Ok(None),
        },
    };
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{place} has no token of visible ASCII characters"));
    }
    Ok(Some(token))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", shown(path)))
}

fn shown(path: &Path) -> String {
    text::clean(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (address, expected) in [
            ("localhost:9090", "http://localhost:9090"),
            ("http://[::1]:9090/", "http://[::1]:9090"),
            ("https://a.example/monitor/", "https://a.example/monitor"),
        ] {
            assert_eq!(base(address).as_deref(), Ok(expected));
        }
        for address in ["", "ftp://a", "http://a@b", "a?b", "a b", "http://", "a\u{1b}"] {
            assert!(base(address).is_err(), "{address}");
        }
    }
}
