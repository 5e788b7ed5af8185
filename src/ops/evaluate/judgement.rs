//! What scores say that a person should not have to find in a table.

use crate::eval::{Coverage, Report};

/// How far the share of observations in a band may lie from what the band is for.
const FAR: f64 = 0.1;
/// Windows without a row in common that are too few to judge a band by.
const FEW: usize = 50;

/// What is to be said of a model that repeating the last value beats.
pub(super) fn beaten_by_persistence(reports: &[(&str, Report)]) -> Option<String> {
    let several = reports.len() > 1;
    let beaten = reports.iter().filter_map(|(target, report)| {
        let skill = *report.skill.get("persistence")?;
        let of = if several {
            format!(" of {target}")
        } else {
            String::new()
        };
        (skill < 0.0).then(|| format!("skill{of} {:.1} %", 100.0 * skill))
    });
    let beaten: Vec<String> = beaten.collect();
    (!beaten.is_empty()).then(|| {
        format!(
            "repeating the last value does better than the model ({}): compare with kind ridge, and with fewer \
             columns",
            beaten.join(", ")
        )
    })
}

/// What is to be said of bands that hold far less of a target than they should, or far more. Where a target has
/// `bounds` it may lie on one of them for long, as the sun does at night: then a band may hold more.
pub(super) fn bands_that_do_not_hold(
    reports: &[(&str, Report)],
    windows_apart: usize,
    has_bounds: impl Fn(&str) -> bool,
) -> Option<String> {
    let is_off = |target: &str, coverage: &Coverage| {
        let beyond = coverage.share - (coverage.high - coverage.low);
        beyond < -FAR || (beyond > FAR && !has_bounds(target))
    };
    let off = reports.iter().filter_map(|(target, report)| {
        let coverage = report.coverage?;
        is_off(target, &coverage).then(|| {
            let [meant, holds] =
                [coverage.high - coverage.low, coverage.share].map(|share| 100.0 * share);
            format!("the band of {meant:.0} % holds {holds:.0} % of {target}")
        })
    });
    let off: Vec<String> = off.collect();
    (!off.is_empty() && windows_apart >= FEW).then(|| {
        format!(
            "{}: the validation part says little of the test part. A longer one, of all seasons, or \
             model.correction may mend it",
            off.join(", ")
        )
    })
}

/// How many windows of so many leads from these issue rows, in order, have no lead in common.
pub(super) fn apart(issues: &[usize], horizon: usize) -> usize {
    let mut next = 0;
    let mut count = 0;
    for &issue in issues {
        if issue >= next {
            count += 1;
            next = issue + horizon;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::eval::{ModelScores, Scores};

    /// Of a model with this error beside a persistence of 2, and a band of 80 % that holds so much.
    fn report(rmse: f64, share: f64) -> Report {
        let scores = |rmse| ModelScores {
            overall: Scores {
                rmse,
                mae: rmse,
                bias: 0.0,
            },
            of_capacity: None,
            by_lead: Vec::new(),
        };
        let baselines = BTreeMap::from([
            ("persistence".to_owned(), scores(2.0)),
            ("climatology".to_owned(), scores(0.1)),
        ]);
        let coverage = Coverage {
            low: 0.1,
            high: 0.9,
            share,
            mean_width: 1.0,
        };
        Report::new("lstm", "m", 100, scores(rmse), baselines).with_quantiles(
            Some(coverage),
            Vec::new(),
            Vec::new(),
        )
    }

    #[test]
    fn only_what_persistence_beats_is_told() {
        let told = |reports: &[(&str, Report)]| beaten_by_persistence(reports);
        assert_eq!(told(&[("t", report(2.0, 0.8))]), None);
        let one = told(&[("t", report(2.5, 0.8))]).expect("a warning");
        assert!(one.contains("(skill -25.0 %)"), "{one}");
        let of_two = [("t", report(1.0, 0.8)), ("u", report(5.64, 0.8))];
        let of_two = told(&of_two).expect("a warning");
        assert!(of_two.contains("(skill of u -182.0 %)"), "{of_two}");
    }

    #[test]
    fn only_bands_far_off_are_told_and_only_where_windows_are_many() {
        let told = |share, windows, bounds| {
            bands_that_do_not_hold(&[("t", report(1.0, share))], windows, |_| bounds)
        };
        for share in [0.71, 0.8, 0.89] {
            assert_eq!(told(share, 100, false), None);
        }
        let narrow = told(0.63, 100, true).expect("a warning");
        assert!(narrow.contains("band of 80 % holds 63 % of t"), "{narrow}");
        assert_eq!(told(0.63, 49, true), None);
        assert!(told(0.95, 100, false).is_some());
        assert_eq!(told(0.95, 100, true), None);
    }

    #[test]
    fn windows_apart_have_no_lead_in_common() {
        let hourly: Vec<usize> = (10..110).collect();
        assert_eq!(apart(&hourly, 24), 5);
        assert_eq!(apart(&[3, 30, 54, 60], 24), 3);
        assert_eq!(apart(&[], 24), 0);
    }
}
