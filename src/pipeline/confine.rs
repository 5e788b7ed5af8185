//! Runs a command so that it can read only what its stage declares and write only its outputs.
//!
//! Landlock gives a process, and all that it starts, a list of folders and files that it may use;
//! everything else fails with "Permission denied", so the program itself names the path. Such a list
//! has no "all but", and a right to a folder holds for everything below it. So the rules are:
//!
//! - Outside of the project everything may be read and run: for each folder above the project there
//!   is a rule for every entry but the one that leads to the project. What appears among those
//!   entries after the start has no rule.
//! - In the project, inputs may be read and run. An input that is a link stands for what it leads to.
//! - Every folder may be listed, in the project too. To refuse it would hide mistakes: glob
//!   functions take a folder that they cannot list for an empty one, and Python and make find
//!   declared files by listing. Names are seen, contents are not.
//! - `/dev`, the scratch folder, `/tmp` and `/var/tmp` may be written, `/tmp` and `/var/tmp` unless
//!   the project lies in them: a right to the folder would hold for the project. Files that the
//!   kernel makes in `/proc` may be written; who may write which is its own affair.
//! - Outputs may be written, see below.
//!
//! Landlock knows nothing of looking at, dating or changing the mode of a file, so a command can see
//! that an undeclared file is there, and how large it is. Names given to a file by hard links are
//! one file. The network, signals and other processes are left alone. The kernel asks of a process
//! that restricts itself to give up more: `sudo` and its like gain nothing, and nothing can be
//! mounted, so containers do not start.
//!
//! # Outputs
//!
//! A rule needs something that exists. So an output is made before the start: a folder, in which the
//! command may then do what it likes, or an empty file, which it may only fill. It cannot replace
//! the file by another or remove it, and cannot do the same with the folder itself: that would need a
//! right to the folder around it, and with it to everything else in there. A program that insists
//! (`sed -i`, `install`, `sqlite3`) gets a folder as output.
//!
//! Which of the two an output becomes cannot be told from a path. [`Kind`] says how to choose. The
//! wrong choice is told by the program: `mkdir` finds that the file exists, writing finds that it is
//! a folder, and [`Confined::never_written`] still has it, for a hint.
//!
//! What was made is dated 1970, so that make finds it older than its inputs, and so that a command
//! that writes nothing at all into its output differs from one that leaves it alone: to open a file
//! for writing it anew dates it, even if nothing is written.
//!
//! Rejected, each after a look at what programs do:
//!
//! - Rights to make, remove and rename in the folder around the output: they hold for all other
//!   files there, and for everything below. Only our own subcommands get them, since they write
//!   beside the output and rename ([`Kind::Replaced`]).
//! - A right to make folders around an output of unknown kind: `mkdir` works, and then nothing can
//!   be written in the new folder, which is no part of any rule.
//! - A link to a place in the scratch folder, where the program makes the file: `cp` refuses to write
//!   through a link to nothing.

use std::fs::File;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, BitFlags, Errno, LandlockStatus, PathBeneath, RestrictSelf, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, openat, utimensat};

use crate::fs;

/// What the rules are made of. Version 3 has all rights to files; later ones add device control, the
/// network and processes, which are left alone.
const VERSION: ABI = ABI::V3;

/// What a confined command may touch. Paths are absolute or relative to the root.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    /// The project.
    pub root: PathBuf,
    /// What it reads and runs: files, or folders with all that is in them.
    pub read: Vec<PathBuf>,
    /// What it writes. Its log belongs here too: `/dev/stderr` opens it once more.
    pub write: Vec<Output>,
    /// A folder of its own for temporary files.
    pub scratch: PathBuf,
}

/// Something that a command writes.
#[derive(Clone, Debug)]
pub(super) struct Output {
    /// Where.
    pub path: PathBuf,
    /// How. What stands there already is taken for what it is.
    pub kind: Kind,
}

/// How an output is written. A folder is one that is declared with a `/` at its end, or that was one
/// the last time; otherwise it is a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file, written in its place.
    File,
    /// A folder, filled in its place.
    Folder,
    /// Either, prepared beside its place and renamed. Everything around it may be written.
    Replaced,
}

/// How much of this the kernel can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Support {
    /// All.
    Full,
    /// Most.
    Partial {
        /// What is missing.
        reason: String,
    },
    /// Nothing: the command runs as any other.
    None {
        /// Why.
        reason: String,
    },
}

/// A command that is ready to run confined. It must live until the command has ended: with it goes
/// what was made for the command and never written.
#[must_use = "outputs that were made for the command go when this is dropped"]
#[derive(Debug)]
pub(super) struct Confined {
    /// How much it is confined.
    pub support: Support,
    placeholders: Vec<Placeholder>,
}

