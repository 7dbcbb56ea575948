//! A strict reader of the Prometheus text format.

use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Exposition {
    kinds: BTreeMap<String, String>,
    described: BTreeSet<String>,
    /// By name and labels, the labels sorted.
    samples: BTreeMap<String, f64>,
}

impl Exposition {
    /// Panics on whatever a scraper would refuse.
    pub(super) fn parse(text: &str) -> Self {
        let mut read = Self { kinds: BTreeMap::new(), described: BTreeSet::new(), samples: BTreeMap::new() };
        let mut family = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(read.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "a second {line}");
                name.clone_into(&mut family);
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(!help.is_empty() && read.described.insert(name.to_owned()), "a second {line}");
            } else {
                read.take_sample(&family, line);
            }
        }
        read
    }

    fn take_sample(&mut self, family: &str, line: &str) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let (name, labels) = series.split_once('{').expect("every series of ours has labels");
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} stands under {family}"));
        let suffixes: &[&str] =
            if self.kinds[family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(suffixes.contains(&suffix), "{line} under {family}");
        let mut labels: Vec<_> = labels.strip_suffix('}').expect(line).split(',').collect();
        for label in &labels {
            let (label, value) = label.split_once('=').expect(line);
            assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
            assert!(value.len() > 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
        }
        labels.sort_unstable();
        let key = format!("{name}{{{}}}", labels.join(","));
        let value: f64 = value.parse().expect(line);
        assert!(self.samples.insert(key, value).is_none(), "a second {line}");
    }

    pub(super) fn kind(&self, family: &str) -> Option<&str> {
        self.kinds.get(family).map(String::as_str)
    }

    pub(super) fn is_described(&self, family: &str) -> bool {
        self.described.contains(family)
    }

    pub(super) fn families(&self) -> usize {
        self.kinds.len()
    }

    /// The value of the series written as `name{label="value",…}`, labels sorted.
    pub(super) fn value(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }

    pub(super) fn series_of(&self, prefix: &str) -> impl Iterator<Item = &str> {
        // The overflow gauge is the node's own.
        let own = "quorate_group_series_dropped";
        self.samples
            .keys()
            .map(String::as_str)
            .filter(move |key| key.starts_with(prefix) && !key.starts_with(own))
    }
}
