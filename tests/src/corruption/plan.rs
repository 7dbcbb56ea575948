//! Which cases are tried: all of them, or a sample that a seed draws.

use std::ops::Range;
use std::path::{Path, PathBuf};

use quorate_telemetry::Rng as _;
use quorate_telemetry::rng::SeededRng;

use super::case::Case;
use super::cluster::{DATA, NODES};
use super::damage::{Damage, SECTORS};
use super::image::Image;
use super::place::{FileKind, Place};

/// The kinds of damage that are drawn, flips most often.
const DRAWN: u64 = 12;

/// A file of an image, and what of it was ever written.
struct Target {
    place: Place,
    kind: FileKind,
    written: Vec<Range<u64>>,
    has_older: bool,
}

/// Every written offset of every file of `node`, flipped, and each file truncated at every one; every sector zeroed,
/// neighbours swapped, every file as it was earlier, and every file gone.
pub fn every(image: &Image, node: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for target in targets(image, node) {
        let mut add = |damage| cases.push(target.case(image, damage));
        for at in target.written.iter().cloned().flatten() {
            add(Damage::Flip(at));
            add(Damage::Truncate(at));
        }
        for part in &target.written {
            for bytes in SECTORS {
                let size = usize::try_from(bytes).expect("a sector");
                part.clone().step_by(size).for_each(|at| add(Damage::Zero(at, bytes)));
            }
            let pages = part.clone().step_by(4_096);
            pages.filter(|at| at + 8_192 <= part.end).for_each(|at| add(Damage::Swap(at)));
        }
        if target.has_older {
            add(Damage::Older);
        }
        add(Damage::Delete);
    }
    cases
}

/// One of `every` equal parts of `cases`: a random one, so that each has of everything as much as the others. Together the
/// parts are all of them.
pub fn share(mut cases: Vec<Case>, (part, every): (usize, usize), seed: u64) -> Vec<Case> {
    let rng = SeededRng::new(seed);
    for at in (1..cases.len()).rev() {
        let other = usize::try_from(rng.below(at as u64 + 1)).expect("below a count");
        cases.swap(at, other);
    }
    cases.into_iter().skip(part).step_by(every).collect()
}

/// `count` cases out of all images and nodes: half of them in logs, every other kind of file as often as the others.
pub fn sample(images: &[Image], count: usize, seed: u64) -> Vec<Case> {
    let rng = SeededRng::new(seed);
    let below = |count: usize| usize::try_from(rng.below(count as u64)).expect("below a count");
    let all: Vec<(&Image, Vec<Target>)> = images
        .iter()
        .map(|image| (image, (0..NODES).flat_map(|node| targets(image, node)).collect()))
        .collect();
    let draw = || {
        let (image, targets) = &all[below(all.len())];
        let mut kinds: Vec<FileKind> = targets.iter().map(|target| target.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let kind = if rng.below(2) == 0 { FileKind::Log } else { kinds[below(kinds.len())] };
        let of_kind: Vec<&Target> = targets.iter().filter(|target| target.kind == kind).collect();
        let target = of_kind[below(of_kind.len())];
        target.case(image, target.draw(&rng))
    };
    (0..count).map(|_| draw()).collect()
}

fn targets(image: &Image, node: usize) -> Vec<Target> {
    let (disk, older) = (&image.disks[node], &image.older[node]);
    let older: Vec<PathBuf> = older.files().into_iter().map(|(path, _)| path).collect();
    let target = |(path, bytes): (PathBuf, u64)| {
        let kind = FileKind::of(&path)?;
        let file = path.strip_prefix(Path::new(DATA)).ok()?.to_path_buf();
        let mut written = disk.written(&path).ok()?;
        if kind == FileKind::Reserve {
            // Room that was never written to is all that it is.
            written.push(0..bytes);
        }
        let has_older = older.contains(&path);
        Some(Target { place: Place { node, file }, kind, written, has_older })
    };
    disk.files().into_iter().filter_map(target).collect()
}

impl Target {
    fn case(&self, image: &Image, damage: Damage) -> Case {
        Case { end: image.end, damages: vec![(self.place.clone(), damage)] }
    }

    fn draw(&self, rng: &SeededRng) -> Damage {
        let end = self.written.last().map_or(0, |part| part.end);
        let at = if end == 0 { 0 } else { rng.below(end) };
        let page = at / 4_096 * 4_096;
        match rng.below(DRAWN) {
            0 if self.has_older => Damage::Older,
            1 => Damage::Delete,
            2 => Damage::Zero(at / 512 * 512, 512),
            3 => Damage::Zero(page, 4_096),
            4 if page + 8_192 <= end => Damage::Swap(page),
            5 => Damage::Invert(at),
            6..=8 => Damage::Truncate(at),
            _ => Damage::Flip(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corruption::image::End;

    #[test]
    fn the_shares_are_everything_once_and_each_has_of_everything() {
        let case = |at: u64| {
            let damage = if at.is_multiple_of(2) { Damage::Flip(at / 2) } else { Damage::Truncate(at / 2) };
            let place = Place { node: 0, file: PathBuf::from("node") };
            Case { end: End::ShortClean, damages: vec![(place, damage)] }
        };
        let all: Vec<Case> = (0..1_000).map(case).collect();
        for every in [1, 2, 3, 4] {
            let shares = (0..every).map(|part| share(all.clone(), (part, every), 7));
            let mut names = Vec::new();
            for share in shares {
                let is_flip = |case: &&Case| matches!(case.damages[0].1, Damage::Flip(_));
                let flips = share.iter().filter(is_flip).count();
                assert!(flips * 3 > share.len() && flips * 3 < share.len() * 2, "{flips} of {}", share.len());
                names.extend(share.iter().map(ToString::to_string));
            }
            names.sort();
            names.dedup();
            assert_eq!(names.len(), all.len());
        }
    }
}
