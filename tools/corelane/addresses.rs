//! Addresses of clients. Only the host knows them: the bundled server has them on a page of its own, `/api/peers`.

use crate::fetch::Monitor;
use corelane::monitor::ClientFigures;
use serde::Deserialize;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write;

const PAGE: &str = "/api/peers";
/// The most clients that are asked about in one look.
const AT_ONCE: usize = 20;
/// The most clients whose addresses are kept.
const KEPT: usize = 10_000;

/// What `/api/info` says.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Info {
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pages: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Peers {
    peers: Vec<Peer>,
}

#[derive(Debug, Deserialize)]
struct Peer {
    id: String,
    address: String,
}

impl Info {
    fn has_addresses(&self) -> bool {
        self.pages.iter().any(|page| page == PAGE)
    }
}

/// The addresses that are known, by the client's number, which no later connection has again.
#[derive(Clone, Debug, Default)]
pub struct Addresses(HashMap<u64, String>);

impl Addresses {
    pub fn get(&self, client: &ClientFigures) -> &str {
        self.0.get(&client.id).map_or("", String::as_str)
    }

    /// Asks about the first of these clients that are not known yet.
    ///
    /// # Errors
    /// As [`Monitor::get`].
    pub fn ask<'a>(
        &mut self,
        monitor: &Monitor,
        info: &Info,
        clients: impl Iterator<Item = &'a ClientFigures>,
    ) -> Result<(), String> {
        if !info.has_addresses() {
            return Ok(());
        }
        if self.0.len() > KEPT {
            self.0.clear();
        }
        let unknown: Vec<_> =
            clients.filter(|client| client.connected && !self.0.contains_key(&client.id)).collect();
        for client in unknown.into_iter().take(AT_ONCE) {
            // A client may be in several lists.
            if let Entry::Vacant(place) = self.0.entry(client.id) {
                let found: Peers = monitor.json(&format!("{PAGE}?id={}", encoded(&client.name)))?;
                let address = found.peers.into_iter().next().map(|peer| peer.address);
                place.insert(address.unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// The addresses of all clients by name.
///
/// # Errors
/// As [`Monitor::get`].
pub fn all(monitor: &Monitor) -> Result<HashMap<String, String>, String> {
    let info: Info = monitor.json("/api/info")?;
    if !info.has_addresses() {
        return Ok(HashMap::new());
    }
    let found: Peers = monitor.json(&format!("{PAGE}?limit=100000"))?;
    Ok(found.peers.into_iter().map(|peer| (peer.id, peer.address)).collect())
}

/// A name as it is written in a query.
fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() {
            text.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_encoded() {
        assert_eq!(super::encoded("a&\u{1b}=漢"), "a%26%1B%3D%E6%BC%A2");
    }
}
