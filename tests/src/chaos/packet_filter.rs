//! Drops packets by nftables, in the run's own network.

use std::io;
use std::net::SocketAddr;

use super::sandbox::tool;

const TABLE: &str = "quorate_chaos";

/// Packets that are dropped while it stands.
#[derive(Debug)]
pub(super) struct Dropping;

impl Dropping {
    /// `percent` of the packets to `node`, and of those from it if `both`.
    pub(super) fn begin(node: SocketAddr, percent: u32, both: bool) -> io::Result<Self> {
        let (address, port) = (node.ip(), node.port());
        let some = if percent < 100 { format!("numgen random mod 100 < {percent} ") } else { String::new() };
        let back = both.then(|| format!("ip saddr {address} tcp sport {port} {some}counter drop\n"));
        let rules =
            format!("ip daddr {address} tcp dport {port} {some}counter drop\n{}", back.unwrap_or_default());
        nft(&format!(
            "table inet {TABLE} {{\nchain in {{\ntype filter hook input priority 0;\n{rules}}}\n}}\n"
        ))?;
        Ok(Self)
    }

    /// How many were dropped.
    #[expect(clippy::unused_self, reason = "only what has begun can end")]
    pub(super) fn end(self) -> io::Result<u64> {
        let listed = tool("nft", ["list", "table", "inet", TABLE])?;
        nft(&format!("delete table inet {TABLE}"))?;
        Ok(packets(&listed))
    }
}

/// Whether that works here.
pub(super) fn probe() -> io::Result<()> {
    let nobody = SocketAddr::from(([127, 0, 0, 3], 1));
    Dropping::begin(nobody, 100, true)?.end().map(drop)
}

fn nft(text: &str) -> io::Result<String> {
    tool("nft", [text])
}

/// The sum of all counters.
fn packets(listed: &str) -> u64 {
    let counters = listed.split("counter packets ").skip(1);
    counters.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_counters_of_a_table_are_summed() {
        let listed = "ip daddr 127.0.0.2 tcp dport 18 numgen random mod 100 < 30 counter packets 12 bytes 700 drop\n\
                      ip saddr 127.0.0.2 tcp sport 18 counter packets 30 bytes 9 drop";
        assert_eq!(packets(listed), 42);
        assert_eq!(packets("table inet x { }"), 0);
    }
}
