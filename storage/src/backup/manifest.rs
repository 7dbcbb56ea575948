//! The manifest: what belongs to a backup. JSON, so that other tools can read it; a file of its own beside it has its
//! SHA-256, so that no byte of it changes unseen.

use serde::{Deserialize, Serialize};

use crate::entry::EntryId;
use crate::error::{Error, Result};
use crate::hex;
use crate::ids::{ClusterId, GroupId, GroupUid, Index, RangeEpoch, Term};
use crate::sha256::Sha256Sum;
use crate::snapshot::SnapshotToken;
use crate::state::StateDigest;
use crate::{KeyRange, descriptor::GroupDescriptor};

/// The manifest's name in the directory of a backup.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The name of the file with the manifest's SHA-256, as `sha256sum` writes and checks it.
pub const MANIFEST_HASH_FILE: &str = "manifest.json.sha256";

/// The version this release writes, and the newest it reads.
pub(super) const FORMAT: u16 = 1;

/// No manifest is longer: 100,000 groups have some 60 MB.
pub(super) const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// What belongs to a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The cluster it was taken from.
    pub cluster: ClusterId,
    /// The name that its id is made of, if whoever took it was told. For people.
    pub cluster_name: Option<String>,
    /// When it was begun, in milliseconds since the Unix epoch on the clock of whoever took it. For people.
    pub begun_ms: u64,
    /// When its last snapshot had been verified.
    pub ended_ms: u64,
    /// By ascending id, each once.
    pub groups: Vec<BackupGroup>,
}

/// One group in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupGroup {
    /// Its id.
    pub group: GroupId,
    /// Its identity.
    pub uid: GroupUid,
    /// The keys it serves.
    pub range: KeyRange,
    /// How often those were changed.
    pub range_epoch: RangeEpoch,
    /// Its snapshot: where in the log it stands, and what file it is.
    pub token: SnapshotToken,
    /// SHA-256 of the whole file.
    pub sha256: Sha256Sum,
    /// The state digest in its label; `None` if the state machine keeps none.
    pub digest: Option<StateDigest>,
    /// How many records the file holds.
    pub records: u64,
}

impl BackupGroup {
    /// The name of its file in the directory of the backup.
    pub fn file_name(&self) -> String {
        group_file_name(self.group)
    }

    /// Whether a group's descriptor is of the group that is meant here.
    pub(super) fn describes(&self, descriptor: &GroupDescriptor) -> bool {
        (self.group, self.uid, &self.range, self.range_epoch)
            == (descriptor.group, descriptor.uid, &descriptor.range, descriptor.range_epoch)
    }
}

/// The name of a group's snapshot in a backup.
pub(super) fn group_file_name(group: GroupId) -> String {
    format!("group-{group}.snap")
}

impl Manifest {
    /// The group of this id.
    pub fn group(&self, group: GroupId) -> Option<&BackupGroup> {
        let at = self.groups.binary_search_by_key(&group, |known| known.group).ok()?;
        Some(&self.groups[at])
    }

    /// Bytes of all snapshots together.
    pub fn bytes(&self) -> u64 {
        self.groups.iter().fold(0, |sum, group| sum.saturating_add(group.token.bytes))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let form = ManifestForm {
            format: FORMAT,
            cluster: hex::encode(&self.cluster.0),
            cluster_name: self.cluster_name.clone(),
            begun_ms: self.begun_ms,
            ended_ms: self.ended_ms,
            groups: self.groups.iter().map(GroupForm::from).collect(),
        };
        let mut bytes = serde_json::to_vec_pretty(&form)
            .unwrap_or_else(|cause| unreachable!("texts and numbers always serialize: {cause}"));
        bytes.push(b'\n');
        bytes
    }

