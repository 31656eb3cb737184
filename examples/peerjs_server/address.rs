//! The address of a client: the peer's own, or the one that a proxy reports. Also the number of sockets per address.

use hyper::HeaderMap;
use hyper::header::{self, HeaderName};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The trusted proxies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    /// Whether a proxy is trusted (`--proxied`).
    pub(crate) proxied: bool,
    /// The trusted addresses. If empty, every peer is trusted, and no other address.
    pub(crate) listed: Vec<IpAddr>,
}

impl Proxies {
    /// The client's address: of the addresses that proxies added, the right-most one that is not a listed proxy.
    /// Addresses further left are not trusted, because any client can write them.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        let is_ours = |address: &IpAddr| self.listed.contains(address);
        if !self.proxied || !(self.listed.is_empty() || is_ours(&peer)) {
            return peer;
        }
        let mut client = peer;
        for address in forwarded(headers).into_iter().rev() {
            // Stop at an address that cannot be read: the one to its right is the last known.
            let Some(address) = address else { break };
            client = address;
            if !is_ours(&address) {
                break;
            }
        }
        client
    }
}

/// The addresses that proxies have added, in their order; `None` for an address that cannot be read. X-Forwarded-For
/// has precedence, because most proxies write it; Forwarded is read only without it.
fn forwarded(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let list = |name: HeaderName| -> Vec<String> {
        let values = headers.get_all(name).into_iter();
        let texts = values.map(|value| value.to_str().unwrap_or_default().to_owned());
        texts.flat_map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    let simple = list(X_FORWARDED_FOR);
    if !simple.is_empty() {
        return simple.iter().map(|one| read(one)).collect();
    }
    let element = |text: &String| {
        let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
        found.next().and_then(|(_, value)| read(value))
    };
    list(header::FORWARDED).iter().map(element).collect()
}

/// Parses an address as proxies write it: alone, with a port, in brackets, or in quotes.
fn read(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let inner = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(inner, _)| inner);
    let address = inner.unwrap_or(text);
    let address = address.parse::<IpAddr>().ok();
    address.or_else(|| text.parse::<SocketAddr>().ok().map(|one| one.ip())).map(|one| one.to_canonical())
}

/// The number of sockets of each address.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// Maximum per address; 0 for no limit.
    limit: u32,
    counts: Mutex<HashMap<IpAddr, u32>>,
}

impl Addresses {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, counts: Mutex::default() }
    }

    /// Counts one more socket. Returns false if the address is at its limit.
    pub(crate) fn enter(&self, address: IpAddr) -> bool {
        if self.limit == 0 {
            return true;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(site(address)).or_default();
        let has_room = *count < self.limit;
        *count += u32::from(has_room);
        has_room
    }

    /// Counts one socket less.
    pub(crate) fn leave(&self, address: IpAddr) {
        if self.limit == 0 {
            return;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&site(address)) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&site(address));
            }
        }
    }
}

/// The unit that the limit applies to: an IPv4 address, or a /64 network of IPv6, because one machine usually has a
/// whole /64 network.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn client(proxies: &Proxies, peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        proxies.client(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn the_right_most_untrusted_address_is_the_clients() {
        let one = Proxies { proxied: true, listed: Vec::new() };
        let xff = "x-forwarded-for";
        assert_eq!(client(&Proxies::default(), "10.0.0.1", &[(xff, "1.1.1.1")]), "10.0.0.1");
        assert_eq!(client(&one, "::ffff:10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client(&one, "10.0.0.1", &[(xff, "6.6.6.6, 1.1.1.1")]), "1.1.1.1");
        assert_eq!(client(&one, "10.0.0.1", &[(xff, "6.6.6.6"), (xff, "1.1.1.1:80")]), "1.1.1.1");
        assert_eq!(client(&one, "10.0.0.1", &[(xff, "6.6.6.6, unknown")]), "10.0.0.1");
        let said = "for=6.6.6.6, proto=https;For=\"[2001:db8::1]:4711\"";
        assert_eq!(client(&one, "10.0.0.1", &[("forwarded", said)]), "2001:db8::1");
        let two = Proxies {
            proxied: true,
            listed: ["10.0.0.1", "10.0.0.2"].map(|one| one.parse().unwrap()).into(),
        };
        assert_eq!(client(&two, "10.0.0.1", &[(xff, "6.6.6.6, 1.1.1.1, 10.0.0.2")]), "1.1.1.1");
        assert_eq!(client(&two, "9.9.9.9", &[(xff, "1.1.1.1")]), "9.9.9.9");
    }

    #[test]
    fn an_address_has_so_many_and_gives_them_back() {
        let addresses = Addresses::new(2);
        let [a, b, c] = ["2001:db8::1", "2001:db8::2", "1.1.1.1"].map(|one| one.parse().unwrap());
        assert!(addresses.enter(a) && addresses.enter(b) && addresses.enter(c));
        assert!(!addresses.enter(a));
        addresses.leave(b);
        assert!(addresses.enter(a));
    }
}
