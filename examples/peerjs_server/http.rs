//! HTTP: connections as they are accepted, npm's three addresses with their CORS headers, and the upgrade to a
//! WebSocket. Also the few texts that the server itself says to a client.

use crate::network::Network;
use crate::options::Settings;
use crate::socket::{self, Query};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// How long a peer has for a TLS handshake, and for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES: usize = 16 << 10;

pub(crate) const OPEN: &[u8] = br#"{"type":"OPEN"}"#;
pub(crate) const ID_TAKEN: &[u8] = br#"{"type":"ID-TAKEN","payload":{"msg":"ID is taken"}}"#;
pub(crate) const MISSING_PARAMETERS: &str = "No id, token, or key supplied to websocket server";
pub(crate) const INVALID_KEY: &str = "Invalid key provided";
pub(crate) const CONNECTION_LIMIT: &str = "Server has reached its concurrent user limit";
const DESCRIPTION: &str = r#"{"name":"PeerJS Server","description":"A server side element to broker connections between PeerJS clients.","website":"https://peerjs.com/"}"#;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub(crate) type Answer = Response<Full<Bytes>>;

/// An ERROR for a client, with npm's order of keys.
pub(crate) fn error(text: &str) -> Bytes {
    format!(r#"{{"type":"ERROR","payload":{{"msg":{}}}}}"#, quoted(text)).into()
}

/// What a client is told when nobody of the name that it wrote to has come.
pub(crate) fn expired(name: &[u8], to: &str) -> Bytes {
    let name = String::from_utf8_lossy(name);
    format!(r#"{{"type":"EXPIRE","src":{},"dst":{}}}"#, quoted(&name), quoted(to)).into()
}

/// A JSON string.
fn quoted(text: &str) -> impl std::fmt::Display {
    serde_json::Value::from(text)
}

/// An answer with its type; hyper adds the length, and leaves the body out for HEAD.
pub(crate) fn answer(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    answer
}

/// A short plain answer.
pub(crate) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, PLAIN, body)
}

/// Accepts connections for as long as the thread runs.
pub(crate) async fn accept(network: Rc<Network>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it a small frame may wait for the one before it; a socket that is gone says so later.
                let _ = stream.set_nodelay(true);
                spawn_local(serve_accepted(Rc::clone(&network), stream));
            }
            Err(error) => {
                // Out of descriptors, mostly: those that close make room.
                eprintln!("warning: cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_accepted(network: Rc<Network>, stream: TcpStream) {
    match network.service.tls.clone() {
        None => serve(network, stream).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
                serve(network, stream).await;
            }
        }
    }
}

async fn serve<S>(network: Rc<Network>, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let answer = respond::<S>(&network, request);
        async { Ok::<_, Infallible>(answer) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // A peer that breaks HTTP or goes away costs only its connection.
    let _ = connection.await;
}

fn respond<S>(network: &Rc<Network>, request: Request<Incoming>) -> Answer
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let settings = &network.service.settings;
    let upgrade = request.headers().get(header::UPGRADE);
    if upgrade.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return upgrade_to_websocket::<S>(network, request);
    }
    let Some(rest) = below(request.uri().path(), &settings.path) else { return not_found() };
    let mut answer = match *request.method() {
        Method::OPTIONS => preflight(request.headers()),
        Method::GET | Method::HEAD => page(network, rest),
        _ => not_found(),
    };
    allow_origin(settings, request.headers(), answer.headers_mut());
    answer
}

/// The part of an address below the server's path.
fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    let (base, full) = (base.trim_end_matches('/'), path);
    let (start, rest) = full.split_at_checked(base.len())?;
    let inside = rest.is_empty() || rest.starts_with('/');
    (inside && start.eq_ignore_ascii_case(base)).then(|| rest.trim_start_matches('/'))
}

fn page(network: &Network, rest: &str) -> Answer {
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
                let ids = serde_json::Value::from(network.service.registry.ids());
                answer(StatusCode::OK, JSON, ids.to_string())
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

/// Lets the asking page read the answer, if its origin may. Without an origin there is nothing to allow.
fn allow_origin(settings: &Settings, asked: &HeaderMap, answer: &mut HeaderMap) {
    answer.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = asked.get(header::ORIGIN) else { return };
    let listed = settings.origins.iter().any(|one| one.as_bytes() == origin.as_bytes());
    if listed || settings.origins.is_empty() {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

fn upgrade_to_websocket<S>(network: &Rc<Network>, mut request: Request<Incoming>) -> Answer
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let asked = request.headers();
    let is = |name: HeaderName, value: &[u8]| asked.get(name).is_some_and(|one| one.as_bytes() == value);
    let right = *request.method() == Method::GET
        && request.uri().path() == network.service.settings.socket_path
        && is(header::SEC_WEBSOCKET_VERSION, b"13");
    let key = asked.get(header::SEC_WEBSOCKET_KEY).filter(|key| right && key.len() == 24);
    let accept = key.and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok());
    let Some(accept) = accept else {
        let mut answer = plain(StatusCode::BAD_REQUEST, "Bad Request");
        answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return answer;
    };
    let query = query(request.uri().query().unwrap_or_default());
    let upgrading = hyper::upgrade::on(&mut request);
    let network = Rc::clone(network);
    spawn_local(async move {
        if let Ok(upgraded) = upgrading.await
            && let Some(stream) = websocket::<S>(upgraded, network.service.settings.max_frame).await
        {
            socket::serve(network, stream, query).await;
        }
    });
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

/// The WebSocket on the connection itself, without hyper's wrapping.
async fn websocket<S>(upgraded: Upgraded, max_frame: usize) -> Option<WebSocketStream<S>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let parts = upgraded.downcast::<TokioIo<S>>().ok()?;
    let limits = Some(socket::limits(max_frame));
    let (stream, rest) = (parts.io.into_inner(), parts.read_buf.to_vec());
    Some(WebSocketStream::from_partially_read(stream, rest, Role::Server, limits).await)
}

/// Key, id and token; of a name that stands twice the last counts, as in npm's.
fn query(text: &str) -> Query {
    let mut query = Query::default();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        match &*name {
            "key" => query.key = value.into_owned(),
            "id" => query.id = value.into_owned(),
            "token" => query.token = value.into_owned(),
            _ => {}
        }
    }
    query
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

    #[test]
    fn a_query_is_decoded_and_its_last_word_counts() {
        let expected = Query { key: "k".to_owned(), id: "a b&ž".to_owned(), token: String::new() };
        assert_eq!(query("id=x&key=k&id=a+b%26%C5%BE&token="), expected);
    }
}
