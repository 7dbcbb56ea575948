//! Numbers that others keep.

use super::series::Target;
use crate::names::{Kind, Metric};

/// One number somebody else keeps, and the series it goes to. It is registered anew each time: there are few.
pub(super) struct Watched {
    pub(super) metric: &'static Metric,
    pub(super) labels: Vec<(&'static str, &'static str)>,
    pub(super) read: Read,
}

/// How the number is read.
pub(super) enum Read {
    /// A count of something.
    Whole(Box<dyn Fn() -> u64 + Send + Sync>),
    /// A measurement, which may be negative: of gauges only.
    Measured(Box<dyn Fn() -> f64 + Send + Sync>),
}

impl Watched {
    pub(super) fn publish(&self, target: &Target) {
        match &self.read {
            Read::Whole(read) if self.metric.kind == Kind::Counter => {
                target.counter(self.metric, &self.labels).absolute(read());
            }
            Read::Whole(read) => target.gauge(self.metric, &self.labels).set(read() as f64),
            Read::Measured(read) => target.gauge(self.metric, &self.labels).set(read()),
        }
    }
}
