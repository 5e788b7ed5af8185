//! `krammerti diff`.

use anyhow::Result;

use super::Global;
use super::project::Project;
use super::text::{Align, WIDTH, columns, fit, fit_end};
use super::ui::Ui;
use crate::ops::{self, Diff, DiffWith, MetricDiff, ParamDiff, Side, Unavailable};

/// Compare parameters and metrics with those of another git revision.
///
/// Metrics are the numbers of every output that is a `metrics.json`, or a folder with a `metrics.json`
/// at its top. What a revision had comes from the store, by its pipeline.lock. With -v also what did
/// not change, and what belongs to the items of lists.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The revision to compare with, HEAD where none is named.
    #[arg(value_name = "REV")]
    from: Option<String>,
    /// What to compare it with, instead of the workspace.
    #[arg(value_name = "REV2")]
    to: Option<String>,
}

pub(super) fn run(args: &Args, global: &Global, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let from = args.from.as_deref().unwrap_or("HEAD");
    let mut diff = match &args.to {
        Some(to) => ops::diff(&project.root, from, DiffWith::Revision(to)),
        None => ops::diff(
            &project.root,
            from,
            DiffWith::Workspace(&project.pipeline()?),
        ),
    }?;
    if global.json {
        if !global.verbose {
            diff.params.retain(ParamDiff::is_change);
            diff.metrics.retain(MetricDiff::is_change);
        }
        ui.print(&(serde_json::to_string(&diff)? + "\n"));
    } else {
        ui.print(&render(&diff, global.verbose));
    }
    for revision in &diff.without_lock {
        ui.say(&format!(
            "{revision} has no pipeline.lock, which tells what it built, so there are no metrics to compare"
        ));
    }
    for file in &diff.outside {
        ui.say(&format!(
            "{file} is outside of the git repository, so its parameters cannot be compared"
        ));
    }
    let told = !diff.without_lock.is_empty() || global.json;
    if diff.metrics.is_empty() && diff.unavailable.is_empty() && !told {
        ui.say("there are no metrics: no stage writes a metrics.json");
    }
    for stage in &diff.not_up_to_date {
        ui.say(&format!(
            "{stage} is not up to date, so its metrics are those of an earlier state; `krammerti run` renews them"
        ));
    }
    Ok(())
}

fn render(diff: &Diff, verbose: bool) -> String {
    let params: Vec<&ParamDiff> = diff
        .params
        .iter()
        .filter(|param| verbose || param.is_change())
        .collect();
    let metrics: Vec<&MetricDiff> = diff
        .metrics
        .iter()
        .filter(|metric| verbose || (metric.is_change() && !metric.in_list))
        .collect();
    let mut sections = Vec::new();
    if !params.is_empty() {
        sections.push(param_table(diff, &params, verbose));
    }
    for file in metrics.chunk_by(|a, b| a.file == b.file) {
        sections.push(metric_table(diff, file, verbose));
    }
    sections.extend(diff.unavailable.iter().map(unavailable));
    let hidden = hidden(diff, verbose);
    if sections.is_empty() && !hidden.changed {
        let (from, to) = (label(&diff.from), label(&diff.to));
        sections.push(format!("nothing differs between {from} and {to}\n"));
    }
    sections.extend(hidden.told);
    sections.join("\n")
}

fn param_table(diff: &Diff, params: &[&ParamDiff], verbose: bool) -> String {
    const VALUE: usize = 24;
    let value = |value: &Option<serde_json::Value>| match value {
        None => "unset".to_owned(),
        Some(value) if verbose => value.to_string(),
        Some(value) => fit(&value.to_string(), VALUE),
    };
    let mut rows = vec![vec![
        "parameter".to_owned(),
        fit(&label(&diff.from), VALUE),
        fit(&label(&diff.to), VALUE),
    ]];
    rows.extend(params.iter().map(|param| {
        let name = param.name.strip_prefix("params.yaml:");
        let name = name.unwrap_or(&param.name).to_owned();
        vec![name, value(&param.from), value(&param.to)]
    }));
    table(rows, &[], verbose)
}

