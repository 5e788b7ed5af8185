//! Runs a stage's command as a child process that cannot outlive us.
//!
//! The child gets a session of its own, so that a signal reaches all that it starts and none of it can ask on the terminal,
//! and the parent-death signal, so that SIGKILL of the runner takes it along. On SIGINT or SIGTERM the group
//! gets TERM, a grace time, then KILL. A subcommand of krammerti tells its progress as events on its
//! stdout; everything else that a command says goes to its log.

mod child;
mod error;
mod marks;
mod open_files;
mod signals;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

pub use self::error::{CommandError, Failed};
pub(super) use self::marks::{in_a_stage, kill_stage};
pub use self::open_files::allow_open_files;
pub use self::signals::{Interrupted, interrupted, let_signals_kill};

use self::child::{in_a_session_of_our_own, run_to_its_end};
use self::marks::{RUN, STAGE};
use super::confine::{self, Confined};
use super::{Attempt, ProjectPath, Stage, params_digest};
use crate::event::{Event, Observer};
use crate::fs;

/// Set for a subcommand that is to do its work and report as events: the digest of the parameters
/// that its key was formed with.
pub const BODY: &str = "KRAMMERTI_BODY";

/// Starts commands and waits for them.
#[derive(Clone, Debug)]
pub struct Processes {
    /// The project's root, where commands run.
    pub root: PathBuf,
    /// The run's name, which every process of it carries in its environment.
    pub run: String,
    /// Where this run keeps its logs.
    pub logs: PathBuf,
    /// The binary that runs subcommands of krammerti.
    pub krammerti: PathBuf,
    /// Variables that tell subcommands of krammerti how to work, whatever the result.
    pub settings: Vec<(&'static str, &'static str)>,
}

impl Processes {
    /// Where the log of the n-th try of a stage is.
    pub fn log(&self, stage: &str, attempt: u32) -> PathBuf {
        self.logs.join(format!("{stage}.{attempt}.log"))
    }

    /// Runs the command of a stage to its end, for the n-th time.
    pub fn run(
        &self,
        attempt: &Attempt<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), CommandError> {
        let stage = attempt.stage;
        let log = self.log(&stage.name, attempt.number);
        fs::create_dir_all(&self.logs)?;
        let mut command = self.command(stage, attempt.number, &log)?;
        let confined = stage
            .policy
            .strict
            .then(|| self.confine(&mut command, attempt, &log, observer))
            .transpose()?;
        let program = program(&stage.command.words);
        let limit = stage.policy.timeout;
        let ended = run_to_its_end(command, &program, &log, limit, observer);
        if let Err(CommandError::TimedOut { .. } | CommandError::Interrupted(_)) = ended {
            self.end_leftovers(stage)?;
        }
        if confined.is_some()
            && let Err(error) = fs::remove_locked(&self.scratch(stage))
        {
            // It is no output, and what became of the command matters more.
            observer.event(Event::warning(error.to_string()));
        }
        let (status, failure) = ended?;
        if status.success() {
            return Ok(());
        }
        let never_written = confined.iter().flat_map(|c| c.never_written());
        let never_written = never_written
            .filter_map(|path| path.strip_prefix(&self.root).ok())
            .map(|path| path.display().to_string())
            .collect();
        let (message, hint) = failure.map_or((None, None), |(text, hint)| (Some(text), hint));
        // A subcommand that was used wrongly (2), or whose gate did not hold (3), would only say so
        // again.
        let final_code = matches!(status.code(), Some(2 | 3));
        Err(Box::new(Failed {
            program,
            status: describe(status),
            code: status.code(),
            signal: status.signal(),
            message,
            hint,
            log_tail: tail(&log),
            log,
            may_pass: !(stage.command.builtin && final_code),
            strict: stage.policy.strict.then_some(never_written),
        })
        .into())
    }

    /// Runs what `on_failure` says. It may take a minute.
    pub fn tell_failure(
        &self,
        stage: &Stage,
        words: &[String],
        attempt: u32,
        error: &str,
    ) -> Result<(), CommandError> {
        const LIMIT: Duration = Duration::from_mins(1);
        let log = self.logs.join(format!("{}.on_failure.log", stage.name));
        fs::create_dir_all(&self.logs)?;
        fs::create(&log)?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdout(fs::append(&log)?);
        self.surround(&mut command, stage, attempt, &log)?;
        command.env("KRAMMERTI_ERROR", error);
        let of_stage = self.log(&stage.name, attempt);
        if fs::exists(&of_stage) {
            command.env("KRAMMERTI_LOG", of_stage);
        }
        let program = program(words);
        let mut silent = |_: Event| {};
        let (status, _) = run_to_its_end(command, &program, &log, Some(LIMIT), &mut silent)?;
        if status.success() {
            return Ok(());
        }
        Err(Box::new(Failed {
            program,
            status: describe(status),
            code: status.code(),
            signal: status.signal(),
            message: None,
            hint: None,
            log_tail: tail(&log),
            log,
            may_pass: false,
            strict: None,
        })
        .into())
    }

