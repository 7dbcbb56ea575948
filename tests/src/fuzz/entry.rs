//! What entries carry: payloads, leases, membership changes.

use bytes::Bytes;
use quorate_storage::ConfChange;
use quorate_storage::payload::{Lease, Payload};

use super::Target;
use super::fixture::{command_payload, conf_change, encoded, lease_payload};
use super::laws::{reads_back, written_as_read};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "payload", what: payload, seeds: payload_seeds },
    Target { name: "conf_change", what: read_conf_change, seeds: conf_change_seeds },
];

fn payload(bytes: &[u8]) {
    let shared = Bytes::copy_from_slice(bytes);
    written_as_read(bytes, |bytes| {
        Payload::decode(&Bytes::copy_from_slice(bytes)).ok().map(|read| read.encode().to_vec())
    });
    let body = Payload::decode(&shared).map_or(shared, |read| read.body);
    written_as_read(&body, |bytes| Lease::decode(bytes).ok().map(|read| read.encode().to_vec()));
}

fn payload_seeds() -> Vec<Vec<u8>> {
    let command = command_payload(Bytes::from_static(b"what a state machine understands"));
    let empty = command_payload(Bytes::new());
    [command, empty, lease_payload()].iter().map(|payload| payload.encode().to_vec()).collect()
}

fn read_conf_change(bytes: &[u8]) {
    let decode = |bytes: &[u8]| ConfChange::decode(&Bytes::copy_from_slice(bytes));
    let encode = |change: &ConfChange| encoded(change.encode()).to_vec();
    reads_back(bytes, decode, encode);
    written_as_read(bytes, |bytes| decode(bytes).ok().map(|change| encode(&change)));
}

fn conf_change_seeds() -> Vec<Vec<u8>> {
    let whole = conf_change();
    let each = whole.ops.iter().map(|op| ConfChange { expected_epoch: whole.expected_epoch, ops: vec![*op] });
    let changes = each.chain([whole.clone(), ConfChange::default()]);
    changes.map(|change| encoded(change.encode()).to_vec()).collect()
}
