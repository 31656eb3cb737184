//! The exporters of the monitor's figures: their options, credentials, start and end.

use crate::Failure;
use crate::values::number;
use clap::Args;
use corelane::elasticsearch::{self, Credentials};
use corelane::error::ExportError;
use corelane::monitor::Monitor;
use corelane::otlp;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the end of the server waits for each exporter to send its last figures.
const PATIENCE: Duration = Duration::from_secs(2);
/// Limit of one request. An exporter may wait longer by one request at its end.
const REQUEST: Duration = Duration::from_secs(5);

/// The options. Credentials are never on the command line, which other users of this machine can read.
#[derive(Args, Debug)]
pub(crate) struct ExportOptions {
    /// Send figures, slow messages, alerts, connects and disconnects to this Elasticsearch or OpenSearch. Credentials
    /// come from --elasticsearch_credentials, or else from the environment variable ELASTICSEARCH_CREDENTIALS.
    #[arg(long, value_name = "URL")]
    elasticsearch: Option<String>,

    /// File with the credentials: USER:PASSWORD, or an API key in its encoded form.
    #[arg(long = "elasticsearch_credentials", alias = "elasticsearch-credentials", value_name = "FILE")]
    #[arg(requires = "elasticsearch")]
    elasticsearch_credentials: Option<PathBuf>,

    /// Last part of the data streams' names. Default: default.
    #[arg(long = "elasticsearch_namespace", alias = "elasticsearch-namespace", value_name = "NAME")]
    #[arg(requires = "elasticsearch")]
    elasticsearch_namespace: Option<String>,

    /// Send all figures to this OpenTelemetry collector, as OTLP over HTTP. Headers come from --otlp_headers, or else from
    /// the environment variable OTLP_HEADERS.
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,

    /// File with headers of the requests, one on each line, such as authorization: Bearer TOKEN.
    #[arg(long = "otlp_headers", alias = "otlp-headers", value_name = "FILE", requires = "otlp")]
    otlp_headers: Option<PathBuf>,

    /// PEM file with the certificates that the servers of --elasticsearch and --otlp must come from. Default: those of
    /// Mozilla's list.
    #[arg(long = "export_ca", alias = "export-ca", value_name = "FILE")]
    export_ca: Option<PathBuf>,

    /// Time between two exports of figures. Default: 10 for Elasticsearch, 15 for OpenTelemetry.
    #[arg(long = "export_interval", alias = "export-interval", value_name = "SECONDS")]
    #[arg(value_parser = number(1, 3600, " seconds"), allow_negative_numbers = true)]
    export_interval: Option<u64>,
}

/// What is to be started.
#[derive(Debug)]
pub(crate) struct Exports {
    elasticsearch: Option<elasticsearch::Options>,
    otlp: Option<otlp::Options>,
}

/// What runs.
#[derive(Debug)]
pub(crate) struct Running {
    elasticsearch: Option<elasticsearch::Exporter>,
    otlp: Option<otlp::Exporter>,
}

impl ExportOptions {
    /// Reads the files, and checks everything.
    ///
    /// # Errors
    /// [`Failure`] with the option, and what it must be. A secret is never in the text.
    pub(crate) fn read(&self) -> Result<Exports, Failure> {
        let exports = Exports { elasticsearch: self.documents()?, otlp: self.points()? };
        if let Some(options) = &exports.elasticsearch {
            options.check().map_err(|error| refused("--elasticsearch", &error))?;
        }
        if let Some(options) = &exports.otlp {
            options.check().map_err(|error| refused("--otlp", &error))?;
        }
        Ok(exports)
    }

    fn documents(&self) -> Result<Option<elasticsearch::Options>, Failure> {
        let Some(url) = &self.elasticsearch else { return Ok(None) };
        let mut options = elasticsearch::Options::new(url);
        let file = self.elasticsearch_credentials.as_deref();
        let secret = secret("--elasticsearch_credentials", file, "ELASTICSEARCH_CREDENTIALS")?;
        options.credentials = secret.map_or(Credentials::None, |secret| credentials(&secret));
        options.certificates.clone_from(&self.export_ca);
        options.request_timeout = REQUEST;
        if let Some(namespace) = &self.elasticsearch_namespace {
            options.namespace.clone_from(namespace);
        }
        if let Some(seconds) = self.export_interval {
            options.interval = Duration::from_secs(seconds);
        }
        Ok(Some(options))
    }

