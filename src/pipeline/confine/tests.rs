//! What a strict stage can reach and what it cannot, by real processes.

use std::process::Stdio;

use super::*;

/// A project with an input, a secret and a scratch folder.
struct Project {
    _around: tempfile::TempDir,
    allowed: Allowed,
}

/// What a command said, and whether it succeeded.
#[derive(Debug)]
struct Ran {
    success: bool,
    said: String,
    never_written: Vec<PathBuf>,
}

impl Project {
    /// `None`, and a word about it, where the kernel cannot confine.
    fn new() -> Option<Self> {
        Self::below(tempfile::tempdir().unwrap(), "")
    }

    fn below(around: tempfile::TempDir, inside: &str) -> Option<Self> {
        let root = around.path().join(inside);
        std::fs::create_dir_all(root.join(".krammerti/scratch")).unwrap();
        std::fs::create_dir_all(root.join("data")).unwrap();
        std::fs::write(root.join("input"), "declared\n").unwrap();
        std::fs::write(root.join("secret"), "undeclared\n").unwrap();
        std::fs::write(root.join("data/a"), "a\n").unwrap();
        if let Support::None { reason } = Support::of_kernel() {
            skipped(&format!("Landlock is not available: {reason}"));
            return None;
        }
        Some(Self {
            _around: around,
            allowed: Allowed {
                scratch: root.join(".krammerti/scratch"),
                root,
                read: vec!["input".into()],
                write: Vec::new(),
            },
        })
    }

    fn reading(mut self, path: impl Into<PathBuf>) -> Self {
        self.allowed.read.push(path.into());
        self
    }

    fn writing(mut self, path: &str, kind: Kind) -> Self {
        let path = path.into();
        self.allowed.write.push(Output { path, kind });
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.allowed.root.join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .current_dir(&self.allowed.root)
            .env("LC_ALL", "C")
            .env("TMPDIR", &self.allowed.scratch)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        let mut command = self.command(words);
        let confined = confine(&mut command, &self.allowed).unwrap();
        let output = command.output().unwrap();
        Ran {
            success: output.status.success(),
            said: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
            never_written: confined
                .never_written()
                .into_iter()
                .map(Path::to_owned)
                .collect(),
        }
    }

    fn sh(&self, script: &str) -> Ran {
        self.run(&["sh", "-c", script])
    }
}

#[expect(
    clippy::print_stdout,
    reason = "a test that proves nothing must say so"
)]
fn skipped(why: &str) {
    println!("nothing is tested: {why}");
}

fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        skipped(&format!("there is no {program}"));
    }
    found
}

impl Ran {
    #[track_caller]
    fn says(&self, text: &str) {
        assert!(self.success, "{}", self.said);
        assert_eq!(self.said.trim_end(), text);
    }

    #[track_caller]
    fn is_refused(&self, path: &str) {
        assert!(!self.success, "{}", self.said);
        let line = self.said.lines().find(|line| line.contains(path));
        let line = line.unwrap_or_else(|| panic!("{path} is not named in: {}", self.said));
        assert!(line.contains("Permission denied"), "{line}");
    }
}

#[test]
fn an_undeclared_file_cannot_be_read_and_is_named() {
    let Some(project) = Project::new() else {
        return;
    };
    project.run(&["cat", "input"]).says("declared");
    project.run(&["cat", "secret"]).is_refused("secret");
    let absolute = project.path("secret");
    project
        .run(&["cat", absolute.to_str().unwrap()])
        .is_refused("secret");
    project
        .run(&["cat", ".krammerti/../data/a"])
        .is_refused("data/a");
}

#[test]
fn a_declared_folder_can_be_read_with_all_in_it() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project.reading("data").reading("not/there");
    project.run(&["cat", "data/a"]).says("a");
    project.run(&["cat", "secret"]).is_refused("secret");
    project.sh("echo b > data/b").is_refused("data/b");
    project.sh("echo b > data/a").is_refused("data/a");
}

#[test]
fn grandchildren_are_confined_too() {
    let Some(project) = Project::new() else {
        return;
    };
    project.sh("sh -c 'sh -c \"cat input\"'").says("declared");
    project
        .sh("sh -c 'sh -c \"cat secret\"'")
        .is_refused("secret");
    project
        .sh("env -i cat secret & wait $!")
        .is_refused("secret");
}

#[test]
fn folders_can_be_listed_so_that_names_lead_to_a_refusal() {
    let Some(project) = Project::new() else {
        return;
    };
    project.run(&["ls", "."]).says("data\ninput\nsecret");
    project.sh("cat data/*").is_refused("data/a");
    project.sh("ls / .. > /dev/null").says("");
}

