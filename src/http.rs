//! One HTTP door for a monitor: its page, figures, metrics, live events, health and settings, on a thread of its own.
//! With the feature `http`.
//!
//! ```
//! use corelane::{config::Config, http::{Door, Options}, monitor::Monitor};
//!
//! let monitor = Monitor::new(Config::default())?;
//! monitor.start()?;
//! let door = Door::serve(&monitor, Options::new("127.0.0.1:0"))?;
//! println!("the monitor is on http://{}/", door.address());
//! # Ok::<(), corelane::error::Error>(())
//! ```
//!
//! | address | answer |
//! |---|---|
//! | `/` | the monitor's page |
//! | `/metrics` | Prometheus |
//! | `/healthz`, `/readyz` | whether the thread answers; whether the host says that it is [ready](Options::ready) |
//! | `/api/stats` | the whole report as JSON. `/api/messages`, `types`, `protocols`, `applications`, `clients`, `slow`, `connections`, `system`, `routing`, `alerts`, `custom` and `exporters` are parts of it |
//! | `/api/report?format=html` | the report as HTML, text or JSON |
//! | `/api/history?name=messages&span=minute` | a series over time. Without parameters: the names of all series |
//! | `/api/intervals?name=messages&span=minute` | a distribution as an HdrHistogram interval log |
//! | `/api/clients/idle?longer_than_ms=1000` | clients that are silent |
//! | `/api/events` | server-sent events: once a second the figures, and the slots of the last minute that the client does not have yet |
//! | `/api/settings` | the settings that can be changed at run time |
//! | POST `/api/set`, POST `/api/reset` | change a setting (`key=value`), start the figures anew. Need the [token](Options::token) |
//! | `/api/info` | the version, the host's own pages, and whether a token is needed |
//! | `/api/schema` | the JSON schema of `/api/stats` |
//!
//! **Who may read.** The default address is on the loopback. With a token, every address needs it as `Authorization:
//! Bearer TOKEN`, except the page (which has no figures in it), `/api/info`, `/healthz` and `/readyz`. Without a token, nothing can be changed, and
//! a door that listens beyond the loopback logs a warning. A request whose Host header is not a name of the door is
//! refused ([`Options::name`]), and so is a POST of a page of another origin.
//!
//! **What it costs others.** The door has one thread, which makes one answer at a time. It takes the monitor's lock,
//! never one that a message takes. Connections, streams, heads, bodies and times are limited; a refusal is counted, and
//! shown on `/metrics`. At the limit of connections, the one that has waited longest for its request is closed.

// | file | contents |
// |---|---|
// | `options`, `door` | what the host sets; the thread, and the limit on connections |
// | `accept`, `guard`, `tls` | the loop that accepts; the time limit on writing; key and certificate. The bundled server uses them too |
// | `request`, `check` | from a request to its answer; Host, Origin, token |
// | `asked` | the same addresses for a host with a server of its own |
// | `pages`, `parts`, `query`, `events`, `page` | the answers: JSON, the parts of the report, parameters, the stream of events, the page |
// | `answer`, `negotiate`, `counts` | bodies and compression; what a client accepts; what is counted |

#[doc(hidden)]
pub mod accept;
mod answer;
pub(crate) mod asked;
mod check;
mod counts;
mod door;
mod events;
#[doc(hidden)]
pub mod guard;
mod negotiate;
mod options;
mod page;
mod pages;
mod parts;
mod query;
mod request;
mod tls;

pub use door::Door;
pub use options::Options;
pub use query::parameters;
pub use tls::Certificate;
