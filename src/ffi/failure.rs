//! Why a call fails: its status, and a text that says what to change.

use super::status::CorelaneStatus;
use crate::sync::Refused;
use std::borrow::Cow;

/// Why a call fails.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: CorelaneStatus,
    pub(super) os_errno: i32,
    pub(super) text: Cow<'static, str>,
}

impl Failure {
    pub(super) fn new(status: CorelaneStatus, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, os_errno: 0, text: text.into() }
    }

    /// Adds the operating system's error number.
    pub(super) fn of_system(self, os_errno: i32) -> Self {
        Self { os_errno, ..self }
    }

    /// The number that the call returns.
    pub(super) fn code(&self) -> i32 {
        self.status as i32
    }

    pub(super) fn null(name: &str) -> Self {
        Self::new(CorelaneStatus::Null, format!("{name} is NULL or not aligned"))
    }

    pub(super) fn invalid(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(CorelaneStatus::Invalid, text)
    }

    /// A handle of this kind could not be entered.
    #[cold]
    pub(super) fn refused(kind: &'static str, refused: Refused) -> Self {
        match refused {
            Refused::Stale => {
                Self::new(CorelaneStatus::Stale, format!("the {kind} was released or was never valid"))
            }
            Refused::Busy => Self::new(
                CorelaneStatus::Busy,
                format!("another thread is inside a call with this {kind}: retry when it has returned"),
            ),
        }
    }
}

/// The result of every call's body: a count, or 0.
pub(super) type Outcome = Result<i64, Failure>;
