//! Free loopback ports, several in a row.

use std::net::{Ipv4Addr, TcpListener};

/// How many places are tried.
const ATTEMPTS_MAX: usize = 64;

/// The first of `count` neighbouring ports that were all free a moment ago.
///
/// # Panics
/// If no such row is found.
pub fn free_ports(count: u16) -> u16 {
    for _ in 0..ATTEMPTS_MAX {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let first = probe.local_addr().expect("a bound listener has an address").port();
        drop(probe);
        if first.checked_add(count).is_none() {
            continue;
        }
        let row: Result<Vec<_>, _> =
            (first..first + count).map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))).collect();
        if row.is_ok() {
            return first;
        }
    }
    panic!("no {count} neighbouring ports are free");
}
