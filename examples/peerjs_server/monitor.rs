//! The monitor's addresses, on a thread of their own: health, readiness, figures for Prometheus, and what `api` shows. They
//! read the router's shards, which waits for nobody and makes nobody wait.

use crate::http::{Answer, answer, plain};
use crate::{Failure, api};
use corelane::export;
use corelane::monitor::Monitor;
use corelane::router::StatsReader;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;

/// Where figures come from.
struct Sources {
    reader: StatsReader,
    monitor: Monitor,
}

const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts the thread; it ends when `ready`'s sender is dropped.
pub(crate) fn spawn(
    listener: TcpListener,
    reader: StatsReader,
    monitor: Monitor,
    ready: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, Failure> {
    let run = move || {
        if let Err(error) = serve(listener, Sources { reader, monitor }, ready) {
            eprintln!("error: the monitor ends: {error}");
        }
    };
    let thread = std::thread::Builder::new().name("monitor".to_owned()).spawn(run);
    thread.map_err(|error| Failure::system("cannot start the monitor's thread", error))
}

fn serve(listener: TcpListener, sources: Sources, mut ready: watch::Receiver<bool>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let sources = Rc::new(sources);
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            tokio::select! {
                changed = ready.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        tokio::task::spawn_local(serve_connection(stream, Rc::clone(&sources), ready.clone()));
                    }
                    // Out of descriptors, mostly; the network threads say so as well.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
            }
        }
    })
}

async fn serve_connection(stream: TcpStream, sources: Rc<Sources>, ready: watch::Receiver<bool>) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (sources, ready) = (Rc::clone(&sources), *ready.borrow());
        async move {
            if request.uri().path().starts_with("/api/") {
                return Ok::<_, Infallible>(api::respond(request, &sources.monitor).await);
            }
            Ok(respond(&request, &sources.reader, ready))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // Who breaks HTTP or goes away costs only its connection.
    let _ = connection.await;
}

fn respond(request: &Request<Incoming>, reader: &StatsReader, ready: bool) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    }
    match request.uri().path() {
        "/healthz" => plain(StatusCode::OK, "ok"),
        "/readyz" if ready => plain(StatusCode::OK, "ok"),
        "/readyz" => plain(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        "/metrics" => {
            let text = export::prometheus(&reader.stats());
            answer(StatusCode::OK, HeaderValue::from_static(export::CONTENT_TYPE), text)
        }
        _ => plain(StatusCode::NOT_FOUND, "Not Found"),
    }
}