/// An empty file or folder that stands where an output belongs.
#[derive(Debug)]
struct Placeholder {
    path: PathBuf,
    made: Metadata,
}

/// Prepares a command to run confined, and makes its outputs. The restriction is the child's alone.
pub(super) fn confine(command: &mut Command, allowed: &Allowed) -> io::Result<Confined> {
    let mut confined = Confined {
        support: Support::of_kernel(),
        placeholders: Vec::new(),
    };
    if matches!(confined.support, Support::None { .. }) {
        return Ok(confined);
    }
    let root = &allowed.root;
    for output in &allowed.write {
        let made = Placeholder::make(&root.join(&output.path), output.kind)?;
        confined.placeholders.extend(made);
    }
    let mut rules = Rules::new()?;
    rules.allow_outside(root)?;
    for input in &allowed.read {
        // A missing input is not for us to report, and without a rule it stays missing.
        if let Ok(input) = handle(&root.join(input), OFlags::empty()) {
            rules.allow(&input, read())?;
        }
    }
    for output in &allowed.write {
        let path = root.join(&output.path);
        match output.kind {
            Kind::File | Kind::Folder => rules.allow(&handle(&path, OFlags::empty())?, all())?,
            Kind::Replaced => {
                let around = handle(fs::parent(&path), OFlags::empty())?;
                // To read as well: what is to be flushed to the disk is opened once more.
                rules.allow(&around, all())?;
            }
        }
    }
    let scratch = handle(&root.join(&allowed.scratch), OFlags::empty())?;
    rules.allow(&scratch, all())?;
    rules.restrict(command);
    Ok(confined)
}

impl Support {
    /// Asks the kernel. Without a flag, `apply` restricts nothing and only tells what there is.
    fn of_kernel() -> Self {
        match RestrictSelf::default().no_new_privs(false).apply() {
            Ok(answer) => Self::of(answer.landlock),
            Err(error) => Self::None {
                reason: error.to_string(),
            },
        }
    }

    fn of(status: LandlockStatus) -> Self {
        match status {
            LandlockStatus::Available { effective_abi, .. } if effective_abi >= VERSION => {
                Self::Full
            }
            LandlockStatus::Available { effective_abi, .. } => Self::Partial {
                reason: format!(
                    "the kernel's Landlock has version {effective_abi}; only version {VERSION} \
                     (Linux 6.2) keeps a command from emptying files that it may not write"
                ),
            },
            LandlockStatus::NotEnabled => Self::None {
                reason: "the kernel has Landlock, but it was started without it: `landlock` must \
                         be named in its parameter `lsm`"
                    .to_owned(),
            },
            LandlockStatus::NotImplemented => Self::None {
                reason: "the kernel has no Landlock, or a container hides it; Linux has it from \
                         5.13 on"
                    .to_owned(),
            },
        }
    }
}

impl Confined {
    /// Outputs that were made for the command and that it has not touched.
    pub(super) fn never_written(&self) -> Vec<&Path> {
        self.placeholders
            .iter()
            .filter(|placeholder| placeholder.untouched())
            .map(|placeholder| placeholder.path.as_path())
            .collect()
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        for path in self.never_written() {
            // Left behind, it is an output of a failed try, and dealt with like one.
            let _ = fs::remove(path);
        }
    }
}

impl Placeholder {
    /// Makes an output, unless something stands there or the command makes it itself.
    fn make(path: &Path, kind: Kind) -> io::Result<Option<Self>> {
        fs::create_dir_all(fs::parent(path))?;
        if kind == Kind::Replaced || fs::exists(path) {
            return Ok(None);
        }
        if kind == Kind::Folder {
            fs::create_dir_all(path)?;
        } else {
            fs::create(path)?;
        }
        let epoch = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: epoch,
            last_modification: epoch,
        };
        utimensat(CWD, path, &times, AtFlags::empty()).map_err(|error| at(path, error))?;
        Ok(fs::stat(path)?.map(|made| Self {
            path: path.to_owned(),
            made,
        }))
    }

    /// Whether it is as it was made. Both times count: one tells of a write in the very moment of
    /// making, the other of a write that was dated back.
    fn untouched(&self) -> bool {
        let state = |metadata: &Metadata| {
            (
                (metadata.dev(), metadata.ino(), metadata.len()),
                (metadata.mtime(), metadata.mtime_nsec()),
                (metadata.ctime(), metadata.ctime_nsec()),
            )
        };
        fs::stat(&self.path)
            .ok()
            .flatten()
            .is_some_and(|now| state(&now) == state(&self.made))
    }
}

/// The list of what may be used.
struct Rules(RulesetCreated);

