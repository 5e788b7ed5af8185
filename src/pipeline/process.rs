//! Runs a stage's command as a child process that cannot outlive us.
//!
//! The child gets its own process group, so that a signal reaches all that it starts, and the
//! parent-death signal, so that SIGKILL of the runner takes it along. On SIGINT or SIGTERM the group
//! gets TERM, a grace time, then KILL. A subcommand of krammerti tells its progress as events on its
//! stdout; everything else that a command says goes to its log.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, kill_process_group,
    set_parent_process_death_signal, test_kill_process_group, waitpid,
};

use super::confine::{self, Confined};
use super::{Attempt, ProjectPath, Stage, params_digest};
use crate::event::{Event, Observer, on_one_line};
use crate::fs;
use crate::time::Span;

/// Set for a subcommand that is to do its work and report as events: the digest of the parameters
/// that its key was formed with.
pub const BODY: &str = "KRAMMERTI_BODY";

/// Names the run in the environment of all its processes.
const RUN: &str = "KRAMMERTI_RUN";

/// Names the stage in the same way.
const STAGE: &str = "KRAMMERTI_STAGE";

/// How long a child may take to end after TERM.
const GRACE: Duration = Duration::from_secs(5);

/// Why a command gave no result.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program could not be started.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with a code other than 0, or by a signal.
    #[error(transparent)]
    Failed(#[from] Box<Failed>),
    /// It ran longer than it may.
    #[error("it ran longer than its timeout of {}", Span::from(*.limit))]
    TimedOut {
        /// How long it may run.
        limit: Duration,
    },
    /// A signal told us to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Parameters that it reads were edited while it ran.
    #[error("{} changed while the stage ran, so its result is not kept", .names.join(", "))]
    ParamsChanged {
        /// Their names.
        names: Vec<String>,
    },
    /// Its log could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A command that ended with a code other than 0, or by a signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .message.clone().unwrap_or_else(|| format!("`{program}` ended with {status}")))]
pub struct Failed {
    /// The program.
    pub program: String,
    /// How it ended.
    pub status: String,
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// What a subcommand of krammerti said went wrong.
    pub message: Option<String>,
    /// What it said to do about it.
    pub hint: Option<String>,
    /// The end of its log.
    pub log_tail: String,
    /// The whole log.
    pub log: PathBuf,
    /// Whether another try may end better.
    pub may_pass: bool,
    /// Of a stage that ran confined, the outputs that it never wrote.
    pub strict: Option<Vec<String>>,
}

/// SIGINT, SIGTERM or SIGHUP came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted by {}", match .signal { 2 => "Ctrl-C".to_owned(), 15 => "SIGTERM".to_owned(), other => format!("signal {other}") })]
pub struct Interrupted {
    /// Its number.
    pub signal: i32,
}

/// The last signal that told us to stop. Installed at the first call; from then on these signals
/// are no longer deadly, so only whoever watches the result may call it.
pub fn interrupted() -> Option<Interrupted> {
    static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();
    let flag = SIGNAL.get_or_init(|| {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let flag = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // It fails only for signals that cannot be caught, which these can.
            let _ = signal_hook::flag::register_usize(signal, Arc::clone(&flag), signal as usize);
        }
        flag
    });
    match flag.load(Ordering::Relaxed) {
        0 => None,
        signal => Some(Interrupted {
            signal: signal as i32,
        }),
    }
}

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

/// What a subcommand of krammerti said went wrong, and what is to be done.
type Said = Option<(String, Option<String>)>;

/// How a child ended, and what it said.
type Ended = (io::Result<ExitStatus>, Said);

/// What a child does while we wait.
enum Message {
    Event(Box<Event>),
    Ended(io::Result<ExitStatus>),
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
        if confined.is_some() {
            fs::remove(&self.scratch(stage))?;
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
        for own in ["checkpoints", "responses", "studies", "training"] {
            allowed.write.push(confine::Output {
                path: self.root.join(".krammerti").join(own),
                kind: confine::Kind::Folder,
            });
        }
    }

