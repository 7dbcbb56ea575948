//! Opens the built-in key-value state machine of each group, over stores that share the node's memory.