#[test]
fn programs_of_the_project_are_inputs() {
    let Some(project) = Project::new() else {
        return;
    };
    let tool = project.path("tool");
    std::fs::write(&tool, "#!/bin/sh\ncat \"$1\"\n").unwrap();
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    project.sh("./tool input").is_refused("tool");
    let mut command = Command::new("./tool");
    command.current_dir(&project.allowed.root);
    let confined = confine(&mut command, &project.allowed).unwrap();
    let error = command.spawn().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    drop(confined);

    let project = project.reading("tool");
    project.run(&["./tool", "input"]).says("declared");
    project.run(&["./tool", "secret"]).is_refused("secret");
}

#[test]
fn a_link_stands_for_what_it_leads_to() {
    let Some(project) = Project::new() else {
        return;
    };
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(elsewhere.path(), "outside\n").unwrap();
    for (target, link) in [
        (Path::new("data/a"), "to-a"),
        (Path::new("secret"), "to-secret"),
        (elsewhere.path(), "to-outside"),
    ] {
        std::os::unix::fs::symlink(target, project.path(link)).unwrap();
    }
    let project = project.reading("to-a");
    project.run(&["cat", "to-a"]).says("a");
    project.run(&["cat", "to-outside"]).says("outside");
    project.run(&["cat", "to-secret"]).is_refused("to-secret");
}

#[test]
fn the_way_to_the_project_is_no_way_into_it() {
    let around = tempfile::tempdir().unwrap();
    // Both stand among the entries that may be read, and lead back.
    std::os::unix::fs::symlink("home/me/p", around.path().join("to-project")).unwrap();
    std::os::unix::fs::symlink("home", around.path().join("to-home")).unwrap();
    std::fs::create_dir_all(around.path().join("home/me")).unwrap();
    let Some(project) = Project::below(around, "home/me/p") else {
        return;
    };
    for way in [
        "../../../to-project/",
        "../../../to-home/me/p/",
        "/proc/self/cwd/",
    ] {
        project
            .run(&["cat", &format!("{way}input")])
            .says("declared");
        let secret = format!("{way}secret");
        project.run(&["cat", &secret]).is_refused(&secret);
    }
}

#[test]
fn outside_of_the_project_everything_is_read_only() {
    let around = tempfile::tempdir().unwrap();
    let beside = around.path().join("home/me/.config");
    std::fs::create_dir_all(&beside).unwrap();
    std::fs::write(beside.join("rc"), "rc\n").unwrap();
    std::fs::write(around.path().join("home/top"), "top\n").unwrap();
    let Some(project) = Project::below(around, "home/me/my project") else {
        return;
    };
    project.run(&["cat", "../.config/rc"]).says("rc");
    project.run(&["cat", "../../top"]).says("top");
    project
        .sh("test -s /etc/passwd && cat /proc/self/comm")
        .says("cat");
    for path in [
        "../.config/rc",
        "../.config/new",
        "../new",
        "../../top",
        "../../new",
        "../../../new",
    ] {
        project.sh(&format!("echo x > {path}")).is_refused(path);
    }
    project.sh(": >> /etc/passwd").is_refused("/etc/passwd");
    project.sh("rm ../../top").is_refused("../../top");
    project.sh("mkdir ../folder").is_refused("../folder");
    project.sh("mv input ../stolen").is_refused("input");
    project.sh("rm input").is_refused("input");
    project.sh("ln secret ../copy").is_refused("secret");
}

#[test]
fn temporary_files_and_devices_can_be_written() {
    let Some(project) = Project::new() else {
        return;
    };
    project
        .sh("t=$(mktemp) && echo x > $t && mv $t $t.2 && cat $t.2 && rm $t.2")
        .says("x");
    project
        .sh("echo x > /dev/null && echo y | tee /dev/null && cat < /dev/null")
        .says("y");
    project.sh("cat <<E\nhere\nE").says("here");
    project
        .sh("echo x > /proc/self/comm && cat /proc/$$/comm")
        .says("x");
}

#[test]
fn tmp_can_be_written_unless_the_project_lies_in_it() {
    let (Ok(there), Ok(shared)) = (
        tempfile::tempdir_in("/var/tmp"),
        tempfile::tempdir_in("/tmp"),
    ) else {
        return skipped("there is no /var/tmp or no /tmp");
    };
    let file = shared.path().join("file");
    let write = format!("echo x > {0} && cat {0}", file.display());
    let Some(project) = Project::below(there, "p") else {
        return;
    };
    project.sh(&write).says("x");
    let here = tempfile::tempdir_in("/tmp").unwrap();
    let project = Project::below(here, "").unwrap();
    project.sh(&write).is_refused(file.to_str().unwrap());
    project.run(&["cat", file.to_str().unwrap()]).says("x");
}

