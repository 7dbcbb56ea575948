//! The gate, table by table.

mod header;
mod rows;
