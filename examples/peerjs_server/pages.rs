//! The pages of the monitor: the whole report, its parts, idle clients, histories, and the two addresses that change
//! something. An unknown parameter or value is refused with the list of the allowed ones.

use crate::http::{Answer, answer, plain};
use crate::registry::Registry;
use corelane::monitor::{Format, Monitor, Span};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::time::Duration;

/// Addresses that change something. They accept only POST.
pub(crate) const CHANGES: [&str; 2] = ["/api/reset", "/api/set"];

/// Addresses of the parts of the report, with the part's name in the report.
const PARTS: [(&str, &str); 11] = [
    ("/api/messages", "messages"),
    ("/api/types", "types"),
    ("/api/protocols", "protocols"),
    ("/api/applications", "applications"),
    ("/api/clients", "clients"),
    ("/api/slow", "slow_messages"),
    ("/api/connections", "connections"),
    ("/api/system", "system"),
    ("/api/routing", "routing"),
    ("/api/alerts", "alerts"),
    ("/api/custom", "custom"),
];

/// The formats of the report by name. The first is the default.
pub(crate) const FORMATS: [(&str, Format); 3] =
    [("html", Format::Html), ("text", Format::Text), ("json", Format::Json)];
const SPANS: [(&str, Span); 3] = [("minute", Span::Minute), ("hour", Span::Hour), ("day", Span::Day)];

/// The page at an address; `None` if there is none.
pub(crate) fn show(path: &str, query: &str, monitor: &Monitor, registry: &Registry) -> Option<Answer> {
    let shown = match path {
        "/api/report" => report(query, monitor),
        "/api/stats" => none(query).map(|()| whole(monitor, Format::Json)),
        "/api/schema" => none(query).map(|()| schema()),
        "/api/clients/idle" => idle(query, monitor),
        "/api/peers" => peers(query, registry),
        "/api/history" => history(query, monitor),
        _ => {
            let (_, name) = PARTS.iter().find(|(address, _)| *address == path)?;
            none(query).map(|()| part(monitor, name))
        }
    };
    Some(shown.unwrap_or_else(|refusal| plain(StatusCode::BAD_REQUEST, refusal)))
}

/// Carries out a POST to one of [`CHANGES`].
pub(crate) fn change(path: &str, form: &[u8], monitor: &Monitor) -> Answer {
    if path == "/api/reset" {
        monitor.reset();
        return plain(StatusCode::OK, "all figures are reset");
    }
    let mut pairs = form_urlencoded::parse(form);
    let (Some((key, value)), None) = (pairs.next(), pairs.next()) else {
        return plain(
            StatusCode::BAD_REQUEST,
            "the body is not one key=value; allowed: exactly one key=value",
        );
    };
    match monitor.set(&key, &value) {
        Ok(()) => plain(StatusCode::OK, format!("{key} = {value}")),
        Err(error) => plain(StatusCode::BAD_REQUEST, error.to_string()),
    }
}

fn report(query: &str, monitor: &Monitor) -> Result<Answer, String> {
    let [format] = parameters(query, ["format"])?;
    Ok(whole(monitor, choose("format", format.as_deref().unwrap_or("html"), &FORMATS)?))
}

fn whole(monitor: &Monitor, format: Format) -> Answer {
    answer(StatusCode::OK, HeaderValue::from_static(format.content_type()), monitor.report(format))
}

/// The JSON schema of `/api/stats`.
fn schema() -> Answer {
    let json = HeaderValue::from_static("application/schema+json");
    answer(StatusCode::OK, json, include_str!("../../docs/schema.json").to_owned())
}

/// One part of the report, with the same content as in the report.
fn part(monitor: &Monitor, name: &str) -> Answer {
    let mut all = serde_json::to_value(monitor.snapshot()).unwrap_or_default();
    json_answer(&all.get_mut(name).map(Value::take))
}

fn idle(query: &str, monitor: &Monitor) -> Result<Answer, String> {
    let [longer_than] = parameters(query, ["longer_than_ms"])?;
    let longer_than = longer_than.as_deref().unwrap_or_default();
    let milliseconds = longer_than.parse().map_err(|_| {
        format!("longer_than_ms = {longer_than} is not valid; allowed: a whole number of milliseconds")
    })?;
    Ok(json_answer(&monitor.idle_clients(Duration::from_millis(milliseconds))))
}

