//! What goes wrong, by kind.

use serde::Serialize;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// SIGKILL of a node.
    Kill,
    /// SIGKILL of all nodes.
    KillAll,
    /// SIGKILL again and again, while it starts.
    RestartStorm,
    /// SIGSTOP of a node, then SIGCONT.
    Pause,
    /// What is sent to a node does not arrive while this lasts.
    Mute,
    /// What a node answers does not arrive while this lasts.
    Deafen,
    /// Both: its connections are black holes.
    Isolate,
    /// What is sent to a node arrives late.
    Delay,
    /// Connections to a node are reset.
    Reset,
    /// A bit of a file is the other way round when a node starts again.
    Flip,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 10] = [
        Self::Kill,
        Self::KillAll,
        Self::RestartStorm,
        Self::Pause,
        Self::Mute,
        Self::Deafen,
        Self::Isolate,
        Self::Delay,
        Self::Reset,
        Self::Flip,
    ];
}
