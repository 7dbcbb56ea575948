//! Sends snapshots to followers: the file in pieces, then the message that was held back for it. The core is always told
//! how it ended.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_shard::core::{Input, PeerMode, Status};
use quorate_storage::snapshot::{SnapshotChunks, SnapshotToken};
use quorate_storage::{Index, ReplicaId};
use quorate_transport::RaftMessage;

use super::super::ctx::Ctx;
use super::super::event::NodeAt;
use super::super::packet::{ChunkAnswer, ChunkPacket, Packet};
use super::super::settings::CHUNK_BYTES;
use super::{Failure, Replica};

/// A piece that was not answered is sent again.
const REPEAT_AFTER: Duration = Duration::from_millis(600);
/// How long raft-rs waits, after a failure, before it is told and asks for the next transfer.
const PAUSE: Duration = Duration::from_secs(1);

/// The transfers under way: one to a follower.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    running: BTreeMap<ReplicaId, Transfer>,
    /// Failed ones, and when the core is to be told.
    failed: BTreeMap<ReplicaId, Duration>,
    started: u64,
    /// When followers were last heard of.
    heard: BTreeMap<ReplicaId, Duration>,
}

#[derive(Debug)]
struct Transfer {
    number: u64,
    node: NodeAt,
    token: SnapshotToken,
    /// `None`: raft knows nothing of it.
    message: Option<RaftMessage>,
    chunks: SnapshotChunks,
    received: u64,
    sent_at: Duration,
    deadline: Duration,
}

impl Transfers {
    /// Whoever does not lead any more has nothing to send.
    pub(super) fn abort_all(&mut self) {
        self.running.clear();
        self.failed.clear();
    }

    /// What the slowest follower has that was heard of within `grace` and can still be served from the log.
    pub(super) fn slowest_follower(
        &mut self,
        own: ReplicaId,
        core: &Status,
        now: Duration,
        grace: Duration,
    ) -> Option<Index> {
        let base = core.first.prev();
        let followers = core.peers.iter().filter(|peer| peer.replica != own);
        let positions = followers.filter_map(|peer| {
            let heard = self.heard.entry(peer.replica).or_insert(now);
            if peer.is_recently_active {
                *heard = now;
            }
            let position = match peer.mode {
                PeerMode::Snapshot => peer.matched.max(peer.pending_snapshot),
                PeerMode::Probe | PeerMode::Replicate => peer.matched,
            };
            (now.saturating_sub(*heard) <= grace && position >= base).then_some(position)
        });
        positions.min()
    }
}

impl Replica {
    /// Starts the transfer of the snapshot `message` speaks of.
    pub(super) fn send_snapshot(&mut self, ctx: &mut Ctx, node: NodeAt, message: RaftMessage) {
        let to = message.to;
        let token = message.snapshot.as_deref().and_then(|label| self.publisher.token(label));
        let begun = token.is_some_and(|token| self.begin_transfer(ctx, node, (to, token), Some(message)));
        if !begun {
            self.inputs.push_back(Input::SnapshotSent { to, delivered: false });
        }
    }

    /// A member asks for any snapshot at `at_least` or above.
    pub(crate) fn help(&mut self, ctx: &mut Ctx, node: NodeAt, to: ReplicaId, at_least: Index) {
        if !self.core.helps_waiting() || self.waiting.is_some() {
            return;
        }
        let newest = self.publisher.newest().filter(|newest| newest.id.index >= at_least);
        let Some(mut token) = newest else { return self.publish_if_wanted(ctx, at_least) };
        match self.transfers.running.get(&to) {
            Some(running) => token = running.token,
            None => {
                if !self.begin_transfer(ctx, node, (to, token), None) {
                    return;
                }
            }
        }
        let group = self.place.group;
        ctx.send(self.place.node, node, Packet::SnapshotOffered { group, to, token });
    }

    fn begin_transfer(
        &mut self,
        ctx: &mut Ctx,
        node: NodeAt,
        (to, token): (ReplicaId, SnapshotToken),
        message: Option<RaftMessage>,
    ) -> bool {
        let Ok(chunks) = self.snapshots.chunks(&token) else { return false };
        self.transfers.started += 1;
        let transfer = Transfer {
            number: self.transfers.started,
            node,
            token,
            message,
            chunks,
            received: 0,
            sent_at: ctx.now,
            deadline: ctx.now + self.config.snapshots.send_deadline,
        };
        self.transfers.running.insert(to, transfer);
        self.send_piece(ctx, to);
        true
    }

