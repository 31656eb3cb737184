//! The HTTP requests, and what the answers mean.

use super::queue::Document;
use super::{Credentials, Options};
use crate::error::ExportError;
use crate::outgoing::{self, SHOWN, said};
use base64::prelude::{BASE64_STANDARD as STANDARD, Engine};
use serde_json::Value;
use ureq::Agent;

/// The index templates, by name.
const TEMPLATES: [(&str, &str); 2] = [
    ("corelane-metrics", include_str!("templates/corelane-metrics.json")),
    ("corelane-logs", include_str!("templates/corelane-logs.json")),
];

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
        let agent = options.agent()?;
        let authorization = match &options.credentials {
            Credentials::None => None,
            Credentials::Basic { user, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Credentials::ApiKey(key) => Some(format!("ApiKey {key}")),
        };
        let url = options.url.trim_end_matches('/').to_owned();
        Ok(Self { agent, url, authorization })
    }

    /// Creates or replaces the index templates. A text says what failed.
    pub(super) fn install_templates(&self) -> Result<(), String> {
        for (name, template) in TEMPLATES {
            let request = self.agent.put(format!("{}/_index_template/{name}", self.url));
            let (status, text) = self.send(request, "application/json", template.as_bytes())?;
            if status != 200 {
                return Err(format!("the index template {name}: {}", said(status, text.as_bytes())));
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
                None => Answer::Again(format!("no bulk answer: {}", said(status, text.as_bytes()))),
            },
            413 => Answer::TooLarge,
            _ => Answer::Again(said(status, text.as_bytes())),
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
        let (status, body) = outgoing::send(request, body)?;
        String::from_utf8(body).map(|text| (status, text)).map_err(|_| "the answer is no text".to_owned())
    }
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