fn metric_table(diff: &Diff, metrics: &[&MetricDiff], verbose: bool) -> String {
    const VALUE: usize = 14;
    let value = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    let change = |change: Option<f64>| match change {
        None => String::new(),
        Some(change) if change > 0.0 => format!("+{}", number(change)),
        Some(change) => number(change),
    };
    let file = metrics.first().map(|metric| metric.file.clone());
    let mut rows = vec![vec![
        file.unwrap_or_default(),
        fit(&short_label(&diff.from), VALUE),
        fit(&short_label(&diff.to), VALUE),
        "change".to_owned(),
    ]];
    rows.extend(metrics.iter().map(|metric| {
        vec![
            metric.name.clone(),
            value(metric.from),
            value(metric.to),
            change(metric.change),
        ]
    }));
    table(
        rows,
        &[Align::Left, Align::Right, Align::Right, Align::Right],
        verbose,
    )
}

/// A table of at most 80 columns: what is too long in the first one keeps its end, which tells most.
fn table(mut rows: Vec<Vec<String>>, aligns: &[Align], verbose: bool) -> String {
    let rest: Vec<Vec<String>> = rows.iter().map(|row| row[1..].to_vec()).collect();
    // As wide as it gets when the last column is full.
    let rest = columns(&rest, &[Align::Right; 3]);
    let rest = rest.lines().map(|line| line.chars().count()).max();
    let room = WIDTH.saturating_sub(rest.unwrap_or(0) + 2);
    if !verbose {
        for row in &mut rows {
            row[0] = fit_end(&row[0], room);
        }
    }
    columns(&rows, aligns)
}

/// What a side is called.
fn label(side: &Side) -> String {
    match (&side.revision, &side.commit) {
        (Some(revision), Some(commit)) if !commit.starts_with(revision.as_str()) => {
            format!("{revision} ({})", short(commit))
        }
        (Some(revision), _) => revision.clone(),
        (None, _) => "the workspace".to_owned(),
    }
}

fn short_label(side: &Side) -> String {
    match &side.revision {
        Some(revision) => revision.clone(),
        None => "workspace".to_owned(),
    }
}

fn short(commit: &str) -> String {
    commit.chars().take(8).collect()
}

fn unavailable(missing: &Unavailable) -> String {
    let side = label(&missing.side);
    let head = format!("{} of {side} cannot be compared:\n", missing.file);
    let Some(artifact) = missing.artifact else {
        return format!("{head}  {}\n", missing.reason);
    };
    let (stage, digest) = (&missing.stage, artifact.digest.short());
    let commit = missing.side.commit.as_deref().map(short);
    let commit = commit.unwrap_or_default();
    format!(
        "{head}  what stage {stage} made then, {digest}, is not in the store\n  \
         to make it again: git checkout {commit} && krammerti run {stage}\n"
    )
}

/// What is not shown without -v.
struct Hidden {
    told: Option<String>,
    /// Whether some of it differs.
    changed: bool,
}

