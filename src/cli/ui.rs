//! The only writer to stdout and stderr: colour, verbosity, progress.
//!
//! stdout carries results, or events with `--json`; everything else goes to stderr. Without a
//! terminal there are no colours, bars or cursor codes.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Global;
use super::error::Report;
use crate::event::{Event, Observer, Outcome};

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
    stage: Option<Running>,
}

/// The stage whose command runs.
struct Running {
    name: String,
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
            stage: None,
        }
    }

    /// Writes a result to stdout. Whoever closed the pipe has seen enough.
    #[expect(
        clippy::unused_self,
        reason = "printing belongs to whoever holds the Ui"
    )]
    pub(super) fn print(&mut self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
    }

    /// Tells an error and gives back its exit code.
    pub(super) fn error(&mut self, report: &Report) -> u8 {
        self.clear_bar();
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

    #[expect(
        clippy::unused_self,
        reason = "printing belongs to whoever holds the Ui"
    )]
    fn line(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        let _ = writeln!(stderr, "{text}");
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
            Event::StageFinished {
                stage,
                outcome,
                seconds,
                ..
            } => self.stage_finished(&stage, outcome, seconds),
            Event::Progress {
                done,
                total,
                message,
                ..
            } => self.progress(done, total, &message),
            Event::Note { message } => self.note(&message),
            Event::Result { text, .. } => {
                self.clear_bar();
                self.print(&format!("\n{}\n\n", text.trim_end()));
            }
            Event::RunFinished {
                ran,
                restored,
                fresh,
                failed,
                skipped,
            } => {
                self.recap(&ran, &restored, &fresh, &failed, &skipped);
            }
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
        self.stage = Some(Running {
            name: stage,
            since: std::time::Instant::now(),
            bar: None,
        });
    }

    fn stage_finished(&mut self, stage: &str, outcome: Outcome, seconds: f64) {
        self.clear_bar();
        self.stage = None;
        let (colour, word, more) = match outcome {
            Outcome::Ran => (Colour::Green, "ran", format!("{seconds:.1} s")),
            Outcome::Restored => (Colour::Green, "restored", "from the store".to_owned()),
            Outcome::Failed => (Colour::Red, "failed", format!("{seconds:.1} s")),
            // Said once, at the end.
            Outcome::Fresh | Outcome::Skipped => return,
        };
        self.say(&format!(
            "{stage:<12} {} {more}",
            self.paint_padded(colour, word, 9)
        ));
    }

    fn recap(
        &mut self,
        ran: &[String],
        restored: &[String],
        fresh: &[String],
        failed: &[String],
        skipped: &[String],
    ) {
        let of = fresh.len();
        if ran.len() + restored.len() + failed.len() + skipped.len() == 0 {
            let what = if of == 1 {
                "the stage is fresh".to_owned()
            } else {
                format!("all {of} stages are fresh")
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
        let told: Vec<String> = parts
            .iter()
            .filter(|(_, stages)| !stages.is_empty())
            .map(|(word, stages)| format!("{word} {} ({})", stages.len(), stages.join(", ")))
            .collect();
        self.say(&told.join("; "));
    }

    fn paint_padded(&self, colour: Colour, text: &str, width: usize) -> String {
        format!(
            "{}{}",
            self.paint(colour, text),
            " ".repeat(width.saturating_sub(text.len()))
        )
    }

    fn say(&mut self, text: &str) {
        if !self.quiet {
            self.line(text.trim_end());
        }
    }

    /// What a stage says of its work: a line in a log, nothing beside a bar.
    fn note(&mut self, message: &str) {
        let beside_a_bar = self.terminal && self.stage.is_some();
        if self.quiet || (beside_a_bar && !self.verbose) {
            return;
        }
        let name = self
            .stage
            .as_ref()
            .map(|stage| stage.name.clone())
            .unwrap_or_default();
        let text = format!("{name:<12} {}", self.paint(Colour::Dim, message));
        match self.stage.as_ref().and_then(|stage| stage.bar.as_ref()) {
            Some(bar) => bar.println(text),
            None => self.line(&text),
        }
    }

    fn progress(&mut self, done: u64, total: u64, message: &str) {
        if self.quiet || !self.terminal {
            return;
        }
        let Some(stage) = &mut self.stage else { return };
        if stage.bar.is_none() && stage.since.elapsed() < SLOW {
            return;
        }
        let bar = stage.bar.get_or_insert_with(|| new_bar(&stage.name));
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(message.to_owned());
    }

    fn clear_bar(&mut self) {
        if let Some(bar) = self.stage.as_mut().and_then(|stage| stage.bar.take()) {
            bar.finish_and_clear();
        }
    }
}

/// At most 80 columns for messages of up to 40: a bar that wraps leaves its rest behind.
fn new_bar(stage: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
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
