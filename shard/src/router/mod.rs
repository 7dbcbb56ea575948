//! Sends every request to the group that owns its key, wherever that group is led.
//!
//! The router follows leader hints, retries what had no effect with full jitter inside the caller's
//! deadline, and never retries what may have committed. Requests that touch several groups fan out in
//! parallel.

mod leaders;
mod retry;

pub use leaders::LeaderCache;
pub use retry::{Attempt, Retry};
