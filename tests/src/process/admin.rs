//! The admin pages of a node, as a client sees them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// The body of a page.
///
/// # Panics
/// If nobody answers there, or not with 200.
pub fn page(admin: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).expect("the admin listener");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}\n{body}");
    body.to_owned()
}

/// One series of a metric that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: u64,
}

/// The series of the metric `name`, which counts, on a page of metrics. Label values must hold no quotes and commas, and
/// ours do not.
///
/// # Panics
/// If a line of it cannot be read.
pub fn series(metrics: &str, name: &str) -> Vec<Series> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let ours = lines.filter(|rest| rest.starts_with(['{', ' ']));
    ours.map(|line| parse(line).unwrap_or_else(|| panic!("{name}{line}"))).collect()
}

fn parse(rest: &str) -> Option<Series> {
    let (labels, value) = rest.rsplit_once(' ')?;
    let labels = labels.trim_start_matches('{').trim_end_matches('}');
    let label = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    };
    let pairs = labels.split(',').filter(|pair| !pair.is_empty());
    Some(Series { labels: pairs.map(label).collect::<Option<_>>()?, value: value.parse().ok()? })
}
