//! The cold-start gate: decides what a restarting replica must restore. Pure.
