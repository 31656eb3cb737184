//! The monitor's HTTP door: what it asks this server, and the server's own page of clients.

use crate::Failure;
use crate::network::Service;
use crate::registry::Registry;
use corelane::error::ServeError;
use corelane::http::{Door, Options, parameters};
use corelane::monitor::Monitor;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;

/// Opens the door. `ready` is false once the server stops.
///
/// # Errors
/// [`Failure`] if an option is not valid, or if the system cannot start a thread.
pub(crate) fn open(
    monitor: &Monitor,
    options: Options,
    service: &Arc<Service>,
    ready: watch::Receiver<bool>,
) -> Result<Door, Failure> {
    let (asked, listed) = (Arc::clone(service), Arc::clone(service));
    let options = options
        .ready(move || {
            if !*ready.borrow() {
                return Err("stopping".to_owned());
            }
            asked.is_unready().map_or(Ok(()), |why| Err(why.to_owned()))
        })
        .page("/api/peers", move |query| peers(query, &listed.registry));
    Door::serve(monitor, options).map_err(|error| match error {
        ServeError::Option { option: "token", problem } => {
            Failure::configuration(format_args!("--monitor_token: {problem}"))
        }
        other => Failure::system("cannot open the monitor's address", other),
    })
}

/// The connected clients with their addresses: the latest ones, or one by its id.
fn peers(query: &str, registry: &Registry) -> Result<String, String> {
    let [id, limit] = parameters(query, ["id", "limit"])?;
    let limit = limit.as_deref().unwrap_or("1000");
    let limit = limit
        .parse()
        .ok()
        .filter(|limit| (1..=100_000).contains(limit))
        .ok_or_else(|| format!("limit = {limit} is not valid; allowed: 1 to 100000 peers"))?;
    let peers = registry.peers(id.as_deref(), limit);
    Ok(json!({ "total": registry.len(), "peers": peers }).to_string())
}
