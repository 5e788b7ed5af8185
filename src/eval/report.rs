//! A model beside its baselines: `metrics.json`, and the table that a person sees.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::metrics::{Coverage, LeadScores, ModelScores, PinballLoss, Scores, SeriesScores, skill};
use crate::decimals::{brief, decimals, shown_unit};

/// The leads in hours that a table shows, where the horizon has them.
const TABLE_LEADS_H: [f64; 7] = [1.0, 3.0, 6.0, 12.0, 24.0, 36.0, 48.0];
/// How wide a table may be, in characters.
const TABLE_WIDTH: usize = 80;

/// What `metrics.json` holds. Its keys are a public contract.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Metrics {
    /// Of a model with one target.
    One(Box<Report>),
    /// Of a model with several, by their names.
    Several {
        /// One entry a target.
        targets: BTreeMap<String, Report>,
    },
}

impl Metrics {
    /// Of the reports of all targets, each of which names its own where there are several.
    pub fn of(reports: Vec<Report>) -> Self {
        let named = |mut report: Report| Some((report.target.take()?, report));
        match <[Report; 1]>::try_from(reports) {
            Ok([only]) => Self::One(Box::new(only)),
            Err(several) => Self::Several {
                targets: several.into_iter().filter_map(named).collect(),
            },
        }
    }

    /// The reports again, those of several targets by the order of their names.
    pub fn reports(self) -> Vec<Report> {
        match self {
            Self::One(only) => vec![*only],
            Self::Several { targets } => targets
                .into_iter()
                .map(|(name, report)| report.of_target(Some(name)))
                .collect(),
        }
    }
}

/// What `metrics.json` holds of a target. Its keys and their order are a public contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The target, where the model has several.
    #[serde(skip)]
    pub target: Option<String>,
    /// What the model is called in a table, such as its kind.
    pub model: String,
    /// The unit of the target.
    pub unit: String,
    /// How many windows were forecast.
    pub windows: usize,
    /// The model over all windows and leads together.
    pub overall: Scores,
    /// The same of errors as shares of the capacity of their series, where the target has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_capacity: Option<Scores>,
    /// The model lead by lead.
    pub by_lead: Vec<LeadScores>,
    /// Each baseline on the same windows, by its kind.
    pub baselines: BTreeMap<String, ModelScores>,
    /// The skill of the model against each baseline by overall RMSE, as shares of the capacity where the target has
    /// one, see [`skill`].
    pub skill: BTreeMap<String, f64>,
    /// The model in each series, where there are several; those in which nothing was scored are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_series: Vec<SeriesScores>,
    /// How the interval between the outermost quantiles holds; absent without two quantiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// The loss of each quantile level; absent without quantiles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pinball: Vec<PinballLoss>,
    /// The same as shares of the capacity of each series, where the target has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pinball_of_capacity: Vec<PinballLoss>,
}

impl Report {
    /// Compares a model with its baselines. A baseline that makes no error at all has no skill
    /// entry.
    pub fn new(
        model: impl Into<String>,
        unit: impl Into<String>,
        windows: usize,
        scores: ModelScores,
        baselines: BTreeMap<String, ModelScores>,
    ) -> Self {
        let skill = baselines
            .iter()
            .filter_map(|(name, baseline)| {
                let skill = skill(scores.judged().rmse, baseline.judged().rmse)?;
                Some((name.clone(), skill))
            })
            .collect();
        Self {
            target: None,
            model: model.into(),
            unit: unit.into(),
            windows,
            overall: scores.overall,
            of_capacity: scores.of_capacity,
            by_lead: scores.by_lead,
            baselines,
            skill,
            by_series: Vec::new(),
            coverage: None,
            pinball: Vec::new(),
            pinball_of_capacity: Vec::new(),
        }
    }

    /// Names the target, where it is one of several.
    #[must_use]
    pub fn of_target(self, target: Option<String>) -> Self {
        Self { target, ..self }
    }

    /// Adds the scores of each series.
    #[must_use]
    pub fn with_series(self, by_series: Vec<SeriesScores>) -> Self {
        Self { by_series, ..self }
    }

