//! Clusters on a simulated network, disks and clocks: one seed decides everything.

mod full_stack;
mod protocol;