    /// Lets the command read only what its stage declares, and write only its outputs.
    fn confine(
        &self,
        command: &mut Command,
        attempt: &Attempt<'_>,
        log: &Path,
        observer: &mut dyn Observer,
    ) -> Result<Confined, CommandError> {
        let stage = attempt.stage;
        let scratch = self.scratch(stage);
        fs::create_dir_all(&scratch)?;
        command.env("TMPDIR", &scratch);
        let output = |path: &ProjectPath| confine::Output {
            path: path.in_root(&self.root),
            kind: match attempt.folders.contains(path.as_str()) {
                _ if stage.command.builtin => confine::Kind::Replaced,
                true => confine::Kind::Folder,
                false => confine::Kind::File,
            },
        };
        let log = confine::Output {
            path: log.to_owned(),
            kind: confine::Kind::File,
        };
        let inputs = stage.inputs.iter().map(|path| path.in_root(&self.root));
        let mut allowed = confine::Allowed {
            root: self.root.clone(),
            read: inputs.collect(),
            write: stage.outputs.iter().map(output).chain([log]).collect(),
            scratch,
        };
        if stage.command.builtin {
            self.allow_own(stage, &mut allowed);
        }
        let confined = confine::confine(command, &allowed)?;
        match &confined.support {
            confine::Support::Full => {}
            confine::Support::Partial { reason } | confine::Support::None { reason } => {
                let warning = format!("`strict` is not fully in force: {reason}");
                observer.event(Event::warning(warning));
            }
        }
        Ok(confined)
    }

    /// What our own subcommands need besides: this binary with its back end, parameter files, the
    /// journal of a search, the answers of servers, and the log of a training.
    fn allow_own(&self, stage: &Stage, allowed: &mut confine::Allowed) {
        let beside = fs::parent(&self.krammerti);
        allowed.read.push(beside.to_owned());
        allowed.read.push(fs::parent(beside).join("lib/krammerti"));
        // They read their file of parameters whatever stands in it.
        let words = stage.command.words.windows(2);
        let named = words.filter(|words| words[0] == "--params");
        let files = named.map(|words| words[1].as_str()).chain(["params.yaml"]);
        let file = |name: &str| name.split(':').next().map(|file| self.root.join(file));
        allowed.read.extend(files.filter_map(file));
        // What they keep of their own.
        for own in fs::private::OF_SUBCOMMANDS {
            allowed.write.push(confine::Output {
                path: self.root.join(own),
                kind: confine::Kind::Folder,
            });
        }
    }

    /// Ends what a command that was told to end has left in process groups of their own.
    fn end_leftovers(&self, stage: &Stage) -> io::Result<()> {
        kill_stage(&self.run, &stage.name)
    }

    /// Where a confined command keeps its temporary files.
    fn scratch(&self, stage: &Stage) -> PathBuf {
        self.logs.join(format!("{}.tmp", stage.name))
    }

    fn command(&self, stage: &Stage, attempt: u32, log: &Path) -> Result<Command, CommandError> {
        // Emptied, then only added to: stdout, stderr and events each have a handle of their own.
        fs::create(log)?;
        let words = &stage.command.words;
        let mut command = if stage.command.builtin {
            let mut command = Command::new(&self.krammerti);
            command.stdout(Stdio::piped());
            command
        } else {
            let mut command = Command::new(&words[0]);
            command.stdout(fs::append(log)?);
            command
        };
        command.args(&words[1..]);
        self.surround(&mut command, stage, attempt, log)?;
        if stage.command.builtin {
            command.env(BODY, params_digest(&stage.params).to_string());
            command.envs(self.settings.iter().copied());
        }
        Ok(command)
    }

    /// What every process of a stage gets: its folder, its environment, and an end with us.
    fn surround(
        &self,
        command: &mut Command,
        stage: &Stage,
        attempt: u32,
        log: &Path,
    ) -> Result<(), CommandError> {
        let folder = match &stage.command.wdir {
            Some(wdir) => wdir.in_root(&self.root),
            None => self.root.clone(),
        };
        if !folder.is_dir() {
            // The system would only say that something does not exist.
            let reason = format!("its wdir {} is not a folder", folder.display());
            return Err(CommandError::Start {
                program: command.get_program().to_string_lossy().into_owned(),
                source: io::Error::new(io::ErrorKind::NotADirectory, reason),
            });
        }
        command
            .current_dir(folder)
            .env_remove(BODY)
            .env(STAGE, &stage.name)
            .env("KRAMMERTI_ATTEMPT", attempt.to_string())
            .env(RUN, &self.run)
            .stdin(Stdio::null())
            .stderr(fs::append(log)?);
        in_a_session_of_our_own(command);
        Ok(())
    }
}

