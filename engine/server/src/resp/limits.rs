//! Bounds of the Redis frontend. What comes from a client is checked against these before memory is taken for it.

use std::time::Duration;

use crate::key::VALUE_BYTES_MAX;

/// What one connection, and all of them together, may use. `Default` is for production.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at the same time; one more is told so and closed. All listeners of a process together take at
    /// most half of the file descriptors it may open, whatever this says.
    pub connections_max: usize,
    /// Arguments of one request, the command's name among them.
    pub elements_max: usize,
    /// Bytes of one argument. Above the limit on values, so that a value just over it gets a reply that says
    /// so; an argument over this one ends the connection.
    pub bulk_bytes_max: usize,
    /// Bytes of one request as it travels.
    pub request_bytes_max: usize,
    /// Bytes of a line: an inline request, or a count in front of something.
    pub line_bytes_max: usize,
    /// Requests of one connection that are not answered yet.
    pub commands_in_flight_max: usize,
    /// Bytes of those requests and of their replies, as far as they are there. A single request may be larger,
    /// then nothing else is taken beside it.
    pub command_bytes_in_flight_max: usize,
    /// Calls to the backend by one connection at the same time.
    pub batches_in_flight_max: usize,
    /// Bytes of values that one call to the backend may bring.
    pub read_batch_bytes_max: usize,
    /// Replies encoded ahead of a client that does not take them. Over it nothing more is read from that client.
    pub reply_buffer_bytes: usize,
    /// Bytes of requests and replies that all connections of a listener hold together, beyond the first 16 KiB
    /// of each. The connection that goes over it is closed, and told so if dropping what it has not begun makes room.
    pub buffered_bytes_max: usize,
    /// A request that has begun to arrive is complete after this long, or the client is told so and disconnected. It
    /// does not count while nothing is read from the client because of another limit.
    pub request_arrival_max: Duration,
    /// A client that takes no byte of a waiting reply for this long is disconnected.
    pub write_stall_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            elements_max: 65_536,
            bulk_bytes_max: 2 * VALUE_BYTES_MAX,
            request_bytes_max: 64 * 1024 * 1024,
            line_bytes_max: 64 * 1024,
            commands_in_flight_max: 128,
            command_bytes_in_flight_max: 16 * 1024 * 1024,
            batches_in_flight_max: 4,
            read_batch_bytes_max: 64 * 1024 * 1024,
            reply_buffer_bytes: 1024 * 1024,
            buffered_bytes_max: 512 * 1024 * 1024,
            request_arrival_max: Duration::from_secs(60),
            write_stall_max: Duration::from_secs(30),
        }
    }
}
