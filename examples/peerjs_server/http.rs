//! HTTP: serves accepted connections, and the three pages of npm's server with their CORS headers. Also the messages
//! that the server itself sends to a client.

use crate::counts::{At, Refusal};
use crate::guard::{Reading, Socket};
use crate::network::Network;
use crate::options::Settings;
use crate::upgrade;
use corelane::http::guard::Guarded;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

const HEAD_BYTES: usize = 16 << 10;

pub(crate) const OPEN: &[u8] = br#"{"type":"OPEN"}"#;
pub(crate) const ID_TAKEN: &[u8] = br#"{"type":"ID-TAKEN","payload":{"msg":"ID is taken"}}"#;
pub(crate) const MISSING_PARAMETERS: &str = "No id, token, or key supplied to websocket server";
pub(crate) const INVALID_KEY: &str = "Invalid key provided";
pub(crate) const CONNECTION_LIMIT: &str = "Server has reached its concurrent user limit";
pub(crate) const DRAINS: &str = "the server drains; connect to another one";
const DESCRIPTION: &str = r#"{"name":"PeerJS Server","description":"A server side element to broker connections between PeerJS clients.","website":"https://peerjs.com/"}"#;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub(crate) type Answer = Response<Full<Bytes>>;

/// An ERROR message for a client. The keys have npm's order.
pub(crate) fn error(text: &str) -> Bytes {
    format!(r#"{{"type":"ERROR","payload":{{"msg":{}}}}}"#, quoted(text)).into()
}

/// The EXPIRE notice for a client whose message was held until the hold expired.
pub(crate) fn expired(name: &[u8], to: &str) -> Bytes {
    let name = String::from_utf8_lossy(name);
    format!(r#"{{"type":"EXPIRE","src":{},"dst":{}}}"#, quoted(&name), quoted(to)).into()
}

/// The text as a JSON string.
fn quoted(text: &str) -> impl std::fmt::Display {
    serde_json::Value::from(text)
}

/// An answer with a content type. Hyper adds the length, and omits the body for HEAD.
pub(crate) fn answer(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    answer
}

/// An answer of plain text.
pub(crate) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, PLAIN, body)
}

/// Serves an accepted connection until its end.
pub(crate) async fn serve_accepted(network: Rc<Network>, stream: TcpStream, peer: SocketAddr) {
    let Some(socket) = Socket::admit(&network.service, peer) else { return };
    // Without TCP_NODELAY a small frame may wait for the acknowledgement of the previous one. An error is ignored: if
    // the socket is gone, the next read or write reports it.
    let _ = stream.set_nodelay(true);
    let stream = Guarded::new(stream, Reading(Arc::clone(&socket)));
    match network.service.tls.clone() {
        None => serve(network, socket, stream).await,
        Some(tls) => {
            let patience = network.service.settings.socket_timeout;
            if let Ok(Ok(stream)) = tokio::time::timeout(patience, tls.accept(stream)).await {
                socket.enter(At::Http);
                serve(network, socket, stream).await;
            } else {
                network.service.refuse(Refusal::Handshake, socket.peer(), "");
            }
        }
    }
}

async fn serve<S>(network: Rc<Network>, socket: Arc<Socket>, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (service, peer) = (Arc::clone(&network.service), socket.peer());
    let respond = hyper::service::service_fn(move |request| {
        let (network, socket) = (Rc::clone(&network), Arc::clone(&socket));
        async move { Ok::<_, Infallible>(respond::<S>(&network, &socket, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        // Limits the time for a request's head, and the time between two requests.
        .header_read_timeout(service.settings.socket_timeout)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), respond)
        .with_upgrades();
    // A protocol error or a lost connection affects only this connection.
    if let Err(error) = connection.await
        && (error.is_parse() || error.is_timeout())
    {
        service.refuse(Refusal::Request, peer, "");
    }
}

async fn respond<S>(network: &Rc<Network>, socket: &Arc<Socket>, request: Request<Incoming>) -> Answer
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let settings = &network.service.settings;
    let upgrade = request.headers().get(header::UPGRADE);
    if upgrade.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return upgrade::to_websocket::<S>(network, socket, request).await;
    }
    let Some(rest) = below(request.uri().path(), &settings.path) else { return not_found() };
    let mut answer = match *request.method() {
        Method::OPTIONS => preflight(request.headers()),
        Method::GET | Method::HEAD => page(network, rest).await,
        _ => not_found(),
    };
    allow_origin(settings, request.headers(), answer.headers_mut());
    answer
}

/// The part of a URL path below the server's base path; `None` if it is outside.
fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    let (base, full) = (base.trim_end_matches('/'), path);
    let (start, rest) = full.split_at_checked(base.len())?;
    let inside = rest.is_empty() || rest.starts_with('/');
    (inside && start.eq_ignore_ascii_case(base)).then(|| rest.trim_start_matches('/'))
}

async fn page(network: &Network, rest: &str) -> Answer {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return answer(StatusCode::OK, JSON, DESCRIPTION);
    }
    match rest.split_once('/') {
        Some((_, page)) if page.eq_ignore_ascii_case("id") => {
            answer(StatusCode::OK, HTML, network.service.registry.fresh_id())
        }
        Some((_, page)) if page.eq_ignore_ascii_case("peers") => {
            if network.service.settings.allow_discovery {
                let ids = match &network.service.membership {
                    Some(membership) => membership.ids(&network.service.registry).await.to_string(),
                    None => serde_json::Value::from(network.service.registry.ids()).to_string(),
                };
                answer(StatusCode::OK, JSON, ids)
            } else {
                plain(StatusCode::UNAUTHORIZED, "Unauthorized")
            }
        }
        _ => not_found(),
    }
}

fn not_found() -> Answer {
    plain(StatusCode::NOT_FOUND, "Not Found")
}

fn preflight(asked: &HeaderMap) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let methods = HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE");
    answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    let vary = HeaderValue::from_static("Access-Control-Request-Headers");
    answer.headers_mut().append(header::VARY, vary);
    answer
}

/// Allows the requesting page to read the answer, if its origin is allowed. Without an Origin header no header is
/// needed.
fn allow_origin(settings: &Settings, asked: &HeaderMap, answer: &mut HeaderMap) {
    answer.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = asked.get(header::ORIGIN).filter(|origin| is_allowed(settings, origin)) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

/// Whether pages of this origin may send requests and connect. An empty list allows all origins.
pub(crate) fn is_allowed(settings: &Settings, origin: &HeaderValue) -> bool {
    settings.origins.is_empty() || settings.origins.iter().any(|one| one.as_bytes() == origin.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_below_the_path_or_nowhere() {
        assert_eq!(below("/", "/"), Some(""));
        assert_eq!(below("/peerjs/id", "/"), Some("peerjs/id"));
        assert_eq!(below("/My/app", "/my/app/"), Some(""));
        assert_eq!(below("/my/app/k/id", "/my/app/"), Some("k/id"));
        assert_eq!(below("/my/apple", "/my/app/"), None);
        assert_eq!(below("/žš", "/my/"), None);
    }

    #[test]
    fn what_is_said_to_a_client_is_json_whatever_the_names() {
        let text = expired(b"a\"b", "c\\d\n");
        assert_eq!(text, r#"{"type":"EXPIRE","src":"a\"b","dst":"c\\d\n"}"#);
        assert_eq!(error("\u{1}"), r#"{"type":"ERROR","payload":{"msg":"\u0001"}}"#);
    }
}
