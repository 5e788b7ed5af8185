//! Runs a stage's command as a child process that cannot outlive us.
//!
//! The child gets its own process group, so that a signal reaches all that it starts, and the
//! parent-death signal, so that SIGKILL of the runner takes it along. On SIGINT or SIGTERM the group
//! gets TERM, a grace time, then KILL. A subcommand of krammerti tells its progress as events on its
//! stdout; everything else that a command says goes to its log.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, getpid, getppid, kill_process, kill_process_group, set_parent_process_death_signal,
};

use super::{Stage, params_digest};
use crate::event::{Event, Observer};
use crate::fs;

/// Set for a subcommand that is to do its work and report as events: the digest of the parameters
/// that its key was formed with.
pub const BODY: &str = "KRAMMERTI_BODY";

/// Names the run in the environment of all its processes.
const RUN: &str = "KRAMMERTI_RUN";

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
}

/// How a child ended, and what it said went wrong and is to be done.
type Ended = (io::Result<ExitStatus>, Option<(String, Option<String>)>);

/// What a child does while we wait.
enum Message {
    Event(Box<Event>),
    Ended(io::Result<ExitStatus>),
}

impl Processes {
    /// Runs the command of a stage to its end.
    pub fn run(&self, stage: &Stage, observer: &mut dyn Observer) -> Result<(), CommandError> {
        let log = self.logs.join(format!("{}.1.log", stage.name));
        fs::create_dir_all(&self.logs)?;
        let mut child = self.start(stage, &log)?;
        let group = Pid::from_child(&child);
        let (sender, messages) = mpsc::channel();
        let events = child.stdout.take();
        let event_log = fs::append(&log)?;
        // The thread only reads and waits: the child must be started by the thread that lives as
        // long as the process, or the parent-death signal would come early.
        std::thread::spawn(move || {
            if let Some(events) = events {
                forward_events(BufReader::new(events), event_log, &sender);
            }
            let _ = sender.send(Message::Ended(child.wait()));
        });
        let (status, failure) = watch(&messages, group, observer)?;
        let status = status?;
        if status.success() {
            return Ok(());
        }
        let (message, hint) = failure.map_or((None, None), |(text, hint)| (Some(text), hint));
        Err(Box::new(Failed {
            program: stage
                .command
                .words
                .iter()
                .take(2)
                .cloned()
                .collect::<Vec<_>>()
                .join(" "),
            status: describe(status),
            code: status.code(),
            message,
            hint,
            log_tail: tail(&log),
            log,
        })
        .into())
    }

    fn start(&self, stage: &Stage, log: &Path) -> Result<Child, CommandError> {
        let log = fs::create(log)?;
        let words = &stage.command.words;
        let mut command = if stage.command.builtin {
            let mut command = Command::new(&self.krammerti);
            let params = params_digest(&stage.params).to_string();
            command.env(BODY, params).stdout(Stdio::piped());
            command
        } else {
            let mut command = Command::new(&words[0]);
            command.env_remove(BODY).stdout(log.try_clone()?);
            command
        };
        command
            .args(&words[1..])
            .current_dir(&self.root)
            .env("KRAMMERTI_STAGE", &stage.name)
            .env(RUN, &self.run)
            .stdin(Stdio::null())
            .stderr(log)
            .process_group(0);
        die_with_parent(&mut command);
        command.spawn().map_err(|source| CommandError::Start {
            program: words[0].clone(),
            source,
        })
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

/// SIGKILL for every process that a killed run has left: the death signal reaches only its direct
/// children, and what those started would go on to write.
pub(super) fn kill_run(run: &str) -> io::Result<()> {
    let mark = format!("{RUN}={run}");
    let ours = |environment: &[u8]| {
        environment
            .split(|byte| *byte == 0)
            .any(|v| v == mark.as_bytes())
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
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    Ok(())
}

fn forward_events(reader: impl BufRead, mut log: std::fs::File, sender: &mpsc::Sender<Message>) {
    for line in reader.lines().map_while(Result::ok) {
        match serde_json::from_str::<Event>(&line) {
            Ok(event) => {
                if let Event::Note { message } = &event {
                    let _ = writeln!(log, "{message}");
                }
                let _ = sender.send(Message::Event(Box::new(event)));
            }
            Err(_) => {
                let _ = writeln!(log, "{line}");
            }
        }
    }
}

/// Passes events on until the child has ended. A signal ends it early. Gives back what a subcommand
/// said went wrong.
fn watch(
    messages: &mpsc::Receiver<Message>,
    group: Pid,
    observer: &mut dyn Observer,
) -> Result<Ended, CommandError> {
    let mut failure = None;
    let mut asked_to_end: Option<Instant> = None;
    loop {
        match messages.recv_timeout(Duration::from_millis(20)) {
            Ok(Message::Event(event)) => match *event {
                Event::Failure { message, hint } => failure = Some((message, hint)),
                event => observer.event(event),
            },
            Ok(Message::Ended(status)) => {
                // What the child started and left behind ends with it.
                let _ = kill_process_group(group, Signal::KILL);
                return match interrupted() {
                    Some(signal) => Err(signal.into()),
                    None => Ok((status, failure)),
                };
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Ok((Err(io::Error::other("lost sight of the command")), failure));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        match asked_to_end {
            None if interrupted().is_some() => {
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
        let folder = tempfile::tempdir().unwrap();
        let processes = Processes {
            root: folder.path().to_owned(),
            run: "test".to_owned(),
            logs: folder.path().join("logs"),
            krammerti: PathBuf::from("krammerti"),
        };
        let words = words.iter().map(|&word| word.to_owned()).collect();
        let declared = Declared {
            words,
            ..Declared::default()
        };
        let stage = Stage::from_declared("s", declared, false).unwrap();
        processes.run(&stage, &mut |_: Event| {})
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
    fn stdin_is_empty_and_the_stage_knows_its_name() {
        run(&["sh", "-c", "! read line && test \"$KRAMMERTI_STAGE\" = s"]).unwrap();
    }
}
