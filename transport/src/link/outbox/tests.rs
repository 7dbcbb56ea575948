//! The queue of a lane, without a connection.

use bytes::Bytes;
use futures_util::FutureExt;
use quorate_storage::NodeId;
use tokio::time::{Duration, Instant};

use super::{Outbox, OutboxLimits, Rejected};
use crate::conformance::samples::append;
use crate::handler::RequestError;
use crate::message::RequestKind;
use crate::wire::{CallReply, ReplyStatus};

const LIMITS: OutboxLimits =
    OutboxLimits { messages_max: 4, bytes_max: 10_000, in_flight_max: 2, frame_bytes_max: 20_000 };

fn outbox() -> Outbox {
    Outbox::new(NodeId(2), LIMITS)
}

fn push_request(outbox: &Outbox, bytes: usize) -> Result<super::PendingRequest, RequestError> {
    let until = Instant::now() + Duration::from_secs(1);
    outbox.push_request(RequestKind(1), Bytes::from(vec![0; bytes]), until)
}

#[test]
fn the_writer_is_woken_once_for_many_messages() {
    let outbox = outbox();
    for number in 0..3 {
        outbox.push_message(append(number, 10)).unwrap();
    }
    assert!(outbox.filled().now_or_never().is_some());
    assert!(outbox.filled().now_or_never().is_none());
    assert_eq!(outbox.take(usize::MAX).messages.len(), 3);
    outbox.push_message(append(3, 10)).unwrap();
    assert!(outbox.filled().now_or_never().is_some());
}

#[test]
fn a_write_takes_about_what_it_may_and_at_least_one() {
    let outbox = outbox();
    for number in 0..4 {
        outbox.push_message(append(number, 1_000)).unwrap();
    }
    let sizes: Vec<usize> =
        std::iter::repeat_with(|| outbox.take(3_000).messages.len()).take_while(|&count| count > 0).collect();
    assert_eq!(sizes, [2, 2]);
    outbox.push_message(append(9, 15_000)).unwrap();
    assert_eq!(outbox.take(3_000).messages.len(), 1);
    assert!(outbox.take(3_000).is_empty());
}

#[test]
fn a_full_queue_rejects_and_one_large_message_always_fits() {
    let outbox = outbox();
    assert_eq!(outbox.push_message(append(0, 20_000)), Err(Rejected::Oversized));
    outbox.push_message(append(1, 15_000)).unwrap();
    assert_eq!(outbox.push_message(append(2, 1)), Err(Rejected::Full));
    assert!(matches!(push_request(&outbox, 1), Err(RequestError::Busy { .. })));
    outbox.take(1);
    outbox.close();
    assert_eq!(outbox.push_message(append(3, 1)), Err(Rejected::Closed));
    let dropped: Vec<u64> = outbox.take_dropped_now().iter().map(|message| message.log.index.get()).collect();
    assert_eq!(dropped, [0, 2, 3]);
}

#[test]
fn a_forgotten_request_gives_its_room_back_and_is_not_sent() {
    let outbox = outbox();
    for _ in 0..10 {
        let pending = push_request(&outbox, 9_000).unwrap();
        assert_eq!(outbox.forget(pending.id), Some(false));
        assert_eq!(outbox.forget(pending.id), None);
    }
    assert!(outbox.take(usize::MAX).is_empty());
}

#[test]
fn a_broken_connection_ends_what_was_sent_and_keeps_what_was_not() {
    let outbox = outbox();
    let mut sent = push_request(&outbox, 1).unwrap();
    assert_eq!(outbox.take(usize::MAX).requests.len(), 1);
    let mut queued = push_request(&outbox, 1).unwrap();
    assert!(matches!(push_request(&outbox, 1), Err(RequestError::Busy { .. })), "two are in flight");
    outbox.fail_sent();
    assert_eq!(sent.end.try_recv().unwrap(), Err(RequestError::NoReply(NodeId(2))));
    assert!(queued.end.try_recv().is_err(), "it still waits");
    assert_eq!(outbox.fail_queued(), 0);
    assert_eq!(queued.end.try_recv().unwrap(), Err(RequestError::Unreachable(NodeId(2))));
}

#[test]
fn a_reply_without_a_caller_is_noticed() {
    let outbox = outbox();
    let reply =
        |id| CallReply { id, status: ReplyStatus::Lost, retry_after: Duration::ZERO, body: Bytes::new() };
    assert!(!outbox.complete(reply(7)));
    let mut pending = push_request(&outbox, 1).unwrap();
    assert!(outbox.complete(reply(pending.id)));
    assert_eq!(pending.end.try_recv().unwrap(), Err(RequestError::NoReply(NodeId(2))));
}
