//! The only writer to stdout and stderr: colour, verbosity, progress.
//!
//! stdout carries results, or events with `--json`; everything else goes to stderr. Without a
//! terminal there are no colours, bars or cursor codes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal, Read, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::Global;
use super::error::Report;
use crate::event::{Event, Observer, Outcome, on_one_line};
use crate::time::Span;

/// The names of stages get a column of at least and at most so many characters; a longer name pushes
/// the rest of its line to the right.
const COLUMN: std::ops::RangeInclusive<usize> = 12..=24;

/// How long a line is at most, where it can be shorter.
const COLUMNS: usize = 80;

/// Work shorter than this needs no bar.
const SLOW: Duration = Duration::from_millis(400);

/// Who reads what we print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// A person, or a log.
    Person,
    /// A program: events as JSON lines on stdout.
    Program,
    /// The runner that started us for the body of a stage: the same.
    Runner,
}

/// The streams of this process.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub(super) struct Ui {
    reader: Reader,
    quiet: bool,
    verbose: bool,
    colour: bool,
    terminal: bool,
    /// By name, those whose command runs.
    running: BTreeMap<String, Running>,
    bars: MultiProgress,
    /// The width of the column of names.
    column: usize,
    /// Stages that `when` leaves out.
    off: Vec<String>,
    /// Warnings, and what stages are built on: once is enough, however many of them it is about.
    told: BTreeSet<String>,
    /// Why something that belongs to stdout was not written.
    unwritten: Option<io::Error>,
}

/// A stage whose command runs.
struct Running {
    since: std::time::Instant,
    bar: Option<ProgressBar>,
    /// The last thing that it said where only the bar was to be seen.
    unsaid: Option<String>,
}

#[derive(Clone, Copy)]
enum Colour {
    Red,
    Green,
    Yellow,
    Dim,
}

impl Ui {
    pub(super) fn new(global: &Global, body: bool) -> Self {
        let terminal = std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let colour = match global.color {
            clap::ColorChoice::Always => true,
            clap::ColorChoice::Never => false,
            clap::ColorChoice::Auto => {
                terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        let reader = match (body, global.json) {
            (true, _) => Reader::Runner,
            (false, true) => Reader::Program,
            (false, false) => Reader::Person,
        };
        Self {
            reader,
            quiet: global.quiet,
            verbose: global.verbose,
            colour,
            terminal,
            running: BTreeMap::new(),
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)),
            column: *COLUMN.start(),
            off: Vec::new(),
            told: BTreeSet::new(),
            unwritten: None,
        }
    }

    /// Names the stages that `when` leaves out of a run, for its last line.
    pub(super) fn leave_out(&mut self, stages: Vec<String>) {
        self.off = stages;
    }

    /// Something that a person may want to know; nothing for a program.
    pub(super) fn remark(&mut self, text: &str) {
        if self.reader == Reader::Person {
            self.say(text);
        }
    }

    /// Writes a result to stdout. Whoever closed the pipe has seen enough; what else keeps it from being
    /// written is told at the end.
    pub(super) fn print(&mut self, text: &str) {
        let _ = self.write(text.as_bytes());
    }

    /// Whether more can be written.
    fn write(&mut self, bytes: &[u8]) -> bool {
        let mut written = Ok(());
        self.beside_bars(|| {
            let mut stdout = std::io::stdout().lock();
            written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        });
        match written {
            Ok(()) => return true,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => {
                self.unwritten.get_or_insert(error);
            }
        }
        false
    }

    /// An error where a result could not be written.
    pub(super) fn require_written(&mut self) -> anyhow::Result<()> {
        match self.unwritten.take() {
            Some(error) => Err(anyhow::anyhow!(
                "cannot write to the standard output: {error}"
            )),
            None => Ok(()),
        }
    }