#[test]
fn a_project_among_devices_still_has_devices() {
    let Ok(around) = tempfile::tempdir_in("/dev/shm") else {
        return skipped("there is no /dev/shm");
    };
    let Some(project) = Project::below(around, "p") else {
        return;
    };
    project
        .sh("echo x > /dev/null && cat input")
        .says("declared");
    project.run(&["cat", "secret"]).is_refused("secret");
    project.sh("echo x > new").is_refused("new");
}

#[test]
fn a_file_is_written_in_its_place_and_nothing_beside_it() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project.writing("new/out", Kind::File);
    let ran = project.sh("cp input new/out && cat new/out");
    ran.says("declared");
    assert_eq!(ran.never_written, Vec::<PathBuf>::new());
    project.sh("echo longer than before > new/out").says("");
    project
        .sh("echo short > new/out && cat new/out")
        .says("short");
    project.sh("echo x > new/other").is_refused("new/other");
    project.sh("echo x > beside").is_refused("beside");
    project
        .sh("echo x > .krammerti/log")
        .is_refused(".krammerti/log");
    project.sh("mkdir new/folder").is_refused("new/folder");
    project.sh("rm new/out").is_refused("new/out");
    project
        .sh("echo x > $TMPDIR/x && ln $TMPDIR/x new/x")
        .is_refused("new/x");
    assert_eq!(project.text("new/out"), "short\n");
}

#[test]
fn a_file_that_was_never_written_is_told_from_an_empty_one() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project
        .writing("left", Kind::File)
        .writing("empty", Kind::File)
        .writing("folder", Kind::Folder)
        .writing("emptied", Kind::Folder);
    let ran = project.sh(": > empty; cat left; ls folder; echo x > emptied/x; rm emptied/x");
    assert_eq!(
        ran.never_written,
        [project.path("left"), project.path("folder")]
    );
    assert_eq!(project.text("empty"), "");
    assert!(project.path("emptied").exists());
    assert!(!project.path("left").exists() && !project.path("folder").exists());
    // Dated as it was made, but at another time.
    let ran = project.sh("sleep 0.02; touch -d @0 left");
    assert_eq!(ran.never_written, [project.path("folder")]);
    assert!(project.path("left").exists());
}

#[test]
fn what_stands_in_the_place_of_an_output_is_kept() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project
        .writing("old", Kind::File)
        .writing("data", Kind::File);
    std::fs::write(project.path("old"), "").unwrap();
    let ran = project.sh("echo b > data/b && cat data/a data/b");
    ran.says("a\nb");
    assert_eq!(ran.never_written, Vec::<PathBuf>::new());
    assert_eq!(project.text("old"), "");
    project.sh("echo x >> old && cat old").says("x");
}

#[test]
fn an_output_is_older_than_its_inputs_until_it_is_written() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project.writing("out", Kind::File);
    project
        .sh("test out -ot input && echo x > out && ! test out -ot input")
        .says("");
}

#[test]
fn in_a_folder_everything_can_be_done() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project.writing("out", Kind::Folder);
    project
        .sh(
            "cd out && mkdir -p a/b c && echo 1 > a/b/x && mv a/b/x c/y && ln c/y c/z \
                 && ln -s y c/link && mkfifo c/pipe && cp /bin/true c/run && c/run \
                 && sed -i s/1/2/ c/y && rm c/z c/pipe && rm -r a && cat c/link && ls c",
        )
        .says("2\nlink\nrun\ny");
    project
        .sh("echo x > $TMPDIR/x && mv $TMPDIR/x out/moved && cat out/moved")
        .says("x");
    // To the kernel a link between folders of different rights is one between file systems.
    let ran = project.sh("ln secret out/secret");
    assert!(ran.said.contains("cross-device"), "{ran:?}");
    project
        .sh("ln -s ../secret out/link && cat out/link")
        .is_refused("out/link");
    project.sh("rmdir out").is_refused("out");
}

#[test]
fn the_wrong_kind_is_told_by_the_program() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project
        .writing("file", Kind::File)
        .writing("folder", Kind::Folder);
    let ran = project.sh("mkdir -p file");
    assert!(
        ran.said.contains("file") && ran.said.contains("File exists"),
        "{ran:?}"
    );
    assert!(ran.never_written.contains(&project.path("file")));
    let ran = project.sh("echo x > folder");
    assert!(
        ran.said.contains("folder") && ran.said.contains("directory"),
        "{ran:?}"
    );
    assert!(ran.never_written.contains(&project.path("folder")));
}