    /// Ends what a command that was told to end has left in process groups of their own.
    fn end_leftovers(&self, stage: &Stage) -> io::Result<()> {
        kill_marked(&[(RUN, &self.run), (STAGE, &stage.name)])
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
            .stderr(fs::append(log)?)
            .process_group(0);
        die_with_parent(command);
        Ok(())
    }
}

/// Starts a command and waits for its end.
fn run_to_its_end(
    mut command: Command,
    program: &str,
    log: &Path,
    limit: Option<Duration>,
    observer: &mut dyn Observer,
) -> Result<(ExitStatus, Said), CommandError> {
    let event_log = fs::append(log)?;
    let mut child = command.spawn().map_err(|source| CommandError::Start {
        program: program.to_owned(),
        source,
    })?;
    // It holds the log, which is to end with the child.
    drop(command);
    let group = Pid::from_child(&child);
    let (sender, messages) = mpsc::channel();
    let events = child.stdout.take();
    // The thread only reads and waits: the child must be started by a thread that lives at least as
    // long as it, or the parent-death signal would come early.
    let reader = std::thread::Builder::new().spawn(move || {
        if let Some(events) = events {
            forward_events(BufReader::new(events), event_log, &sender);
        }
        let _ = sender.send(Message::Ended(child.wait()));
    });
    if let Err(error) = reader {
        // No thread is to be had: then nobody would see the command end.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = waitpid(Some(group), WaitOptions::empty());
        return Err(error.into());
    }
    let (status, failure) = watch(&messages, group, limit, observer)?;
    Ok((status?, failure))
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

/// SIGKILL for the child when we end, however we end.
#[expect(
    unsafe_code,
    reason = "pre_exec has no safe form; the closure makes two system calls"
)]
fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    // SAFETY: prctl(PR_SET_PDEATHSIG) and getppid are async-signal-safe, and nothing else happens.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // We may have ended before the signal was asked for.
            if getppid() == Some(parent) {
                Ok(())
            } else {
                Err(io::ErrorKind::Interrupted.into())
            }
        });
    }
}

/// SIGKILL for every process that a stage of a killed run has left: the death signal reaches only its direct
/// children, and what those started would go on to write.
pub(super) fn kill_stage(run: &str, stage: &str) -> io::Result<()> {
    // A note of an earlier version does not name the stage.
    if stage.is_empty() {
        return kill_marked(&[(RUN, run)]);
    }
    kill_marked(&[(RUN, run), (STAGE, stage)])
}

/// Whether this process was started by a stage.
pub(super) fn in_a_stage() -> bool {
    std::env::var_os(RUN).is_some()
}

