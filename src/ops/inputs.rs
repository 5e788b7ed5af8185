//! What a command reads, by its content.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde::{Serialize, Serializer};

use crate::artifact::{Artifact, StatCache};

/// Inputs as they were before they were read. Whoever names something by them looks again afterwards, or
/// what was read of a folder that somebody replaced meanwhile would bear the name of another.
pub(super) struct Inputs {
    cache: StatCache,
    were: Vec<(PathBuf, Option<Artifact>)>,
}

impl Inputs {
    pub(super) fn look<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Result<Self> {
        let cache = StatCache::default();
        let look = |path: &Path| Ok((path.to_owned(), cache.artifact(path)?));
        let were = paths.into_iter().map(look).collect::<Result<_>>()?;
        Ok(Self { cache, were })
    }

    /// Refuses what changed since.
    pub(super) fn are_as_they_were(&self) -> Result<()> {
        for (path, was) in &self.were {
            ensure!(
                self.cache.artifact(path)? == *was,
                "{} changed while it was read; run this again",
                path.display()
            );
        }
        Ok(())
    }
}

impl Serialize for Inputs {
    /// Their contents.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.were.iter().map(|(_, was)| was))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_meanwhile_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("a"), "1").unwrap();
        let inputs = Inputs::look([path.as_path()]).unwrap();
        inputs.are_as_they_were().unwrap();
        std::fs::write(path.join("a"), "2").unwrap();
        let told = inputs.are_as_they_were().unwrap_err().to_string();
        assert!(
            told.ends_with("data changed while it was read; run this again"),
            "{told}"
        );
        std::fs::write(path.join("a"), "1").unwrap();
        inputs.are_as_they_were().unwrap();
    }
}