#[test]
fn a_subcommand_of_ours_writes_beside_its_output_and_renames() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project
        .writing("models/file", Kind::Replaced)
        .writing("models/folder", Kind::Replaced);
    let script = "cd models && echo x > .partial && mv .partial file && mkdir .partial \
                      && echo y > .partial/in && mv .partial folder && ls";
    project.sh(script).says("file\nfolder");
    assert_eq!(project.text("models/folder/in"), "y\n");
    project.run(&["cat", "secret"]).is_refused("secret");
    project.sh("echo x > beside").is_refused("beside");
}

#[test]
fn a_log_can_be_opened_by_its_other_name() {
    let Some(mut project) = Project::new() else {
        return;
    };
    let log = project.path(".krammerti/log");
    for writable in [false, true] {
        if writable {
            project = project.writing(".krammerti/log", Kind::File);
        }
        let mut command = project.command(&["sh", "-c", "echo said > /dev/stderr"]);
        command.stderr(File::create(&log).unwrap());
        let confined = confine(&mut command, &project.allowed).unwrap();
        assert_eq!(command.status().unwrap().success(), writable);
        let text = std::fs::read_to_string(&log).unwrap();
        assert_eq!(text == "said\n", writable, "{text}");
        drop(confined);
    }
}

#[test]
fn a_file_cannot_be_emptied_by_its_name() {
    let Some(project) = Project::new() else {
        return;
    };
    if Support::of_kernel() != Support::Full {
        return skipped("this Landlock is too old for it");
    }
    if installed("python3") {
        let script = "import os; os.truncate('secret', 0)";
        project.run(&["python3", "-c", script]).is_refused("secret");
        assert_eq!(project.text("secret"), "undeclared\n");
    }
}

#[test]
fn python_finds_what_is_declared_and_names_what_is_not() {
    let Some(project) = Project::new() else {
        return;
    };
    if !installed("python3") {
        return;
    }
    std::fs::write(project.path("main.py"), "import helper\nprint(helper.x)\n").unwrap();
    std::fs::write(project.path("helper.py"), "x = 1\n").unwrap();
    let project = project.reading("main.py");
    project.run(&["python3", "main.py"]).is_refused("helper.py");
    let project = project.reading("helper.py");
    project.run(&["python3", "main.py"]).says("1");
}

#[test]
fn make_finds_what_is_declared() {
    let Some(project) = Project::new() else {
        return;
    };
    if !installed("make") {
        return;
    }
    std::fs::write(project.path("Makefile"), "out: input\n\tcp input out\n").unwrap();
    let project = project.reading("Makefile").writing("out", Kind::File);
    project.run(&["make", "-s"]).says("");
    assert_eq!(project.text("out"), "declared\n");
}

#[test]
fn the_caller_is_not_confined_and_may_start_a_command_twice() {
    let Some(project) = Project::new() else {
        return;
    };
    let mut command = Command::new("cat");
    command.arg("secret").current_dir(&project.allowed.root);
    let confined = confine(&mut command, &project.allowed).unwrap();
    assert_eq!(project.text("secret"), "undeclared\n");
    for _ in 0..2 {
        let output = command.output().unwrap();
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("secret"));
    }
    drop(confined);
}

#[test]
fn a_project_that_is_everything_is_refused() {
    let allowed = Allowed {
        root: "/".into(),
        read: Vec::new(),
        write: Vec::new(),
        scratch: "/tmp".into(),
    };
    match confine(&mut Command::new("true"), &allowed) {
        Ok(confined) => assert!(matches!(confined.support, Support::None { .. })),
        Err(error) => assert!(error.to_string().contains("project at `/`"), "{error}"),
    }
}

#[test]
fn nothing_is_left_where_the_outputs_cannot_be_made() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project
        .writing("first", Kind::File)
        .writing("input/below-a-file", Kind::File);
    let error = confine(&mut Command::new("true"), &project.allowed).unwrap_err();
    assert!(error.to_string().contains("input"), "{error}");
    assert!(!project.path("first").exists());
}

#[test]
fn what_a_kernel_cannot_do_is_said() {
    let available = |effective_abi| LandlockStatus::Available {
        effective_abi,
        kernel_abi: None,
    };
    assert_eq!(Support::of(available(ABI::V3)), Support::Full);
    assert_eq!(Support::of(available(ABI::V7)), Support::Full);
    let text = |status| match Support::of(status) {
        Support::Full => String::new(),
        Support::Partial { reason } => format!("partial: {reason}"),
        Support::None { reason } => format!("none: {reason}"),
    };
    assert!(text(available(ABI::V2)).starts_with("partial: the kernel's Landlock has version 2"));
    assert!(text(LandlockStatus::NotEnabled).contains("parameter `lsm`"));
    assert!(text(LandlockStatus::NotImplemented).starts_with("none: the kernel has no"));
}