/// SIGKILL for every process that has these variables in its environment, until there are none: one
/// that starts another while we look may hide it once, and to end takes a moment.
fn kill_marked(marks: &[(&str, &str)]) -> io::Result<()> {
    const LOOKS: usize = 200;
    const PAUSE: Duration = Duration::from_millis(5);
    for _ in 0..LOOKS {
        if kill_seen(marks)? == 0 {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Kills those that can be seen now, and tells how many they were.
fn kill_seen(marks: &[(&str, &str)]) -> io::Result<usize> {
    let mut seen = 0;
    let ours = |environment: &[u8]| {
        marks.iter().all(|(name, value)| {
            let mark = format!("{name}={value}");
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable == mark.as_bytes())
        })
    };
    for name in fs::list(Path::new("/proc"))? {
        let pid = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw);
        let Some(pid) = pid.filter(|&pid| pid != getpid()) else {
            continue;
        };
        // Processes of others, and those that end meanwhile, are not readable.
        let environment = fs::read(&Path::new("/proc").join(&name).join("environ"));
        if environment.is_ok_and(|environment| ours(&environment)) {
            seen += 1;
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    Ok(seen)
}

fn forward_events(reader: impl BufRead, mut log: std::fs::File, sender: &mpsc::Sender<Message>) {
    for line in reader.lines().map_while(Result::ok) {
        match serde_json::from_str::<Event>(&line) {
            Ok(event) => {
                if let Some(text) = for_the_log(&event) {
                    let _ = writeln!(log, "{text}");
                }
                let _ = sender.send(Message::Event(Box::new(event)));
            }
            Err(_) => {
                let _ = writeln!(log, "{line}");
            }
        }
    }
}

/// What a person who reads the log of a subcommand wants to find there.
fn for_the_log(event: &Event) -> Option<String> {
    match event {
        Event::Note { message, .. } | Event::Warning { message, .. } => Some(message.clone()),
        Event::BuiltOn { facts, .. } => Some(on_one_line(facts)),
        Event::Result { text, .. } => Some(text.trim_end().to_owned()),
        Event::Failure { message, hint } => {
            let hint = hint.iter().map(|hint| format!("\nhint: {hint}"));
            Some(format!("error: {message}{}", hint.collect::<String>()))
        }
        _ => None,
    }
}

/// Passes events on until the child has ended. A signal ends it early. Gives back what a subcommand
/// said went wrong.
fn watch(
    messages: &mpsc::Receiver<Message>,
    group: Pid,
    limit: Option<Duration>,
    observer: &mut dyn Observer,
) -> Result<Ended, CommandError> {
    let begun = Instant::now();
    let too_long = || limit.filter(|&limit| begun.elapsed() >= limit);
    let mut timed_out = None;
    let mut failure = None;
    let mut asked_to_end: Option<Instant> = None;
    loop {
        match messages.recv_timeout(Duration::from_millis(20)) {
            Ok(Message::Event(event)) => match *event {
                Event::Failure { message, hint } => failure = Some((message, hint)),
                event => observer.event(event),
            },
            Ok(Message::Ended(status)) => {
                // What the child started and left behind ends with it; with a grace where it is told
                // to end from outside.
                if interrupted().is_some() || timed_out.is_some() {
                    end_group(group, asked_to_end);
                }
                let _ = kill_process_group(group, Signal::KILL);
                return match (interrupted(), timed_out) {
                    (Some(signal), _) => Err(signal.into()),
                    (None, Some(limit)) => Err(CommandError::TimedOut { limit }),
                    (None, None) => Ok((status, failure)),
                };
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Ok((Err(io::Error::other("lost sight of the command")), failure));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        match asked_to_end {
            None if interrupted().is_some() || too_long().is_some() => {
                timed_out = too_long();
                let _ = kill_process_group(group, Signal::TERM);
                asked_to_end = Some(Instant::now());
            }
            Some(since) if since.elapsed() > GRACE => {
                let _ = kill_process_group(group, Signal::KILL);
            }
            _ => {}
        }
    }
}

/// Asks what is left of a group to end, unless it was asked before, and waits as long as it may take.
fn end_group(group: Pid, asked: Option<Instant>) {
    const LOOK: Duration = Duration::from_millis(10);
    let since = asked.unwrap_or_else(|| {
        let _ = kill_process_group(group, Signal::TERM);
        Instant::now()
    });
    while since.elapsed() < GRACE && test_kill_process_group(group).is_ok() {
        std::thread::sleep(LOOK);
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The last lines of a log, for an error message.
fn tail(log: &Path) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
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
    fn the_log_of_a_subcommand_has_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let events = [
            Event::note("noted"),
            Event::Result {
                stage: None,
                text: "a table\n\n".into(),
                data: serde_json::Value::Null,
            },
            Event::Failure {
                message: "no".into(),
                hint: Some("try".into()),
            },
        ];
        let lines = events.map(|event| serde_json::to_string(&event).unwrap());
        let said = format!("plain\n{}\n", lines.join("\n"));
        let (sender, messages) = mpsc::channel();
        forward_events(said.as_bytes(), fs::append(&log).unwrap(), &sender);
        drop(sender);
        assert_eq!(messages.iter().count(), 3);
        let text = fs::read_to_string(&log).unwrap();
        assert_eq!(text, "plain\nnoted\na table\nerror: no\nhint: try\n");
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
