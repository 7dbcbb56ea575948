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
    /// A part of the packets to and from a node is dropped.
    LosePackets,
    /// All packets to a node are dropped; those from it arrive.
    DropPackets,
    /// The file system of a node has no room left.
    FillDisk,
    /// The file system of a node takes no new file.
    FillInodes,
    /// The file system of a node shuts down under it, with what was not synced; it is mounted again, and the node started.
    LoseDisk,
    /// Every sync of a node fails; it is started again afterwards.
    FailSyncs,
    /// Every sync of a node takes long.
    SlowSyncs,
    /// A node gets hardly any CPU.
    StarveCpu,
    /// A node gets no more memory: the system kills it.
    StarveMemory,
}

/// What a kind needs of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// A network of its own with a packet filter.
    PacketFilter,
    /// Mounting small file systems of its own.
    SmallDisks,
    /// Changing what system calls return.
    Tracer,
    /// Control groups.
    ControlGroups,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 19] = [
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
        Self::LosePackets,
        Self::DropPackets,
        Self::FillDisk,
        Self::FillInodes,
        Self::LoseDisk,
        Self::FailSyncs,
        Self::SlowSyncs,
        Self::StarveCpu,
        Self::StarveMemory,
    ];

    pub(super) fn need(self) -> Option<Need> {
        match self {
            Self::LosePackets | Self::DropPackets => Some(Need::PacketFilter),
            Self::FillDisk | Self::FillInodes | Self::LoseDisk => Some(Need::SmallDisks),
            Self::FailSyncs | Self::SlowSyncs => Some(Need::Tracer),
            Self::StarveCpu | Self::StarveMemory => Some(Need::ControlGroups),
            _ => None,
        }
    }

    /// Whether a replica may be out of service for it, until it is started again.
    pub(super) fn quarantines(self) -> bool {
        matches!(self, Self::Flip | Self::FillDisk | Self::FillInodes | Self::LoseDisk | Self::FailSyncs)
    }
}
