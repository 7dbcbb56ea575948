//! What a Redis client sends.

use std::sync::Arc;

use quorate_server::MemoryBackend;
use quorate_server::resp::fuzzing::converse;
use quorate_server::resp::{Limits, Splitter};

use super::Target;

pub(super) const TARGETS: &[Target] = &[Target { name: "resp_stream", what: resp_stream, seeds: resp_seeds }];

/// What `INFO` says of the keys.
const KEYSPACE: &[u8] = b"db0:keys=";

/// Small ones, so that they are come to.
fn limits() -> Limits {
    Limits {
        elements_max: 64,
        bulk_bytes_max: 512,
        request_bytes_max: 2_048,
        line_bytes_max: 256,
        ..Limits::default()
    }
}

/// However the bytes are cut, the same requests come of them, and the same is answered.
fn resp_stream(bytes: &[u8]) {
    let whole = [bytes];
    let pieces = cut(bytes);
    assert_eq!(requests(&whole), requests(&pieces), "a cut makes other requests");
    let told = converse(Arc::new(MemoryBackend::new()), limits(), &whole);
    let told_in_pieces = converse(Arc::new(MemoryBackend::new()), limits(), &pieces);
    // What a backend says of itself is of the moment it is asked in, with writes before it under way.
    if !told.windows(KEYSPACE.len()).any(|text| text == KEYSPACE) {
        assert_eq!(told, told_in_pieces, "a cut makes other replies");
    }
    let mut rest = told.as_slice();
    while !rest.is_empty() {
        rest = behind_reply(rest).unwrap_or_else(|| panic!("no reply: {}", rest.escape_ascii()));
    }
}

/// Pieces of lengths that the bytes themselves decide.
fn cut(bytes: &[u8]) -> Vec<&[u8]> {
    let mut state = crc32fast::hash(bytes);
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        state = state.wrapping_mul(0x9e37_79b1).wrapping_add(1);
        let length = 1 + (state >> 24) as usize % 24;
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

fn requests(pieces: &[&[u8]]) -> String {
    let mut splitter = Splitter::new(limits());
    let mut requests = Vec::new();
    for piece in pieces {
        splitter.buffer_mut().extend_from_slice(piece);
        loop {
            match splitter.next_request() {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(error) => return format!("{requests:?}, then {error}"),
            }
        }
        splitter.shrink();
    }
    format!("{requests:?}")
}

/// What follows the first reply; `None` if there is no whole one.
fn behind_reply(bytes: &[u8]) -> Option<&[u8]> {
    let (&kind, rest) = bytes.split_first()?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, mut rest) = (std::str::from_utf8(&rest[..end]).unwrap_or_default(), &rest[end + 2..]);
    let count = || line.parse::<i64>().ok();
    match kind {
        b'+' | b'-' | b'_' => {}
        b':' => drop(count()?),
        b'$' | b'=' => {
            if let Ok(length) = usize::try_from(count()?) {
                rest = rest.get(length..)?.strip_prefix(b"\r\n")?;
            }
        }
        b'*' | b'~' | b'%' => {
            let items = if kind == b'%' { 2 * count()? } else { count()? };
            for _ in 0..items {
                rest = behind_reply(rest)?;
            }
        }
        _ => return None,
    }
    Some(rest)
}

fn resp_seeds() -> Vec<Vec<u8>> {
    let array = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        bytes
    };
    let all = |lines: &[&str]| lines.iter().flat_map(|line| array(line)).collect::<Vec<u8>>();
    let keys = [
        "SET k v",
        "GET k",
        "MSET a 1 b 2",
        "MGET a b c",
        "INCR n",
        "DECRBY n 7",
        "APPEND k xyz",
        "STRLEN k",
        "SET k w NX GET",
        "GETSET k u",
        "SETNX j 1",
        "EXISTS k j",
        "TYPE k",
        "DBSIZE",
        "GETDEL k",
        "DEL a b",
        "SCAN 0 MATCH [a-z]* COUNT 2",
    ];
    let connection = [
        "HELLO 3",
        "CLIENT SETNAME me",
        "CLIENT LIST",
        "CLIENT GETNAME",
        "CLIENT ID",
        "SELECT 0",
        "PING x",
        "ECHO hi",
        "READONLY",
        "RESET",
        "QUIT",
    ];
    let server = [
        "COMMAND COUNT",
        "COMMAND INFO get set",
        "COMMAND GETKEYS MSET a 1 b 2",
        "CONFIG GET max*",
        "WAIT 0 1",
        "CLUSTER SLOTS",
        "CLUSTER KEYSLOT {a}b",
        "CLUSTER INFO",
        "CLUSTER GETKEYSINSLOT 1 9",
        "INFO server",
    ];
    let inline = b"PING\r\nset \"a b\" 'c d'\r\nget \"\\x61 b\"\r\n*-1\r\n*0\r\n\r\nquit\r\n".to_vec();
    vec![all(&keys), all(&connection), all(&server), inline]
}
