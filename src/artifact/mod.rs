//! Artifacts: files and folders that are known by their content.
//!
//! A file's digest is the BLAKE3 of its bytes, the one that `b3sum` prints. A folder's is the BLAKE3
//! of its [listing](tree::Tree), so a folder is an object of the store like any file. The stat cache
//! saves reading what has not changed; the store keeps what was built. Both may be shared by
//! threads, and by processes. This module must know nothing of stages.

mod digest;
mod footprint;
mod hash;
mod mapped;
mod record;
mod stat_cache;
mod stop;
mod store;
mod tree;

pub use digest::{Artifact, Digest, Kind, ParseDigestError};
pub use footprint::footprint;
pub use record::Record;
pub use stat_cache::StatCache;
pub use stop::stop_flag;
pub use store::Store;
pub use tree::{Entry, Tree};
