//! Who may ask: the Host header, the Origin header, the token.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::{Authority, Uri};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// Whether the request names the door by an IP address or by one of its names. This prevents DNS rebinding: if the name
/// of a hostile page resolves to the door's address, its requests have the same origin, but they name that host.
/// `names` are in lower case.
pub(super) fn is_called_here(uri: &Uri, headers: &HeaderMap, names: &[String]) -> bool {
    let is_name = |authority: &Authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        host.parse::<IpAddr>().is_ok() || names.contains(&host)
    };
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    host.is_some_and(|host| is_name(&host)) && uri.authority().is_none_or(is_name)
}

/// Whether the request comes from no page, or from a page of this door. This prevents cross-site request forgery: a
/// browser would send the form of any page to an address that only its own machine reaches, but it adds the page's
/// origin to every POST.
pub(super) fn is_from_here(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let (Some(origin), Some(host)) = (text(origin), headers.get(header::HOST).and_then(text)) else {
        return false;
    };
    // The scheme is not compared, because a proxy in front of the door may add TLS.
    origin.split_once("://").is_some_and(|(_, here)| here.eq_ignore_ascii_case(&host))
}

/// Whether the request has the token. Takes the same time wherever a token of the same length differs.
pub(super) fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return false };
    let Some((scheme, given)) = value.as_bytes().split_at_checked("Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(given.ct_eq(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_an_address_or_a_name_of_the_door() {
        let names = ["localhost".to_owned(), "watch.example".to_owned()];
        for (host, is_here) in [
            ("127.0.0.1:9090", true),
            ("[::1]:9090", true),
            ("LOCALHOST", true),
            ("watch.example:1", true),
            ("evil.example:9090", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            let path = Uri::from_static("/metrics");
            assert_eq!(is_called_here(&path, &headers, &names), is_here, "{host}");
            let elsewhere = Uri::from_static("http://evil.example/metrics");
            assert!(!is_called_here(&elsewhere, &headers, &names));
            headers.append(header::HOST, HeaderValue::from_static("127.0.0.1"));
            assert!(!is_called_here(&path, &headers, &names), "two hosts");
        }
        assert!(!is_called_here(&Uri::from_static("/"), &HeaderMap::new(), &names));
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

    #[test]
    fn only_the_whole_token_opens() {
        let asked = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            has_token(&headers, "0123456789abcdef")
        };
        assert!(asked("Bearer 0123456789abcdef") && asked("bearer 0123456789abcdef"));
        for wrong in ["", "Bearer ", "Bearer 0123456789abcde", "Bearer 0123456789abcdef0", "0123456789abcdef"]
        {
            assert!(!asked(wrong), "{wrong}");
        }
        assert!(!asked("Basic 0123456789abcdef") && !asked("Bearer  0123456789abcdef"));
    }
}
