//! Receives packets: raft's messages, and the pieces of a snapshot, which is verified before raft hears of it.

use quorate_shard::core::Input;
use quorate_storage::kv::verify_snapshot;
use quorate_storage::snapshot::{SnapshotLabel, SnapshotSpool, SnapshotToken, SpoolLimits};
use quorate_storage::{Error, Result};
use quorate_transport::{RaftMessage, RaftMessageKind};

use super::super::ctx::Ctx;
use super::super::event::NodeAt;
use super::super::packet::{ChunkAnswer, ChunkPacket, Packet};
use super::{Failure, Replica};

/// A group's incoming snapshot: one at a time.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    spool: Option<SnapshotSpool>,
    /// The newest that is complete and in place.
    pub(super) received: Option<(SnapshotToken, SnapshotLabel)>,
}

impl Replica {
    /// A packet for this replica.
    pub(crate) fn take(
        &mut self,
        ctx: &mut Ctx,
        from: NodeAt,
        packet: Packet,
    ) -> std::result::Result<(), Failure> {
        match packet {
            Packet::Raft(message) => self.take_message(ctx, from, message),
            Packet::Chunk(chunk) => {
                let answer = self.take_chunk(&chunk);
                let (group, to, number) = (chunk.group, chunk.from, chunk.number);
                ctx.send(self.place.node, from, Packet::ChunkAnswer { group, to, number, answer });
                Ok(())
            }
            Packet::ChunkAnswer { number, answer, .. } => self.piece_answered(ctx, number, answer),
            Packet::SnapshotWanted { from: replica, at_least, .. } => {
                self.help(ctx, from, replica, at_least);
                self.flush(ctx)
            }
            Packet::SnapshotOffered { token, .. } => {
                self.offered(token);
                Ok(())
            }
            // For the node.
            Packet::EntriesWanted { .. } | Packet::EntriesAnswered { .. } => Ok(()),
        }
    }

    fn take_message(
        &mut self,
        ctx: &mut Ctx,
        from: NodeAt,
        message: RaftMessage,
    ) -> std::result::Result<(), Failure> {
        match self.core.descriptor().replica(message.from) {
            Some(known) if known.node.get() != from as u64 + 1 => return Ok(()),
            Some(_) => {}
            None => drop(self.addresses.insert(message.from, from)),
        }
        if message.kind != RaftMessageKind::Snapshot {
            return self.feed(ctx, Input::Message(message));
        }
        let label = message.snapshot.as_deref();
        let received = self.receiving.received.as_ref().filter(|(_, held)| Some(held) == label);
        match received.map(|(token, _)| *token) {
            Some(token) => self.feed(ctx, Input::Snapshot { message, token }),
            // Its body has not arrived.
            None => Ok(()),
        }
    }

    fn take_chunk(&mut self, packet: &ChunkPacket) -> ChunkAnswer {
        let is_for_another = !packet.incarnation.is_zero() && packet.incarnation != self.incarnation;
        let is_foreign = packet.uid != self.core.descriptor().uid;
        if is_for_another || is_foreign {
            return ChunkAnswer::Refused;
        }
        if self.receiving.received.as_ref().is_some_and(|(token, _)| *token == packet.token) {
            return ChunkAnswer::Complete;
        }
        match self.put_chunk(packet) {
            Ok(answer) => answer,
            Err(error) => {
                self.receiving.spool = None;
                if error.is_corruption() { ChunkAnswer::Corrupt } else { ChunkAnswer::Refused }
            }
        }
    }

    fn put_chunk(&mut self, packet: &ChunkPacket) -> Result<ChunkAnswer> {
        let is_other = self.receiving.spool.as_ref().is_none_or(|spool| *spool.token() != packet.token);
        if is_other {
            // A newer one is worth more than the rest of an older one.
            self.receiving.spool = None;
            let limits = SpoolLimits {
                file_bytes_max: self.config.snapshots.file_bytes_max,
                reserve_bytes: self.config.snapshots.reserve_bytes,
            };
            self.receiving.spool = Some(self.snapshots.spool(packet.token, limits)?);
        }
        let Some(mut spool) = self.receiving.spool.take() else { return Ok(ChunkAnswer::Refused) };
        if packet.chunk.offset == spool.received() {
            spool.put(&packet.chunk)?;
        }
        if !spool.is_complete() {
            let received = spool.received();
            self.receiving.spool = Some(spool);
            return Ok(ChunkAnswer::GoOn { received });
        }
        let (token, label) = spool.finish()?;
        self.verify(token, &label)?;
        self.receiving.received = Some((token, label));
        Ok(ChunkAnswer::Complete)
    }

    fn verify(&self, token: SnapshotToken, label: &SnapshotLabel) -> Result<()> {
        let mut reader = self.snapshots.reader(token)?;
        let verified = verify_snapshot(
            label.record.descriptor.uid,
            &mut reader,
            &label.record,
            &self.snapshots.path_of(token.id),
        );
        if verified.as_ref().is_err_and(Error::is_corruption) {
            // If it cannot be put aside, the next start finds it again.
            let _ = self.snapshots.quarantine(token.id);
        }
        verified
    }
}