    /// Copies a result to stdout, byte by byte as it is.
    pub(super) fn copy(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) if !self.write(&buffer[..read]) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }

    /// Writes with the bars out of the way.
    fn beside_bars(&self, write: impl FnOnce()) {
        if self.running.values().any(|stage| stage.bar.is_some()) {
            self.bars.suspend(write);
        } else {
            write();
        }
    }

    /// Tells an error and gives back its exit code.
    pub(super) fn error(&mut self, report: &Report) -> u8 {
        self.clear_bars();
        if self.reader == Reader::Runner {
            self.json(&Event::Failure {
                message: report.message.clone(),
                hint: report.hint.clone(),
            });
            return report.code;
        }
        if let Some(log) = &report.log {
            for line in log.lines() {
                self.line(&format!("  {}", self.paint(Colour::Dim, line)));
            }
        }
        self.line(&format!(
            "{} {}",
            self.paint(Colour::Red, "error:"),
            report.message
        ));
        if let Some(hint) = &report.hint {
            self.line(&format!("{} {hint}", self.paint(Colour::Green, "hint:")));
        }
        report.code
    }

    fn json(&mut self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            self.print(&(line + "\n"));
        }
    }

    fn line(&self, text: &str) {
        self.beside_bars(|| {
            let mut stderr = std::io::stderr().lock();
            let _ = writeln!(stderr, "{text}");
        });
    }

    fn paint(&self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Red => 31,
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Dim => 2,
        };
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn show(&mut self, event: Event) {
        match event {
            Event::StageStarted { stage, reasons } => self.stage_started(stage, &reasons),
            Event::StageRetry {
                stage,
                attempt,
                attempts,
                seconds,
                error,
            } => self.retry(&stage, attempt, attempts, seconds, &error),
            Event::StageFinished {
                stage,
                outcome,
                seconds,
                error,
                ..
            } => self.stage_finished(&stage, outcome, seconds, error.as_deref()),
            Event::Progress {
                stage,
                done,
                total,
                message,
                ..
            } => self.progress(&stage.unwrap_or_default(), done, total, &message),
            Event::Note { stage, message } => self.note(&stage.unwrap_or_default(), &message),
            Event::BuiltOn { stage, facts } => {
                let line = on_one_line(&facts);
                if self.told.insert(line.clone()) {
                    self.note(&stage.unwrap_or_default(), &line);
                }
            }
            Event::Warning { message, .. } => self.warn(message),
            Event::Result { text, .. } => self.print(&format!("\n{}\n\n", text.trim_end())),
            finished @ Event::RunFinished { .. } => self.recap(&finished),
            Event::RunStarted { stages, .. } => {
                let longest = stages.iter().map(|stage| stage.chars().count()).max();
                self.column = longest.unwrap_or(0).clamp(*COLUMN.start(), *COLUMN.end());
            }
            Event::Failure { .. } => {}
        }
    }

    fn stage_started(&mut self, stage: String, reasons: &[String]) {
        let mut why = reasons.first().cloned().unwrap_or_default();
        if reasons.len() > 1 {
            why.push_str(&format!(" (and {} more)", reasons.len() - 1));
        }
        self.stage_line(&stage, Colour::Yellow, "running", &why, self.terminal);
        self.running.insert(
            stage,
            Running {
                since: std::time::Instant::now(),
                bar: None,
                unsaid: None,
            },
        );
    }

    fn retry(&mut self, stage: &str, attempt: u32, attempts: u32, seconds: f64, error: &str) {
        let next = format!("try {attempt} of {attempts} in {}: {error}", told(seconds));
        self.stage_line(stage, Colour::Yellow, "failed", &next, self.terminal);
    }

    fn stage_finished(&mut self, stage: &str, outcome: Outcome, seconds: f64, error: Option<&str>) {
        let running = self.running.remove(stage);
        let (bar, unsaid) = running.map_or((None, None), |stage| (stage.bar, stage.unsaid));
        if let Some(bar) = bar {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        let (colour, word, more) = match outcome {
            Outcome::Ran => {
                let last = unsaid.map_or_else(String::new, |last| format!(": {last}"));
                (Colour::Green, "ran", told(seconds) + &last)
            }
            Outcome::Restored => (Colour::Green, "restored", "from the store".to_owned()),
            Outcome::Failed => {
                let error = error.unwrap_or_default();
                (Colour::Red, "failed", format!("{}: {error}", told(seconds)))
            }
            // Said once, at the end.
            Outcome::Fresh | Outcome::Skipped => return,
        };
        let cut = outcome == Outcome::Ran && self.terminal;
        self.stage_line(stage, colour, word, &more, cut);
    }

    /// A stage, what became of it, and more of that, which may be cut where `why` or the log has it
    /// all.
    fn stage_line(&mut self, stage: &str, colour: Colour, word: &str, more: &str, cut: bool) {
        const WORD: usize = 9;
        let column = self.column;
        let before = stage.chars().count().max(column) + WORD + 2;
        let room = if cut {
            COLUMNS.saturating_sub(before).max(8)
        } else {
            usize::MAX
        };
        let more = shortened(more, room);
        let word = self.paint_padded(colour, word, WORD);
        self.say(&format!("{stage:<column$} {word} {more}"));
    }

    fn recap(&mut self, finished: &Event) {
        let Event::RunFinished {
            ran,
            restored,
            fresh,
            failed,
            skipped,
            seconds,
            ..
        } = finished
        else {
            return;
        };
        if ran.len() + restored.len() + failed.len() + skipped.len() == 0 {
            let what = match (fresh.len(), self.off.as_slice()) {
                (0, []) => "there are no stages".to_owned(),
                (0, off) => format!("off {}{}", off.len(), names(off, COLUMNS / 2)),
                (1, _) => "the stage is fresh".to_owned(),
                (of, _) => format!("all {of} stages are fresh"),
            };
            let off = match self.off.as_slice() {
                off if fresh.is_empty() || off.is_empty() => String::new(),
                off => format!("; off {}{}", off.len(), names(off, COLUMNS / 2)),
            };
            return self.say(&format!("nothing to do: {what}{off}"));
        }
        let parts = [
            ("ran", ran),
            ("restored", restored),
            ("fresh", fresh),
            ("failed", failed),
            ("skipped", skipped),
            ("off", &self.off),
        ];
        self.say(&counted(&parts, &told(*seconds)));
    }

    fn paint_padded(&self, colour: Colour, text: &str, width: usize) -> String {
        format!(
            "{}{}",
            self.paint(colour, text),
            " ".repeat(width.saturating_sub(text.len()))
        )
    }

    /// Says something beside the result, on stderr.
    pub(super) fn say(&mut self, text: &str) {
        if !self.quiet {
            self.line(text.trim_end());
        }
    }

    /// What a stage says of its work: a line in a log; beside a bar the last one, when it is done.
    fn note(&mut self, stage: &str, message: &str) {
        if self.quiet {
            return;
        }
        if let Some(running) = self.running.get_mut(stage).filter(|_| self.terminal)
            && !self.verbose
        {
            running.unsaid = Some(message.to_owned());
            return;
        }
        let column = self.column;
        let message = self.paint(Colour::Dim, message);
        match stage {
            "" => self.line(&message),
            stage => self.line(&format!("{stage:<column$} {message}")),
        }
    }

    /// Said once, also beside a bar, and where all but results is unwanted: a forecast may be missing.
    fn warn(&mut self, message: String) {
        if !self.told.contains(&message) {
            self.line(&format!(
                "{} {message}",
                self.paint(Colour::Yellow, "warning:")
            ));
            self.told.insert(message);
        }
    }

    fn progress(&mut self, name: &str, done: u64, total: u64, message: &str) {
        if self.quiet || !self.terminal {
            return;
        }
        let Some(stage) = self.running.get_mut(name) else {
            return;
        };
        if stage.bar.is_none() && stage.since.elapsed() < SLOW {
            return;
        }
        let bar = stage
            .bar
            .get_or_insert_with(|| self.bars.add(new_bar(name, self.column)));
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(message.to_owned());
    }

    fn clear_bars(&mut self) {
        for bar in self
            .running
            .values_mut()
            .filter_map(|stage| stage.bar.take())
        {
            bar.finish_and_clear();
        }
    }
}

