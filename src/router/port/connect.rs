//! What a host says of a client when it connects it.

use crate::clients::{CreditPolicy, KeptFigures};

/// Beside its name, all that a client can be given at its connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectOptions<'a> {
    pub(in crate::router) protocol: &'a str,
    pub(in crate::router) application: &'a str,
    pub(in crate::router) token: u64,
    pub(in crate::router) credit_policy: Option<CreditPolicy>,
    pub(in crate::router) figures: KeptFigures,
}

impl<'a> ConnectOptions<'a> {
    /// A client that speaks a protocol, for an application (may be empty), under the host's own value `token`, which comes
    /// with every event for it.
    pub const fn new(protocol: &'a str, application: &'a str, token: u64) -> Self {
        Self { protocol, application, token, credit_policy: None, figures: KeptFigures::NONE }
    }

    /// What its lack of credit leads to, instead of the configuration's `credit_policy`.
    pub const fn credit_policy(mut self, policy: CreditPolicy) -> Self {
        self.credit_policy = Some(policy);
        self
    }

    /// What it goes on with: the figures of the client whose place it takes. See [`KeptFigures`].
    pub const fn figures(mut self, figures: KeptFigures) -> Self {
        self.figures = figures;
        self
    }
}