impl Rules {
    fn new() -> io::Result<Self> {
        Ruleset::default()
            .handle_access(all())
            .and_then(Ruleset::create)
            .map(Self)
            .map_err(|error| refused(&error))
    }

    /// Adds a file, or a folder with all below it.
    fn allow(&mut self, place: &File, access: BitFlags<AccessFs>) -> io::Result<()> {
        let access = if place.metadata()?.is_dir() {
            access
        } else {
            access & AccessFs::from_file(VERSION)
        };
        (&mut self.0)
            .add_rule(PathBeneath::new(place, access))
            .map(|_| ())
            .map_err(|error| refused(&error))
    }

    /// Adds everything but the project.
    fn allow_outside(&mut self, root: &Path) -> io::Result<()> {
        let root = root.canonicalize().map_err(|error| at(root, error))?;
        let way: Vec<_> = root.ancestors().filter_map(identity).collect();
        let mut above: Vec<&Path> = root.ancestors().skip(1).collect();
        above.reverse();
        let [top, ..] = above[..] else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a strict stage cannot run in a project at `/`: nothing lies outside of it",
            ));
        };
        // From here down to every folder there is, the project's too.
        self.allow(&handle(top, OFlags::empty())?, AccessFs::ReadDir.into())?;
        let devices = identity(Path::new("/dev"));
        let mut access = read();
        for folder in above {
            if devices.is_some() && identity(folder) == devices {
                // A project in /dev/shm needs /dev/null too.
                access = all();
            }
            // What we may not list (the /home of a shared host), we have no business in.
            for name in fs::list(folder).unwrap_or_default() {
                // Links have no rights of their own. Entries that vanish, or that even we cannot
                // look at, need none.
                let path = folder.join(name);
                let Ok(entry) = handle(&path, OFlags::NOFOLLOW) else {
                    continue;
                };
                let Ok(metadata) = entry.metadata() else {
                    continue;
                };
                // The project, or a folder above it, may be mounted a second time.
                let leads_to_project = way.contains(&(metadata.dev(), metadata.ino()));
                if !metadata.is_symlink() && !leads_to_project {
                    self.allow(&entry, access)?;
                }
            }
        }
        let to_files = AccessFs::WriteFile | AccessFs::Truncate;
        let writable = [
            ("/dev", all()),
            ("/proc", to_files),
            ("/tmp", all()),
            ("/var/tmp", all()),
        ];
        for (place, access) in writable {
            let place = Path::new(place);
            let around_project = identity(place).is_none_or(|place| way.contains(&place));
            if !around_project && let Ok(place) = handle(place, OFlags::empty()) {
                self.allow(&place, access)?;
            }
        }
        Ok(())
    }

    /// Makes the child restrict itself before it becomes the command.
    #[expect(
        unsafe_code,
        reason = "pre_exec has no safe form; the closure makes three system calls"
    )]
    fn restrict(self, command: &mut Command) {
        let mut rules = Some(self.0);
        // SAFETY: all is allocated here. In the child, restrict_self calls prctl(NO_NEW_PRIVS) and
        // landlock_restrict_self and drops a file descriptor; its result and its errors are plain
        // values, and an io::Error made of an error number has nothing on the heap.
        unsafe {
            command.pre_exec(
                move || match rules.take().map(RulesetCreated::restrict_self) {
                    Some(Ok(status)) if status.ruleset != RulesetStatus::NotEnforced => Ok(()),
                    Some(Err(error)) => Err(io::Error::from_raw_os_error(*Errno::from(error))),
                    _ => Err(io::ErrorKind::Unsupported.into()),
                },
            );
        }
    }
}

/// A file or folder to make a rule of. It can be had without any right to the content.
fn handle(path: &Path, flags: OFlags) -> io::Result<File> {
    openat(
        CWD,
        path,
        OFlags::PATH | OFlags::CLOEXEC | flags,
        Mode::empty(),
    )
    .map(File::from)
    .map_err(|error| at(path, error))
}

/// What tells a folder from all others, however it is reached.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::stat(path).ok().flatten()?;
    Some((metadata.dev(), metadata.ino()))
}

fn all() -> BitFlags<AccessFs> {
    AccessFs::from_all(VERSION)
}

fn read() -> BitFlags<AccessFs> {
    AccessFs::from_read(VERSION)
}

fn at(path: &Path, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    let text = format!(
        "cannot prepare {} for a strict stage: {error}",
        path.display()
    );
    io::Error::new(error.kind(), text)
}

fn refused(error: &RulesetError) -> io::Error {
    io::Error::other(format!("cannot set up a strict stage: {error}"))
}

#[cfg(test)]
mod tests;
