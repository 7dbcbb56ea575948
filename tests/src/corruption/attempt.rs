//! Tries one case, from the damage to the comparison.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_storage::disk::SimDisk;
use quorate_storage::offline::{self, Finding, LookOptions, StoppedDir};

use super::case::Case;
use super::cluster::{DATA, NODES, clock, simulate};
use super::damage;
use super::image::{Image, forks};
use super::panics::watched;
use super::place::FileKind;
use super::verdict::{Damaged, Outcome, Seen};
use super::world::World;

/// What a case came to.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The worst outcome of its damages; `None` if nothing was changed.
    pub outcome: Option<Outcome>,
    /// What happened, in words.
    pub what: Vec<String>,
}

/// How far a case goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Replicas that are out of service stay so; all others are compared.
    Started,
    /// New replicas are put in their place, and compared too.
    Repaired,
}

/// Tries `case` on its image. An error is a violation: what must never happen.
///
/// # Errors
/// What is wrong, for people.
pub fn attempt(image: &Image, case: &Case, depth: Depth, seed: u64) -> Result<Attempt, String> {
    let (done, panics) = watched(|| try_case(image, case, depth, seed));
    if let Some(first) = panics.first() {
        return Err(format!("{} panics, the first: {first}", panics.len()));
    }
    done.unwrap_or_else(|| Err("a panic that was not seen".to_owned()))
}

fn try_case(image: &Image, case: &Case, depth: Depth, seed: u64) -> Result<Attempt, String> {
    let disks = forks(&image.disks);
    let mut damaged = Vec::new();
    let mut has_changed = case.damages.is_empty();
    for (place, damage) in &case.damages {
        let path = place.path();
        let kind = FileKind::of(&path).ok_or("no file of ours")?;
        let disk = &disks[place.node];
        let before = damage::read(disk, &path).map_err(|error| format!("{place}: {error}"))?;
        let log = log_range(&image.disks[place.node], &place.file);
        has_changed |= damage
            .apply(disk, &path, &image.older[place.node])
            .map_err(|error| format!("{place}: {damage}: {error}"))?;
        let after = log_range(disk, &place.file);
        let (first, is_shorter) =
            (log.map(|(first, _)| first), log.zip(after).is_some_and(|((_, last), (_, now))| now < last));
        damaged.push(Damaged { place: place.clone(), kind, damage: *damage, before, first, is_shorter });
    }
    if !has_changed {
        return Ok(Attempt { outcome: None, what: Vec::new() });
    }
    let findings = findings(&disks, case)?;
    simulate(live(image, (disks, case, depth), (&damaged, &findings), seed))
}

async fn live(
    image: &Image,
    (disks, case, depth): ([SimDisk; NODES], &Case, Depth),
    (damaged, findings): (&[Damaged], &[Vec<Finding>; NODES]),
    seed: u64,
) -> Result<Attempt, String> {
    // Who has no damage is asked first.
    let mut order: Vec<usize> = (0..NODES).collect();
    order.sort_by_key(|&node| case.is_damaged(node));
    let mut world = World::start(disks, image.model.clone(), seed).await;
    world.read_all(&order).await?;
    world.write(&order).await?;
    let ends = world.settle().await?;
    let mut attempt = Attempt { outcome: None, what: Vec::new() };
    for (node, findings) in findings.iter().enumerate() {
        let seen = Seen {
            damaged: damaged.iter().filter(|damaged| damaged.place.node == node).collect(),
            findings,
            refused: world.refused.iter().find(|(at, _)| *at == node).map(|(_, error)| error),
            replicas: ends.iter().filter(|end| end.node == node).collect(),
            aside: put_aside(&world.disks[node]),
        };
        if seen.damaged.is_empty() {
            seen.check_untouched()?;
            continue;
        }
        let (outcome, what) = seen.judge()?;
        attempt.outcome = attempt.outcome.max(Some(outcome));
        attempt.what.extend(what);
    }
    if depth == Depth::Started {
        let out: Vec<_> = ends.into_iter().filter(|end| end.out_of_service().is_some()).collect();
        world.stop(&out).await?;
        return Ok(attempt);
    }
    world.repair(&ends).await?;
    let ends = world.settle().await?;
    if let Some(end) = ends.iter().find(|end| end.out_of_service().is_some()) {
        return Err(format!("out of service after its repair: {end:?}"));
    }
    world.read_all(&order).await?;
    world.stop(&[]).await?;
    Ok(attempt)
}

/// What verification says of the damaged disks.
fn findings(disks: &[SimDisk; NODES], case: &Case) -> Result<[Vec<Finding>; NODES], String> {
    let mut all: [Vec<Finding>; NODES] = Default::default();
    for (node, disk) in disks.iter().enumerate().filter(|(node, _)| case.is_damaged(*node)) {
        let dir = StoppedDir::lock(Arc::new(disk.fork()), Path::new(DATA))
            .map_err(|error| format!("cannot be verified: {error}"))?;
        let options = LookOptions { group: None, clock: Arc::new(clock()), scratch: PathBuf::from("/tmp") };
        all[node] = offline::verify(&dir, &options, &mut |_| {}).findings;
    }
    Ok(all)
}

/// First and last entry of the log of the replica that `file` is of, as a start would find them.
fn log_range(disk: &SimDisk, file: &Path) -> Option<(u64, u64)> {
    let group = file.strip_prefix("groups").ok()?.iter().next()?.to_str()?.parse().ok()?;
    let dir = StoppedDir::lock(Arc::new(disk.fork()), Path::new(DATA)).ok()?;
    let group = Some(quorate::GroupId(group));
    let options = LookOptions { group, clock: Arc::new(clock()), scratch: PathBuf::from("/tmp") };
    offline::inspect(&dir, &options).groups.first()?.log.as_ref().map(|log| (log.first, log.last.index))
}

fn put_aside(disk: &SimDisk) -> usize {
    disk.files().iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "bad")).count()
}
