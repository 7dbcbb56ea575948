//! Brings groups back that need no operator: those that found no room on the disk, those whose store has failed, which
//! is rebuilt from snapshot and log, and those that have got the snapshot they waited for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_shard::actor::Remedy;
use quorate_shard::disk_space::Room;
use quorate_storage::GroupId;

use super::{Core, replicas};

/// How often groups are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Before the first attempt; doubled with each that follows.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Longest pause between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Rebuilds of one group after which it stays quarantined: more would not help.
const REBUILDS_MAX: u32 = 10;
/// A group that has served for so long begins anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(600);

/// What was tried for a group.
#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    count: u32,
    /// No attempt before; on the monotonic clock.
    next_at: Duration,
    /// Its store was found rotten, and it has not run since.
    is_rotten: bool,
}

impl Attempts {
    fn is_due(&self, now: Duration) -> bool {
        now >= self.next_at
    }

    fn again(self, now: Duration) -> Self {
        let backoff = BACKOFF_MIN.saturating_mul(1 << self.count.min(16)).min(BACKOFF_MAX);
        Self { count: self.count.saturating_add(1), next_at: now.saturating_add(backoff), ..self }
    }
}

/// Runs until the node stops.
pub(super) async fn run(core: Arc<Core>) {
    let mut attempts: BTreeMap<GroupId, Attempts> = BTreeMap::new();
    loop {
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
        look(&core, &mut attempts);
    }
}

fn look(core: &Arc<Core>, attempts: &mut BTreeMap<GroupId, Attempts>) {
    let now = core.seams.clock.monotonic();
    let groups = core.registry.all();
    attempts.retain(|group, made| {
        let is_out = groups.get(group).is_some_and(|handle| handle.remedy().is_some());
        made.is_rotten &= is_out;
        is_out || now < made.next_at.saturating_add(HEALTHY_AFTER)
    });
    for (&group, handle) in groups.iter() {
        if handle.wants_restart() {
            revive(core, group, false);
            continue;
        }
        let Some(remedy) = handle.remedy() else { continue };
        // A rebuild that failed, for whatever reason, leaves the store as it was.
        let is_rotten = attempts.get(&group).is_some_and(|made| made.is_rotten);
        let remedy = if is_rotten && remedy == Remedy::Repair { Remedy::Rebuild } else { remedy };
        if remedy == Remedy::Repair {
            continue;
        }
        let made = attempts.entry(group).or_insert_with(|| Attempts::default().again(now));
        made.is_rotten |= remedy == Remedy::Rebuild;
        let may_help = match remedy {
            Remedy::Room => core.space.room() != Room::Exhausted,
            Remedy::Rebuild => made.count <= REBUILDS_MAX,
            Remedy::Repair => false,
        };
        if may_help && made.is_due(now) {
            *made = made.again(now);
            revive(core, group, made.is_rotten);
        }
    }
}

/// On a task of its own: a rebuild takes as long as the state is large.
fn revive(core: &Arc<Core>, group: GroupId, is_rotten: bool) {
    let here = Arc::clone(core);
    core.tasks.lock().spawn(async move {
        tracing::info!(group = group.get(), is_rotten, "starting a group again");
        if let Err(error) = replicas::restart(&here, group, is_rotten).await {
            tracing::warn!(group = group.get(), %error, "the group was not started again");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_back_off_to_a_bound() {
        let mut made = Attempts::default();
        let mut now = Duration::ZERO;
        let mut last = Duration::ZERO;
        for _ in 0..40 {
            assert!(made.is_due(now));
            made = made.again(now);
            let pause = made.next_at.checked_sub(now).unwrap();
            assert!(pause >= last && pause <= BACKOFF_MAX);
            (last, now) = (pause, made.next_at);
        }
        assert_eq!(last, BACKOFF_MAX);
    }
}
