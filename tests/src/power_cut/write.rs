//! The child that writes until it is killed, and tells the parent what it tries and what was acknowledged.

use std::io::Write as _;
use std::sync::Arc;

use quorate::Node;

use super::value::{KEYS, key, value};
use super::{ChildArgs, Error, io, node};

/// Writers side by side. Each has keys of its own, so that the writes of a key follow each other.
const WRITERS: u64 = 16;
const _: () = assert!(KEYS.is_multiple_of(WRITERS), "a key belongs to one writer");

/// Opens the node and writes for ever. Prints `open`, then `try N` before and `ack N` after each write.
///
/// # Errors
/// The node does not open, or a write failed: the file system is gone.
pub async fn write(args: ChildArgs) -> Result<(), Error> {
    let node = Arc::new(node::open(&args).await?);
    say("open".to_owned())?;
    let writers = (0..WRITERS).map(|writer| {
        let node = Arc::clone(&node);
        // Every writer begins at a number of its own that was never written.
        let first = args.first.next_multiple_of(WRITERS) + writer;
        tokio::spawn(async move { write_from(&node, first).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer does not panic")?;
    }
    Ok(())
}

async fn write_from(node: &Node, first: u64) -> Result<(), Error> {
    let mut number = first;
    loop {
        say(format!("try {number}"))?;
        node.put(key(number), value(number)).await?;
        say(format!("ack {number}"))?;
        number += WRITERS;
    }
}

/// One line, whole: what was acknowledged must not be lost in a buffer of the dying process.
fn say(mut line: String) -> Result<(), Error> {
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(io("cannot write to the parent"))
}