/// What became of how many stages, with as many names as a line has room for: those of stages that
/// failed first, those with nothing to do last.
fn counted(parts: &[(&str, &Vec<String>)], time: &str) -> String {
    let mut told: Vec<(&str, String, &Vec<String>)> = parts
        .iter()
        .filter(|(_, stages)| !stages.is_empty())
        .map(|&(word, stages)| (word, format!("{word} {}", stages.len()), stages))
        .collect();
    let bare: usize = told.iter().map(|(_, text, _)| text.len() + 2).sum();
    let mut room = COLUMNS.saturating_sub(bare + time.len());
    for first in ["failed", "skipped", "off", "restored", "ran", "fresh"] {
        for (_, text, stages) in told.iter_mut().filter(|(word, ..)| *word == first) {
            let names = names(stages, room);
            room -= names.chars().count();
            text.push_str(&names);
        }
    }
    let told: Vec<&str> = told.iter().map(|(_, text, _)| text.as_str()).collect();
    format!("{}; {time}", told.join("; "))
}

/// Names in brackets, as many as there is room for.
fn names(stages: &[String], room: usize) -> String {
    let all = format!(" ({})", stages.join(", "));
    if all.chars().count() <= room {
        return all;
    }
    let mut some = String::from(" (");
    for stage in stages {
        let more = format!("{stage}, ");
        // Two more for what closes it.
        if some.chars().count() + more.chars().count() + 2 > room {
            break;
        }
        some.push_str(&more);
    }
    match some.as_str() {
        " (" => String::new(),
        some => format!("{some}…)"),
    }
}

