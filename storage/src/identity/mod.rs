//! Identity files: whose directory this is.
