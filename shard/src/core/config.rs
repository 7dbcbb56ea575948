//! What a group core may be told: its timing in ticks and its budgets in bytes.

use raft::ReadOnlyOption;

/// Timing and budgets of one group. [`CoreConfig::default`] holds the documented defaults; a core refuses to
/// start with values that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreConfig {
    /// Fewest ticks without a leader before a follower campaigns. More than `heartbeat_ticks`.
    pub election_ticks_min: u32,
    /// Election timeouts are drawn below this. More than `election_ticks_min`.
    pub election_ticks_max: u32,
    /// Ticks between a leader's heartbeats. At least 1.
    pub heartbeat_ticks: u32,
    /// Most bytes of entries in one append message (at least one entry travels).
    pub append_bytes_max: u64,
    /// Most append messages under way to one follower. At least 1.
    pub append_inflight_max: usize,
    /// Most bytes of proposals that are not committed yet; more are answered `Busy`. At least
    /// `append_bytes_max`.
    pub uncommitted_bytes_max: u64,
    /// Most bytes of committed entries handed to the applier at once (at least one entry).
    pub committed_bytes_max: u64,
    /// Most bytes of entries handed to the applier and not yet reported applied.
    pub applying_bytes_max: u64,
    /// Bytes of recent entries kept in memory while the group is busy; an idle one keeps none. Entries that
    /// are not yet durable, or not yet handed to the applier, are kept beyond it.
    pub tail_bytes_max: u64,
    /// A learner further behind than this many entries gets no vote, a voter no leadership.
    pub lag_entries_max: u64,
    /// Most inputs that wait while a group whose only voter is this replica waits for its log writer.
    pub waiting_inputs_max: usize,
    /// Most read barriers that wait for a confirmation round; more are answered `Busy`.
    pub waiting_reads_max: usize,
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self {
            election_ticks_min: 10,
            election_ticks_max: 20,
            heartbeat_ticks: 2,
            append_bytes_max: 256 << 10,
            append_inflight_max: 64,
            uncommitted_bytes_max: 16 << 20,
            committed_bytes_max: 1 << 20,
            applying_bytes_max: 16 << 20,
            tail_bytes_max: 512 << 10,
            lag_entries_max: 1_000,
            waiting_inputs_max: 4_096,
            waiting_reads_max: 65_536,
        }
    }
}

impl CoreConfig {
    /// The first contradiction, if there is one.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let rules = [
            (self.heartbeat_ticks >= 1, "heartbeat_ticks must be at least 1"),
            (
                self.election_ticks_min > self.heartbeat_ticks,
                "election_ticks_min must be more than heartbeat_ticks",
            ),
            (
                self.election_ticks_max > self.election_ticks_min,
                "election_ticks_max must be more than election_ticks_min",
            ),
            (self.append_inflight_max >= 1, "append_inflight_max must be at least 1"),
            (
                self.uncommitted_bytes_max >= self.append_bytes_max,
                "uncommitted_bytes_max must be at least append_bytes_max",
            ),
            (self.waiting_inputs_max >= 1, "waiting_inputs_max must be at least 1"),
            (self.waiting_reads_max >= 1, "waiting_reads_max must be at least 1"),
        ];
        rules.iter().find(|(holds, _)| !holds).map(|(_, rule)| *rule)
    }

    /// The same for raft-rs, with everything on that it leaves off.
    pub(super) fn raft(&self, id: u64, applied: u64) -> raft::Config {
        raft::Config {
            id,
            applied,
            election_tick: self.election_ticks_min as usize,
            min_election_tick: self.election_ticks_min as usize,
            max_election_tick: self.election_ticks_max as usize,
            heartbeat_tick: self.heartbeat_ticks as usize,
            max_size_per_msg: self.append_bytes_max,
            max_inflight_msgs: self.append_inflight_max,
            max_uncommitted_size: self.uncommitted_bytes_max,
            max_committed_size_per_ready: self.committed_bytes_max,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            ..raft::Config::default()
        }
    }

    /// The election timeout of a term: a pure function of the seed, so that a simulation repeats.
    pub(super) fn election_ticks(&self, seed: u64, term: u64) -> usize {
        let (min, max) = (self.election_ticks_min as usize, self.election_ticks_max as usize);
        let drawn = mix(seed ^ mix(term)) % (max - min) as u64;
        min + usize::try_from(drawn).unwrap_or_default()
    }

    /// Ticks after which a caller gets an answer, whatever happened.
    pub(super) fn patience_ticks(&self) -> u32 {
        2 * self.election_ticks_max
    }
}

/// The finaliser of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
