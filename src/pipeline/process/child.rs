//! A child from its start to its end: what it says meanwhile, and what ends it early.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process_group, set_parent_process_death_signal,
    setsid, test_kill_process_group, waitpid,
};

use super::{CommandError, interrupted};
use crate::event::{Event, Observer, on_one_line};
use crate::fs;

/// How long a child may take to end after TERM.
const GRACE: Duration = Duration::from_secs(5);

/// What a subcommand of krammerti said went wrong, and what is to be done.
type Said = Option<(String, Option<String>)>;

/// How a child ended, and what it said.
type Ended = (io::Result<ExitStatus>, Said);

/// What a child does while we wait.
enum Message {
    Event(Box<Event>),
    Ended(io::Result<ExitStatus>),
}

/// Starts a command and waits for its end.
pub(super) fn run_to_its_end(
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

/// Leads a session and a process group of its own, without a terminal: what asks there (ssh, sudo, git) fails, where it
/// would wait for an answer that nobody can give. SIGKILL for the child when we end, however we end.
#[expect(
    unsafe_code,
    reason = "pre_exec has no safe form; the closure makes three system calls"
)]
pub(super) fn in_a_session_of_our_own(command: &mut Command) {
    let parent = getpid();
    // SAFETY: setsid, prctl(PR_SET_PDEATHSIG) and getppid are async-signal-safe, and nothing else happens.
    unsafe {
        command.pre_exec(move || {
            setsid()?;
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

/// Reads to the end, whatever the bytes are: a pipe that is closed early ends who writes to it.
fn forward_events(
    mut reader: impl BufRead,
    mut log: std::fs::File,
    sender: &mpsc::Sender<Message>,
) {
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        let text = String::from_utf8_lossy(&line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        match serde_json::from_str::<Event>(text) {
            Ok(event) => {
                if let Some(text) = for_the_log(&event) {
                    let _ = writeln!(log, "{text}");
                }
                let _ = sender.send(Message::Event(Box::new(event)));
            }
            Err(_) => {
                let _ = writeln!(log, "{text}");
            }
        }
        line.clear();
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

#[cfg(test)]
mod tests {
    use super::*;

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
        // A library may print what is no UTF-8.
        let said = [b"drv \xff\n", lines.join("\n").as_bytes(), b"\nno end"].concat();
        let (sender, messages) = mpsc::channel();
        forward_events(said.as_slice(), fs::append(&log).unwrap(), &sender);
        drop(sender);
        assert_eq!(messages.iter().count(), 3);
        let text = fs::read_to_string(&log).unwrap();
        assert_eq!(
            text,
            "drv \u{fffd}\nnoted\na table\nerror: no\nhint: try\nno end\n"
        );
    }
}
