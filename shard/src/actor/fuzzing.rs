//! Decoders of what replicas say to each other outside of raft, for fuzzing. Nothing else calls this.

use bytes::Bytes;

use super::ConsistencyReport;
use super::consistency::wire::{DigestAnswer, DigestQuestion, DivergenceNotice};
use super::snapshot_chunk::{ChunkReply, ChunkRequest};
use super::waiting_wire::{SnapshotQuestion, decode_offer, encode_offer};
use crate::repair::{EntriesAnswer, EntriesQuestion, QuarantineNotice};

/// Reads bytes and gives what it has read as this release writes it; `None` for bytes that are refused.
pub type Codec = fn(&Bytes) -> Option<Bytes>;

/// Each by the name of what it reads.
pub const CODECS: [(&str, Codec); 11] = [
    ("chunk request", |body| ChunkRequest::decode(body).map(|read| read.encode())),
    ("chunk reply", |body| ChunkReply::decode(body).map(ChunkReply::encode)),
    ("snapshot question", |body| SnapshotQuestion::decode(body).map(|read| read.encode())),
    ("snapshot offer", |body| decode_offer(body).map(|token| encode_offer(Some(token)))),
    ("digest question", |body| DigestQuestion::decode(body).map(|read| read.encode())),
    ("digest answer", |body| DigestAnswer::decode(body).map(|read| read.encode())),
    ("divergence notice", |body| DivergenceNotice::decode(body).map(|read| read.encode())),
    ("quarantine notice", |body| QuarantineNotice::decode(body).map(|read| read.encode())),
    ("entries question", |body| EntriesQuestion::decode(body.clone()).map(|read| read.encode())),
    ("entries answer", |body| EntriesAnswer::decode(body.clone()).map(|read| read.encode())),
    ("consistency report", |body| ConsistencyReport::decode(body).ok().map(|read| read.encode())),
];
