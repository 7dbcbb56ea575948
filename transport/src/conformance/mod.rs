//! What any [`Net`] must carry: run it with [`transport_conformance!`](crate::transport_conformance) on yours.
//!
//! Every claim is one function over a [`Fixture`]. They wait for events, never for time; a claim that does
//! not come true fails after [`PATIENCE`].

pub mod claims;
#[cfg(test)]
mod fault_tests;
pub mod hostile;
mod node;
mod raw;
mod recorder;
pub(crate) mod samples;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::net::Net;

/// How long an event may take before the claim has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The network under test.
pub trait Fixture: fmt::Debug {
    /// The network as the `number`-th node sees it, from 1.
    fn net(&self, number: u8) -> Arc<dyn Net>;

    /// Where that node may listen; port 0 for any.
    fn listen_addr(&self, number: u8) -> SocketAddr;
}

/// Makes one test of every claim, each with a fixture of its own: `transport_conformance!(MyFixture::new())`.
#[macro_export]
macro_rules! transport_conformance {
    ($fixture:expr) => {
        $crate::transport_conformance! {
            @each $fixture;
            claims:
                messages_of_a_lane_arrive_in_order,
                messages_of_many_groups_share_frames,
                every_field_of_a_message_arrives,
                a_request_ends_with_its_reply,
                many_requests_share_a_connection,
                a_dropped_responder_answers_busy,
                a_request_without_reply_ends_at_its_deadline,
                a_request_to_nobody_ends_unreachable,
                a_request_to_oneself_goes_to_the_handler,
                a_late_reply_is_dropped,
                a_cancelled_request_leaves_nothing_behind,
                requests_in_flight_are_bounded,
                requests_served_are_bounded,
                control_does_not_wait_behind_a_bulk_backlog,
                messages_to_nobody_are_reported,
                messages_of_a_broken_write_are_reported,
                an_oversized_message_is_dropped_and_reported,
                a_full_queue_drops_and_reports,
                a_broken_connection_is_made_anew,
                a_silent_node_is_found_dead,
                pings_compare_the_clocks,
                a_stop_writes_what_is_queued;
            hostile:
                garbage_closes_the_connection_and_no_more,
                a_wrong_checksum_closes_the_connection,
                a_cut_frame_closes_the_connection,
                a_malformed_body_closes_the_connection,
                a_length_over_the_cap_is_refused_by_its_header,
                a_node_of_another_cluster_is_refused,
                a_node_that_is_not_accepted_is_refused,
                another_node_than_the_one_dialled_is_refused,
                a_node_with_our_own_id_is_refused,
                a_slow_handshake_is_cut_off,
                half_open_connections_are_bounded;
        }
    };
    (@each $fixture:expr; $($module:ident: $($claim:ident),*;)*) => {
        $($(
            #[tokio::test]
            async fn $claim() {
                $crate::conformance::$module::$claim(&$fixture).await;
            }
        )*)*
    };
}
