//! Requests and their replies.

use std::time::Duration;

use bytes::Bytes;
use rkyv::{Archive, Serialize};

use crate::message::RequestKind;
use crate::wire::WireError;
use crate::wire::rkyv_forms::{AsVec, access, archive_into, share};

/// Form of a request. Frozen.
#[derive(Archive, Serialize)]
struct RequestV1 {
    id: u64,
    kind: u16,
    deadline_ms: u32,
    #[rkyv(with = AsVec)]
    body: Bytes,
}

/// Form of a reply. Frozen.
#[derive(Archive, Serialize)]
struct ReplyV1 {
    id: u64,
    status: u8,
    retry_after_ms: u32,
    #[rkyv(with = AsVec)]
    body: Bytes,
}

const _: () = assert!(size_of::<ArchivedRequestV1>() == 22, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedReplyV1>() == 21, "as docs/FORMAT.md has it");

/// A request as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallRequest {
    /// Unique on its connection.
    pub(crate) id: u64,
    pub(crate) kind: RequestKind,
    /// What the caller still waits, in whole milliseconds on the wire.
    pub(crate) deadline: Duration,
    pub(crate) body: Bytes,
}

impl CallRequest {
    /// Most bytes of a frame's body that are not the request's body.
    pub(crate) const OVERHEAD_BYTES: usize = size_of::<ArchivedRequestV1>();

    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        let form = RequestV1 {
            id: self.id,
            kind: self.kind.0,
            deadline_ms: millis(self.deadline),
            body: self.body.clone(),
        };
        archive_into(&form, buffer);
    }

    pub(crate) fn decode(body: &Bytes) -> Result<Self, WireError> {
        let form = access::<ArchivedRequestV1>(body, "request")?;
        Ok(Self {
            id: form.id.to_native(),
            kind: RequestKind(form.kind.to_native()),
            deadline: Duration::from_millis(form.deadline_ms.to_native().into()),
            body: share(body, &form.body),
        })
    }
}

/// How a request ended on the node that served it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyStatus {
    /// Served; the body is the answer.
    Done,
    /// Not served: nothing happened.
    Busy,
    /// Served, but the answer cannot be carried (over the cap, or too many waiting).
    Lost,
}

impl ReplyStatus {
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Busy => 1,
            Self::Lost => 2,
        }
    }
}

/// A reply as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallReply {
    /// Of the request.
    pub(crate) id: u64,
    pub(crate) status: ReplyStatus,
    /// When to try again, for [`ReplyStatus::Busy`].
    pub(crate) retry_after: Duration,
    pub(crate) body: Bytes,
}

impl CallReply {
    /// Most bytes of a frame's body that are not the reply's body.
    pub(crate) const OVERHEAD_BYTES: usize = size_of::<ArchivedReplyV1>();

    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        let form = ReplyV1 {
            id: self.id,
            status: self.status.code(),
            retry_after_ms: millis(self.retry_after),
            body: self.body.clone(),
        };
        archive_into(&form, buffer);
    }

    pub(crate) fn decode(body: &Bytes) -> Result<Self, WireError> {
        let form = access::<ArchivedReplyV1>(body, "reply")?;
        let status = match form.status {
            0 => ReplyStatus::Done,
            1 => ReplyStatus::Busy,
            2 => ReplyStatus::Lost,
            _ => return Err(WireError::Malformed { what: "status of a reply" }),
        };
        Ok(Self {
            id: form.id.to_native(),
            status,
            retry_after: Duration::from_millis(form.retry_after_ms.to_native().into()),
            body: share(body, &form.body),
        })
    }
}

/// Whole milliseconds, at most what the form can say (49 days).
fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
