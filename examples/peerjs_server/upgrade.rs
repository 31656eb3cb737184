//! The upgrade from a request to a WebSocket: the checks, and the stream without hyper's wrapper.

use crate::admit::{self, Query, Refused};
use crate::counts::{At, Refusal};
use crate::guard::Socket;
use crate::http::{self, Answer};
use crate::network::Network;
use crate::socket;
use crate::wire::{Outlet, Wire};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Seconds after which a client may come again to a server that cannot take it now.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("3");

/// Answers a request for a WebSocket, and serves the WebSocket in a new task.
pub(crate) async fn to_websocket<S>(
    network: &Rc<Network>,
    socket: &Arc<Socket>,
    mut request: Request<Incoming>,
) -> Answer
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = &network.service;
    let address = service.settings.proxies.client(socket.peer(), request.headers());
    let Some(accept) = accept_key(&request, &service.settings.socket_path) else {
        service.refuse(Refusal::BadUpgrade, address, "");
        let mut answer = http::plain(StatusCode::BAD_REQUEST, "Bad Request");
        answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return answer;
    };
    // A client that is not a page sends no Origin header, and is allowed.
    if request
        .headers()
        .get(header::ORIGIN)
        .is_some_and(|origin| !http::is_allowed(&service.settings, origin))
    {
        service.refuse(Refusal::Origin, address, "");
        return http::plain(
            StatusCode::FORBIDDEN,
            "pages of this origin cannot connect; allow the origin with --cors",
        );
    }
    if !socket.count_against(address) {
        return http::plain(
            StatusCode::TOO_MANY_REQUESTS,
            "too many connections from this address; close some of them",
        );
    }
    let query = query(request.uri().query().unwrap_or_default());
    let admitted = match admit::admit(network, &query, address).await {
        Err(Refused::Unavailable(text)) => {
            let mut answer = http::plain(StatusCode::SERVICE_UNAVAILABLE, text);
            answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
            return answer;
        }
        admitted => admitted,
    };
    let upgrading = hyper::upgrade::on(&mut request);
    let (network, socket) = (Rc::clone(network), Arc::clone(socket));
    spawn_local(async move {
        if let Ok(upgraded) = upgrading.await
            && let Some(stream) = websocket::<S>(upgraded, network.service.settings.max_frame).await
        {
            socket.enter(At::WebSocket);
            socket::serve(network, &socket, stream, admitted, address).await;
        }
    });
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

/// The value of Sec-WebSocket-Accept; `None` if the request is not a valid upgrade at this server's path.
fn accept_key(request: &Request<Incoming>, path: &str) -> Option<HeaderValue> {
    let asked = request.headers();
    let is = |name: HeaderName, value: &[u8]| asked.get(name).is_some_and(|one| one.as_bytes() == value);
    let right = *request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && request.uri().path() == path
        && says_upgrade(asked)
        && is(header::SEC_WEBSOCKET_VERSION, b"13");
    let key = asked.get(header::SEC_WEBSOCKET_KEY).filter(|key| right && key.len() == 24)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

/// Whether the Connection header lists Upgrade. Without it, a proxy may not forward the upgrade.
fn says_upgrade(asked: &HeaderMap) -> bool {
    let values = asked.get_all(header::CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
}

/// The WebSocket on the connection itself, without hyper's wrapper.
async fn websocket<S>(upgraded: Upgraded, max_frame: usize) -> Option<WebSocketStream<Outlet>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let parts = upgraded.downcast::<TokioIo<S>>().ok()?;
    let limits = Some(socket::limits(max_frame));
    let (stream, rest) = (parts.io.into_inner(), parts.read_buf.to_vec());
    let outlet = Outlet(Wire::new(stream));
    Some(WebSocketStream::from_partially_read(outlet, rest, Role::Server, limits).await)
}

/// Key, id and token of a query. If a name occurs twice the last one counts, as in npm's server.
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
    fn a_query_is_decoded_and_its_last_word_counts() {
        let expected = Query { key: "k".to_owned(), id: "a b&ž".to_owned(), ..Query::default() };
        assert_eq!(query("id=x&key=k&id=a+b%26%C5%BE&token="), expected);
    }

    #[test]
    fn connection_must_list_upgrade() {
        for (value, says) in [("Upgrade", true), ("keep-alive, upgrade", true), ("keep-alive", false)] {
            let mut headers = HeaderMap::new();
            headers.append(header::CONNECTION, HeaderValue::from_static(value));
            assert_eq!(says_upgrade(&headers), says, "{value}");
        }
    }
}
