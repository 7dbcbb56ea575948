//! Which places of a replica's files are damaged.

use std::collections::BTreeMap;
use std::path::PathBuf;

use quorate_telemetry::Rng as _;
use quorate_telemetry::SeededRng;

use crate::corruption::damage::Damage;
use crate::corruption::place::{FileKind, Place};

/// `count` places of node `node`, whose files are `files`: half of them by bytes, so that large files are hit as often as
/// a device would; for the others every kind of file has its turn.
pub(super) fn draw(files: &[(PathBuf, u64)], node: usize, count: usize, seed: u64) -> Vec<(Place, Damage)> {
    let rng = SeededRng::new(seed);
    let mut by_kind: BTreeMap<FileKind, Vec<(&PathBuf, u64)>> = BTreeMap::new();
    for (path, bytes) in files.iter().filter(|(_, bytes)| *bytes > 0) {
        if let Some(kind) = FileKind::of(path) {
            by_kind.entry(kind).or_default().push((path, *bytes));
        }
    }
    let all: Vec<_> = by_kind.values().flatten().copied().collect();
    let kinds: Vec<_> = by_kind.values().collect();
    let draw = |number: usize| {
        let among = if number.is_multiple_of(2) { &all } else { kinds[number / 2 % kinds.len()] };
        let (path, at) = draw_byte(among, &rng);
        (Place { node, file: path.clone() }, draw_damage(at, &rng))
    };
    (0..count).map(draw).collect()
}

/// A byte of all bytes of `files`.
fn draw_byte<'a>(files: &[(&'a PathBuf, u64)], rng: &SeededRng) -> (&'a PathBuf, u64) {
    let mut at = rng.below(files.iter().map(|(_, bytes)| bytes).sum());
    for (path, bytes) in files {
        if at < *bytes {
            return (path, at);
        }
        at -= bytes;
    }
    unreachable!("drawn below the sum of all sizes")
}

fn draw_damage(at: u64, rng: &SeededRng) -> Damage {
    match rng.below(10) {
        0 | 1 => Damage::Truncate(at),
        2 => Damage::Zero(at / 4_096 * 4_096, 4_096),
        3 => Damage::Invert(at),
        _ => Damage::Flip(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_file_has_its_turn_and_large_files_have_more() {
        let files =
            ["node", "groups/1/wal/1.wal", "groups/1/state/1/db/db", "groups/1/state/1/trust", "lock"];
        let files: Vec<_> = files.iter().map(|file| (PathBuf::from(file), 100)).collect();
        let files = [files, vec![(PathBuf::from("groups/1/state/1/tables/1"), 1_000_000)]].concat();
        let drawn = draw(&files, 2, 400, 1);
        let count = |kind| drawn.iter().filter(|(place, _)| FileKind::of(&place.file) == Some(kind)).count();
        for kind in [FileKind::Node, FileKind::Log, FileKind::Sled, FileKind::Trust] {
            assert_eq!(count(kind), 40, "{kind:?}");
        }
        assert_eq!(count(FileKind::Table), 240);
        assert_eq!(drawn, draw(&files, 2, 400, 1), "a seed decides");
    }
}
