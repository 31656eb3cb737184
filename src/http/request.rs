//! From a request to its answer.

use super::answer::{Answer, Body, answer, compressed, plain, set, with_body};
use super::check;
use super::counts::{Counts, Refusal};
use super::events::{Feed, Wanted};
use super::negotiate::{accepts_gzip, metrics_format};
use super::options::Options;
use super::{page, pages};
use crate::export::Exposition;
use crate::monitor::Monitor;
use crate::sync::Arc;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header;
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use std::rc::Rc;

/// Largest body of a request.
const BODY_BYTES: usize = 4 << 10;

/// No script, style, image or connection from elsewhere, and no frame of another page.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the answers of a door need.
pub(super) struct Sources {
    pub(super) monitor: Monitor,
    pub(super) options: Options,
    pub(super) counts: Arc<Counts>,
    pub(super) feed: Rc<Feed>,
}

impl Sources {
    pub(super) async fn respond(&self, request: Request<Incoming>) -> Answer {
        self.counts.request();
        let headers = request.headers().clone();
        let mut answer = compressed(self.answer(request).await, &headers);
        set(&mut answer, header::REFERRER_POLICY, "no-referrer");
        answer
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (path, is_read) = (request.uri().path().to_owned(), is_read(request.method()));
        // These have no figures. A probe need not know a name of the door.
        match &*path {
            "/healthz" | "/readyz" if !is_read => return not_allowed("GET, HEAD"),
            "/healthz" => return plain(StatusCode::OK, "ok"),
            "/readyz" => return self.is_ready(),
            _ => {}
        }
        if !check::is_called_here(request.uri(), request.headers(), &self.options.names) {
            let text = "the Host header is not a name of this monitor; allowed: an IP address, localhost, and the names \
                        that the server was given";
            return self.refuse(Refusal::Host, StatusCode::FORBIDDEN, text);
        }
        if let Some((content_type, bytes)) = page::find(&path) {
            if !is_read {
                return not_allowed("GET, HEAD");
            }
            let mut page = answer(StatusCode::OK, content_type, Bytes::from_static(bytes));
            set(&mut page, header::CONTENT_SECURITY_POLICY, POLICY);
            return page;
        }
        if path == "/api/info" {
            return if is_read { self.info() } else { not_allowed("GET, HEAD") };
        }
        let token = self.options.token.as_deref();
        if token.is_some_and(|token| !check::has_token(request.headers(), token)) {
            let text = "the token is missing or wrong; send it as Authorization: Bearer TOKEN";
            let mut answer = self.refuse(Refusal::Token, StatusCode::UNAUTHORIZED, text);
            set(&mut answer, header::WWW_AUTHENTICATE, "Bearer");
            return answer;
        }
        match (pages::CHANGES.contains(&&*path), request.method()) {
            (true, &Method::POST) => self.change(&path, request).await,
            (true, _) => not_allowed("POST"),
            (false, _) if !is_read => not_allowed("GET, HEAD"),
            (false, _) => self.read(&path, &request),
        }
    }

    fn read(&self, path: &str, request: &Request<Incoming>) -> Answer {
        let query = request.uri().query().unwrap_or_default();
        match path {
            "/metrics" => {
                let format = metrics_format(request.headers());
                let exposition = Exposition::new(format).process(self.options.process);
                let text = exposition.door(self.counts.figures()).write(&self.monitor);
                answer(StatusCode::OK, format.content_type(), text)
            }
            "/api/events" => self.events(query, request),
            path => {
                if let Some((_, page)) = self.options.pages.iter().find(|(one, _)| one == path) {
                    return page(query).map_or_else(
                        |refusal| plain(StatusCode::BAD_REQUEST, refusal),
                        |json| answer(StatusCode::OK, super::answer::JSON, json),
                    );
                }
                pages::show(path, query, &self.monitor, self.options.token.is_some())
                    .unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "Not Found"))
            }
        }
    }

    fn is_ready(&self) -> Answer {
        match self.options.ready.as_ref().map_or(Ok(()), |ready| ready()) {
            Ok(()) => plain(StatusCode::OK, "ok"),
            Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }

    fn info(&self) -> Answer {
        let pages: Vec<_> = self.options.pages.iter().map(|(path, _)| path).collect();
        let token = self.options.token.is_some();
        pages::json_answer(&json!({ "version": env!("CARGO_PKG_VERSION"), "pages": pages, "token": token }))
    }

    fn events(&self, query: &str, request: &Request<Incoming>) -> Answer {
        const EVENTS: &str = super::events::CONTENT_TYPE;
        let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok());
        let wanted = match Wanted::read(query, last) {
            Ok(wanted) => wanted,
            Err(refusal) => return plain(StatusCode::BAD_REQUEST, refusal),
        };
        if request.method() == Method::HEAD {
            return answer(StatusCode::OK, EVENTS, Bytes::new());
        }
        match self.feed.subscribe(wanted) {
            Ok(Some(stream)) => {
                let gzip = accepts_gzip(request.headers());
                let stream = if gzip { stream.compressed() } else { stream };
                let mut events = with_body(StatusCode::OK, EVENTS, Body::Events(stream));
                set(&mut events, header::VARY, "Accept-Encoding");
                if gzip {
                    set(&mut events, header::CONTENT_ENCODING, "gzip");
                }
                events
            }
            Ok(None) => {
                let text = "there are as many streams of events as this monitor allows";
                self.refuse(Refusal::Streams, StatusCode::SERVICE_UNAVAILABLE, text)
            }
            Err(refusal) => plain(StatusCode::BAD_REQUEST, refusal),
        }
    }

    async fn change(&self, path: &str, request: Request<Incoming>) -> Answer {
        if !check::is_from_here(request.headers()) {
            let text = "pages of another origin cannot change settings; use a page of this monitor, or curl";
            return self.refuse(Refusal::Origin, StatusCode::FORBIDDEN, text);
        }
        if self.options.token.is_none() {
            let text = "this monitor has no token, so nothing can be changed here; start the server with one";
            return self.refuse(Refusal::Token, StatusCode::FORBIDDEN, text);
        }
        let all = Limited::new(request.into_body(), BODY_BYTES).collect();
        match ::tokio::time::timeout(self.options.patience, all).await {
            Ok(Ok(body)) => pages::change(path, &body.to_bytes(), &self.monitor),
            Ok(Err(error)) if error.is::<LengthLimitError>() => plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is too large; allowed: up to {BODY_BYTES} bytes"),
            ),
            Ok(Err(_)) => plain(StatusCode::BAD_REQUEST, "Bad Request"),
            Err(_) => self.refuse(Refusal::Request, StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
        }
    }

    fn refuse(&self, reason: Refusal, status: StatusCode, text: &'static str) -> Answer {
        self.counts.refuse(reason);
        plain(status, text)
    }
}

pub(super) fn is_read(method: &Method) -> bool {
    [Method::GET, Method::HEAD].contains(method)
}

pub(super) fn not_allowed(allowed: &'static str) -> Answer {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    set(&mut answer, header::ALLOW, allowed);
    answer
}