/// The beginning of a text that is too long.
fn shortened(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns - 1).collect();
    format!("{}…", kept.trim_end())
}

/// An amount of bytes for a person.
pub(super) fn bytes(count: u64) -> String {
    match count {
        b if b < 1000 => format!("{b} B"),
        b if b < 1_000_000 => format!("{:.1} kB", b as f64 / 1e3),
        b if b < 1_000_000_000 => format!("{:.1} MB", b as f64 / 1e6),
        b => format!("{:.1} GB", b as f64 / 1e9),
    }
}

/// A length of time for a person.
pub(super) fn told(seconds: f64) -> String {
    Span::from(Duration::try_from_secs_f64(seconds).unwrap_or_default()).to_string()
}

/// A bar that fits its line whatever it says: one that wraps leaves its rest behind.
fn new_bar(stage: &str, column: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let stage = shortened(stage, column);
    let template = format!("{stage:<column$} [{{bar:8}}] {{wide_msg}}{{left}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        // Before anything is done nobody knows, and the last second is none to wait for.
        let left = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            let left = Duration::from_secs(state.eta().as_secs());
            if state.pos() > 0 && !left.is_zero() {
                let _ = write!(to, "  {} left", Span::from(left));
            }
        };
        bar.set_style(style.with_key("left", left).progress_chars("=> "));
    }
    bar
}

impl Observer for Ui {
    fn event(&mut self, event: Event) {
        match self.reader {
            Reader::Person => self.show(event),
            Reader::Program | Reader::Runner => self.json(&event),
        }
    }
}

/// Prints clap's help, version or usage error. Gives back the exit code.
pub(super) fn print_usage(error: &clap::Error) -> i32 {
    let _ = error.print();
    error.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(count: usize, name: &str) -> Vec<String> {
        (1..=count).map(|i| format!("{name}-{i:03}")).collect()
    }

    #[test]
    fn a_recap_has_the_names_there_is_room_for() {
        let (none, few, many) = (Vec::new(), stages(2, "s"), stages(100, "count@text"));
        assert_eq!(
            counted(&[("ran", &few), ("fresh", &none)], "1 s"),
            "ran 2 (s-001, s-002); 1 s"
        );
        let parts = [("ran", &many), ("fresh", &few), ("failed", &few)];
        let text = counted(&parts, "1 min");
        assert_eq!(
            text,
            "ran 100 (count@text-001, …); fresh 2 (s-001, …); failed 2 (s-001, s-002); 1 min"
        );
        assert!(text.chars().count() <= COLUMNS);
        let long = stages(3, &"x".repeat(50));
        for parts in [
            vec![("failed", &long)],
            vec![
                ("ran", &many),
                ("failed", &many),
                ("skipped", &long),
                ("off", &many),
            ],
        ] {
            let text = counted(&parts, "12.5 min");
            assert!(text.chars().count() <= COLUMNS, "{text}");
            assert!(text.starts_with(parts[0].0), "{text}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(shortened("größer", 6), "größer");
        assert_eq!(shortened("größer als", 7), "größer…");
    }
}
