//! The same part of history damaged on several replicas, in different places: what one lacks another has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quorate_telemetry::Rng as _;
use quorate_telemetry::rng::SeededRng;

use super::case::Case;
use super::cluster::{DATA, GROUPS, NODES};
use super::damage::{Damage, read};
use super::image::{End, Image};
use super::place::{FileKind, Payload, Place, payloads};

/// Draws of every arrangement.
const DRAWS: u64 = 8;

/// On how many of the three replicas each entry stays intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intact {
    /// On one.
    One,
    /// On two: a majority.
    Two,
}

/// Where an entry stands on each node.
type Standing = [Vec<(PathBuf, Payload)>; NODES];

/// Every arrangement: each entry of a group damaged on one replica or on two, by turns; each replica's newest snapshot
/// damaged elsewhere, and one of the stores gone.
pub fn cases(images: &[Image], seed: u64) -> Vec<Case> {
    let rng = SeededRng::new(seed);
    let mut cases = Vec::new();
    for image in images {
        for group in GROUPS {
            let entries = entries(image, group.get());
            for shift in 0..NODES {
                for _ in 0..DRAWS {
                    for intact in [Intact::One, Intact::Two] {
                        let damages = entry_damages(&entries, (image.end, intact), shift, &rng);
                        cases.push(Case { end: image.end, damages });
                    }
                    cases.push(Case {
                        end: image.end,
                        damages: snapshot_damages(image, group.get(), shift, &rng),
                    });
                }
            }
        }
    }
    cases.retain(|case| !case.damages.is_empty());
    cases
}

/// The entries of `group` that a log of all three nodes holds, by index.
fn entries(image: &Image, group: u64) -> BTreeMap<u64, Standing> {
    let mut found: BTreeMap<u64, Standing> = BTreeMap::new();
    for node in 0..NODES {
        for path in files(image, node, group, FileKind::Log) {
            let Ok(bytes) = read(&image.disks[node], &path) else { continue };
            for payload in payloads(&bytes) {
                found.entry(payload.index).or_default()[node].push((path.clone(), payload));
            }
        }
    }
    found.retain(|_, standing| standing.iter().all(|node| !node.is_empty()));
    found
}

fn entry_damages(
    entries: &BTreeMap<u64, Standing>,
    (end, intact): (End, Intact),
    shift: usize,
    rng: &SeededRng,
) -> Vec<(Place, Damage)> {
    let mut damages = Vec::new();
    for (turn, standing) in entries.values().enumerate() {
        // A last batch of a log may never have been whole, and is cut as a whole: damaged on two of three before a
        // proof of it was written, it looks like a write that no majority had (`docs/FORMAT.md`).
        let is_unproven = end.is_power_cut() && standing.iter().flatten().any(|(_, payload)| payload.is_last);
        if is_unproven && intact == Intact::One {
            continue;
        }
        let chosen = if is_unproven { shift } else { (turn + shift) % NODES };
        for (node, copies) in standing.iter().enumerate() {
            if (node == chosen) == (intact == Intact::Two) {
                for (path, payload) in copies {
                    let at = payload.bytes.start + rng.below(payload.bytes.end - payload.bytes.start);
                    damages.push((place(node, path), Damage::Invert(at)));
                }
            }
        }
    }
    damages
}

/// The newest snapshot of every replica, each in another third of it; and one replica has lost its state.
fn snapshot_damages(image: &Image, group: u64, shift: usize, rng: &SeededRng) -> Vec<(Place, Damage)> {
    let mut damages = Vec::new();
    for node in 0..NODES {
        let Some(path) = files(image, node, group, FileKind::Snapshot).pop() else { continue };
        let bytes = read(&image.disks[node], &path).map_or(0, |bytes| bytes.len() as u64);
        let part = bytes / NODES as u64;
        let at = ((node + shift) % NODES) as u64 * part + rng.below(part.max(1));
        damages.push((place(node, &path), Damage::Invert(at)));
        if node == shift {
            let stores = files(image, node, group, FileKind::Store);
            damages.extend(stores.iter().map(|store| (place(node, store), Damage::Delete)));
        }
    }
    damages
}

fn files(image: &Image, node: usize, group: u64, kind: FileKind) -> Vec<PathBuf> {
    let dir = Path::new(DATA).join("groups").join(group.to_string());
    let files = image.disks[node].files().into_iter().map(|(path, _)| path);
    files.filter(|path| path.starts_with(&dir) && FileKind::of(path) == Some(kind)).collect()
}

fn place(node: usize, path: &Path) -> Place {
    Place { node, file: path.strip_prefix(DATA).unwrap_or(path).to_path_buf() }
}
