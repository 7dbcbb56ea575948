//! Statements of what a state machine holds: applied records, markers, descriptors.

use std::path::Path;

use quorate_storage::GroupDescriptor;
use quorate_storage::fuzzing::marker;
use quorate_storage::state::AppliedRecord;

use super::Target;
use super::fixture::{BORN, full_record, record};
use super::laws::{reads_back, settles};
use super::seal;

pub(super) const TARGETS: &[Target] = &[
    Target { name: "applied_record", what: applied_record, seeds: record_seeds },
    Target { name: "group_descriptor", what: group_descriptor, seeds: descriptor_seeds },
    Target { name: "marker", what: read_marker, seeds: marker_seeds },
];

/// Bytes of a marker in front of its applied record; the last four of them are a checksum.
const COUNTS_BYTES: usize = 20;

fn applied_record(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    seal::record(&mut sealed);
    for bytes in [bytes, &sealed] {
        // One of an older format is as none.
        let decode =
            |bytes: &[u8]| AppliedRecord::decode(bytes, Path::new("record")).ok().flatten().ok_or(());
        reads_back(bytes, decode, AppliedRecord::encode);
    }
}

fn record_seeds() -> Vec<Vec<u8>> {
    [record(BORN, 3), record(BORN, 1), full_record()].iter().map(AppliedRecord::encode).collect()
}

fn group_descriptor(bytes: &[u8]) {
    reads_back(bytes, GroupDescriptor::decode, |read| read.encode().to_vec());
}

fn descriptor_seeds() -> Vec<Vec<u8>> {
    let full = full_record().descriptor;
    let open_ended =
        GroupDescriptor { range: quorate_storage::KeyRange::all(), replicas: Vec::new(), ..full.clone() };
    [full, open_ended].iter().map(|descriptor| descriptor.encode().to_vec()).collect()
}

fn read_marker(bytes: &[u8]) {
    settles(bytes, marker);
    let mut sealed = bytes.to_vec();
    let _ = seal::crc(&mut sealed, COUNTS_BYTES - 4, 0..COUNTS_BYTES - 4);
    if let Some(record) = sealed.get_mut(COUNTS_BYTES..) {
        seal::record(record);
    }
    settles(&sealed, marker);
}

fn marker_seeds() -> Vec<Vec<u8>> {
    let marker = |record: Vec<u8>| {
        let mut bytes = [3_u64.to_le_bytes(), (1_u64 << 40).to_le_bytes()].concat();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.extend_from_slice(&record);
        bytes
    };
    record_seeds().into_iter().map(marker).collect()
}
