//! What the store keeps, gives back and lets go.

use super::*;

struct Project {
    folder: tempfile::TempDir,
    store: Store,
    cache: StatCache,
}

fn setup() -> Project {
    let folder = tempfile::tempdir().unwrap();
    Project {
        store: Store::new(&folder.path().join("store")),
        cache: StatCache::load(&folder.path().join("cache")),
        folder,
    }
}

impl Project {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write_atomic_volatile(&self.path(name), content.as_bytes()).unwrap();
    }

    fn artifact(&self, name: &str) -> Artifact {
        self.cache.artifact(&self.path(name)).unwrap().unwrap()
    }

    fn insert(&self, name: &str) -> Artifact {
        let artifact = self.artifact(name);
        let path = self.path(name);
        self.store.insert(&path, artifact, &self.cache).unwrap();
        artifact
    }

    fn damage(&self, digest: Digest) {
        fs::write_atomic(&self.store.object(digest), b"evil").unwrap();
    }

    /// The names beside the outputs.
    fn names(&self) -> Vec<String> {
        let names = fs::list(self.folder.path()).unwrap().into_iter();
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

fn record(artifact: Artifact) -> Record {
    Record {
        outputs: [("out".to_owned(), artifact)].into(),
        built: None,
        built_on: BTreeMap::new(),
        unstored: BTreeSet::new(),
    }
}

#[test]
fn what_goes_in_comes_out_again() {
    let project = setup();
    project.write("out/a/b.csv", "1,2\n");
    project.write("out/c.json", "{}\n");
    let artifact = project.artifact("out");
    assert!(!project.store.has(artifact));
    project.insert("out");
    assert!(project.store.has(artifact));

    project.write("out/other", "x");
    project
        .store
        .restore(artifact, &project.path("out"))
        .unwrap();
    assert_eq!(project.artifact("out"), artifact);
}

#[test]
fn a_folder_of_many_files_does_too() {
    let project = setup();
    for i in 0..100 {
        // Some share an object.
        project.write(&format!("out/{}/{i}", i % 7), &format!("{}", i % 50));
    }
    let artifact = project.insert("out");
    assert_eq!(project.store.objects().unwrap().len(), 51);
    project
        .store
        .restore(artifact, &project.path("back"))
        .unwrap();
    assert_eq!(project.artifact("back"), artifact);
    assert_eq!(project.names(), ["back", "out", "store"]);
}

#[test]
fn who_may_execute_a_file_comes_back_and_a_folder_gives_way_to_a_file() {
    let project = setup();
    project.write("tool", "#!/bin/sh\n");
    let file = fs::open(&project.path("tool")).unwrap();
    fs::set_mode(&file, &project.path("tool"), 0o755).unwrap();
    let artifact = project.insert("tool");
    assert_eq!(artifact.kind, Kind::Executable);
    project.write("back/other", "x");
    project
        .store
        .restore(artifact, &project.path("back"))
        .unwrap();
    assert_eq!(project.artifact("back"), artifact);
    assert_eq!(project.names(), ["back", "store", "tool"]);
}

#[test]
fn a_file_that_changed_is_not_stored_under_its_old_digest() {
    let project = setup();
    for name in ["out", "folder/out"] {
        project.write(name, "old");
        let top = name.split('/').next().unwrap();
        let artifact = project.artifact(top);
        project.write(name, "new");
        let (path, cache) = (project.path(top), &project.cache);
        let error = project.store.insert(&path, artifact, cache).unwrap_err();
        assert!(error.to_string().contains(top), "{error}");
        assert!(!project.store.has(artifact));
    }
    assert_eq!(project.store.objects().unwrap(), []);
}

#[test]
fn threads_may_put_in_the_same_object_at_once() {
    let project = setup();
    for i in 0..20 {
        project.write(&format!("out/{i}"), &format!("{}", i % 5));
    }
    let artifact = project.artifact("out");
    let insert = || {
        let path = project.path("out");
        project.store.insert(&path, artifact, &project.cache)
    };
    std::thread::scope(|scope| {
        let threads = [(); 8].map(|()| scope.spawn(insert));
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
    });
    assert!(project.store.has(artifact));
    for (digest, _) in project.store.objects().unwrap() {
        assert!(project.store.check(digest).unwrap());
    }
    let unfinished = |entry: &(String, FolderEntry)| fs::is_partial(&entry.1.name);
    assert!(
        !project
            .store
            .entries(OBJECTS)
            .unwrap()
            .iter()
            .any(unfinished)
    );
}

#[test]
fn a_damaged_object_is_found_out_and_removed() {
    let project = setup();
    project.write("out", "good");
    let artifact = project.insert("out");
    project.damage(artifact.digest);
    let key = Digest::of(b"key");
    project.store.put_record(key, &record(artifact)).unwrap();
    assert_eq!(project.store.record(key), Some(record(artifact)));
    assert!(!project.store.check(artifact.digest).unwrap());
    let read = project.store.read(artifact, None).unwrap_err();
    assert!(read.to_string().contains("damaged"), "{read}");

    let back = project.path("back");
    let error = project.store.restore(artifact, &back).unwrap_err();
    let name = format!("object {} of the store is damaged", artifact.digest.short());
    assert_eq!(error.to_string(), name);
    assert_eq!(project.names(), ["out", "store"]);
    assert!(!project.store.has(artifact));
    assert!(project.store.check(artifact.digest).is_err(), "it is gone");
}

#[test]
fn a_damaged_file_of_a_folder_is_found_out_and_removed() {
    let project = setup();
    project.write("out/a", "good");
    project.write("out/b", "fine");
    let artifact = project.insert("out");
    let good = Digest::of(b"good");
    project.damage(good);
    let back = project.path("back");
    assert!(project.store.restore(artifact, &back).is_err());
    assert_eq!(project.names(), ["out", "store"]);
    assert!(!project.store.has(artifact));
    project.insert("out");
    project.store.restore(artifact, &back).unwrap();
    assert_eq!(project.artifact("back"), artifact);
}

#[test]
fn a_damaged_listing_is_as_good_as_none() {
    let project = setup();
    project.write("out/a", "good");
    let artifact = project.insert("out");
    for round in ["put in again", "restored"] {
        project.damage(artifact.digest);
        assert!(!project.store.has(artifact), "{round}");
        assert!(project.store.closure(artifact).is_err());
        if round == "restored" {
            let error = project.store.restore(artifact, &project.path("back"));
            assert!(error.unwrap_err().to_string().contains("damaged"));
            assert!(!fs::exists(&project.store.object(artifact.digest)));
        }
        project.insert("out");
        assert!(project.store.has(artifact));
    }
    assert_eq!(project.names(), ["out", "store"]);
}

#[test]
fn a_listing_of_another_version_is_not_taken_for_damaged() {
    let project = setup();
    project.write("out", "krammerti folder 99\n");
    let digest = project.insert("out").digest;
    let artifact = Artifact {
        kind: Kind::Folder,
        digest,
    };
    assert!(!project.store.has(artifact));
    assert!(
        project
            .store
            .restore(artifact, &project.path("back"))
            .is_err()
    );
    assert!(project.store.check(digest).unwrap());
}

#[test]
fn objects_are_listed_checked_and_removed() {
    let project = setup();
    assert_eq!(project.store.objects().unwrap(), []);
    project.write("out/a", "one");
    project.write("out/b", "three");
    let artifact = project.insert("out");
    let (one, three) = (Digest::of(b"one"), Digest::of(b"three"));
    let listing = project.artifact_listing("out");
    let mut expected = vec![(one, 3), (three, 5), (artifact.digest, listing)];
    expected.sort_unstable();
    project.write("store/objects/ab/.krammerti-partial.1-0.cd", "unfinished");
    project.write("store/objects/ab/note.txt", "somebody's");
    project.write("store/objects/README", "somebody's");
    assert_eq!(project.store.objects().unwrap(), expected);

    let closure = project.store.closure(artifact).unwrap();
    assert_eq!(
        closure,
        expected
            .iter()
            .map(|(digest, _)| *digest)
            .collect::<Vec<_>>()
    );
    let file = Artifact {
        kind: Kind::File,
        digest: one,
    };
    assert_eq!(project.store.closure(file).unwrap(), [one]);

    project.store.remove_object(one).unwrap();
    project.store.remove_object(one).unwrap();
    assert!(!project.store.has(file));
    assert!(!project.store.has(artifact));
    assert_eq!(project.store.objects().unwrap().len(), 2);
}

impl Project {
    /// The bytes of a folder's listing.
    fn artifact_listing(&self, name: &str) -> u64 {
        let tree = Tree::scan(&self.path(name), &self.cache).unwrap();
        tree.encode().len() as u64
    }
}

#[test]
fn records_are_listed_damaged_ones_too_and_removed() {
    let project = setup();
    assert_eq!(project.store.records().unwrap(), []);
    project.write("out", "x");
    let artifact = project.insert("out");
    let built = Record {
        built: Some(1_700_000_000),
        built_on: [("threads".to_owned(), "2".to_owned())].into(),
        ..record(artifact)
    };
    let mut keys = [b"a", b"b", b"c"].map(|text| Digest::of(text));
    keys.sort_unstable();
    let [a, b, c] = keys;
    project.store.put_record(a, &record(artifact)).unwrap();
    project.store.put_record(b, &built).unwrap();
    fs::write_atomic(&project.store.record_path(c), b"{").unwrap();
    let expected = [(a, Some(record(artifact))), (b, Some(built)), (c, None)];
    assert_eq!(project.store.records().unwrap(), expected);
    let text = fs::read_to_string(&project.store.record_path(a)).unwrap();
    assert_eq!(
        text,
        format!("{{\"outputs\":{{\"out\":\"{artifact}\"}}}}\n")
    );
    project.store.remove_record(b).unwrap();
    assert_eq!(project.store.record(b), None);
    assert_eq!(project.store.records().unwrap().len(), 2);
}

#[test]
fn stored_bytes_are_read_where_there_are_any() {
    let project = setup();
    project.write("out/a/b", "one");
    let folder = project.insert("out");
    let file = project.insert("out/a/b");
    let read = |artifact, inside| project.store.read(artifact, inside).unwrap();
    assert_eq!(read(file, None), Some(b"one".to_vec()));
    assert_eq!(read(folder, Some("a/b")), Some(b"one".to_vec()));
    for (artifact, inside) in [(file, Some("a")), (folder, None), (folder, Some("a"))] {
        assert_eq!(read(artifact, inside), None);
    }
    project.store.remove_object(file.digest).unwrap();
    assert_eq!(read(file, None), None);
    assert_eq!(read(folder, Some("a/b")), None);
}

#[test]
fn what_dead_processes_left_is_listed_and_nothing_else() {
    let project = setup();
    project.write("out", "x");
    project.insert("out");
    let place = project.store.object(Digest::of(b"y"));
    let (_alive, _) = StagedFile::new(&place).unwrap();
    // No system gives a process such a number.
    let name = ".krammerti-partial.4294967295-0.y";
    let dead = fs::parent(&place).join(name);
    fs::write_atomic(&dead, b"left").unwrap();
    assert_eq!(project.store.leftovers().unwrap(), [(dead, 4)]);
}
