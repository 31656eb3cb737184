//! Errors of exporters.

use super::ListenError;
use std::fmt::{Display, Formatter, Result};

/// Why an export does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportError {
    /// An option is invalid.
    Invalid {
        /// The option's name.
        option: &'static str,
        /// What it must do: "be …", "have …".
        must: &'static str,
    },
    /// The monitor has too many listeners, or a thread cannot be created.
    Listen(ListenError),
}

impl Display for ExportError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Invalid { option, must } => write!(formatter, "the option {option} must {must}"),
            Self::Listen(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for ExportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Listen(error) = self { Some(error) } else { None }
    }
}

impl From<ListenError> for ExportError {
    fn from(error: ListenError) -> Self {
        Self::Listen(error)
    }
}
