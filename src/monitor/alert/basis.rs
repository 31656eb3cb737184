//! The present values of metrics, and what each value rests on.

/// A source of the present values of metrics.
pub(crate) trait FigureSource {
    /// Calls `found` for each label set of a metric, with its value and the value's basis. A metric without labels
    /// has the single label set "". A `*` in the metric's path stands for the part that the label set names. A value
    /// that is missing at present is NaN. `found` is not called for an element that does not exist.
    fn each(&self, metric: &str, found: &mut dyn FnMut(&str, f64, Basis));
}

/// The samples and clients that a value rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    /// Number of samples; `u64::MAX` for a value that is neither a rate nor a percentile.
    pub(crate) samples: u64,
    /// Number of clients that caused the errors, if known.
    pub(crate) clients: Option<u64>,
}

impl Basis {
    /// The basis of a value that does not rest on samples.
    pub(crate) const WHOLE: Self = Self { samples: u64::MAX, clients: None };
}