    fn send_piece(&mut self, ctx: &mut Ctx, to: ReplicaId) {
        let incarnation = self.core.incarnation_of(to).unwrap_or_default();
        let (group, uid) = (self.place.group, self.core.descriptor().uid);
        let Some(transfer) = self.transfers.running.get_mut(&to) else { return };
        transfer.sent_at = ctx.now;
        match transfer.chunks.read_chunk(transfer.received, CHUNK_BYTES) {
            Ok(Some(chunk)) => {
                let (number, token) = (transfer.number, transfer.token);
                let packet = ChunkPacket { group, uid, from: self.id, to, incarnation, number, token, chunk };
                ctx.send(self.place.node, transfer.node, Packet::Chunk(packet));
            }
            Ok(None) | Err(_) => self.end_transfer(ctx, to, false),
        }
    }

    /// A receiver has answered to a piece.
    pub(crate) fn piece_answered(
        &mut self,
        ctx: &mut Ctx,
        number: u64,
        answer: ChunkAnswer,
    ) -> Result<(), Failure> {
        let found = self.transfers.running.iter().find(|(_, transfer)| transfer.number == number);
        let Some(to) = found.map(|(to, _)| *to) else { return Ok(()) };
        match answer {
            ChunkAnswer::GoOn { received } => {
                if let Some(transfer) = self.transfers.running.get_mut(&to)
                    && received > transfer.received
                {
                    transfer.received = received;
                    self.send_piece(ctx, to);
                }
            }
            ChunkAnswer::Complete => self.end_transfer(ctx, to, true),
            ChunkAnswer::Refused => self.end_transfer(ctx, to, false),
            ChunkAnswer::Corrupt => {
                let token = self.transfers.running.get(&to).map(|transfer| transfer.token);
                self.end_transfer(ctx, to, false);
                if let Some(token) = token {
                    self.suspect(ctx, token);
                }
            }
        }
        self.flush(ctx)
    }

    /// A follower could not use a snapshot. If the file here has rotten it is put aside; either way a fresh one is due.
    fn suspect(&mut self, ctx: &mut Ctx, token: SnapshotToken) {
        let verified = self.snapshots.verify(&token, quorate_storage::snapshot::ReadFrom::Device);
        if verified.is_err_and(|error| error.is_corruption()) {
            self.distrust(ctx, token);
        }
        self.publisher.force();
    }

    fn end_transfer(&mut self, ctx: &mut Ctx, to: ReplicaId, is_delivered: bool) {
        let Some(Transfer { node, message, .. }) = self.transfers.running.remove(&to) else { return };
        let Some(message) = message else { return };
        if is_delivered {
            ctx.counts.snapshots_sent += 1;
            ctx.send(self.place.node, node, Packet::Raft(message));
            self.inputs.push_back(Input::SnapshotSent { to, delivered: true });
        } else {
            self.transfers.failed.insert(to, ctx.now + PAUSE);
        }
    }

    /// Once a tick: what was not answered is sent again, and what takes too long is given up.
    pub(super) fn look_at_transfers(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        let now = ctx.now;
        let late =
            self.transfers.running.iter().filter(|(_, transfer)| now >= transfer.sent_at + REPEAT_AFTER);
        for (to, deadline) in late.map(|(to, transfer)| (*to, transfer.deadline)).collect::<Vec<_>>() {
            if now >= deadline { self.end_transfer(ctx, to, false) } else { self.send_piece(ctx, to) }
        }
        while let Some((&to, &at)) = self.transfers.failed.first_key_value()
            && now >= at
        {
            self.transfers.failed.remove(&to);
            self.inputs.push_back(Input::SnapshotSent { to, delivered: false });
        }
        self.flush(ctx)
    }

    /// Feeds what was gathered beside the core's own turn.
    pub(super) fn flush(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        match self.inputs.pop_front() {
            Some(input) => self.feed(ctx, input),
            None => Ok(()),
        }
    }
}