    /// Adds how the quantiles hold.
    #[must_use]
    pub fn with_quantiles(
        self,
        coverage: Option<Coverage>,
        pinball: Vec<PinballLoss>,
        pinball_of_capacity: Vec<PinballLoss>,
    ) -> Self {
        Self {
            coverage,
            pinball,
            pinball_of_capacity,
            ..self
        }
    }

    /// What a baseline is called beside the model, which may be of its kind.
    pub fn label(&self, baseline: &str) -> String {
        if baseline == self.model {
            format!("{baseline}, baseline")
        } else {
            baseline.to_owned()
        }
    }

    /// The baseline that is hardest to beat, and the skill against it, which a quality gate asks for; 0 where
    /// neither makes an error, and less than any number where the baseline alone makes none.
    pub fn hardest(&self) -> Option<(&str, f64)> {
        let skill = |name: &String| match self.skill.get(name) {
            Some(skill) => *skill,
            None if self.overall.rmse == 0.0 => 0.0,
            None => f64::NEG_INFINITY,
        };
        let baselines = self.baselines.keys();
        baselines
            .map(|name| (name.as_str(), skill(name)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// A report as plain text of at most 80 columns: RMSE of the model and of its baselines, overall
/// and at some leads, and the skill of the model against each baseline.
pub fn table(report: &Report) -> String {
    let all: Vec<f64> = report.by_lead.iter().map(|lead| lead.lead_h).collect();
    let mut leads = leads_to_show(&all);
    let mut lines = align(&cells(report, &leads));
    // Large numbers, such as pressures in Pa, leave room for fewer leads; the last one stays.
    while lines.iter().any(|line| line.chars().count() > TABLE_WIDTH) && !leads.is_empty() {
        leads.remove(leads.len().saturating_sub(2));
        lines = align(&cells(report, &leads));
    }
    let mut text = String::new();
    let unit = shown_unit(&report.unit).map_or_else(String::new, |unit| format!(" in {unit}"));
    let of = report
        .target
        .as_ref()
        .map(|target| format!(" of {target}"))
        .unwrap_or_default();
    let _ = writeln!(text, "RMSE{of}{unit}, {} windows", report.windows);
    for line in &lines {
        let _ = writeln!(text, "{line}");
    }
    if !report.by_series.is_empty() {
        let _ = writeln!(text, "{}", worst_series(report));
    }
    if let Some(coverage) = &report.coverage {
        let _ = writeln!(text, "{}", band(report, coverage));
    }
    text
}

/// How the band between the outermost quantiles holds, and where it holds least and most.
fn band(report: &Report, coverage: &Coverage) -> String {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let within = |name: &str, shares: &mut dyn Iterator<Item = f64>| {
        let shares: Vec<f64> = shares.collect();
        let least = shares.iter().copied().reduce(f64::min)?;
        let most = shares.iter().copied().reduce(f64::max)?;
        (shares.len() > 1).then(|| format!("{:.0} to {} by {name}", least * 100.0, percent(most)))
    };
    let mut by_lead = report.by_lead.iter().filter_map(|lead| lead.coverage);
    let by_series = report.by_series.iter();
    let mut by_series = by_series.filter_map(|series| Some(series.coverage?.share));
    let apart = [
        within("lead", &mut by_lead),
        within("series", &mut by_series),
    ];
    let apart: Vec<String> = apart.into_iter().flatten().collect();
    let apart = match apart.as_slice() {
        [] => String::new(),
        all => format!(" ({})", all.join(", ")),
    };
    format!(
        "the band of {} holds {}{apart}",
        percent(coverage.high - coverage.low),
        percent(coverage.share)
    )
}

/// How many decimals errors are told with. Where all are small, such as those of shares of a capacity, they
/// have more than those of temperatures.
fn digits(report: &Report) -> usize {
    let least = if report.unit == "1" { 3 } else { 2 };
    digits_of(report, report.overall, |scores| scores.overall, least)
}

/// The same of errors by capacity.
fn share_digits(report: &Report) -> usize {
    let own = report.of_capacity.unwrap_or(report.overall);
    digits_of(report, own, ModelScores::judged, 3)
}

/// Three digits of the largest error, that of the model or of a baseline, and so many decimals at `least`.
fn digits_of(
    report: &Report,
    own: Scores,
    of: impl Fn(&ModelScores) -> Scores,
    least: usize,
) -> usize {
    let baselines = report.baselines.values().map(|scores| of(scores).rmse);
    decimals(baselines.fold(own.rmse, f64::max), 3).clamp(least, 10)
}

/// The series with the largest errors, as shares of their capacity where they have one, as many as a line holds.
fn worst_series(report: &Report) -> String {
    let rmse = |series: &SeriesScores| series.of_capacity.unwrap_or(series.scores).rmse;
    let mut by_rmse: Vec<&SeriesScores> = report.by_series.iter().collect();
    by_rmse.sort_by(|a, b| rmse(b).total_cmp(&rmse(a)));
    let (digits, of) = match report.of_capacity {
        Some(_) => (share_digits(report), ", by capacity"),
        None => (digits(report), ""),
    };
    let mut line = format!("largest RMSE of {} series{of}:", by_rmse.len());
    for (place, series) in by_rmse.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let next = format!("{comma} {} {:.digits$}", series.name, rmse(series));
        if place > 0 && line.chars().count() + next.chars().count() > TABLE_WIDTH {
            break;
        }
        line.push_str(&next);
    }
    line
}

/// The cells of a table, a header and then one row a model.
fn cells(report: &Report, leads: &[f64]) -> Vec<Vec<String>> {
    let mut header = vec!["model".to_owned(), "overall".to_owned()];
    header.extend(report.of_capacity.map(|_| "by capacity".to_owned()));
    header.extend(leads.iter().map(|&lead| lead_name(lead)));
    header.push("skill".to_owned());

    let (digits, share_digits) = (digits(report), share_digits(report));
    let numbers = |overall: &Scores, of_capacity: Option<Scores>, by_lead: &[LeadScores]| {
        let mut numbers = numbers(overall, by_lead, leads, digits);
        let share = of_capacity.map(|scores| format!("{:.share_digits$}", scores.rmse));
        numbers.splice(1..1, share);
        numbers
    };
    let mut own = numbers(&report.overall, report.of_capacity, &report.by_lead);
    own.insert(0, report.model.clone());
    own.push(String::new());

    let mut rows = vec![header, own];
    for (name, baseline) in &report.baselines {
        let mut row = numbers(&baseline.overall, baseline.of_capacity, &baseline.by_lead);
        row.insert(0, report.label(name));
        let skill = report.skill.get(name);
        row.push(skill.map_or_else(
            || "-".to_owned(),
            |skill| format!("{:+.1} %", skill * 100.0),
        ));
        rows.push(row);
    }
    rows
}

/// The usual leads of an hourly forecast, or some from the first to the last.
fn leads_to_show(all: &[f64]) -> Vec<f64> {
    let usual = |lead: &&f64| TABLE_LEADS_H.contains(lead);
    let mut leads: Vec<f64> = all.iter().filter(usual).copied().collect();
    if leads.len() < 3 {
        let most = TABLE_LEADS_H.len() - 1;
        let places = (0..=most).map(|i| i * all.len().saturating_sub(1) / most);
        leads = places.filter_map(|place| all.get(place).copied()).collect();
    }
    leads.extend(all.last());
    leads.dedup();
    leads
}

/// `10 min`, `1.5 h`, `14 d`.
fn lead_name(hours: f64) -> String {
    let (value, unit) = match hours {
        hours if hours < 1.0 => (hours * 60.0, "min"),
        hours if hours > 48.0 && hours % 24.0 == 0.0 => (hours / 24.0, "d"),
        hours => (hours, "h"),
    };
    format!("{} {unit}", brief(value))
}

fn numbers(overall: &Scores, by_lead: &[LeadScores], leads: &[f64], digits: usize) -> Vec<String> {
    let at = |lead: &f64| {
        by_lead
            .iter()
            .find(|scores| (scores.lead_h - lead).abs() < 1e-9)
    };
    let by_lead = leads.iter().map(|lead| {
        at(lead).map_or_else(
            || "-".to_owned(),
            |at| format!("{:.digits$}", at.scores.rmse),
        )
    });
    std::iter::once(format!("{:.digits$}", overall.rmse))
        .chain(by_lead)
        .collect()
}

/// Lines of cells: the first column to the left, the others to the right.
fn align(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let mut line = format!("{:<1$}", row[0], widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                let _ = write!(line, "  {cell:>width$}");
            }
            line.trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::ErrorSums;
    use super::*;
    use crate::time::Step;

    /// Scores whose RMSE at each lead in hours is that lead times a factor.
    fn rising(factor: f64, horizon: usize, step: Step) -> ModelScores {
        let forecast: Vec<f64> = (1..=horizon).map(|lead| factor * lead as f64).collect();
        let mut sums = ErrorSums::new(horizon);
        sums.add(forecast, vec![0.0; horizon]);
        sums.scores(step).expect("scores")
    }

    fn report(horizon: usize, step: Step) -> Report {
        let baselines = [("persistence", 0.2), ("climatology", 0.08)];
        let baselines = baselines
            .map(|(name, factor)| (name.to_owned(), rising(factor, horizon, step)))
            .into();
        Report::new("lstm", "°C", 10_158, rising(0.1, horizon, step), baselines)
    }

    #[test]
    fn the_report_is_a_contract() {
        let half_hour = Step::from_seconds(1800).expect("a step");
        let coverage = Coverage {
            low: 0.1,
            high: 0.9,
            share: 0.5,
            mean_width: 1.0,
        };
        let pinball = vec![PinballLoss {
            level: 0.1,
            loss: 0.25,
        }];
        let mut report = report(2, half_hour).with_quantiles(Some(coverage), pinball, Vec::new());
        report.baselines.remove("climatology");
        report.skill.remove("climatology");
        let json = serde_json::to_string(&report).expect("JSON");
        let scores = |factor: f64| {
            let overall = (factor * factor * 2.5).sqrt();
            let mean = f64::midpoint(factor, 2.0 * factor);
            let twice = factor * 2.0;
            format!(
                "\"overall\":{{\"rmse\":{overall},\"mae\":{mean},\"bias\":{mean}}},\"by_lead\":[\
                 {{\"lead_h\":0.5,\"rmse\":{factor},\"mae\":{factor},\"bias\":{factor}}},\
                 {{\"lead_h\":1,\"rmse\":{twice},\"mae\":{twice},\"bias\":{twice}}}]"
            )
        };
        let expected = format!(
            "{{\"model\":\"lstm\",\"unit\":\"°C\",\"windows\":10158,{},\
             \"baselines\":{{\"persistence\":{{{}}}}},\"skill\":{{\"persistence\":0.5}},\
             \"coverage\":{{\"low\":0.1,\"high\":0.9,\"share\":0.5,\"mean_width\":1.0}},\
             \"pinball\":[{{\"level\":0.1,\"loss\":0.25}}]}}",
            scores(0.1),
            scores(0.2)
        );
        let round = |text: &str| text.replace("0.30000000000000004", "0.3");
        assert_eq!(round(&json), round(&expected));
        let back: Report = serde_json::from_str(&json).expect("a report");
        assert_eq!(back, report);
    }

    #[test]
    fn the_band_is_told_with_where_it_holds_least_and_most() {
        let coverage = |share| Coverage {
            low: 0.1,
            high: 0.9,
            share,
            mean_width: 1.0,
        };
        let mut report =
            report(2, Step::HOUR).with_quantiles(Some(coverage(0.783)), Vec::new(), Vec::new());
        assert!(table(&report).ends_with("\nthe band of 80 % holds 78 %\n"));
        report.by_lead[0].coverage = Some(0.81);
        report.by_lead[1].coverage = Some(0.756);
        let of_series = |name: &str, share| SeriesScores {
            name: name.to_owned(),
            scores: report.overall,
            of_capacity: None,
            coverage: Some(coverage(share)),
            pinball: Vec::new(),
        };
        report.by_series = vec![of_series("a", 0.5), of_series("b", 0.9)];
        let told = table(&report);
        let band = "the band of 80 % holds 78 % (76 to 81 % by lead, 50 to 90 % by series)";
        assert_eq!(told.lines().last(), Some(band));
        assert!(band.len() <= TABLE_WIDTH);
    }

    #[test]
    fn without_quantiles_their_keys_are_absent() {
        let json = serde_json::to_string(&report(2, Step::HOUR)).expect("JSON");
        assert!(
            !json.contains("coverage") && !json.contains("pinball"),
            "{json}"
        );
        let back: Report = serde_json::from_str(&json).expect("a report");
        assert_eq!(back.coverage, None);
    }

    #[test]
    fn the_hardest_baseline_is_the_best_one_or_one_without_an_error() {
        let mut report = report(4, Step::HOUR);
        let (name, skill) = report.hardest().expect("a baseline");
        assert_eq!(name, "climatology");
        assert!((skill + 0.25).abs() < 1e-12);
        // One that makes no error cannot be beaten, unless the model makes none either.
        report.skill.remove("persistence");
        assert_eq!(report.hardest(), Some(("persistence", f64::NEG_INFINITY)));
        report.overall.rmse = 0.0;
        report.skill.remove("climatology");
        let (_, skill) = report.hardest().expect("a baseline");
        assert!(skill.abs() < 1e-12);
        let alone = Report::new(
            "ridge",
            "°C",
            1,
            rising(1.0, 1, Step::HOUR),
            BTreeMap::new(),
        );
        assert_eq!(alone.hardest(), None);
    }

    #[test]
    fn a_table() {
        insta::assert_snapshot!(table(&report(48, Step::HOUR)), @"
        RMSE in °C, 10158 windows
        model        overall   1 h   3 h   6 h  12 h  24 h  36 h  48 h    skill
        lstm            2.81  0.10  0.30  0.60  1.20  2.40  3.60  4.80
        climatology     2.25  0.08  0.24  0.48  0.96  1.92  2.88  3.84  -25.0 %
        persistence     5.63  0.20  0.60  1.20  2.40  4.80  7.20  9.60  +50.0 %
        ");
    }

    #[test]
    fn tables_without_the_usual_leads_show_some_from_the_first_to_the_last() {
        let ten_minutes = Step::from_seconds(600).expect("a step");
        let text = table(&report(3, ten_minutes));
        assert!(text.contains("overall  10 min  20 min  30 min"), "{text}");
        let text = table(&report(14, Step::DAY));
        let days = text.lines().nth(1).unwrap_or_default();
        let days: Vec<&str> = days.split_whitespace().collect();
        assert_eq!(days[2..6], ["24", "h", "3", "d"], "{text}");
        assert!(text.contains("14 d"), "{text}");
        let mut shares = report(4, Step::HOUR);
        shares.unit = "1".into();
        let text = table(&shares);
        assert!(
            text.starts_with("RMSE, 10158") && text.contains("0.300"),
            "{text}"
        );
        let mut empty = report(3, ten_minutes);
        empty.by_lead.clear();
        assert!(
            table(&empty).contains("overall    skill"),
            "{}",
            table(&empty)
        );
    }

    #[test]
    fn a_baseline_of_the_kind_of_the_model_is_told_from_it() {
        let mut report = report(3, Step::HOUR);
        report.model = "climatology".into();
        let text = table(&report);
        let begins = |line: &str, with: &str| line.starts_with(&format!("{with}  "));
        let names = ["climatology", "climatology, baseline", "persistence"];
        for (line, name) in text.lines().skip(2).zip(names) {
            assert!(begins(line, name), "{text}");
        }
    }

    #[test]
    fn tables_of_large_numbers_show_fewer_leads() {
        let mut report = report(48, Step::HOUR);
        for lead in &mut report.by_lead {
            lead.scores.rmse *= 1e7;
        }
        let text = table(&report);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(text.contains("1 h") && !text.contains("36 h"), "{text}");
    }
}