    /// Reads a manifest whose hash has been checked.
    ///
    /// # Errors
    /// [`Error::NewerFormat`]; [`Error::Malformed`] for anything this release would not have written.
    pub(super) fn decode(bytes: &[u8], file: &std::path::Path) -> Result<Self> {
        const BAD: Error = Error::Malformed { what: "backup manifest" };
        let VersionForm { format } = serde_json::from_slice(bytes).map_err(|_| BAD)?;
        if format > FORMAT {
            let file = file.to_path_buf();
            return Err(Error::NewerFormat { file, found: format, supported: FORMAT });
        }
        let form: ManifestForm = serde_json::from_slice(bytes).map_err(|_| BAD)?;
        let groups: Option<Vec<BackupGroup>> = form.groups.iter().map(GroupForm::read).collect();
        let groups = groups.filter(|_| format == FORMAT).ok_or(BAD)?;
        if !groups.is_sorted_by(|a, b| a.group < b.group) {
            return Err(BAD);
        }
        let cluster = ClusterId(id(&form.cluster).ok_or(BAD)?);
        let ManifestForm { cluster_name, begun_ms, ended_ms, .. } = form;
        Ok(Self { cluster, cluster_name, begun_ms, ended_ms, groups })
    }
}

/// What every version begins with.
#[derive(Deserialize)]
struct VersionForm {
    format: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestForm {
    format: u16,
    cluster: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster_name: Option<String>,
    begun_ms: u64,
    ended_ms: u64,
    groups: Vec<GroupForm>,
}

/// Identities, keys, digests and hashes are hexadecimal digits.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupForm {
    group: u64,
    uid: String,
    range_start: String,
    range_end: Option<String>,
    range_epoch: u64,
    term: u64,
    index: u64,
    file: String,
    bytes: u64,
    crc: u32,
    sha256: String,
    digest: Option<String>,
    records: u64,
}

impl From<&BackupGroup> for GroupForm {
    fn from(group: &BackupGroup) -> Self {
        Self {
            group: group.group.get(),
            uid: hex::encode(&group.uid.0),
            range_start: hex::encode(&group.range.start),
            range_end: group.range.end.as_deref().map(hex::encode),
            range_epoch: group.range_epoch.get(),
            term: group.token.id.term.get(),
            index: group.token.id.index.get(),
            file: group.file_name(),
            bytes: group.token.bytes,
            crc: group.token.crc,
            sha256: group.sha256.to_string(),
            digest: group.digest.map(|digest| hex::encode(&digest.0.to_be_bytes())),
            records: group.records,
        }
    }
}

impl GroupForm {
    /// `None` if it is none of ours: a file of another name, too.
    fn read(&self) -> Option<BackupGroup> {
        let end = match &self.range_end {
            Some(end) => Some(hex::decode(end)?.into()),
            None => None,
        };
        let digest = match &self.digest {
            Some(digest) => Some(StateDigest(u128::from_be_bytes(id(digest)?))),
            None => None,
        };
        let id = EntryId { term: Term(self.term), index: Index(self.index) };
        let group = BackupGroup {
            group: GroupId(self.group),
            uid: GroupUid(self::id(&self.uid)?),
            range: KeyRange { start: hex::decode(&self.range_start)?.into(), end },
            range_epoch: RangeEpoch(self.range_epoch),
            token: SnapshotToken { id, bytes: self.bytes, crc: self.crc },
            sha256: Sha256Sum::parse(&self.sha256)?,
            digest,
            records: self.records,
        };
        (self.file == group.file_name()).then_some(group)
    }
}

/// 16 bytes.
fn id(text: &str) -> Option<[u8; 16]> {
    hex::decode(text)?.try_into().ok()
}

/// The line that [`MANIFEST_HASH_FILE`] holds for a manifest of these bytes.
pub(super) fn hash_line(manifest: &[u8]) -> String {
    format!("{}  {MANIFEST_FILE}\n", Sha256Sum::of(manifest))
}

/// The sum in a line that [`hash_line`] has made; `None` for any other text.
pub(super) fn read_hash_line(line: &[u8]) -> Option<Sha256Sum> {
    let digits = line.strip_suffix(format!("  {MANIFEST_FILE}\n").as_bytes())?;
    Sha256Sum::parse(std::str::from_utf8(digits).ok()?)
}
