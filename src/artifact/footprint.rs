//! Whether somebody wrote to a file or folder, even if it is the same again.
//!
//! A stage that reads while an input is edited and put back has read something else, and its digest
//! does not tell. Inode, size and time of the last change of content do. Not the time of the last
//! change of status: a backup that makes hard links changes that, and takes nothing from a result.
//!
//! Of a file that is edited in place and put back at the same size within one tick of the file system's clock
//! (some ms, a second or two on ext3 and vfat) nothing tells: no time that a file has is finer.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Digest;
use super::tree::counts;
use crate::fs;

/// A hash of what was written where and when, at a path and below; `None` where there is nothing.
pub fn footprint(path: &Path) -> io::Result<Option<Digest>> {
    let Some(metadata) = fs::stat(path)? else {
        return Ok(None);
    };
    let mut text = String::new();
    if metadata.is_dir() {
        walk(path, &mut text)?;
    } else {
        add(&metadata, &mut text);
    }
    Ok(Some(Digest::of(text.as_bytes())))
}

/// Folders themselves do not count, as they do not in a [listing](super::Tree).
fn walk(folder: &Path, text: &mut String) -> io::Result<()> {
    for entry in fs::entries(folder)? {
        if !counts(&entry.name) {
            continue;
        }
        match entry.stat()? {
            Some(metadata) if metadata.is_dir() => walk(&entry.path(), text)?,
            Some(metadata) => add(&metadata, text),
            None => {}
        }
    }
    Ok(())
}

fn add(metadata: &Metadata, text: &mut String) {
    text.push_str(&format!(
        "{} {} {} {} {}\n",
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_put_back_has_another_footprint() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("in/a");
        assert_eq!(footprint(&file).unwrap(), None);
        fs::write_atomic(&file, b"one").unwrap();
        let print = |path: &Path| footprint(path).unwrap().unwrap();
        let (of_file, of_folder) = (print(&file), print(folder.path()));
        assert_eq!(print(&file), of_file);
        fs::write_atomic(&file, b"two").unwrap();
        fs::write_atomic(&file, b"one").unwrap();
        assert_ne!(print(&file), of_file);
        assert_ne!(print(folder.path()), of_folder);
    }
}
