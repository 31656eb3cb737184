//! The TOML file of `--config`: keys of the router's configuration, in its sections.

use crate::Failure;
use corelane::config::Config;
use serde::de::DeserializeSeed;
use std::path::Path;

/// The text of a file that was read once.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    name: String,
    text: String,
}

impl ConfigFile {
    /// # Errors
    /// [`Failure`] if the file cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => Err(Failure::configuration(format!("--config {name}: cannot be read: {error}"))),
        }
    }

    /// Sets the values of the file. Other keys keep their values.
    ///
    /// # Errors
    /// [`Failure`] with file, line, key, and the allowed values or the nearest keys.
    pub(crate) fn apply(&self, config: &mut Config) -> Result<(), Failure> {
        let read = toml::Deserializer::parse(&self.text).and_then(|toml| config.deserialize(toml));
        read.map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + self.text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            Failure::configuration(format!("--config {}, line {line}: {}", self.name, error.message()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_is_refused_with_line_key_and_what_to_change() {
        for (text, error) in [
            (
                "[router]\npin = false\n\nwrokers = 2",
                "line 4: \"wrokers\" is not a configuration key; nearest: workers, ",
            ),
            ("[router]\npin = true\npin = false", "line 3: duplicate key"),
            ("[rooter]\npin = true", "line 1: \"rooter\" is not a configuration key; nearest: router, "),
            (
                "workers = 2",
                "line 1: \"workers\" is not a configuration key; write it in the section [router]",
            ),
            (
                "[rooms]\nworkers = 2",
                "line 2: \"workers in [rooms]\" is not a configuration key; write it in the section [router]",
            ),
            ("[router]\nworkers = 100", "line 2: workers = 100 is not valid; allowed: 0 to 64 threads"),
            ("[router]\nidle = \"never\"", "line 2: idle = never is not valid; allowed: spin, backoff, park"),
            (
                "[router]\nworkers = [1]",
                "line 2: invalid type: sequence, expected a value of workers; allowed: 0 to 64 threads",
            ),
            ("preset = \"fast\"", "line 1: preset = fast is not valid; allowed: small, production"),
            ("[router]\nworkers 2", "line 2: "),
        ] {
            let mut config = Config::default();
            let file = ConfigFile { name: "corelane.toml".to_owned(), text: text.to_owned() };
            let failure = file.apply(&mut config).unwrap_err();
            let expected = format!("--config corelane.toml, {error}");
            assert!(failure.text.starts_with(&expected), "{}\n{expected}", failure.text);
            assert_eq!(config, Config::default());
        }
    }
}
