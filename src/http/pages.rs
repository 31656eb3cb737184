//! The JSON pages: the whole report, its parts, idle clients, histories, settings, and the two addresses that change
//! something.

use super::answer::{Answer, JSON, answer, plain};
use super::parts::PARTS;
use super::query::{choose, none, parameters};
use crate::monitor::{Format, Monitor, Span};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

/// Addresses that change something. They accept only POST.
pub(super) const CHANGES: [&str; 2] = ["/api/reset", "/api/set"];

/// The other addresses below `/api/`.
const OTHERS: [&str; 10] = [
    "/api/report",
    "/api/stats",
    "/api/schema",
    "/api/clients/idle",
    "/api/history",
    "/api/intervals",
    "/api/timeline",
    "/api/settings",
    "/api/events",
    "/api/info",
];

const FORMATS: [(&str, Format); 3] = [("html", Format::Html), ("text", Format::Text), ("json", Format::Json)];
const SPANS: [(&str, Span); 3] = [("minute", Span::Minute), ("hour", Span::Hour), ("day", Span::Day)];

/// Whether the door itself serves this address.
pub(super) fn is_taken(path: &str) -> bool {
    CHANGES.contains(&path) || OTHERS.contains(&path) || PARTS.iter().any(|(one, _)| *one == path)
}

/// The page at an address; `None` if there is none. `changeable` says whether settings can be changed here.
pub(super) fn show(path: &str, query: &str, monitor: &Monitor, changeable: bool) -> Option<Answer> {
    let shown = match path {
        "/api/report" => report(query, monitor),
        "/api/stats" => none(query).map(|()| whole(monitor, Format::Json)),
        "/api/schema" => none(query).map(|()| schema()),
        "/api/clients/idle" => idle(query, monitor),
        "/api/history" => history(query, monitor),
        "/api/intervals" => intervals(query, monitor),
        "/api/timeline" => timeline(query, monitor),
        "/api/settings" => none(query).map(|()| settings(monitor, changeable)),
        _ => {
            let (_, name) = PARTS.iter().find(|(address, _)| *address == path)?;
            none(query).map(|()| part(monitor, name))
        }
    };
    Some(shown.unwrap_or_else(|refusal| plain(StatusCode::BAD_REQUEST, refusal)))
}

/// Carries out a POST to one of [`CHANGES`].
pub(super) fn change(path: &str, form: &[u8], monitor: &Monitor) -> Answer {
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
    answer(StatusCode::OK, format.content_type(), monitor.report(format))
}

/// The JSON schema of `/api/stats`.
fn schema() -> Answer {
    answer(StatusCode::OK, "application/schema+json", include_str!("../../docs/schema.json"))
}

/// One part of the report, with the same content as in the report.
fn part(monitor: &Monitor, name: &str) -> Answer {
    let mut all = serde_json::to_value(monitor.snapshot()).unwrap_or_default();
    json_answer(&all.get_mut(name).map(Value::take))
}

fn idle(query: &str, monitor: &Monitor) -> Result<Answer, String> {
    let [longer_than, limit] = parameters(query, ["longer_than_ms", "limit"])?;
    let longer_than = longer_than.as_deref().unwrap_or_default();
    let milliseconds = longer_than.parse().map_err(|_| {
        format!("longer_than_ms = {longer_than} is not valid; allowed: a whole number of milliseconds")
    })?;
    let limit = limit.as_deref().unwrap_or("1000");
    let limit = limit
        .parse()
        .ok()
        .filter(|limit| (1..=100_000).contains(limit))
        .ok_or_else(|| format!("limit = {limit} is not valid; allowed: 1 to 100000 clients"))?;
    let mut clients = monitor.idle_clients(Duration::from_millis(milliseconds));
    clients.sort_by_key(|client| std::cmp::Reverse(client.idle_milliseconds));
    clients.truncate(limit);
    Ok(json_answer(&clients))
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

/// A distribution as an HdrHistogram interval log: slot by slot, or as a whole since the last reset.
fn intervals(query: &str, monitor: &Monitor) -> Result<Answer, String> {
    let [name, span] = parameters(query, ["name", "span"])?;
    let name = name.as_deref().unwrap_or("messages");
    let [minute, hour, day] = SPANS.map(|(name, span)| (name, Some(span)));
    let span = choose("span", span.as_deref().unwrap_or("minute"), &[minute, hour, day, ("reset", None)])?;
    let log = monitor.interval_log(name, span);
    let unknown = || {
        format!(
            "name = {name} is not valid; allowed: series of messages that /api/history lists; with span=reset also \
             held, write and types.PROTOCOL/TYPE.queue_wait"
        )
    };
    log.map(|log| plain(StatusCode::OK, log)).ok_or_else(unknown)
}

/// All histories of one span in columns.
fn timeline(query: &str, monitor: &Monitor) -> Result<Answer, String> {
    let [span, after] = parameters(query, ["span", "after"])?;
    let span = choose("span", span.as_deref().unwrap_or("minute"), &SPANS)?;
    let after = after.as_deref().unwrap_or("0");
    let after = after
        .parse()
        .map_err(|_| format!("after = {after} is not valid; allowed: a time in milliseconds since 1970"))?;
    Ok(json_answer(&monitor.timeline(span, after)))
}

/// The settings that can be changed at run time, with their present values.
fn settings(monitor: &Monitor, changeable: bool) -> Answer {
    let settings = monitor.settings().into_iter().map(|(row, value)| {
        json!({
            "key": row.key,
            "value": value,
            "unit": row.unit,
            "allowed": row.allowed(),
            "default": row.default_value(),
            "text": row.text,
        })
    });
    json_answer(&json!({ "changeable": changeable, "settings": settings.collect::<Vec<_>>() }))
}

pub(super) fn json_answer(shown: &impl serde::Serialize) -> Answer {
    // This cannot fail: numbers, texts and lists always serialise.
    answer(StatusCode::OK, JSON, serde_json::to_string(shown).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_one_of_the_report() {
        let monitor = Monitor::new(crate::config::Config::default()).unwrap();
        let report: Value = serde_json::from_str(&monitor.report(Format::Json)).unwrap();
        for (address, name) in PARTS {
            assert!(report.get(name).is_some(), "{address}");
        }
    }

    #[test]
    fn every_address_has_a_page() {
        let monitor = Monitor::new(crate::config::Config::default()).unwrap();
        // The stream and the door's own page are made elsewhere.
        let others = OTHERS.iter().filter(|path| !["/api/events", "/api/info"].contains(path));
        for path in others.copied().chain(PARTS.map(|(path, _)| path)) {
            assert!(show(path, "", &monitor, true).is_some() && is_taken(path), "{path}");
        }
        assert!(show("/api/peers", "", &monitor, true).is_none() && !is_taken("/api/peers"));
    }
}
