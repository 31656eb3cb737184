//! The monitor's HTTP thread: health, readiness, Prometheus figures, and the addresses of `pages`. Its reads take no
//! lock that a worker or network thread takes for a message. It produces one page at a time, and none on a network
//! thread.

use crate::Failure;
use crate::accept::{self, Listening};
use crate::counts::Refusal;
use crate::counts::log_lines;
use crate::guard::{Guarded, Owner};
use crate::http::{Answer, answer, plain};
use crate::listen;
use crate::log;
use crate::network::Service;
use crate::pages;
use corelane::export;
use corelane::monitor::Monitor;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;

/// Maximum number of open sockets. Expected are a few people and a collector of figures.
const MAX_SOCKETS: usize = 64;
const BODY_BYTES: usize = 4 << 10;

/// The sources of the pages.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) monitor: Monitor,
    pub(crate) service: Arc<Service>,
    /// False once the server stops.
    pub(crate) ready: watch::Receiver<bool>,
}

/// Starts the thread. It ends when the sender of `ready` is dropped.
///
/// # Errors
/// [`Failure`] if the system cannot start a thread.
pub(crate) fn spawn(listener: TcpListener, sources: Sources) -> Result<JoinHandle<()>, Failure> {
    let run = move || {
        if let Err(error) = serve(listener, sources) {
            tracing::error!(%error, "the monitor's HTTP thread failed");
        }
    };
    let thread = std::thread::Builder::new().name("monitor".to_owned()).spawn(run);
    thread.map_err(|error| Failure::system("cannot start the monitor's thread", error))
}

fn serve(listener: TcpListener, mut sources: Sources) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let (address, shared, open) = (listener.local_addr()?, sources.clone(), Rc::new(()));
        let listening = Listening { listener, address, open: &listen::for_monitor };
        let serve = |stream, peer: SocketAddr| {
            if Rc::strong_count(&open) > MAX_SOCKETS {
                shared.service.refuse(Refusal::MonitorFull, peer.ip(), "");
                return;
            }
            tokio::task::spawn_local(serve_connection(stream, shared.clone(), Rc::clone(&open)));
        };
        tokio::select! {
            () = accept::run(&shared.service, listening, serve) => {}
            () = async { while sources.ready.changed().await.is_ok() {} } => {}
        }
        Ok(())
    })
}

async fn serve_connection(stream: TcpStream, sources: Sources, open: Rc<()>) {
    let patience = sources.service.settings.socket_timeout;
    let service = hyper::service::service_fn(move |request| {
        let sources = sources.clone();
        async move { Ok::<_, Infallible>(respond(request, &sources).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .serve_connection(TokioIo::new(Guarded::new(stream, Owner::Monitor(patience))), service);
    // A protocol error or a lost connection affects only this connection.
    let _ = connection.await;
    drop(open);
}

async fn respond(request: Request<Incoming>, sources: &Sources) -> Answer {
    let path = request.uri().path().to_owned();
    match *request.method() {
        Method::GET | Method::HEAD => read(&path, request.uri().query().unwrap_or_default(), sources),
        Method::POST if pages::CHANGES.contains(&path.as_str()) => {
            if !is_called_here(request.headers(), &sources.service.settings.monitor_names) {
                let text = "the Host header is not a name of this monitor; add the name with --monitor_host";
                return plain(StatusCode::FORBIDDEN, text);
            }
            if !is_from_here(request.headers()) {
                return plain(
                    StatusCode::FORBIDDEN,
                    "pages of another origin cannot change settings; use a page of this monitor, or curl",
                );
            }
            match body(request, sources.service.settings.socket_timeout).await {
                Ok(body) => pages::change(&path, &body, &sources.monitor),
                Err(refusal) => refusal,
            }
        }
        _ => not_allowed("GET, HEAD"),
    }
}

fn read(path: &str, query: &str, sources: &Sources) -> Answer {
    match path {
        "/healthz" => plain(StatusCode::OK, "ok"),
        "/readyz" if !*sources.ready.borrow() => plain(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        "/readyz" => match sources.service.is_unready() {
            None => plain(StatusCode::OK, "ok"),
            Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
        },
        "/metrics" => {
            let mut text = export::prometheus(&sources.monitor);
            text.push_str(&log_lines(log::dropped()));
            answer(StatusCode::OK, HeaderValue::from_static(export::CONTENT_TYPE), text)
        }
        path if pages::CHANGES.contains(&path) => not_allowed("POST"),
        path => pages::show(path, query, &sources.monitor, &sources.service.registry)
            .unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "Not Found")),
    }
}

fn not_allowed(allowed: &'static str) -> Answer {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// Whether the request comes from no page, or from a page of this server. This prevents cross-site request forgery: a
/// browser would send the form of any page to an address that only its own machine reaches, but it adds the page's
/// origin to every POST.
fn is_from_here(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let (Some(origin), Some(host)) = (text(origin), headers.get(header::HOST).and_then(text)) else {
        return false;
    };
    // The scheme is not compared, because a proxy in front of this server may add TLS.
    origin.split_once("://").is_some_and(|(_, here)| here.eq_ignore_ascii_case(&host))
}

/// Whether the Host header is an IP address or a name of this monitor. This prevents DNS rebinding: if the name of a
/// hostile page resolves to the monitor's address, its requests have the same origin, but their Host header is that
/// name.
fn is_called_here(headers: &HeaderMap, names: &[String]) -> bool {
    let Some(authority) =
        headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok())
    else {
        return false;
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    host.parse::<IpAddr>().is_ok() || names.contains(&host)
}

async fn body(request: Request<Incoming>, patience: Duration) -> Result<Bytes, Answer> {
    let all = Limited::new(request.into_body(), BODY_BYTES).collect();
    match tokio::time::timeout(patience, all).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is too large; allowed: up to {BODY_BYTES} bytes"),
        )),
        Ok(Err(_)) => Err(plain(StatusCode::BAD_REQUEST, "Bad Request")),
        Err(_) => Err(plain(StatusCode::REQUEST_TIMEOUT, "Request Timeout")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_an_address_or_a_name_of_the_monitors() {
        let names = ["localhost".to_owned(), "watch.example".to_owned()];
        for (host, is_here) in [
            ("127.0.0.1:9090", true),
            ("[::1]:9090", true),
            ("LOCALHOST", true),
            ("watch.example:1", true),
            ("evil.example:9090", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            assert_eq!(is_called_here(&headers, &names), is_here, "{host}");
        }
        assert!(!is_called_here(&HeaderMap::new(), &names));
    }

    #[test]
    fn pages_of_other_origins_are_told_apart() {
        let asked = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:9090"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            is_from_here(&headers)
        };
        assert!(asked(None) && asked(Some("http://127.0.0.1:9090")) && asked(Some("https://127.0.0.1:9090")));
        let others = ["null", "", "http://127.0.0.1", "http://127.0.0.1:9091", "http://a.b/127.0.0.1:9090"];
        for other in others {
            assert!(!asked(Some(other)), "{other}");
        }
    }
}
