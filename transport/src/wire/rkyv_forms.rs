//! The two ways between our forms and bytes, and shared byte strings inside them.

use bytes::Bytes;
use rkyv::api::high::{HighSerializer, HighValidator, to_bytes_in};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::{Failure, Fallible};
use rkyv::ser::allocator::ArenaHandle;
use rkyv::ser::{Allocator, Writer};
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::with::{ArchiveWith, SerializeWith};
use rkyv::{Place, Portable, Serialize};

use crate::wire::WireError;

/// Appends the archived form of `value` to `buffer`.
pub(crate) fn archive_into(
    value: &impl for<'a> Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, Failure>>,
    buffer: &mut Vec<u8>,
) {
    let written = to_bytes_in::<_, Failure>(value, std::mem::take(buffer));
    *buffer = written.expect("writing to memory fails only above 4 GiB, and senders keep the frame cap");
}

/// Looks at `body` as an archived `T`, after bytecheck has walked all of it.
pub(crate) fn access<'a, T>(body: &'a Bytes, what: &'static str) -> Result<&'a T, WireError>
where
    T: Portable + for<'b> CheckBytes<HighValidator<'b, Failure>>,
{
    rkyv::access::<T, Failure>(body).map_err(|Failure| WireError::Malformed { what })
}

/// The bytes of an archived string, sharing the memory of the frame they came in.
pub(crate) fn share(body: &Bytes, bytes: &ArchivedVec<u8>) -> Bytes {
    body.slice_ref(bytes.as_slice())
}

/// Archives [`Bytes`] as a vector of bytes, in one copy.
#[derive(Debug)]
pub(crate) struct AsVec;

impl ArchiveWith<Bytes> for AsVec {
    type Archived = ArchivedVec<u8>;
    type Resolver = VecResolver;

    fn resolve_with(field: &Bytes, resolver: VecResolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_slice(field.as_ref(), resolver, out);
    }
}

impl<S: Fallible + Allocator + Writer + ?Sized> SerializeWith<Bytes, S> for AsVec {
    fn serialize_with(field: &Bytes, serializer: &mut S) -> Result<VecResolver, S::Error> {
        ArchivedVec::serialize_from_slice(field.as_ref(), serializer)
    }
}
