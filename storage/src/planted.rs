//! Known mistakes, planted in the code that is meant to be free of them, to see that the tests find each one.
//!
//! Nothing of it exists in a build without the feature `planted-bugs`: there [`is`] is `false` at compile time, and no
//! product is built with it (`quorate-server` does not compile then). In a build with it nothing happens either until the
//! environment variable [`VARIABLE`] names one mistake: one build serves for all of them. What must find each is in
//! `tests/planted.toml`.

/// Whether this build can make mistakes on purpose.
pub const ENABLED: bool = cfg!(feature = "planted-bugs");

/// Names the mistake that this process makes.
pub const VARIABLE: &str = "QUORATE_PLANTED";

macro_rules! mistakes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A mistake that this code could have been made with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Planted {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Planted {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in [`VARIABLE`].
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What is wrong, in a sentence.
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+
                }
            }
        }
    };
}

mistakes! {
    /// A skip counts as applied only what the snapshot holds, not what the store does.
    FloorNotSeeded = "floor_not_seeded",
    /// A skip does not do again what entries behind the snapshot did to memory.
    VolatileDropped = "volatile_dropped",
    /// The marker is written with every operation of an entry, and not with the last.
    MarkerPerOperation = "marker_per_operation",
    /// A conf change publishes a snapshot and labels it with its own index.
    ConfChangePublishes = "conf_change_publishes",
    /// The log records a published snapshot before the store's record of its index is durable.
    MarkerAfterRecord = "marker_after_record",
    /// An installed snapshot is shown before the state machine holds it.
    InstallShownEarly = "install_shown_early",
    /// The commit index a start gives to raft is not raised to the floor.
    CommitWithoutFloor = "commit_without_floor",
    /// A state that has to be restored anyhow is not compared with the log's end.
    LostLogHidden = "lost_log_hidden",
    /// A log without a membership is started.
    JoinerWithoutMembers = "joiner_without_members",
    /// A skip takes the end of the log for what the store holds.
    FloorAtLogEnd = "floor_at_log_end",
    /// A replica does not campaign before all of its log is applied, instead of what it knows to be committed.
    ElectableTooLate = "electable_too_late",
    /// Votes, and requests for them, are sent before the hard state is durable.
    VoteBeforeSync = "vote_before_sync",
    /// A start forgets whom the replica has voted for in its term.
    VoteForgotten = "vote_forgotten",
    /// A replica that has voted in a term votes for the next who asks in it, too.
    VoteGivenTwice = "vote_given_twice",
    /// A vote is given whatever the candidate's log lacks.
    VoteForShorterLog = "vote_for_shorter_log",
    /// Appended entries are acknowledged before they are synced.
    AcknowledgedBeforeSync = "acknowledged_before_sync",
    /// Entries are appended without a look at the one in front of them.
    AppendUnchecked = "append_unchecked",
    /// A caller is told that its entry is applied when another term's was applied at its index.
    TicketOfAnotherTerm = "ticket_of_another_term",
    /// A leader that loses its office says of its open proposals that they had no effect.
    LostLeaderRefuses = "lost_leader_refuses",
    /// A proposal goes into the log twice.
    ProposedTwice = "proposed_twice",
    /// A leader answers reads without a round of its followers.
    ReadWithoutRound = "read_without_round",
    /// A read joins a round that began before it was asked for.
    ReadJoinsRound = "read_joins_round",
    /// Whoever does not lead answers linearizable reads out of what it has applied.
    FollowerReads = "follower_reads",
    /// A lease counts as soon as it is proposed.
    LeaseBeforeApply = "lease_before_apply",
    /// A new leader does not begin above the ceiling it inherits.
    CeilingNotInherited = "ceiling_not_inherited",
    /// Of several commands that are applied at once, each condition is judged by the state before all of them.
    ConditionOnOlderState = "condition_on_older_state",
    /// The marker keeps the membership of the entry before.
    MarkerWithoutMembers = "marker_without_members",
    /// A snapshot says of itself that it holds one entry more than it does.
    LabelTooHigh = "label_too_high",
    /// The log is shortened as far as the state machine has come, and not behind a snapshot.
    CompactedBehindNothing = "compacted_behind_nothing",
    /// Segments are removed before the record that says so is durable.
    SegmentsRemovedEarly = "segments_removed_early",
    /// A sync that failed is tried again, and counts if it succeeds then.
    SyncRetried = "sync_retried",
    /// What an append wrote is not synced.
    SyncLeftOut = "sync_left_out",
    /// The checksums of log entries are not compared.
    ChecksumIgnored = "checksum_ignored",
    /// An unreadable entry is dropped as soon as one other voter lacks it.
    DroppedByOne = "dropped_by_one",
    /// A write that may have taken effect is sent once more.
    MaybeCommittedRetried = "maybe_committed_retried",
}

/// Whether this process makes `mistake`.
#[cfg(not(feature = "planted-bugs"))]
pub const fn is(mistake: Planted) -> bool {
    let _ = mistake;
    false
}

/// Whether this process makes `mistake`.
///
/// # Panics
/// If the variable names none of them.
#[cfg(feature = "planted-bugs")]
pub fn is(mistake: Planted) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<Planted>> = std::sync::LazyLock::new(|| {
        let name = std::env::var(VARIABLE).ok()?;
        let chosen = Planted::ALL.iter().find(|planted| planted.name() == name);
        Some(*chosen.unwrap_or_else(|| panic!("{VARIABLE}={name} names no mistake")))
    });
    *CHOSEN == Some(mistake)
}
