//! Free loopback ports, several in a row, that nobody else takes before they are used.

use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};

use parking_lot::Mutex;

/// Below the range out of which the kernel gives ports to outgoing connections (32,768 and up), which would
/// otherwise take one between our look and the child's bind, or while a killed child is not there.
const PORTS: std::ops::Range<u16> = 18_000..32_000;
/// Ports that are claimed at a time.
const BLOCK: u16 = 64;

/// What this process has claimed.
static CLAIM: Mutex<Option<Claim>> = Mutex::new(None);

/// A block of ports that no other test process takes: it is claimed by a lock on a file for as long as the process
/// lives. The system lets go of it even after SIGKILL.
struct Claim {
    next: u16,
    end: u16,
}

/// The first of `count` neighbouring ports that are free, and that no test of any process is given again while this
/// process lives.
///
/// # Panics
/// If no such row is found, or `count` is more than 64.
pub fn free_ports(count: u16) -> u16 {
    assert!(count <= BLOCK, "{count} ports in a row are never free");
    let mut claim = CLAIM.lock();
    loop {
        if let Some(block) = claim.as_mut() {
            while block.end - block.next >= count {
                let first = block.next;
                let row: Result<Vec<_>, _> = (first..first + count).map(bind).collect();
                if row.is_ok() {
                    block.next += count;
                    return first;
                }
                // A server of somebody else.
                block.next += 1;
            }
        }
        *claim = Some(claim_block());
    }
}

fn bind(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

fn claim_block() -> Claim {
    let directory = std::env::temp_dir().join("quorate-test-ports");
    fs::create_dir_all(&directory).expect("the directory for temporary files takes another one");
    let first = PORTS.step_by(usize::from(BLOCK)).find(|first| {
        // Of another user, then.
        let Ok(file) = File::create(directory.join(format!("{first}.lock"))) else { return false };
        match file.try_lock() {
            Ok(()) => {
                // Held until the process ends.
                std::mem::forget(file);
                true
            }
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => panic!("cannot lock ports: {error}"),
        }
    });
    let first = first.expect("not all ports are claimed by tests");
    Claim { next: first, end: first + BLOCK }
}
