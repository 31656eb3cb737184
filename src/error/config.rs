//! The error of the configuration.

use std::fmt;

/// Longest part of a given key or value that an error repeats, in bytes.
const LONGEST_QUOTE: usize = 48;

/// Why a configuration is refused. The text names the key, and says what is allowed or what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// What is wrong.
    pub problem: ConfigProblem,
    /// The key, as it was given. For [`ConfigProblem::Syntax`], the line.
    pub key: String,
    /// The value, as it was given. Empty if the problem is not a value.
    pub value: String,
    /// The allowed values, or what to change.
    pub allowed: String,
    /// The line of the text, from 1. `None` if the configuration is not a text.
    pub line: Option<usize>,
}

/// What is wrong with a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// There is no such key. [`ConfigError::allowed`] begins with the nearest key.
    UnknownKey,
    /// The key is set twice.
    RepeatedKey,
    /// The line is not of the form `key=value`.
    Syntax,
    /// The value is not allowed, or contradicts other values.
    Value,
    /// The key cannot be changed at run time.
    Fixed,
    /// The key has an effect only in a router, and the configuration is of a monitor without one.
    NoEffect,
}

impl ConfigError {
    pub(crate) fn new(
        problem: ConfigProblem,
        key: &str,
        value: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self { problem, key: key.to_owned(), value: value.into(), allowed: allowed.into(), line: None }
    }

    /// The key does not accept the value.
    pub(crate) fn value(key: &str, value: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self::new(ConfigProblem::Value, key, value, allowed)
    }

    /// The same error, with the line of the text.
    pub(crate) fn at(self, line: usize) -> Self {
        Self { line: Some(line), ..self }
    }
}

/// A given text on one line, shortened visibly if it is long. The rest of the error then fits a buffer of the C
/// interface.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, letter) in self.0.char_indices() {
            if place + letter.len_utf8() > LONGEST_QUOTE {
                return formatter.write_str("…");
            }
            match letter.is_control() {
                true => write!(formatter, "{}", letter.escape_default())?,
                false => write!(formatter, "{letter}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(formatter, "line {line}: ")?;
        }
        let (key, value, allowed) = (Quoted(&self.key), Quoted(&self.value), &self.allowed);
        match self.problem {
            ConfigProblem::UnknownKey => write!(formatter, "\"{key}\" is not a configuration key; {allowed}"),
            ConfigProblem::RepeatedKey => write!(formatter, "{key} is set twice; {allowed}"),
            ConfigProblem::Syntax => write!(formatter, "\"{key}\" is not of the form key=value; {allowed}"),
            ConfigProblem::Value => write!(formatter, "{key} = {value} is not valid; allowed: {allowed}"),
            ConfigProblem::Fixed => write!(formatter, "{key} cannot be changed at run time; {allowed}"),
            ConfigProblem::NoEffect => {
                write!(formatter, "{key} has no effect in a monitor without a router; {allowed}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}
