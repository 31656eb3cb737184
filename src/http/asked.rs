//! One answer for a host with an HTTP server of its own, in another language: what a door serves, without a socket. Who may
//! ask, connections and limits are the host's business.

use super::answer::{Answer, Body, answer, plain};
use super::events::{Wanted, event};
use super::negotiate::metrics_format;
use super::request::{POLICY, is_read, not_allowed};
use super::{page, pages};
use crate::export::Exposition;
use crate::monitor::Monitor;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::json;

/// A request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// The path, with the query behind a question mark.
    pub(crate) target: &'a str,
    /// The header Accept.
    pub(crate) accept: &'a str,
    /// The header Last-Event-ID.
    pub(crate) last_event: &'a str,
    pub(crate) body: &'a [u8],
    /// This request may change something.
    pub(crate) changeable: bool,
    /// As [`Options::process_metrics`](super::Options::process_metrics).
    pub(crate) process_metrics: bool,
}

/// The longest policy that the C interface passes on.
const _: () = assert!(POLICY.len() < 256);

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// The header Content-Security-Policy; empty for none.
    pub(crate) policy: &'static str,
    /// The id of the one event of `/api/events` that the body is; 0 for any other answer.
    pub(crate) event: u64,
    pub(crate) body: Vec<u8>,
}

/// Answers a request. `/api/events` is answered with one event: the host sends it, and asks a second later for the next, with
/// this event's id.
pub(crate) fn ask(monitor: &Monitor, asked: &Asked<'_>) -> Reply {
    let (path, query) = asked.target.split_once('?').unwrap_or((asked.target, ""));
    let method = Method::from_bytes(asked.method.as_bytes()).unwrap_or(Method::GET);
    if pages::CHANGES.contains(&path) {
        return reply(match method {
            Method::POST if asked.changeable => pages::change(path, asked.body, monitor),
            Method::POST => plain(StatusCode::FORBIDDEN, "nothing can be changed here"),
            _ => not_allowed("POST"),
        });
    }
    if !is_read(&method) {
        return reply(not_allowed("GET, HEAD"));
    }
    if let Some((content_type, bytes)) = page::find(path) {
        let page = reply(answer(StatusCode::OK, content_type, bytes));
        return Reply { policy: POLICY, ..page };
    }
    reply(match path {
        "/metrics" => {
            let mut headers = HeaderMap::new();
            if let Ok(accept) = HeaderValue::from_str(asked.accept) {
                headers.insert(header::ACCEPT, accept);
            }
            let format = metrics_format(&headers);
            let exposition = Exposition::new(format).process(asked.process_metrics);
            answer(StatusCode::OK, format.content_type(), exposition.write(monitor))
        }
        "/api/info" => pages::json_answer(&json!({
            "version": env!("CARGO_PKG_VERSION"), "pages": [], "token": false,
        })),
        "/api/events" => {
            let last = Some(asked.last_event).filter(|last| !last.is_empty());
            match Wanted::read(query, last).and_then(|wanted| event(monitor, &wanted)) {
                Ok((text, id)) => {
                    let sent = reply(answer(StatusCode::OK, super::events::CONTENT_TYPE, text));
                    return Reply { event: id, ..sent };
                }
                Err(refusal) => plain(StatusCode::BAD_REQUEST, refusal),
            }
        }
        path => pages::show(path, query, monitor, asked.changeable)
            .unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "Not Found")),
    })
}

fn reply(answer: Answer) -> Reply {
    let content_type = answer.headers().get(header::CONTENT_TYPE).and_then(|one| one.to_str().ok());
    let (status, content_type) = (answer.status().as_u16(), content_type.unwrap_or_default().to_owned());
    let body = match answer.into_body() {
        Body::Whole(bytes) => bytes.map(Vec::from).unwrap_or_default(),
        Body::Events(_) => Vec::new(),
    };
    Reply { status, content_type, policy: "", event: 0, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn get(target: &str) -> Asked<'_> {
        Asked {
            method: "GET",
            target,
            accept: "",
            last_event: "",
            body: b"",
            changeable: false,
            process_metrics: false,
        }
    }

    #[test]
    fn every_address_of_a_door_is_answered() {
        let monitor = Monitor::new(Config::default()).unwrap();
        let ask = |asked: Asked<'_>| super::ask(&monitor, &asked);
        for path in [
            "/",
            "/metrics",
            "/api/stats",
            "/api/timeline?span=minute",
            "/api/settings",
            "/api/info",
            "/api/types",
        ] {
            let reply = ask(get(path));
            assert_eq!((reply.status, reply.body.is_empty(), reply.event), (200, false, 0), "{path}");
            assert_eq!(reply.policy.is_empty(), path != "/");
        }
        let open = ask(Asked { accept: "application/openmetrics-text; version=1.0.0", ..get("/metrics") });
        assert!(
            open.content_type.starts_with("application/openmetrics-text") && open.body.ends_with(b"# EOF\n")
        );
        assert_eq!(ask(get("/api/nothing")).status, 404);
        assert_eq!(ask(get("/api/history?x=1")).status, 400);
        assert_eq!(ask(Asked { method: "PUT", ..get("/api/stats") }).status, 405);
        assert_eq!(ask(Asked { method: "POST", ..get("/api/reset") }).status, 403);
        assert_eq!(ask(Asked { changeable: true, ..get("/api/reset") }).status, 405);
        let set = Asked {
            method: "POST",
            changeable: true,
            body: b"slow_message_threshold_ms=5",
            ..get("/api/set")
        };
        assert_eq!(ask(set).status, 200);
    }

    #[test]
    fn an_event_follows_the_one_before() {
        let monitor = Monitor::new(Config::default()).unwrap();
        let first = ask(&monitor, &get("/api/events?parts=messages"));
        let text = String::from_utf8(first.body).unwrap();
        assert!(
            text.starts_with(&format!("id: {}\nevent: figures\ndata: {{", first.event))
                && text.ends_with("\n\n")
        );
        let id = first.event.to_string();
        let next = ask(&monitor, &Asked { last_event: &id, ..get("/api/events") });
        assert!(next.status == 200 && next.event >= first.event);
        assert_eq!(ask(&monitor, &get("/api/events?parts=nothing")).status, 400);
    }
}
