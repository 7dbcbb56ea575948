//! What the key-value state machine itself decides.
