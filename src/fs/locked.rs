//! Removing what its owner has locked: folders without write permission, as Go's module cache leaves them.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Removes a file or folder with all that is in it, also where folders in it may not be written. None there is fine.
pub fn remove_locked(path: &Path) -> io::Result<()> {
    match super::remove(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unlock(path)?;
            super::remove(path)
        }
        removed => removed,
    }
}

/// Lets the owner write all folders.
fn unlock(folder: &Path) -> io::Result<()> {
    if !folder.symlink_metadata()?.is_dir() {
        return Ok(());
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    std::fs::read_dir(folder)?.try_for_each(|entry| unlock(&entry?.path()))
}