/// The connected clients with their addresses: the latest ones, or one by its id.
fn peers(query: &str, registry: &Registry) -> Result<Answer, String> {
    let [id, limit] = parameters(query, ["id", "limit"])?;
    let limit = limit.as_deref().unwrap_or("1000");
    let limit = limit
        .parse()
        .ok()
        .filter(|limit| (1..=100_000).contains(limit))
        .ok_or_else(|| format!("limit = {limit} is not valid; allowed: 1 to 100000 peers"))?;
    let total = registry.len();
    Ok(json_answer(&json!({ "total": total, "peers": registry.peers(id.as_deref(), limit) })))
}

/// The names of all histories, or one history.
fn history(query: &str, monitor: &Monitor) -> Result<Answer, String> {
    let [name, span] = parameters(query, ["name", "span"])?;
    let Some(name) = name else {
        return match span {
            None => Ok(json_answer(&json!({ "names": monitor.history_names() }))),
            Some(_) => {
                Err("span needs name as well; allowed names: those that /api/history lists".to_owned())
            }
        };
    };
    let span = choose("span", span.as_deref().unwrap_or("minute"), &SPANS)?;
    let found = monitor.history(&name, span);
    let unknown = || format!("name = {name} is not valid; allowed: those that /api/history lists");
    found.map(|history| json_answer(&history)).ok_or_else(unknown)
}

fn json_answer(shown: &impl serde::Serialize) -> Answer {
    // This cannot fail: numbers, texts and lists always serialise.
    let text = serde_json::to_string(shown).unwrap_or_default();
    answer(StatusCode::OK, HeaderValue::from_static(Format::Json.content_type()), text)
}

/// The value with this name.
///
/// # Errors
/// A text with the parameter, the name and the allowed names.
pub(crate) fn choose<T: Copy>(parameter: &str, name: &str, all: &[(&str, T)]) -> Result<T, String> {
    let found = all.iter().find(|(one, _)| *one == name).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        format!("{parameter} = {name} is not valid; allowed: {}", names.join(", "))
    })
}

fn none(query: &str) -> Result<(), String> {
    parameters(query, []).map(|[]| ())
}

/// The values of the named parameters. Each may be given once; no other is allowed.
///
/// # Errors
/// A text with the unknown or repeated parameter.
fn parameters<'a, const N: usize>(
    query: &'a str,
    names: [&str; N],
) -> Result<[Option<Cow<'a, str>>; N], String> {
    let mut found = [const { None }; N];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = names.iter().position(|one| *one == name).and_then(|place| found.get_mut(place));
        match place {
            Some(place @ None) => *place = Some(value),
            Some(Some(_)) => return Err(format!("{name} is given twice; allowed: once")),
            None if names.is_empty() => return Err(format!("unknown parameter {name}; allowed: none")),
            None => return Err(format!("unknown parameter {name}; allowed: {}", names.join(", "))),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_and_stand_there_once() {
        let names = |query: &'static str| parameters(query, ["name", "span"]);
        let value = |text: &'static str| Some(Cow::Borrowed(text));
        assert_eq!(names("").unwrap(), [None, None]);
        assert_eq!(
            names("span=hour&name=types.peerjs%2FOFFER").unwrap(),
            [value("types.peerjs/OFFER"), value("hour")]
        );
        assert_eq!(names("nam=x").unwrap_err(), "unknown parameter nam; allowed: name, span");
        assert_eq!(names("name=x&name=x").unwrap_err(), "name is given twice; allowed: once");
        assert_eq!(none("x").unwrap_err(), "unknown parameter x; allowed: none");
    }

    #[test]
    fn every_part_is_one_of_the_report() {
        let monitor = Monitor::new(corelane::config::Config::default()).unwrap();
        let report: Value = serde_json::from_str(&monitor.report(Format::Json)).unwrap();
        for (address, name) in PARTS {
            assert!(report.get(name).is_some(), "{address}");
        }
    }
}
