//! Which links are cut, and why: a link works while nothing holds it down.

use std::collections::BTreeMap;

use crate::sim::NODES;

/// From, to; nodes from 0.
pub(super) type Link = (usize, usize);

/// How often each direction of each link is cut at present: faults overlap.
#[derive(Debug, Default)]
pub(super) struct Links {
    cuts: BTreeMap<Link, u32>,
}

impl Links {
    /// Cuts these once more.
    pub(super) fn cut(&mut self, sim: &turmoil::Sim<'_>, links: &[Link]) {
        for &(from, to) in links {
            let cuts = self.cuts.entry((from, to)).or_default();
            *cuts += 1;
            if *cuts == 1 {
                sim.partition_oneway(NODES[from], NODES[to]);
            }
        }
    }

    /// Takes one cut of each back.
    pub(super) fn mend(&mut self, sim: &turmoil::Sim<'_>, links: &[Link]) {
        for &(from, to) in links {
            let cuts = self.cuts.get_mut(&(from, to)).filter(|cuts| **cuts > 0);
            let cuts = cuts.expect("only what was cut is mended");
            *cuts -= 1;
            if *cuts == 0 {
                sim.repair_oneway(NODES[from], NODES[to]);
            }
        }
    }
}

/// All links of a node, in both directions.
pub(super) fn of_node(node: usize) -> Vec<Link> {
    let others = (0..NODES.len()).filter(move |other| *other != node);
    others.flat_map(|other| [(node, other), (other, node)]).collect()
}
