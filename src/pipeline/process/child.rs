//! A child from its start to its end: what it says meanwhile, and what ends it early.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Resource, Signal, WaitOptions, getpid, getppid, kill_process_group,
    set_parent_process_death_signal, setrlimit, setsid, test_kill_process_group, waitpid,
};

use super::{CommandError, interrupted, open_files};
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
        let message = format!("a thread cannot be started: {error}");
        return Err(io::Error::new(error.kind(), message).into());
    }
    let (status, failure) = watch(&messages, group, limit, observer)?;
    Ok((status?, failure))
}

/// Leads a session and a process group of its own, without a terminal: what asks there (ssh, sudo, git) fails, where it
/// would wait for an answer that nobody can give. SIGKILL for the child when we end, however we end.
#[expect(
    unsafe_code,
    reason = "pre_exec has no safe form; the closure makes system calls only"
)]
pub(super) fn in_a_session_of_our_own(command: &mut Command) {
    let parent = getpid();
    let open_files = open_files::before();
    // SAFETY: setsid, prctl(PR_SET_PDEATHSIG), setrlimit and getppid are async-signal-safe, and nothing else happens.
    unsafe {
        command.pre_exec(move || {
            setsid()?;
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if let Some(limit) = open_files {
                setrlimit(Resource::Nofile, limit)?;
            }
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
    while since.elapsed() < GRACE && is_alive(group) {
        std::thread::sleep(LOOK);
    }
}

/// Whether a group has a process that has not ended. One that has counts as there until its parent has seen it, and
/// where a container's first process looks after nobody, that is never.
fn is_alive(group: Pid) -> bool {
    test_kill_process_group(group).is_ok() && !are_all_ended(group)
}

/// Whether a group has processes and all have ended, as far as /proc tells.
fn are_all_ended(group: Pid) -> bool {
    let proc = Path::new("/proc");
    let names = fs::list(proc).unwrap_or_default();
    let is_number = |name: &OsString| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let stats = names.iter().filter(|name| is_number(name));
    let stats = stats.filter_map(|name| fs::read(&proc.join(name).join("stat")).ok());
    let of_group: Vec<u8> = stats.filter_map(|stat| state_in(&stat, group)).collect();
    !of_group.is_empty() && of_group.iter().all(|state| matches!(state, b'Z' | b'X'))
}

/// The state of a process by its line in /proc, where it is of a group. Its name stands in brackets and may hold any.
fn state_in(stat: &[u8], group: Pid) -> Option<u8> {
    let text = String::from_utf8_lossy(stat);
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.bytes().next()?;
    let of = fields.nth(1)?.parse().ok()?;
    (Pid::from_raw(of) == Some(group)).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_whose_processes_have_ended_and_were_not_seen_is_not_alive() {
        let mut command = Command::new("sh");
        command.args(["-c", "read x"]).process_group(0);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let group = Pid::from_child(&child);
        assert!(is_alive(group));
        drop(child.stdin.take());
        let begun = Instant::now();
        while is_alive(group) {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(
            test_kill_process_group(group).is_ok(),
            "nobody has waited for it"
        );
        child.wait().unwrap();
    }

    #[test]
    fn the_name_of_a_process_does_not_hide_its_group() {
        let group = Pid::from_raw(7);
        let stat = |of| format!("5 (a) Z 9 (b)) S 1 {of} 5 0 -1").into_bytes();
        assert_eq!(state_in(&stat(7), group.unwrap()), Some(b'S'));
        assert_eq!(state_in(&stat(8), group.unwrap()), None);
        assert_eq!(state_in(b"", group.unwrap()), None);
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
