//! Known mistakes, planted in the code that is meant to be free of them, to see that the tests find each one.
//!
//! Nothing of it exists in a build without the feature `planted-bugs`: there [`is`] is `false` at compile time, and no
//! product is built with it (`quorate-server` does not compile then). In a build with it nothing happens either until the
//! environment variable [`VARIABLE`] names one mistake: one build serves for all of them.

/// Whether this build can make mistakes on purpose.
pub const ENABLED: bool = cfg!(feature = "planted-bugs");

/// Names the mistake that this process makes.
pub const VARIABLE: &str = "QUORATE_PLANTED";

/// A mistake that a cold start, or what it relies on, could be made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A skip counts as applied only what the snapshot holds, not what the store does.
    FloorNotSeeded,
    /// A skip does not do again what entries behind the snapshot did to memory.
    VolatileDropped,
    /// The marker is written with every operation of an entry, and not with the last.
    MarkerPerOperation,
    /// A conf change publishes a snapshot and labels it with its own index.
    ConfChangePublishes,
    /// The log records a published snapshot before the store's record of its index is durable.
    MarkerAfterRecord,
    /// An installed snapshot is shown before the state machine holds it.
    InstallShownEarly,
    /// The commit index a start gives to raft is not raised to the floor.
    CommitWithoutFloor,
    /// A state that has to be restored anyhow is not compared with the log's end.
    LostLogHidden,
    /// A log without a membership is started.
    JoinerWithoutMembers,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::FloorNotSeeded,
        Self::VolatileDropped,
        Self::MarkerPerOperation,
        Self::ConfChangePublishes,
        Self::MarkerAfterRecord,
        Self::InstallShownEarly,
        Self::CommitWithoutFloor,
        Self::LostLogHidden,
        Self::JoinerWithoutMembers,
    ];

    /// Its name in [`VARIABLE`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::FloorNotSeeded => "floor_not_seeded",
            Self::VolatileDropped => "volatile_dropped",
            Self::MarkerPerOperation => "marker_per_operation",
            Self::ConfChangePublishes => "conf_change_publishes",
            Self::MarkerAfterRecord => "marker_after_record",
            Self::InstallShownEarly => "install_shown_early",
            Self::CommitWithoutFloor => "commit_without_floor",
            Self::LostLogHidden => "lost_log_hidden",
            Self::JoinerWithoutMembers => "joiner_without_members",
        }
    }
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
        let chosen = Planted::ALL.into_iter().find(|planted| planted.name() == name);
        Some(chosen.unwrap_or_else(|| panic!("{VARIABLE}={name} names no mistake")))
    });
    *CHOSEN == Some(mistake)
}