/// What a person calls a command: its first words, or the line that a shell runs.
fn program(words: &[String]) -> String {
    const LONG: usize = 60;
    let text = match words {
        [shell, option, line] if shell == "sh" && option == "-ec" => line.clone(),
        words => words.iter().take(2).cloned().collect::<Vec<_>>().join(" "),
    };
    let first = text.trim().lines().next().unwrap_or_default();
    if first.chars().count() > LONG {
        first.chars().take(LONG).chain(['…']).collect()
    } else {
        first.to_owned()
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The last lines of a log, for an error message that may go into a mail: as a terminal shows them, where a progress
/// bar writes over itself, and none of them endless.
fn tail(log: &Path) -> String {
    const LINES: usize = 8;
    const BYTES: u64 = 1 << 16;
    const CHARACTERS: usize = 400;
    let text = fs::read_end(log, BYTES).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let shown = |line: &str| -> String {
        let line = line.trim_end().rsplit('\r').next().unwrap_or_default();
        let mut characters = line.chars();
        let mut line: String = characters.by_ref().take(CHARACTERS).collect();
        if characters.next().is_some() {
            line.push('…');
        }
        line
    };
    let lines: Vec<String> = text.lines().map(shown).collect();
    let lines: Vec<&str> = (lines.iter().map(String::as_str))
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::{Declared, Stage};
    use super::*;

    fn run(words: &[&str]) -> Result<(), CommandError> {
        run_within(words, None)
    }

    fn run_within(words: &[&str], timeout: Option<Duration>) -> Result<(), CommandError> {
        let folder = tempfile::tempdir().unwrap();
        let processes = Processes {
            root: folder.path().to_owned(),
            // Its own: what a run leaves behind is ended by the name of the run, and tests run side by side.
            run: folder.path().display().to_string(),
            logs: folder.path().join("logs"),
            krammerti: PathBuf::from("krammerti"),
            settings: Vec::new(),
        };
        let words = words.iter().map(|&word| word.to_owned()).collect();
        let declared = Declared {
            words,
            ..Declared::default()
        };
        let mut stage = Stage::from_declared("s", declared, false).unwrap();
        stage.policy.timeout = timeout;
        let attempt = Attempt {
            stage: &stage,
            number: 3,
            folders: std::collections::BTreeSet::new(),
        };
        processes.run(&attempt, &mut |_: Event| {})
    }

    #[test]
    fn success_failure_and_a_program_that_is_not_there() {
        run(&["true"]).unwrap();
        let failed = run(&["sh", "-c", "echo out; echo err >&2; exit 7"]).unwrap_err();
        let CommandError::Failed(inner) = &failed else {
            panic!("{failed}")
        };
        let Failed { code, log_tail, .. } = &**inner;
        assert_eq!((*code, log_tail.as_str()), (Some(7), "out\nerr"));
        assert_eq!(failed.to_string(), "`sh -c` ended with exit code 7");
        assert!(
            run(&["no-such-program"])
                .unwrap_err()
                .to_string()
                .contains("no-such-program")
        );
        let killed = run(&["sh", "-c", "kill -9 $$"]).unwrap_err();
        assert!(killed.to_string().contains("signal 9"));
    }

    #[test]
    fn stdin_is_empty_and_the_stage_knows_its_name_and_try() {
        let line = "! read line && test \"$KRAMMERTI_STAGE.$KRAMMERTI_ATTEMPT\" = s.3";
        run(&["sh", "-c", line]).unwrap();
    }

    #[test]
    fn a_command_that_asks_on_a_terminal_finds_none() {
        let error = run(&["sh", "-c", "read answer </dev/tty"]).unwrap_err();
        assert!(matches!(error, CommandError::Failed(_)), "{error}");
    }

    #[test]
    fn the_end_of_a_log_is_short() {
        let line = "i=0; while [ $i -lt 20000 ]; do printf 'step %s\\r' $i; i=$((i+1)); done; \
                    printf 'done\\r\\n%01000d\\nend\\n' 0; exit 1";
        let CommandError::Failed(failed) = run(&["sh", "-c", line]).unwrap_err() else {
            panic!()
        };
        let zeros = "0".repeat(400);
        assert_eq!(failed.log_tail, format!("done\n{zeros}…\nend"));
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended() {
        let limit = Duration::from_millis(100);
        let error = run_within(&["sleep", "60"], Some(limit)).unwrap_err();
        assert_eq!(error.to_string(), "it ran longer than its timeout of 0.1 s");
        run_within(&["true"], Some(Duration::from_mins(1))).unwrap();
    }

    #[test]
    fn a_command_is_told_by_its_first_words_or_its_line() {
        let told = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            program(&words)
        };
        assert_eq!(told(&["python", "x.py", "--y"]), "python x.py");
        assert_eq!(told(&["sh", "-ec", "wc a > b\necho c"]), "wc a > b");
        assert_eq!(told(&["sh", "-ec", &"x".repeat(99)]).chars().count(), 61);
    }
}
