//! Fuzzing: everything that reads bytes of a disk, a network or a person, as functions of bytes.
//!
//! A [`Target`] must return, whatever the bytes: a panic is a bug. It asserts what else must hold: what was accepted is
//! read back as it is written again; what a log gives is what was written into it; no length makes anybody allocate more
//! than the bytes are worth ([`replay`]). Where a checksum stands in front of a structure, a target tries the bytes as
//! they are, and then with every checksum made right (`seal`), so that changes reach what is behind.
//!
//! `cargo test -p quorate-tests --test fuzz` replays the corpus and seeded mutations of it; `tests/fuzz.sh` looks for
//! new inputs.

pub mod allocator;
pub mod corpus;
mod fixture;
mod laws;
pub mod mutate;
pub mod replay;
mod seal;
mod source;

mod backup;
mod catalog;
#[cfg(feature = "frontend")]
mod config;
mod entry;
mod identity;
mod kv;
mod log;
mod raft;
#[cfg(feature = "frontend")]
mod resp;
mod rpc;
mod snapshot;
mod state;
mod store;
mod wire;

/// Something that reads bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Reads bytes. Panics if a law is broken.
    pub what: fn(&[u8]),
    /// Bytes to begin with, made by the encoders: what is accepted, and of every kind.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them, by name.
pub fn targets() -> Vec<Target> {
    let mut targets = [
        backup::TARGETS,
        catalog::TARGETS,
        entry::TARGETS,
        identity::TARGETS,
        kv::TARGETS,
        log::TARGETS,
        raft::TARGETS,
        rpc::TARGETS,
        snapshot::TARGETS,
        state::TARGETS,
        store::TARGETS,
        wire::TARGETS,
    ]
    .concat();
    #[cfg(feature = "frontend")]
    targets.extend([config::TARGETS, resp::TARGETS].concat());
    targets.sort_by_key(|target| target.name);
    targets
}

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    targets().into_iter().find(|target| target.name == name)
}
