//! Keys to groups.

use quorate_storage::{GroupId, KeyRange};

/// Ranges by ascending start, without overlap; keys outside all of them have no group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTable {
    routes: Vec<(KeyRange, GroupId)>,
}

impl RouteTable {
    /// Sorts the ranges. Of two that overlap, the later one by (start, group) loses the shared part.
    pub fn new(ranges: impl Iterator<Item = (KeyRange, GroupId)>) -> Self {
        let mut ranges: Vec<_> = ranges.filter(|(range, _)| !is_empty(range)).collect();
        ranges.sort_by(|(a, a_group), (b, b_group)| (&a.start, a_group).cmp(&(&b.start, b_group)));
        let mut routes: Vec<(KeyRange, GroupId)> = Vec::with_capacity(ranges.len());
        for (mut range, group) in ranges {
            match routes.last().map(|(before, _)| &before.end) {
                Some(None) => break,
                Some(Some(end)) if *end > range.start => range.start = end.clone(),
                _ => {}
            }
            if !is_empty(&range) {
                routes.push((range, group));
            }
        }
        Self { routes }
    }

    /// The group that serves `key`. O(log groups).
    pub fn find(&self, key: &[u8]) -> Option<GroupId> {
        let at = self.routes.partition_point(|(range, _)| range.start.as_ref() <= key);
        let (range, group) = self.routes[..at].last()?;
        range.contains(key).then_some(*group)
    }

    /// The groups whose ranges touch `start..end`, in key order; none for an empty one. O(log groups).
    pub fn overlapping<'a>(
        &'a self,
        start: &'a [u8],
        end: Option<&'a [u8]>,
    ) -> impl DoubleEndedIterator<Item = GroupId> + 'a {
        let first = self.routes.partition_point(|(range, _)| {
            range.end.as_ref().is_some_and(|range_end| range_end.as_ref() <= start)
        });
        let behind = match end {
            Some(end) if end <= start => first,
            Some(end) => self.routes.partition_point(|(range, _)| range.start.as_ref() < end),
            None => self.routes.len(),
        };
        self.routes[first..behind.max(first)].iter().map(|&(_, group)| group)
    }
}

fn is_empty(range: &KeyRange) -> bool {
    range.end.as_ref().is_some_and(|end| *end <= range.start)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn range(start: &'static str, end: Option<&'static str>) -> KeyRange {
        KeyRange {
            start: Bytes::from_static(start.as_bytes()),
            end: end.map(|e| Bytes::from_static(e.as_bytes())),
        }
    }

    fn table() -> RouteTable {
        RouteTable::new(
            [
                (range("m", None), GroupId(2)),
                (range("b", Some("f")), GroupId(1)),
                (range("", Some("")), GroupId(0)),
            ]
            .into_iter(),
        )
    }

    #[test]
    fn a_key_finds_the_range_that_holds_it_and_a_hole_finds_none() {
        let table = table();
        for (key, group) in [
            ("a", None),
            ("b", Some(1)),
            ("ezz", Some(1)),
            ("f", None),
            ("l", None),
            ("m", Some(2)),
            ("zz", Some(2)),
        ] {
            assert_eq!(table.find(key.as_bytes()), group.map(GroupId), "key {key}");
        }
    }

    #[test]
    fn of_overlapping_ranges_the_one_that_starts_later_loses_the_shared_part() {
        let ranges = [
            (range("b", Some("m")), GroupId(1)),
            (range("c", Some("d")), GroupId(2)),
            (range("g", Some("z")), GroupId(3)),
            (range("g", None), GroupId(4)),
        ];
        let table = RouteTable::new(ranges.into_iter());
        for (key, group) in
            [("a", None), ("c", Some(1)), ("e", Some(1)), ("l", Some(1)), ("m", Some(3)), ("z", Some(4))]
        {
            assert_eq!(table.find(key.as_bytes()), group.map(GroupId), "key {key}");
        }
        assert_eq!(table.overlapping(b"", None).collect::<Vec<_>>(), [1, 3, 4].map(GroupId));
    }

    #[test]
    fn an_empty_range_touches_nobody() {
        assert_eq!(table().overlapping(b"c", Some(b"c")).count(), 0);
        assert_eq!(table().overlapping(b"n", Some(b"c")).count(), 0);
    }

    #[test]
    fn overlapping_lists_touched_ranges_in_key_order() {
        let table = table();
        let groups = |start: &str, end: Option<&str>| {
            table.overlapping(start.as_bytes(), end.map(str::as_bytes)).map(GroupId::get).collect::<Vec<_>>()
        };
        assert_eq!(groups("", None), [1, 2]);
        assert_eq!(groups("f", Some("m")), [0u64; 0]);
        assert_eq!(groups("e", Some("n")), [1, 2]);
    }
}