    fn points(&self) -> Result<Option<otlp::Options>, Failure> {
        let Some(url) = &self.otlp else { return Ok(None) };
        let mut options = otlp::Options::new(url);
        let secret = secret("--otlp_headers", self.otlp_headers.as_deref(), "OTLP_HEADERS")?;
        options.headers = headers(&secret.unwrap_or_default())?;
        options.certificates.clone_from(&self.export_ca);
        options.request_timeout = REQUEST;
        if let Some(seconds) = self.export_interval {
            options.interval = Duration::from_secs(seconds);
        }
        Ok(Some(options))
    }
}

impl Exports {
    pub(crate) fn start(self, monitor: &Monitor) -> Result<Running, Failure> {
        let failed = |error| Failure::system("cannot start an exporter", error);
        let documents = |options| elasticsearch::Exporter::start(monitor, options).map_err(failed);
        let points = |options| otlp::Exporter::start(monitor, options).map_err(failed);
        Ok(Running {
            elasticsearch: self.elasticsearch.map(documents).transpose()?,
            otlp: self.otlp.map(points).transpose()?,
        })
    }
}

impl Running {
    /// Sends what waits, and logs what was lost.
    pub(crate) fn stop(self) {
        if let Some(exporter) = self.elasticsearch {
            let figures = exporter.stop(PATIENCE);
            let (sent, rejected, dropped) = (figures.sent, figures.rejected, figures.dropped);
            tracing::info!(sent, rejected, dropped, "the export to Elasticsearch has ended");
        }
        if let Some(exporter) = self.otlp {
            let figures = exporter.stop(PATIENCE);
            let (requests, failed) = (figures.sent, figures.failed);
            tracing::info!(requests, failed, "the export to OpenTelemetry has ended");
        }
    }
}

/// The text of the file, or of the environment variable.
fn secret(option: &str, file: Option<&Path>, variable: &str) -> Result<Option<String>, Failure> {
    let Some(file) = file else { return Ok(std::env::var(variable).ok().filter(|text| !text.is_empty())) };
    let wrong = |error| format!("{option} {}: cannot be read: {error}", file.display());
    std::fs::read_to_string(file).map(Some).map_err(|error| Failure::configuration(wrong(error)))
}

/// An API key is base64, which has no colon.
fn credentials(secret: &str) -> Credentials {
    let secret = secret.trim();
    match secret.split_once(':') {
        Some((user, password)) => Credentials::Basic { user: user.to_owned(), password: password.to_owned() },
        None => Credentials::ApiKey(secret.to_owned()),
    }
}

fn headers(text: &str) -> Result<Vec<(String, String)>, Failure> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header = |(at, line): (usize, &str)| {
        let (name, value) = line.split_once(':').ok_or_else(|| {
            Failure::configuration(format_args!("line {} of --otlp_headers: NAME: VALUE is allowed", at + 1))
        })?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    lines.map(header).collect()
}

/// An error of the library, by the name of the option of this server.
fn refused(of: &str, error: &ExportError) -> Failure {
    let ExportError::Invalid { option, must } = error else { return Failure::system("cannot export", error) };
    let name = match (of, *option) {
        (_, "certificates") => "--export_ca",
        ("--elasticsearch", "credentials") => "--elasticsearch_credentials (or ELASTICSEARCH_CREDENTIALS)",
        ("--elasticsearch", "namespace") => "--elasticsearch_namespace",
        ("--otlp", "headers") => "--otlp_headers (or OTLP_HEADERS)",
        _ => of,
    };
    Failure::configuration(format_args!("{name} must {must}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_a_user_or_a_key() {
        let basic = |user: &str, password: &str| Credentials::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        assert_eq!(credentials("ann:s3:cret\n"), basic("ann", "s3:cret"));
        assert_eq!(credentials(" a2V5OnNlY3JldA==\n"), Credentials::ApiKey("a2V5OnNlY3JldA==".to_owned()));
    }

    #[test]
    fn a_line_without_a_colon_is_refused_and_not_repeated() {
        let all = headers("authorization: Bearer a:b\n\nx-tenant:t\n").unwrap();
        let expected = [("authorization", "Bearer a:b"), ("x-tenant", "t")];
        assert_eq!(all, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let failure = headers("x: y\nsecret").unwrap_err();
        assert_eq!(failure.text, "line 2 of --otlp_headers: NAME: VALUE is allowed");
    }
}
