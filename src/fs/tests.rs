//! Writing whole or not at all, and paths in errors.

use std::ffi::OsStr;
use std::io::Write as _;

use rustix::io::Errno;

use super::durable::{MANY, exchange_by};
use super::*;

fn names(path: &Path) -> Vec<String> {
    list(path)
        .unwrap()
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn errors_name_the_path() {
    let error = read(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_staged_folder_replaces_or_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    let staged = StagedFolder::new(&target).unwrap();
    staged.write("a/b.txt", b"one").unwrap();
    assert!(!target.exists());
    staged.commit().unwrap();
    assert_eq!(read(&target.join("a/b.txt")).unwrap(), b"one");

    let abandoned = StagedFolder::new(&target).unwrap();
    abandoned.write("c.txt", b"two").unwrap();
    drop(abandoned);
    assert_eq!(names(&target), ["a"]);

    let replacing = StagedFolder::new(&target).unwrap();
    replacing.write("c.txt", b"two").unwrap();
    replacing.commit().unwrap();
    assert_eq!(names(&target), ["c.txt"]);
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn a_folder_moves_to_another_file_system_too() {
    let (here, there) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir_in("/dev/shm"),
    );
    // Where a host has one file system only, this is the plain rename.
    let there = there.unwrap_or_else(|_| tempfile::tempdir().unwrap());
    let (from, to) = (here.path().join("a"), there.path().join("new/b"));
    write_atomic(&from.join("c/d"), b"x").unwrap();
    std::os::unix::fs::symlink("d", from.join("c/link")).unwrap();
    rename(&from, &to).unwrap();
    assert!(!exists(&from));
    assert_eq!(read(&to.join("c/link")).unwrap(), b"x");
    assert_eq!(names(&there.path().join("new")), ["b"]);
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/file");
    write_atomic(&path, b"old").unwrap();
    write_atomic(&path, b"new").unwrap();
    assert_eq!(read(&path).unwrap(), b"new");
    assert!(write_atomic(&path.join("below-a-file"), b"x").is_err());
    assert_eq!(names(&folder.path().join("new")), ["file"]);
    remove(&path).unwrap();
    remove(&path).unwrap();
}

#[test]
fn a_folder_gives_way_to_a_file_only_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("place");
    write_atomic(&path.join("inner"), b"old").unwrap();
    assert!(write_atomic(&path, b"new").is_err());
    assert_eq!(read(&path.join("inner")).unwrap(), b"old");
    let (staged, mut file) = StagedFile::new(&path).unwrap();
    file.write_all(b"new").unwrap();
    staged.commit_over_folder().unwrap();
    assert_eq!(read(&path).unwrap(), b"new");
    assert_eq!(names(folder.path()), ["place"]);
}

#[test]
fn many_files_appear_together() {
    let folder = tempfile::tempdir().unwrap();
    let staged: Vec<StagedFile> = (0..2 * MANY)
        .map(|i| {
            let path = folder.path().join(format!("{}/{i}", i % 3));
            let (staged, mut file) = StagedFile::new(&path).unwrap();
            file.write_all(b"new").unwrap();
            staged
        })
        .collect();
    assert_eq!(disk_usage(&folder.path().join("0/0")).unwrap(), 0);
    StagedFile::commit_all(staged).unwrap();
    assert_eq!(disk_usage(folder.path()).unwrap(), 6 * MANY as u64);
    assert_eq!(read(&folder.path().join("1/4")).unwrap(), b"new");
    assert_eq!(
        names(&folder.path().join("0")).len(),
        (2 * MANY).div_ceil(3)
    );
}

#[test]
fn only_partials_of_a_path_itself_go() {
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("csv");
    let (other, _) = StagedFile::new(&folder.path().join("data.csv")).unwrap();
    let (_one, _) = StagedFile::new(&mine).unwrap();
    let _two = StagedFolder::new(&mine).unwrap();
    assert_eq!(names(folder.path()).len(), 3);
    remove_partials(&mine).unwrap();
    let left = names(folder.path());
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(exists(&other.partial));
    let name = other.partial.file_name().unwrap();
    assert!(is_partial(name) && !is_abandoned(name));
    assert!(is_abandoned(OsStr::new(
        ".krammerti-partial.4294967295-7.data.csv"
    )));
    assert!(!is_abandoned(OsStr::new("data.csv")));
}

#[test]
fn entries_follow_links() {
    let folder = tempfile::tempdir().unwrap();
    write_atomic(&folder.path().join("b/file"), b"four").unwrap();
    for (to, name) in [("b", "a"), ("b/file", "c"), ("nowhere", "d")] {
        std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
    }
    let kinds: Vec<_> = entries(folder.path())
        .unwrap()
        .iter()
        .map(|entry| (entry.name.clone(), entry.stat().unwrap()))
        .map(|(name, metadata)| (name, metadata.map(|metadata| metadata.is_dir())))
        .collect();
    let expected = [
        ("a", Some(true)),
        ("b", Some(true)),
        ("c", Some(false)),
        ("d", None),
    ];
    assert_eq!(kinds, expected.map(|(name, kind)| (name.into(), kind)));
    // Four bytes, and the links, whose bytes are the paths that they hold.
    let links = "b".len() + "b/file".len() + "nowhere".len();
    assert_eq!(disk_usage(folder.path()).unwrap(), 4 + links as u64);
    assert_eq!(disk_usage(&folder.path().join("none")).unwrap(), 0);
}

#[test]
fn a_folder_gives_way_where_the_file_system_cannot_exchange() {
    let folder = tempfile::tempdir().unwrap();
    let (new, old) = (folder.path().join("new"), folder.path().join("old"));
    for error in [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP] {
        write_atomic(&new.join("file"), b"new").unwrap();
        write_atomic(&old.join("file"), b"old").unwrap();
        exchange_by(&new, &old, || Err(error)).unwrap();
        assert_eq!(read(&old.join("file")).unwrap(), b"new");
        assert_eq!(read(&new.join("file")).unwrap(), b"old");
    }
    // Nothing to put there: the old one stands where it stood.
    remove(&new).unwrap();
    let error = exchange_by(&new, &old, || Err(Errno::INVAL)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("cannot replace"), "{error}");
    assert_eq!(names(folder.path()), ["old"]);
    let error = exchange_by(&new, &old, || Err(Errno::ACCESS)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn a_pattern_finds_files_from_the_folder_and_an_absolute_one_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("own [1]");
    for name in ["own [1]/a.csv", "own [1]/b.csv", "other/c.csv"] {
        write_atomic(&folder.path().join(name), b"x").unwrap();
    }
    assert_eq!(glob(&root, "*.csv").unwrap(), ["a.csv", "b.csv"]);
    assert_eq!(glob(&root, "../other/*.csv").unwrap(), ["../other/c.csv"]);
    let other = folder.path().join("other").display().to_string();
    let absolute = glob(&root, &format!("{other}/*.csv")).unwrap();
    assert_eq!(absolute, [format!("{other}/c.csv")]);
}

#[test]
fn a_pattern_in_a_folder_without_a_plain_name_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join(OsStr::from_bytes(b"caf\xe9"));
    write_atomic(&root.join("a.csv"), b"x").unwrap();
    let error = glob(&root, "*.csv").unwrap_err().to_string();
    assert!(
        error.contains("`*.csv`") && error.contains("UTF-8"),
        "{error}"
    );
}
