//! Parameters of sources: one file a kind, raw and checked together.

pub(super) mod requests;
