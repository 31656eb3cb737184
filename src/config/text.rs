//! The flat text of a configuration: one `key=value` on each line. C hosts pass it, and settings at run time use the
//! same keys.

use super::{Config, Key, Scope, preset};
use crate::error::{ConfigError, ConfigProblem};
use crate::nearest::nearest;
use std::fmt;
use std::str::FromStr;

impl Config {
    /// Sets a value by the name of its key.
    ///
    /// # Errors
    /// The error names the key and the allowed values, or the nearest keys. The configuration is unchanged.
    ///
    /// ```
    /// let mut config = corelane::config::Config::default();
    /// config.set("workers", "2").unwrap();
    /// let error = config.set("workers", "100").unwrap_err();
    /// assert_eq!(error.to_string(), "workers = 100 is not valid; allowed: 0 to 64 threads");
    /// ```
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        if key == preset::KEY {
            return self.set_preset(value);
        }
        let key = Key::named(key)?;
        self.put(key, key.row().read(value)?);
        Ok(())
    }
}

impl Key {
    /// The key of this name.
    pub(crate) fn named(name: &str) -> Result<Self, ConfigError> {
        let key = Self::ALL.iter().copied().find(|key| key.row().key == name);
        key.ok_or_else(|| refuse_unknown(name))
    }
}

/// The error for a name that no key has. The nearest keys come first.
pub(super) fn refuse_unknown(name: &str) -> ConfigError {
    let keys = Key::ALL.iter().map(|key| key.row().key).chain([preset::KEY]);
    let allowed = format!("nearest: {}", nearest(name, keys).join(", "));
    ConfigError::new(ConfigProblem::UnknownKey, name, "", allowed)
}

/// Reads a text with one `key=value` on each line. A `#` begins a comment. A key that the text does not name has its
/// default. The key `preset` may stand on any line: it gives way to every other key.
///
/// ```
/// use corelane::config::Config;
///
/// let config: Config = "preset = production  # for 10,000 connections\nworkers = 2".parse()?;
/// assert_eq!(config.router.workers, Some(2));
///
/// let error = "pin = off\nwrokers = 2".parse::<Config>().unwrap_err();
/// assert!(error.to_string().starts_with("line 2: \"wrokers\" is not a configuration key; nearest: workers,"));
/// # Ok::<(), corelane::config::ConfigError>(())
/// ```
impl FromStr for Config {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::read(text, |_| Ok(()))
    }
}

impl Config {
    /// Reads the text of a monitor without a router, in the form of [`from_str`](Self::from_str). A key that has an effect
    /// only in a router is refused. A preset may be used; what it sets for routers has no effect.
    ///
    /// # Errors
    /// As [`from_str`](Self::from_str), and [`ConfigProblem::NoEffect`] for a key of routers.
    ///
    /// ```
    /// use corelane::config::Config;
    ///
    /// Config::of_monitor("max_recorders = 4")?;
    /// let error = Config::of_monitor("workers = 2").unwrap_err().to_string();
    /// assert_eq!(error, "line 1: workers has no effect in a monitor without a router; remove this line");
    /// # Ok::<(), corelane::config::ConfigError>(())
    /// ```
    pub fn of_monitor(text: &str) -> Result<Self, ConfigError> {
        Self::read(text, |key| match key.row().scope {
            Scope::Any => Ok(()),
            Scope::Router => {
                let remove = "remove this line".to_owned();
                Err(ConfigError::new(ConfigProblem::NoEffect, key.row().key, "", remove))
            }
        })
    }

    fn read(text: &str, allow: impl Fn(Key) -> Result<(), ConfigError>) -> Result<Self, ConfigError> {
        let (mut config, mut values, mut seen) = (Self::default(), Vec::new(), Vec::new());
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (place, line) in text.lines().enumerate() {
            let at = |error: ConfigError| error.at(place + 1);
            let Some((key, value)) = split(line).map_err(at)? else { continue };
            if let Some((_, first)) = seen.iter().find(|(one, _)| *one == key) {
                let allowed = format!("the first is on line {first}: remove one of them");
                return Err(at(ConfigError::new(ConfigProblem::RepeatedKey, key, "", allowed)));
            }
            seen.push((key, place + 1));
            if key == preset::KEY {
                config.set_preset(value).map_err(at)?;
            } else {
                let key = Key::named(key).map_err(at)?;
                allow(key).map_err(at)?;
                values.push((key, key.row().read(value).map_err(at)?));
            }
        }
        values.into_iter().for_each(|(key, number)| config.put(key, number));
        Ok(config)
    }
}

