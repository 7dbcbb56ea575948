//! What is said of damage that no node noticed, and where a node that did must point to.

use std::path::PathBuf;
use std::sync::Arc;

use quorate::disk::RealDisk;
use quorate_storage::offline::{self, Finding, LookOptions, StoppedDir};
use quorate_telemetry::SystemClock;

use super::instance::DAMAGED;
use super::report::{Means, Tried};
use super::trial::Lab;
use crate::corruption::damage::{Damage, read};
use crate::corruption::place::{FileKind, Place, has_last_batch_in, is_unused};
use crate::corruption::verdict::Outcome;

impl Lab<'_> {
    /// Nothing was to be seen, though everything was read: what verification says of the damaged files, and the formats.
    pub(super) fn judge_silent(&self, place: &Place, damage: Damage) -> Result<Tried, String> {
        self.restore(Some(place))?;
        let path = self.live(DAMAGED).join(&place.file);
        let kind = FileKind::of(&path).ok_or("no file of ours")?;
        let before = match kind {
            FileKind::Log => read(&RealDisk::new(), &path).map_err(|error| error.to_string())?,
            _ => Vec::new(),
        };
        self.strike(place, damage)?;
        let findings = self.verify()?;
        if !findings.is_empty() {
            let what = findings.into_iter().map(|finding| finding.problem).collect();
            return Ok(Tried::new(Outcome::Dormant, Some(Means::Verify), what));
        }
        let cannot_tell = match damage {
            Damage::Zero(at, bytes) => kind == FileKind::Log && has_last_batch_in(&before, at, bytes),
            _ => false,
        };
        let is_unused = damage.offset().is_some_and(|offset| is_unused(kind, &before, offset));
        match kind {
            _ if is_unused => Ok(Tried::new(Outcome::Unused, None, Vec::new())),
            _ if cannot_tell => Ok(Tried::new(Outcome::Unseen, None, Vec::new())),
            FileKind::Reserve | FileKind::Peers => {
                Ok(Tried::new(Outcome::Rebuilt, Some(Means::Start), vec!["made anew".to_owned()]))
            }
            FileKind::Sled | FileKind::SledIndex | FileKind::SledConfig | FileKind::SledBlob => {
                Ok(Tried::new(Outcome::Unread, None, Vec::new()))
            }
            _ => Err("nobody notices, and these bytes have a meaning".to_owned()),
        }
    }

    fn verify(&self) -> Result<Vec<Finding>, String> {
        let live = self.live(DAMAGED);
        let dir = StoppedDir::lock(Arc::new(RealDisk::new()), &live)
            .map_err(|error| format!("cannot be verified: {error}"))?;
        let scratch: PathBuf = self.instance.scratch();
        let options = LookOptions { group: None, clock: Arc::new(SystemClock::new()), scratch };
        Ok(offline::verify(&dir, &options, &mut |_| {}).findings)
    }

    /// `reason` says where to look.
    pub(super) fn check_names_place(&self, place: &Place, reason: &str) -> Result<(), String> {
        let path = self.live(DAMAGED).join(&place.file);
        if reason.contains(&*path.to_string_lossy()) && reason.contains(" at byte ") {
            return Ok(());
        }
        Err(format!("file and offset are not named: {reason}"))
    }
}
