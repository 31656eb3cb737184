//! The monitor's addresses under `/api/`: the parts of its report, histories, reports for people, and two that change
//! something. Asked on the monitor's own thread, so what an answer costs no peer waits for.

use crate::http::{Answer, answer, plain};
use corelane::error::Error;
use corelane::monitor::{Format, Monitor, Span};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// Parts of the report that have an address each.
const PARTS: &[&str] = &[
    "messages",
    "types",
    "protocols",
    "applications",
    "clients",
    "connections",
    "system",
    "routing",
    "alerts",
    "custom",
    "monitor",
    "reports",
];
/// A body of `/api/set`.
const BODY_BYTES: usize = 4096;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Why a question has no answer, in words that say what to change.
struct Refusal(StatusCode, String);

type Result<T> = std::result::Result<T, Refusal>;

/// Answers what is asked below `/api/`.
pub(crate) async fn respond(request: Request<Incoming>, monitor: &Monitor) -> Answer {
    let what = request.uri().path().trim_start_matches("/api/").to_owned();
    let result = match *request.method() {
        Method::GET | Method::HEAD => read(&what, request.uri().query().unwrap_or_default(), monitor),
        Method::POST => change(&what, request, monitor).await,
        _ => Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed".to_owned())),
    };
    result.unwrap_or_else(|Refusal(status, text)| plain(status, text))
}

fn read(what: &str, query: &str, monitor: &Monitor) -> Result<Answer> {
    let query = Query::of(query);
    let answer = match what {
        "stats" => report(monitor, Format::Json),
        "report" => report(monitor, query.format()?),
        "history" => json(&history(&query, monitor)?),
        "clients/idle" => {
            let longer_than = query.number("longer_than_ms")?;
            json(&to_value(&monitor.idle_clients(Duration::from_millis(longer_than))))
        }
        "slow" => json(&part(monitor, "slow_messages")),
        part if PARTS.contains(&part) => json(&self::part(monitor, part)),
        _ => {
            let parts = PARTS.join(", ");
            let text = format!("nothing here; there are stats, report, history, clients/idle, slow, {parts}");
            return Err(Refusal(StatusCode::NOT_FOUND, text));
        }
    };
    query.only(match what {
        "report" => &["format"],
        "history" => &["name", "span"],
        "clients/idle" => &["longer_than_ms"],
        _ => &[],
    })?;
    Ok(answer)
}

/// `reset`, and `set` with `key=value` in its body.
async fn change(what: &str, request: Request<Incoming>, monitor: &Monitor) -> Result<Answer> {
    if is_foreign(request.headers()) {
        return Err(Refusal(
            StatusCode::FORBIDDEN,
            "a page of another origin may not change anything here".to_owned(),
        ));
    }
    match what {
        "reset" => Ok(json(&to_value(&monitor.reset_and_show()))),
        "set" => {
            let body = Limited::new(request.into_body(), BODY_BYTES).collect().await;
            let body = body
                .map_err(|error| bad(format!("no body of up to {BODY_BYTES} bytes: {error}")))?
                .to_bytes();
            for (key, value) in form_urlencoded::parse(&body) {
                monitor.set(&key, &value).map_err(|error: Error| bad(error.to_string()))?;
            }
            Ok(plain(StatusCode::OK, "ok"))
        }
        _ => Err(Refusal(StatusCode::NOT_FOUND, "nothing here; there are reset and set".to_owned())),
    }
}

/// Whether a browser says that a page from elsewhere asks.
fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    headers.contains_key(header::ORIGIN)
        && text(header::ORIGIN)
            .and_then(|origin| origin.split_once("://"))
            .is_none_or(|(_, from)| from != host)
}

fn history(query: &Query, monitor: &Monitor) -> Result<Value> {
    let Some(name) = query.get("name") else { return Ok(to_value(&monitor.history_names())) };
    let span = match query.get("span").unwrap_or("hour") {
        "minute" => Span::Minute,
        "hour" => Span::Hour,
        "day" => Span::Day,
        other => return Err(bad(format!("span = {other:?} is not possible; allowed: minute, hour, day"))),
    };
    match monitor.history(name, span) {
        Some(history) => Ok(to_value(&history)),
        None => {
            let text = format!("no series is called {name:?}: /api/history lists those that there are");
            Err(Refusal(StatusCode::NOT_FOUND, text))
        }
    }
}

fn report(monitor: &Monitor, format: Format) -> Answer {
    answer(StatusCode::OK, HeaderValue::from_static(format.content_type()), monitor.report(format))
}

/// A part of the whole report.
fn part(monitor: &Monitor, name: &str) -> Value {
    match to_value(&monitor.snapshot()) {
        Value::Object(mut parts) => parts.remove(name).unwrap_or_default(),
        _ => Value::Null,
    }
}

fn json(value: &Value) -> Answer {
    answer(StatusCode::OK, JSON, value.to_string())
}

fn to_value(value: &impl serde::Serialize) -> Value {
    // Numbers, texts and lists always serialise.
    serde_json::to_value(value).unwrap_or_default()
}

fn bad(text: String) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, text)
}

/// The part of an address behind the question mark.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Result<u64> {
        let number = self.get(name).and_then(|value| value.parse().ok());
        number.ok_or_else(|| bad(format!("{name} is to be a number: /api/clients/idle?{name}=60000")))
    }

    fn format(&self) -> Result<Format> {
        match self.get("format").unwrap_or("html") {
            "html" => Ok(Format::Html),
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            other => Err(bad(format!("format = {other:?} is not possible; allowed: html, text, json"))),
        }
    }

    /// Refuses what would be passed over.
    fn only(&self, known: &[&str]) -> Result<()> {
        match self.0.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) if known.is_empty() => {
                Err(bad(format!("{key:?} means nothing here; leave it out")))
            }
            Some((key, _)) => Err(bad(format!("{key:?} means nothing here; allowed: {}", known.join(", ")))),
        }
    }
}
