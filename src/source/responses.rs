//! Answers of servers as they came, under `.krammerti/responses/`.
//!
//! A body is kept once, under the digest of its bytes; beside the bodies, one small JSON file for
//! each thing that is asked for (a slot) says which body is the newest answer, to which URL, when
//! and with which status. Both are written whole or not at all, so a fetch that was killed goes on
//! where it ended. Nothing here ever holds a token: whoever keeps an answer takes it out of the URL,
//! and out of a body in which a server sends it back (`token_hidden`); all other bodies are as they
//! came.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::SourceError;
use crate::fs::{self, private::RESPONSES};

/// What is known of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// What was asked for.
    pub(super) slot: String,
    /// Where it was asked for.
    pub(super) url: String,
    /// The BLAKE3 digest of what was sent along, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) post: Option<String>,
    /// When it was last known to be the answer, in seconds since 1970 UTC.
    pub(super) time: i64,
    /// The status of the answer.
    pub(super) status: u16,
    /// `gzip`, where the body is kept as it was packed for the way.
    pub(super) encoding: Option<String>,
    /// For the next conditional request.
    pub(super) etag: Option<String>,
    /// In the same way.
    pub(super) last_modified: Option<String>,
    /// Whether the body told the token and was changed for that; it is unpacked then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) token_hidden: bool,
    /// The BLAKE3 digest of the body.
    pub(super) body: String,
}

/// The stored answers of a project.
pub(super) struct Responses {
    folder: PathBuf,
}

impl Responses {
    pub(super) fn new(root: &Path) -> Self {
        let folder = root.join(RESPONSES);
        Self { folder }
    }

    fn meta_path(&self, slot: &str) -> PathBuf {
        let name = blake3::hash(slot.as_bytes()).to_hex();
        self.folder.join(format!("{name}.json"))
    }

    fn body_path(&self, digest: &str) -> PathBuf {
        self.folder.join("bodies").join(digest)
    }

    /// The newest answer for a slot. One that is damaged or incomplete counts as none.
    pub(super) fn find(&self, slot: &str) -> Result<Option<(Meta, Vec<u8>)>, SourceError> {
        let Some(text) = fs::read_if_exists(&self.meta_path(slot))? else {
            return Ok(None);
        };
        let Ok(meta) = serde_json::from_str::<Meta>(&text) else {
            return Ok(None);
        };
        let whole = meta.slot == slot && meta.body.chars().all(|c| c.is_ascii_hexdigit());
        let path = self.body_path(&meta.body);
        if !whole || !fs::exists(&path) {
            return Ok(None);
        }
        let body = fs::read(&path)?;
        let sound = blake3::hash(&body).to_hex().as_str() == meta.body;
        Ok(sound.then_some((meta, body)))
    }

    /// The slots of all answers, sorted, each with its file in the project. Here a damaged file is
    /// an error: nobody knows what it spoke of.
    pub(super) fn slots(&self) -> Result<Vec<(String, String)>, SourceError> {
        let mut slots = Vec::new();
        if !fs::exists(&self.folder) {
            return Ok(slots);
        }
        for entry in fs::entries(&self.folder)? {
            let path = entry.path();
            let ours = path
                .extension()
                .is_some_and(|extension| extension == "json");
            if !ours || fs::is_partial(&entry.name) {
                continue;
            }
            let Some(text) = fs::read_if_exists(&path)? else {
                continue;
            };
            let file = format!("{RESPONSES}/{}", entry.name.display());
            match serde_json::from_str::<Meta>(&text) {
                Ok(meta) => slots.push((meta.slot, file)),
                Err(error) => {
                    let message = format!(
                        "it spoke of a stored answer and is damaged ({error}); remove it to go on without that"
                    );
                    return Err(SourceError::File { file, message });
                }
            }
        }
        slots.sort_unstable();
        Ok(slots)
    }

    /// Keeps an answer; `meta.body` is taken from the bytes.
    pub(super) fn keep(&self, mut meta: Meta, body: &[u8]) -> Result<Meta, SourceError> {
        meta.body = blake3::hash(body).to_hex().to_string();
        let path = self.body_path(&meta.body);
        fs::write_atomic(&path, body)?;
        self.note(&meta)?;
        Ok(meta)
    }

    /// Writes what is known of a body that is already kept.
    pub(super) fn note(&self, meta: &Meta) -> Result<(), SourceError> {
        let mut text = serde_json::to_vec_pretty(meta).map_err(std::io::Error::other)?;
        text.push(b'\n');
        Ok(fs::write_atomic(&self.meta_path(&meta.slot), &text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_counts_as_absent() -> Result<(), SourceError> {
        let folder = tempfile::tempdir()?;
        let responses = Responses::new(folder.path());
        let meta = Meta {
            slot: "june".into(),
            url: "http://host/june".into(),
            post: None,
            time: 5,
            status: 200,
            encoding: None,
            etag: None,
            last_modified: None,
            token_hidden: false,
            body: String::new(),
        };
        assert!(responses.find("june")?.is_none() && responses.slots()?.is_empty());
        let kept = responses.keep(meta, b"body")?;
        assert_eq!(
            responses.find("june")?,
            Some((kept.clone(), b"body".to_vec()))
        );
        fs::write_atomic(&responses.body_path(&kept.body), b"bodx")?;
        assert!(responses.find("june")?.is_none());
        let slots = responses.slots()?;
        assert_eq!((slots.len(), slots[0].0.as_str()), (1, "june"));
        assert!(slots[0].1.starts_with(".krammerti/responses/"));
        fs::write_atomic(&responses.meta_path("june"), b"{")?;
        assert!(responses.find("june")?.is_none());
        let error = responses.slots().unwrap_err().to_string();
        assert!(error.contains("is damaged ("), "{error}");
        Ok(())
    }
}
