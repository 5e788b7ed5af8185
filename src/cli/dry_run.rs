//! What `krammerti run --dry-run` shows.

use anyhow::Result;

use super::Global;
use super::ui::{Ui, told};
use crate::ops::{DryRun, Planned, Standing};

pub(super) fn show(dry: &DryRun, global: &Global, ui: &mut Ui) -> Result<()> {
    if global.json {
        ui.print(&(serde_json::to_string(dry)? + "\n"));
        return Ok(());
    }
    let width = dry
        .stages
        .iter()
        .map(|stage| stage.status.stage.chars().count())
        .max()
        .unwrap_or(0);
    for stage in &dry.stages {
        ui.print(&line(stage, width));
    }
    ui.print(&recap(dry));
    Ok(())
}

fn line(stage: &Planned, width: usize) -> String {
    let status = &stage.status;
    let about = stage.seconds.map(told).unwrap_or_default();
    let mut why = status.reasons.first().cloned().unwrap_or_default();
    if status.reasons.len() > 1 {
        why.push_str(&format!(" (and {} more)", status.reasons.len() - 1));
    }
    let what = match status.state {
        Standing::Fresh => "fresh",
        Standing::Frozen => "frozen",
        Standing::Restorable => "restores",
        Standing::Stale => "runs",
        Standing::Waiting => "may run",
        Standing::Blocked => "fails",
        Standing::Off => "off",
    };
    let line = format!("{:<width$}  {what:<8}  {about:>8}  {why}", status.stage);
    format!("{}\n", line.trim_end())
}

fn recap(dry: &DryRun) -> String {
    let count = |state| {
        dry.stages
            .iter()
            .filter(|s| s.status.state == state)
            .count()
    };
    let parts = [
        (Standing::Stale, "to run"),
        (Standing::Waiting, "that may run"),
        (Standing::Restorable, "to restore"),
        (Standing::Blocked, "without an input"),
        (Standing::Fresh, "fresh"),
        (Standing::Frozen, "frozen"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .map(|&(state, word)| (count(state), word))
        .filter(|&(count, _)| count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let mut text = format!("\n{}\n", parts.join(", "));
    let unknown = dry
        .stages
        .iter()
        .filter(|s| s.seconds.is_none())
        .filter(|s| matches!(s.status.state, Standing::Stale | Standing::Waiting))
        .count();
    if dry.seconds > 0.0 {
        text.push_str(&format!("up to {} by earlier runs", told(dry.seconds)));
        if unknown > 0 {
            text.push_str(&format!(", and {unknown} that never ran"));
        }
        text.push('\n');
    }
    if dry.critical_path.len() > 1 {
        let path = dry.critical_path.join(" → ");
        text.push_str(&format!("critical path: {path}"));
        if dry.critical_seconds > 0.0 {
            text.push_str(&format!(", {}", told(dry.critical_seconds)));
        }
        text.push('\n');
    }
    text
}
