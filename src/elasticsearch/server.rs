//! The HTTP requests, and what the answers mean.

use super::queue::Document;
use super::{Credentials, Options};
use crate::error::ExportError;
use base64::prelude::{BASE64_STANDARD as STANDARD, Engine};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// The index templates, by name.
const TEMPLATES: [(&str, &str); 2] = [
    ("corelane-metrics", include_str!("templates/corelane-metrics.json")),
    ("corelane-logs", include_str!("templates/corelane-logs.json")),
];

/// The most bytes of an answer that are read. The answer to the largest batch is far smaller.
const ANSWER_BYTES: u64 = 16 << 20;
/// The most bytes of a server's text that a message repeats.
const SHOWN: usize = 300;

pub(super) struct Server {
    agent: Agent,
    url: String,
    authorization: Option<String>,
}

/// What became of a bulk request.
pub(super) enum Answer {
    /// What became of each document, in their order.
    Items(Vec<Fate>),
    /// The request was too large.
    TooLarge,
    /// It may be repeated. The text says why it failed.
    Again(String),
}

/// What became of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stored,
    AlreadyThere,
    Again,
    Refused(String),
}

impl Server {
    pub(super) fn new(options: &Options) -> Result<Self, ExportError> {
        options.check()?;
        let mut tls = TlsConfig::builder();
        if let Some(path) = &options.certificates {
            let refuse = |must| ExportError::Invalid { option: "certificates", must };
            let pem = std::fs::read(path).map_err(|_| refuse("name a readable file"))?;
            let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(refuse("name a file with at least one PEM certificate"));
            }
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates)));
        }
        let config = Agent::config_builder()
            .timeout_global(Some(options.request_timeout))
            .timeout_connect(Some(options.request_timeout.min(Duration::from_secs(5))))
            .http_status_as_error(false)
            // Credentials go to the configured server only.
            .max_redirects(0)
            .tls_config(tls.build())
            .user_agent(concat!("corelane/", env!("CARGO_PKG_VERSION")))
            .build();
        let authorization = match &options.credentials {
            Credentials::None => None,
            Credentials::Basic { user, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Credentials::ApiKey(key) => Some(format!("ApiKey {key}")),
        };
        let url = options.url.trim_end_matches('/').to_owned();
        Ok(Self { agent: config.into(), url, authorization })
    }

    /// Creates or replaces the index templates. A text says what failed.
    pub(super) fn install_templates(&self) -> Result<(), String> {
        for (name, template) in TEMPLATES {
            let request = self.agent.put(format!("{}/_index_template/{name}", self.url));
            let (status, text) = self.send(request, "application/json", template.as_bytes())?;
            if status != 200 {
                return Err(format!("the index template {name}: {}", said(status, &text)));
            }
        }
        Ok(())
    }

    /// Sends documents.
    pub(super) fn bulk(&self, documents: &[Document]) -> Answer {
        let body: String = documents.iter().map(|document| document.lines.as_str()).collect();
        // Only what is read from each item, so that the answer stays small.
        let url =
            format!("{}/_bulk?filter_path=items.*.status,items.*.error.type,items.*.error.reason", self.url);
        let (status, text) = match self.send(self.agent.post(url), "application/x-ndjson", body.as_bytes()) {
            Ok(answer) => answer,
            Err(problem) => return Answer::Again(problem),
        };
        match status {
            200 => match fates(&text, documents.len()) {
                Some(fates) => Answer::Items(fates),
                None => Answer::Again(format!("no bulk answer: {}", said(status, &text))),
            },
            413 => Answer::TooLarge,
            _ => Answer::Again(said(status, &text)),
        }
    }

    fn send(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithBody>,
        content: &str,
        body: &[u8],
    ) -> Result<(u16, String), String> {
        let request = request.header("content-type", content);
        let request = match &self.authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        };
        let mut response = request.send(body).map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let text = read(response.body_mut()).map_err(|error| format!("the answer broke off: {error}"))?;
        Ok((status, text))
    }
}

fn read(body: &mut Body) -> Result<String, ureq::Error> {
    body.with_config().limit(ANSWER_BYTES).read_to_string()
}

/// A status and the beginning of what the server said.
fn said(status: u16, text: &str) -> String {
    let hint = match status {
        401 | 403 => " (check the credentials and their rights)",
        _ => "",
    };
    let shown: String = text.chars().take(SHOWN).filter(|char| !char.is_control()).collect();
    format!("the server answered {status}{hint}: {shown}")
}

/// What became of each document of a bulk request. None if the answer does not fit the request.
fn fates(text: &str, count: usize) -> Option<Vec<Fate>> {
    let answer: Value = serde_json::from_str(text).ok()?;
    let items = answer.get("items")?.as_array()?;
    if items.len() != count {
        return None;
    }
    items.iter().map(|item| fate(item.get("create")?)).collect()
}

fn fate(item: &Value) -> Option<Fate> {
    Some(match item.get("status")?.as_u64()? {
        200..=299 => Fate::Stored,
        409 => Fate::AlreadyThere,
        429 | 500..=599 => Fate::Again,
        status => {
            let of = |name: &str| item.pointer(name).and_then(Value::as_str).unwrap_or_default();
            let reason: String = of("/error/reason").chars().take(SHOWN).collect();
            Fate::Refused(format!("{status} {}: {reason}", of("/error/type")))
        }
    })
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Server({})", self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_has_its_own_fate() {
        let text = r#"{"items":[{"create":{"status":201}},{"create":{"status":409,"error":{"type":"x"}}},
            {"create":{"status":429}},{"create":{"status":400,"error":{"type":"t","reason":"r"}}}]}"#;
        let expected =
            vec![Fate::Stored, Fate::AlreadyThere, Fate::Again, Fate::Refused("400 t: r".to_owned())];
        assert_eq!(fates(text, 4), Some(expected));
        // An answer that does not fit the request says nothing about any document.
        assert_eq!(fates(text, 3), None);
        assert_eq!(fates("{}", 0), None);
        assert_eq!(fates("<html>", 1), None);
    }
}