fn hidden(diff: &Diff, verbose: bool) -> Hidden {
    let in_lists = diff.metrics.iter().filter(|m| m.is_change() && m.in_list);
    let in_lists = in_lists.count();
    let equal = diff.metrics.iter().filter(|m| !m.is_change()).count();
    let equal_params = diff.params.iter().filter(|p| !p.is_change()).count();
    let parts = [
        (in_lists, "changed in lists"),
        (equal, "equal metrics"),
        (equal_params, "equal parameters"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0 && !verbose)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    Hidden {
        told: (!parts.is_empty()).then(|| format!("-v shows more: {}\n", parts.join(", "))),
        changed: in_lists > 0,
    }
}

/// A number with at most six significant digits.
fn number(value: f64) -> String {
    const DIGITS: i32 = 6;
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value}");
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-5..15).contains(&magnitude) {
        return format!("{value:.4e}");
    }
    let decimals = usize::try_from(DIGITS - 1 - magnitude).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if decimals == 0 {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_six_digits() {
        let told: Vec<String> = [
            0.0,
            -3.0,
            1.0 / 3.0,
            1_234.567_891,
            123_456_789.123,
            -0.000_123_456_789,
            1e-9,
            2.5e20,
            99.999_999_9,
            1e14,
        ]
        .into_iter()
        .map(number)
        .collect();
        assert_eq!(
            told,
            [
                "0",
                "-3",
                "0.333333",
                "1234.57",
                "123456789",
                "-0.000123457",
                "1.0000e-9",
                "2.5000e20",
                "100",
                "100000000000000"
            ]
        );
    }

    fn side(revision: Option<&str>) -> Side {
        Side {
            revision: revision.map(str::to_owned),
            commit: revision.map(|_| "0123456789abcdef".to_owned()),
        }
    }

    fn metric(name: &str, in_list: bool, from: Option<f64>, to: Option<f64>) -> MetricDiff {
        MetricDiff {
            file: "report/metrics.json".into(),
            name: name.into(),
            in_list,
            from,
            to,
            change: from.zip(to).map(|(from, to)| to - from),
        }
    }

    fn diff() -> Diff {
        let param = |name: &str, from: Option<serde_json::Value>, to: Option<serde_json::Value>| {
            ParamDiff {
                name: name.into(),
                from,
                to,
            }
        };
        Diff {
            from: side(Some("HEAD")),
            to: side(None),
            params: vec![
                param("other.yaml:x", Some(1.into()), None),
                param(
                    "params.yaml:model.kind",
                    Some("lstm".into()),
                    Some("ridge".into()),
                ),
                param("params.yaml:train.quantiles", None, Some((0..40).collect())),
                param("params.yaml:train.seed", Some(1.into()), Some(1.into())),
            ],
            metrics: vec![
                metric("by_lead[lead_h=1].rmse", true, Some(1.0), Some(2.0)),
                metric("gone", false, Some(1.0), None),
                metric(
                    &format!("{}.rmse", "long".repeat(30)),
                    false,
                    Some(1.0),
                    Some(0.5),
                ),
                metric("overall.rmse", false, Some(1.0), Some(1.25)),
                metric("same", false, Some(1.0), Some(1.0)),
            ],
            unavailable: vec![],
            not_up_to_date: vec![],
            without_lock: vec![],
            outside: vec![],
        }
    }

    #[test]
    fn a_diff_as_a_person_sees_it() {
        let text = render(&diff(), false);
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        insta::assert_snapshot!(text, @r#"
        parameter        HEAD (01234567)  the workspace
        other.yaml:x     1                unset
        model.kind       "lstm"           "ridge"
        train.quantiles  unset            [0,1,2,3,4,5,6,7,8,9,10…

        report/metrics.json                                      HEAD  workspace  change
        gone                                                        1          -
        …glonglonglonglonglonglonglonglonglonglonglonglong.rmse     1        0.5    -0.5
        overall.rmse                                                1       1.25   +0.25

        -v shows more: 1 changed in lists, 1 equal metrics, 1 equal parameters
        "#);
        let all = render(&diff(), true);
        for name in ["by_lead[lead_h=1].rmse", "same", "train.seed", "38,39]"] {
            assert!(all.contains(name), "{all}");
        }
        assert!(!all.contains("-v shows"), "{all}");
    }

    #[test]
    fn nothing_to_tell_is_told() {
        let mut none = diff();
        none.params.retain(|param| !param.is_change());
        none.metrics.retain(|metric| !metric.is_change());
        let text = render(&none, false);
        assert!(
            text.starts_with("nothing differs between HEAD (01234567) and the workspace\n"),
            "{text}"
        );
        none.metrics
            .push(metric("l[0]", true, Some(1.0), Some(2.0)));
        let text = render(&none, false);
        assert!(
            text.starts_with("-v shows more: 1 changed in lists"),
            "{text}"
        );
    }
}
