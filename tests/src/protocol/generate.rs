//! Draws schedules.

use super::dice::Dice;
use super::schedule::{Cut, Fault, Files, Keeps, Planned, Schedule};
use super::settings::{GROUPS, NODES, OPERATIONS};

/// Faults in a minute: fewest, and how many more there may be.
const FAULTS: (u64, u64) = (14, 14);
/// The first of them comes not before.
const FIRST_MS: u64 = 3_000;

/// The schedule of a seed.
pub fn schedule(seed: u64, seconds: u64) -> Schedule {
    let mut dice = Dice::new(seed, 0x5c);
    let count = (FAULTS.0 + dice.below(FAULTS.1)) * seconds / 60;
    let end_ms = (seconds * 1_000).saturating_sub(FIRST_MS).max(1);
    let mut faults: Vec<_> = (0..count)
        .map(|_| Planned { at_ms: FIRST_MS + dice.below(end_ms), fault: draw(&mut dice) })
        .collect();
    faults.sort_by_key(|planned| planned.at_ms);
    Schedule { seed, seconds, operations: OPERATIONS * seconds / 60, faults }
}

fn draw(dice: &mut Dice) -> Fault {
    let node = dice.pick(NODES);
    let other = (node + 1 + dice.pick(NODES - 1)) % NODES;
    let group = 1 + dice.below(GROUPS);
    let ms = 500 + dice.below(6_000);
    let down_ms = 50 + dice.below(4_000);
    let keeps = [Keeps::All, Keeps::Synced, Keeps::Sectors, Keeps::Pages][dice.pick(4)];
    match dice.below(160) {
        0..14 => Fault::Crash { node, keeps, down_ms },
        14..19 => Fault::CrashAll { keeps, down_ms },
        19..31 => Fault::PowerCut { node, calls: 1 + dice.below(200), keeps, down_ms },
        31..38 => Fault::Isolate { node, ms },
        38..42 => Fault::Deafen { node, ms },
        42..47 => Fault::CutOneWay { from: node, to: other, ms },
        47..52 => Fault::CutPair { one: node, other, ms },
        52..57 => Fault::Loss { permille: 20 + dice.below(300), ms },
        57..61 => Fault::Delay { max_ms: 20 + dice.below(600), ms },
        61..65 => Fault::Duplicate { permille: 50 + dice.below(400), ms },
        65..73 => Fault::Transfer { group },
        73..79 => Fault::Snapshot { node, group },
        79..82 => Fault::WipeNode { node },
        82..87 => Fault::WipeReplica { node, group },
        87..94 => Fault::Replace { node, group },
        94..100 => Fault::SlowDisk { node, ms },
        100..115 => draw_disk(dice, node, group, ms),
        115..148 => draw_damage(dice, (node, other), group, ms),
        148..152 => {
            let by_ms = i64::try_from(dice.below(20_000)).unwrap_or_default() - 10_000;
            Fault::ClockJump { node, by_ms }
        }
        152..156 => Fault::Freeze { node, ms },
        _ => {
            let ppm = i64::try_from(dice.below(400_000)).unwrap_or_default() - 200_000;
            Fault::Skew { node, ppm, ms }
        }
    }
}

/// What goes wrong with a disk while it is used.
fn draw_disk(dice: &mut Dice, node: usize, group: u64, ms: u64) -> Fault {
    let files = [Files::Log, Files::State, Files::Snapshots][dice.pick(3)];
    match dice.below(8) {
        0 | 1 => Fault::DiskFull { node, room_kib: dice.below(64), ms },
        2..=4 => Fault::FailSync { node, group, files },
        5 => Fault::FailWrite { node, group, files, is_short: false },
        6 => Fault::FailWrite { node, group, files, is_short: true },
        _ => Fault::LyingDisk { node, ms },
    }
}

/// What goes wrong with what is kept on it.
fn draw_damage(dice: &mut Dice, (node, from): (usize, usize), group: u64, ms: u64) -> Fault {
    match dice.below(12) {
        0 => Fault::ReadFails { node, group },
        1 => Fault::StateLost { node, group },
        2 | 3 => Fault::StateBack { node, group, ms: 4 * ms },
        4 => Fault::ForeignState { node, group, from },
        5 => Fault::RottenStore { node, group },
        6 => Fault::SnapshotsLost { node, group },
        7 => Fault::CutLog { node, group, cut: Cut::BelowCommit },
        8 => {
            let cut = if dice.permille(500) { Cut::BelowState } else { Cut::Rewritten };
            Fault::CutLog { node, group, cut }
        }
        9 | 10 => Fault::RotLog { node, group, loses_state: dice.permille(600) },
        _ => Fault::RotSnapshot { node, group, loses_state: dice.permille(500) },
    }
}
