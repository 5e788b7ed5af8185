//! The only writer to stdout and stderr: colour, verbosity, progress.
//!
//! stdout carries results, or events with `--json`; everything else goes to stderr. Without a
//! terminal there are no colours, bars or cursor codes.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Global;
use super::error::Report;
use crate::event::{Event, Observer, Outcome};
use crate::time::Span;

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
}

/// A stage whose command runs.
struct Running {
    since: std::time::Instant,
    bar: Option<ProgressBar>,
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
        }
    }

    /// Writes a result to stdout. Whoever closed the pipe has seen enough.
    pub(super) fn print(&mut self, text: &str) {
        self.beside_bars(|| {
            let mut stdout = std::io::stdout().lock();
            let _ = stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush());
        });
    }

    /// Copies a result to stdout, byte by byte as it is.
    pub(super) fn copy(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut copied = Ok(());
        self.beside_bars(|| {
            let mut stdout = io::stdout().lock();
            copied = io::copy(from, &mut stdout).and_then(|_| stdout.flush());
        });
        match copied {
            // Whoever closed the pipe has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            copied => copied,
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
            Event::Result { text, .. } => self.print(&format!("\n{}\n\n", text.trim_end())),
            finished @ Event::RunFinished { .. } => self.recap(&finished),
            Event::RunStarted { .. } | Event::Failure { .. } => {}
        }
    }

    fn stage_started(&mut self, stage: String, reasons: &[String]) {
        let mut why = reasons.first().cloned().unwrap_or_default();
        if reasons.len() > 1 {
            why.push_str(&format!(" (and {} more)", reasons.len() - 1));
        }
        self.say(&format!(
            "{stage:<12} {:<9} {why}",
            self.paint_padded(Colour::Yellow, "running", 9)
        ));
        self.running.insert(
            stage,
            Running {
                since: std::time::Instant::now(),
                bar: None,
            },
        );
    }

    fn retry(&mut self, stage: &str, attempt: u32, attempts: u32, seconds: f64, error: &str) {
        let wait = told(seconds);
        self.say(&format!(
            "{stage:<12} {} try {attempt} of {attempts} in {wait}: {error}",
            self.paint_padded(Colour::Yellow, "failed", 9)
        ));
    }

    fn stage_finished(&mut self, stage: &str, outcome: Outcome, seconds: f64, error: Option<&str>) {
        if let Some(bar) = self.running.remove(stage).and_then(|stage| stage.bar) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        let (colour, word, more) = match outcome {
            Outcome::Ran => (Colour::Green, "ran", told(seconds)),
            Outcome::Restored => (Colour::Green, "restored", "from the store".to_owned()),
            Outcome::Failed => {
                let error = error.unwrap_or_default();
                (Colour::Red, "failed", format!("{}: {error}", told(seconds)))
            }
            // Said once, at the end.
            Outcome::Fresh | Outcome::Skipped => return,
        };
        self.say(&format!(
            "{stage:<12} {} {more}",
            self.paint_padded(colour, word, 9)
        ));
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
            let what = match fresh.len() {
                0 => "there are no stages".to_owned(),
                1 => "the stage is fresh".to_owned(),
                of => format!("all {of} stages are fresh"),
            };
            return self.say(&format!("nothing to do: {what}"));
        }
        let parts = [
            ("ran", ran),
            ("restored", restored),
            ("fresh", fresh),
            ("failed", failed),
            ("skipped", skipped),
        ];
        let counted: Vec<String> = parts
            .iter()
            .filter(|(_, stages)| !stages.is_empty())
            .map(|(word, stages)| format!("{word} {}{}", stages.len(), names(stages)))
            .collect();
        self.say(&format!("{}; {}", counted.join("; "), told(*seconds)));
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

    /// What a stage says of its work: a line in a log, nothing beside a bar.
    fn note(&mut self, stage: &str, message: &str) {
        let beside_a_bar = self.terminal && self.running.contains_key(stage);
        if self.quiet || (beside_a_bar && !self.verbose) {
            return;
        }
        self.line(&format!("{stage:<12} {}", self.paint(Colour::Dim, message)));
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
            .get_or_insert_with(|| self.bars.add(new_bar(name)));
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

/// A few names in brackets; many are only counted.
fn names(stages: &[String]) -> String {
    const FEW: usize = 8;
    if stages.len() <= FEW {
        format!(" ({})", stages.join(", "))
    } else {
        format!(" ({}, …)", stages[..FEW - 1].join(", "))
    }
}

/// A length of time for a person.
pub(super) fn told(seconds: f64) -> String {
    Span::from(Duration::try_from_secs_f64(seconds).unwrap_or_default()).to_string()
}

/// At most 80 columns for messages of up to 40: a bar that wraps leaves its rest behind.
fn new_bar(stage: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let template = format!("{stage:<12} [{{bar:12}}] {{msg}}  {{eta}} left");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("=> "));
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
