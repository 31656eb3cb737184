//! An embeddable, lock-free, thread-per-core message router with a performance monitor built in, for WebRTC signaling
//! servers.
//!
//! ```text
//! sockets ─ host thread ─ Port ══ ring ══► Worker ══ ring ══► Port ─ host thread ─ sockets
//!                                            │
//!            Recorder (your own routing) ────┴──► Monitor: windows, alerts, reports, Prometheus
//! ```
//!
//! Your server has the sockets. Each of its threads opens a [`Port`](router::Port), connects its clients there and submits
//! what they send. A [`Worker`](router::Worker) reads type and recipient of a message, and writes it into the ring of the
//! recipient's port, which hands it out. Every queue has a bound, a policy and a figure: a client that does not read uses
//! up its own credit and delays nobody. The [`Monitor`](monitor::Monitor) counts and times each message.
//!
//! # Three ways to use it
//!
//! **Only the monitor.** Your server routes as before, and records what it has done:
//!
//! ```
//! use corelane::config::Config;
//! use corelane::monitor::{Format, Monitor};
//! use corelane::record::{Measured, RecordedMessage};
//! use std::time::Duration;
//!
//! fn main() -> Result<(), corelane::error::Error> {
//!     let monitor = Monitor::new(Config::default())?;
//!     monitor.start()?;
//!     monitor.record(&RecordedMessage {
//!         client: "ann",
//!         message_type: "offer",
//!         measured: Measured { bytes: 200, processing: Duration::from_millis(3), ..Measured::default() },
//!         ..RecordedMessage::default()
//!     });
//!     println!("{}", monitor.report(Format::Text)); // or export::prometheus(&monitor)
//!     Ok(())
//! }
//! ```
//!
//! **Route.** Clients' messages name their recipients, and the router delivers them:
//!
//! ```
//! use corelane::config::Config;
//! use corelane::router::{Builder, Event};
//! use std::time::Duration;
//!
//! fn main() -> Result<(), corelane::error::Error> {
//!     let router = Builder::new(Config::default()).start()?;
//!     let monitor = router.monitor()?; // the same reports, without recording anything
//!     let mut port = router.port()?;
//!     let ann = port.connect("ann", "generic", "", 1)?;
//!     let ben = port.connect("ben", "generic", "", 2)?;
//!     port.submit(ann, br#"{"type":"offer","to":"ben"}"#, 0)?;
//!     port.wait(Duration::from_secs(5)); // publishes what was submitted
//!     let mut batch = port.poll(256)?;
//!     while let Some(event) = batch.next() {
//!         if let Event::Message(message) = event {
//!             assert_eq!((message.client, message.payload), (ben, &br#"{"from":"ann","type":"offer","to":"ben"}"#[..]));
//!             let bytes = message.payload.len() as u32; // Write them to the socket of message.token. Then:
//!             batch.port().acknowledge(ben, 1, bytes);
//!         }
//!     }
//!     drop(batch);
//!     assert_eq!(monitor.snapshot().messages.map(|messages| messages.totals.succeeded), Some(1));
//!     Ok(())
//! }
//! ```
//!
//! **Send.** Your server decides who gets what. The router has the queues, the rooms and the figures:
//!
//! ```
//! use corelane::config::Config;
//! use corelane::router::Builder;
//!
//! fn main() -> Result<(), corelane::error::Error> {
//!     let router = Builder::new(Config::default()).start()?;
//!     let mut port = router.port()?;
//!     let ann = port.connect("ann", "generic", "", 1)?;
//!     let lobby = port.join(ann, "lobby")?;
//!     port.send(ann, b"to one", 7)?; // 7 comes back in `Event::SendFailed` if it is lost
//!     port.send_to_room(lobby, b"to all", 8)?;
//!     port.publish();
//!     Ok(())
//! }
//! ```
//!
//! # Where to go on
//!
//! Files are in the repository.
//!
//! | question | answer |
//! |---|---|
//! | A whole server in one file | `examples/small`: the monitor in an axum server, a router on tokio, one on blocking sockets, one that only sends |
//! | What to watch, how to size and tune, how to find a fault | `docs/guide.md` |
//! | Every setting | `docs/configuration.md` |
//! | Your own message format, and the shipped ones | `docs/protocols.md`, [`ProtocolRules`](router::ProtocolRules) |
//! | Why a message was refused or lost | `docs/reasons.md`, [`error`] |
//! | How fast it is, and against what | `docs/performance.md` |
//! | Threads that are event loops | [`Router::local_port`](router::Router::local_port) |
//! | Threads that come and go | [`Port::share`](router::Port::share) |
//! | Code of yours for a message type | [`Builder::handler`](router::Builder::handler) |

mod sync;

mod id;
mod nearest;

pub mod clock;
pub mod config;
pub mod error;

mod call;
mod park;
// For corelane's own benches and tests, and for programs in other languages that drive a ring (docs/layout.md).
#[doc(hidden)]
pub mod ring;

pub mod clients;
#[cfg(all(feature = "nats", not(corelane_loom)))]
pub mod cluster;
#[cfg(all(feature = "elasticsearch", not(corelane_loom)))]
pub mod elasticsearch;
pub mod envelope;
#[cfg(not(corelane_loom))]
pub mod export;
#[cfg(all(feature = "otlp", not(corelane_loom)))]
pub mod otlp;
#[cfg(all(any(feature = "elasticsearch", feature = "otlp"), not(corelane_loom)))]
mod outgoing;
// For C and Go, which call these functions by include/corelane.h. Rust code uses `router` and `monitor`.
#[cfg(not(corelane_loom))]
#[doc(hidden)]
pub mod ffi;
#[cfg(all(feature = "http", not(corelane_loom)))]
pub mod http;
pub mod metrics;
#[cfg(not(corelane_loom))]
pub mod monitor;
#[cfg(not(corelane_loom))]
mod monitored;
#[cfg(not(corelane_loom))]
pub mod record;
pub mod router;
#[cfg(all(feature = "tokio", not(corelane_loom)))]
pub mod tokio;

#[cfg(all(test, corelane_loom))]
mod models;
#[cfg(all(test, not(corelane_loom)))]
mod races;

/// Compiles and runs the README's example with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles and runs the guide's examples with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
struct Guide;
