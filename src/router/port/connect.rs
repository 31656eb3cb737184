//! The options of a client at its connect. Used by `handle` and `shared`, which take them, and by `submit`, which
//! connects the client.

use crate::clients::{CreditPolicy, KeptFigures};

/// The options of a client at its connect, besides its name. Events for the client may be handed out before the call has
/// returned, because messages may be held for the name: put what belongs to the token in place first.
///
/// ```
/// use corelane::{clients::CreditPolicy, config::Config, router::{Builder, ConnectOptions}};
///
/// let router = Builder::new(Config::default()).start()?;
/// let mut port = router.port()?;
/// let options = ConnectOptions::new("generic", "my-app", 1).credit_policy(CreditPolicy::Refuse);
/// let ann = port.connect_with("ann", options)?;
/// assert_eq!(port.name(ann).map(|name| name.to_string()).as_deref(), Some("ann"));
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectOptions<'a> {
    pub(in crate::router) protocol: &'a str,
    pub(in crate::router) application: &'a str,
    pub(in crate::router) token: u64,
    pub(in crate::router) credit_policy: Option<CreditPolicy>,
    pub(in crate::router) figures: KeptFigures,
}

impl<'a> ConnectOptions<'a> {
    /// A client that speaks a protocol, for an application (may be empty). `token` is the host's own value;
    /// every event for the client carries it.
    pub const fn new(protocol: &'a str, application: &'a str, token: u64) -> Self {
        Self { protocol, application, token, credit_policy: None, figures: KeptFigures::NONE }
    }

    /// What happens when the client has no credit left, instead of the configuration's `credit_policy`.
    pub const fn credit_policy(mut self, policy: CreditPolicy) -> Self {
        self.credit_policy = Some(policy);
        self
    }

    /// Continues the figures of the client that this one replaces. See [`KeptFigures`].
    pub const fn figures(mut self, figures: KeptFigures) -> Self {
        self.figures = figures;
        self
    }
}
