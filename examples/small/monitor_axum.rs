//! An axum server that does its own work, and a monitor that shows it. No router.
//!
//! `cargo run -p corelane-examples --bin monitor_axum -- 127.0.0.1:9000`, then
//! `curl -d hello http://127.0.0.1:9000/message/ann/greeting` and look at `/report` or scrape `/metrics`. The server ends
//! when its standard input ends.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use corelane::config::Config;
use corelane::export::{CONTENT_TYPE, prometheus};
use corelane::monitor::{Format, Monitor};
use corelane::record::{Measured, RecordedMessage};
use std::error::Error;
use std::io;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let monitor = Monitor::new(Config::default())?;
    monitor.on_alert(|alert| eprintln!("{}: {}", alert.name, alert.message))?;
    monitor.start()?;
    let server = Router::new()
        .route("/message/{client}/{message_type}", post(message))
        .route("/report", get(report))
        .route("/metrics", get(metrics))
        .with_state(monitor.clone());
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, server).with_graceful_shutdown(end_of_input()).await?;
    println!("{}", monitor.report(Format::Json));
    monitor.stop(Duration::from_secs(1));
    Ok(())
}

/// Handles a message, and records who sent it, its type, its size, its outcome and how long it took.
async fn message(
    State(monitor): State<Monitor>,
    Path((client, message_type)): Path<(String, String)>,
    body: Bytes,
) -> impl IntoResponse {
    let begin = Instant::now();
    let answer = handle(&body);
    monitor.record(&RecordedMessage {
        client: &client,
        message_type: &message_type,
        protocol: "http",
        application: "example",
        measured: Measured {
            failed: answer.is_err(),
            bytes: body.len() as u64,
            processing: begin.elapsed(),
            ..Measured::default()
        },
    });
    answer.map_err(|problem| (StatusCode::BAD_REQUEST, problem))
}

/// The work of this server.
fn handle(message: &[u8]) -> Result<String, &'static str> {
    std::str::from_utf8(message).map(str::to_uppercase).map_err(|_| "the message is not text")
}

/// All figures as JSON. `Format::Page` is the same as a page, and `Format::Text` as text.
async fn report(State(monitor): State<Monitor>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, Format::Json.content_type())], monitor.report(Format::Json))
}

/// What Prometheus scrapes.
async fn metrics(State(monitor): State<Monitor>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], prometheus(&monitor))
}

async fn end_of_input() {
    // A read that fails ends the program as well.
    drop(tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await);
}
