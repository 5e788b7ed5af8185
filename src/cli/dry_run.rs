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
    if dry.stages.is_empty() {
        ui.remark("nothing to do: there are no stages that are on");
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
        (Standing::Blocked, "that cannot run"),
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
        let mut steps = dry.critical_path.clone();
        if let Some(last) = steps.last_mut().filter(|_| dry.critical_seconds > 0.0) {
            last.push_str(&format!(", {}", told(dry.critical_seconds)));
        }
        text.push_str(&chain("critical path: ", &steps));
    }
    text
}

/// Stages one after another, on as many lines as they need.
fn chain(title: &str, steps: &[String]) -> String {
    const COLUMNS: usize = 80;
    let mut lines = vec![title.to_owned()];
    for (i, step) in steps.iter().enumerate() {
        let step = if i == 0 {
            step.clone()
        } else {
            format!("→ {step}")
        };
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + step.chars().count() <= COLUMNS => {
                if i > 0 {
                    line.push(' ');
                }
                line.push_str(&step);
            }
            _ => lines.push(format!("  {step}")),
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_folded() {
        let steps = |count: usize| -> Vec<String> {
            (0..count).map(|i| format!("stage-number-{i}")).collect()
        };
        assert_eq!(
            chain("path: ", &steps(2)),
            "path: stage-number-0 → stage-number-1\n"
        );
        let long = chain("path: ", &steps(9));
        assert_eq!(long.lines().count(), 3, "{long}");
        assert!(
            long.lines().all(|line| line.chars().count() <= 80),
            "{long}"
        );
        assert_eq!(long.matches('→').count(), 8);
    }
}
