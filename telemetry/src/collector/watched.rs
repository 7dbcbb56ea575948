//! Numbers that others keep.

use super::series::Target;
use crate::names::{Kind, Metric};

/// One number somebody else keeps, and the series it goes to. It is registered anew each time: there are few.
pub(super) struct Watched {
    pub(super) metric: &'static Metric,
    pub(super) labels: Vec<(&'static str, &'static str)>,
    pub(super) read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Watched {
    pub(super) fn publish(&self, target: &Target) {
        let value = (self.read)();
        if self.metric.kind == Kind::Counter {
            target.counter(self.metric, &self.labels).absolute(value);
        } else {
            target.gauge(self.metric, &self.labels).set(value as f64);
        }
    }
}
