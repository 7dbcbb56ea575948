//! The clock of the machine.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use tokio::time::Instant;

use super::{BootId, Clock};
use crate::rng::{Rng, SystemRng};

/// Where Linux tells the identity of the current boot.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// A boot id is 32 hexadecimal digits; dashes between them do not count.
const BOOT_ID_DIGITS: usize = 32;

/// The boot id could not be read from the file it was asked from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootIdError {
    /// The file could not be read.
    #[error("cannot read the boot id from {path}", path = .path.display())]
    Read {
        /// The file asked.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not hold 32 hexadecimal digits.
    #[error("{path} holds no boot id: expected 32 hexadecimal digits", path = .path.display())]
    Malformed {
        /// The file asked.
        path: PathBuf,
    },
}

/// The production [`Clock`]: tokio's monotonic clock, the system's wall clock, the kernel's boot id.
///
/// Under a paused tokio runtime monotonic time stands still with the runtime's timers. Outside any runtime it is the
/// machine's own monotonic clock. Reading it costs tens of nanoseconds and takes no lock.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
    boot_id: BootId,
}

impl SystemClock {
    /// A clock whose monotonic origin is now. The boot id is read once, here.
    ///
    /// Where the kernel does not tell its boot id, a random one stands in for it: every start then counts as one
    /// after a power cut, which costs a restore of some stores and never trusts what must not be trusted.
    pub fn new() -> Self {
        let boot_id = read_boot_id(Path::new(BOOT_ID_FILE)).unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "boot id unknown: assuming a power cut");
            BootId(SystemRng::new().next_id())
        });
        Self { origin: Instant::now(), boot_id }
    }

    /// A clock that takes its boot id from `path` instead of from the kernel, so that a test can act out a power
    /// cut without one. The file holds 32 hexadecimal digits, dashes and surrounding white space allowed.
    ///
    /// # Errors
    /// [`BootIdError`] when the file cannot be read or holds something else: the override was asked for, so
    /// nothing is guessed.
    pub fn with_boot_id_file(path: &Path) -> Result<Self, BootIdError> {
        Ok(Self { origin: Instant::now(), boot_id: read_boot_id(path)? })
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        Instant::now().saturating_duration_since(self.origin)
    }

    fn wall(&self) -> Duration {
        // A clock set before 1970 reads as 1970: callers compare wall clocks between nodes and will refuse it there.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn boot_id(&self) -> BootId {
        self.boot_id
    }
}

fn read_boot_id(path: &Path) -> Result<BootId, BootIdError> {
    let text =
        fs::read_to_string(path).map_err(|source| BootIdError::Read { path: path.to_owned(), source })?;
    parse_boot_id(&text).ok_or_else(|| BootIdError::Malformed { path: path.to_owned() })
}

fn parse_boot_id(text: &str) -> Option<BootId> {
    let digits: String = text.trim().chars().filter(|&c| c != '-').collect();
    // The parser of numbers takes a sign, which is no digit.
    let plain = digits.len() == BOOT_ID_DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !plain {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(|bits| BootId(bits.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_read_with_and_without_dashes() {
        let dashed = parse_boot_id("2b7f1d6e-8f3c-4a51-9c02-0123456789ab\n").unwrap();
        assert_eq!(Some(dashed), parse_boot_id("2b7f1d6e8f3c4a519c020123456789ab"));
        assert_eq!(dashed.0[0], 0x2b);
        assert_eq!(dashed.0[15], 0xab);
    }

    #[test]
    fn what_is_no_boot_id_is_refused() {
        for text in ["", "2b7f", "+b7f1d6e8f3c4a519c020123456789ab", "zb7f1d6e8f3c4a519c020123456789ab"] {
            assert_eq!(parse_boot_id(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_missing_override_file_is_an_error_that_names_it() {
        let error = SystemClock::with_boot_id_file(Path::new("/nonexistent/boot")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/boot"), "{error}");
    }

    #[test]
    fn it_works_outside_a_runtime_and_never_goes_backwards() {
        let clock = SystemClock::new();
        let mut last = clock.monotonic();
        for _ in 0..1_000 {
            let now = clock.monotonic();
            assert!(now >= last);
            last = now;
        }
        assert!(clock.wall() > Duration::from_secs(1_600_000_000));
        assert_eq!(clock.boot_id(), clock.boot_id());
    }

    #[tokio::test(start_paused = true)]
    async fn it_follows_paused_tokio_time() {
        let clock = SystemClock::new();
        let before = clock.monotonic();
        assert_eq!(clock.monotonic(), before);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(clock.monotonic(), before + Duration::from_secs(3_600));
    }
}
