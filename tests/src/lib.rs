//! What the end-to-end, simulation and chaos tests share.

pub mod chaos;
pub mod checker;
pub mod corruption;
pub mod faults;
pub mod full_stack;
pub mod fuzz;
pub mod planted;
pub mod power_cut;
pub mod process;
pub mod protocol;
pub mod sim;
