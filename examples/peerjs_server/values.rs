//! Parsers for the values of options. Each error states the allowed values.

use crate::log;
use corelane::config::Config;
use corelane::monitor::Format;
use hyper::Uri;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use tracing::level_filters::LevelFilter;

/// The monitor's address as host and port; `None` if the monitor is off.
#[derive(Clone, Debug)]
pub(crate) struct MonitorAddress(pub(crate) Option<String>);

/// A parser for whole numbers in a range.
pub(crate) fn number(
    minimum: u64,
    maximum: u64,
    unit: &'static str,
) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| match text.parse() {
        Ok(value) if (minimum..=maximum).contains(&value) => Ok(value),
        _ => Err(format!("allowed: {minimum} to {maximum}{unit}")),
    }
}

pub(crate) fn monitor_address(text: &str) -> Result<MonitorAddress, String> {
    if text == "off" {
        return Ok(MonitorAddress(None));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(MonitorAddress(Some(text.to_owned())))
        }
        _ => {
            Err("allowed: an address and a port such as 127.0.0.1:9090 or localhost:9090, or \"off\""
                .to_owned())
        }
    }
}

/// Normalises an origin to the form that browsers send: scheme, host, and the port unless it is the scheme's default.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let wrong = || "allowed: an origin such as https://app.example or http://localhost:8080".to_owned();
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(wrong()) };
    let usual = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    if uri.path() != "/"
        || uri.query().is_some()
        || authority.as_str().contains('@')
        || authority.host().is_empty()
    {
        return Err(wrong());
    }
    let host = authority.host().to_ascii_lowercase();
    Ok(match authority.port_u16().filter(|port| Some(*port) != usual) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// The formats of the report by name. The first is the default.
const FORMATS: [(&str, Format); 3] = [("html", Format::Html), ("text", Format::Text), ("json", Format::Json)];

pub(crate) fn report_format(text: &str) -> Result<Format, String> {
    choose("report_format", text, &FORMATS)
}

/// The value with this name.
fn choose<T: Copy>(option: &str, name: &str, all: &[(&str, T)]) -> Result<T, String> {
    let found = all.iter().find(|(one, _)| *one == name).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        format!("{option} = {name} is not valid; allowed: {}", names.join(", "))
    })
}

/// Checks the address of a nats-server. It must not have a user or a password, because other users of this machine see
/// the command line.
#[cfg_attr(not(feature = "cluster"), allow(dead_code, reason = "an option of a cluster"))]
pub(crate) fn check_nats_address(text: &str) -> Result<(), &'static str> {
    let is_right = text.parse::<Uri>().is_ok_and(|uri| {
        let is_host =
            uri.authority().is_some_and(|one| !one.host().is_empty() && !one.as_str().contains('@'));
        matches!(uri.scheme_str(), Some("nats" | "tls"))
            && is_host
            && uri.path() == "/"
            && uri.query().is_none()
    });
    let allowed = "allowed: addresses such as nats://nats.example:4222 or tls://nats.example, without a user; \
                   credentials come from a file (--cluster_credentials)";
    if is_right { Ok(()) } else { Err(allowed) }
}

/// What `--cluster_without` says.
#[cfg(feature = "cluster")]
pub(crate) fn without(text: &str) -> Result<crate::membership::Without, String> {
    use crate::membership::Without;
    choose("cluster_without", text, &[("local", Without::Local), ("refuse", Without::Refuse)])
}

pub(crate) fn log_level(text: &str) -> Result<LevelFilter, String> {
    choose("log", text, &log::LEVELS)
}

pub(crate) fn log_format(text: &str) -> Result<log::Format, String> {
    choose("log_format", text, &log::FORMATS)
}

pub(crate) fn router_setting(text: &str) -> Result<(String, String), String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err("allowed: a key, an equals sign and a value, such as workers=2".to_owned());
    };
    Config::default().set(key, value).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Checks that a file can be created next to `file`: a report is written there first and then renamed.
///
/// # Errors
/// The system's error, or `IsADirectory` or `InvalidInput` for a path that cannot name a file.
pub(crate) fn writable(file: &Path) -> io::Result<()> {
    if file.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = file.with_file_name(name);
    OpenOptions::new().write(true).create_new(true).open(&beside)?;
    std::fs::remove_file(beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_what_browsers_send() {
        for (given, sent) in [
            ("https://a.example", "https://a.example"),
            ("https://A.example/", "https://a.example"),
            ("https://a.example:443", "https://a.example"),
            ("http://a.example:8080", "http://a.example:8080"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(origin(given).as_deref(), Ok(sent));
        }
        for wrong in
            ["notaurl", "", "*", "a.example:443", "https://a.example/app", "https://u@a.example", "null"]
        {
            assert!(origin(wrong).unwrap_err().contains("allowed"), "{wrong}");
        }
    }

    #[test]
    fn the_monitor_listens_on_addresses_and_names() {
        for right in ["127.0.0.1:9090", "localhost:0", "[::1]:9090"] {
            assert_eq!(monitor_address(right).unwrap().0.as_deref(), Some(right));
        }
        assert!(monitor_address("off").unwrap().0.is_none());
        for wrong in ["9090", ":9090", "nonsense", "localhost:http"] {
            monitor_address(wrong).unwrap_err();
        }
    }

    #[test]
    fn an_address_of_nats_has_no_secret() {
        for right in ["nats://127.0.0.1:4222", "tls://nats.example"] {
            check_nats_address(right).unwrap();
        }
        for wrong in
            ["", "nats.example:4222", "nats://user:secret@a.example", "http://a.example", "nats://a/b"]
        {
            let error = check_nats_address(wrong).unwrap_err();
            assert!(error.contains("allowed") && !error.contains("secret"), "{wrong}");
        }
    }
}