/// Key and value of a line, or `None` if the line has neither.
fn split(line: &str) -> Result<Option<(&str, &str)>, ConfigError> {
    let line = line.split('#').next().unwrap_or_default().trim();
    if line.is_empty() {
        return Ok(None);
    }
    let wrong = |change: &str| Err(ConfigError::new(ConfigProblem::Syntax, line, "", change));
    if line.starts_with('[') {
        return wrong("this text has no sections: remove this line, or use a TOML file");
    }
    if line.contains(';') {
        return wrong("write each key on a line of its own in place of \";\"");
    }
    let Some((key, value)) = line.split_once('=') else {
        return wrong(if line.contains(':') { "write \"=\" in place of \":\"" } else { "write workers=2" });
    };
    if value.contains('=') {
        return wrong("write each key on a line of its own");
    }
    Ok(Some((key.trim(), value.trim())))
}

/// Writes every key of a valid configuration, as [`from_str`](Self::from_str) reads it.
impl fmt::Display for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Key::ALL.iter().try_for_each(|key| {
            let row = key.row();
            writeln!(formatter, "{}={}", row.key, row.written(self.get(*key)))
        })
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_line_is_named_with_what_to_change() {
        for (text, error) in [
            (
                "pin=off\n\n  # two\nwrokers=1",
                "line 4: \"wrokers\" is not a configuration key; nearest: workers, local_workers, active_workers",
            ),
            (
                "workers=1;pin=off",
                "line 1: \"workers=1;pin=off\" is not of the form key=value; write each key on a line of its own in place of \";\"",
            ),
            (
                "workers=1, pin=off",
                "line 1: \"workers=1, pin=off\" is not of the form key=value; write each key on a line of its own",
            ),
            (
                "workers: 1",
                "line 1: \"workers: 1\" is not of the form key=value; write \"=\" in place of \":\"",
            ),
            ("workers", "line 1: \"workers\" is not of the form key=value; write workers=2"),
            (
                "[router]\nworkers=1",
                "line 1: \"[router]\" is not of the form key=value; this text has no sections: remove this line, or use a TOML file",
            ),
            (
                "workers=1\npin=on\nworkers=1",
                "line 3: workers is set twice; the first is on line 1: remove one of them",
            ),
            (
                "preset=small\npreset=small",
                "line 2: preset is set twice; the first is on line 1: remove one of them",
            ),
            ("workers=1,5", "line 1: workers = 1,5 is not valid; allowed: 0 to 64 threads"),
            ("\npreset=fast", "line 2: preset = fast is not valid; allowed: small, production"),
        ] {
            assert_eq!(text.parse::<Config>().unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn a_long_text_does_not_make_the_error_long() {
        // CORELANE_MESSAGE_BYTES, which this module cannot name, is 240.
        for text in [format!("workers={}", "9".repeat(10_000)), format!("{}=1", "ž\t".repeat(10_000))] {
            let error =
                format!("{}{}", "\n".repeat(100_000), text).parse::<Config>().unwrap_err().to_string();
            assert!(error.contains('…') && error.len() < 240, "{error}");
            assert!(error.contains("nearest: ") || error.ends_with("allowed: 0 to 64 threads"), "{error}");
        }
    }

    #[test]
    fn a_text_of_any_editor_is_read() {
        let config: Config = "\u{feff}workers = 3\r\n\r\npin = off\r\n".parse().unwrap();
        assert_eq!((config.router.workers, config.router.pin), (Some(3), false));
        assert!("workers=3\u{feff}".parse::<Config>().is_err());
    }

    #[test]
    fn a_preset_gives_way_to_every_line() {
        let both = ["preset=production\nworkers=3", "workers=3\npreset=production"];
        let [first, second] = both.map(|text| text.parse::<Config>().unwrap());
        assert_eq!((first.router.workers, first.limits.max_concurrent_messages), (Some(3), Some(1_000)));
        assert_eq!(first, second);
    }
}
