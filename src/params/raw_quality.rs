//! The section `prepare.quality` as a person wrote it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::quality::{Action, Conflicts, Quantity};
use crate::time::Step;
use crate::yaml::sections;

sections!(Quality, Limits, Pair, Column);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub(super) struct Quality {
    pub(super) required: Vec<String>,
    pub(super) missing_columns: Action,
    pub(super) order: Action,
    pub(super) off_step: Action,
    pub(super) duplicates: Action,
    pub(super) conflicts: Conflicts,
    pub(super) gaps: Action,
    pub(super) completeness: Action,
    pub(super) sentinels: Action,
    pub(super) range: Action,
    pub(super) spikes: Action,
    pub(super) stuck: Action,
    pub(super) constant: Action,
    pub(super) consistency: Action,
    pub(super) timeliness: Action,
    pub(super) drift: Action,
    pub(super) limits: Limits,
    pub(super) pairs: Option<Vec<Pair>>,
    pub(super) columns: BTreeMap<String, Column>,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            required: Vec::new(),
            missing_columns: Action::Fail,
            order: Action::Warn,
            off_step: Action::Fail,
            duplicates: Action::Drop,
            conflicts: Conflicts::Fail,
            gaps: Action::Warn,
            completeness: Action::Warn,
            sentinels: Action::Mask,
            range: Action::Warn,
            spikes: Action::Warn,
            stuck: Action::Warn,
            constant: Action::Warn,
            consistency: Action::Warn,
            timeliness: Action::Warn,
            drift: Action::Warn,
            limits: Limits::default(),
            pairs: None,
            columns: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub(super) struct Limits {
    pub(super) longest_gap: Option<Step>,
    pub(super) gap_count: Option<usize>,
    pub(super) missing_share: Option<f64>,
    pub(super) longest_missing: Option<Step>,
    pub(super) sentinel_values: Option<Vec<f64>>,
    pub(super) stuck_for: Option<Step>,
    pub(super) oldest: Option<Step>,
    pub(super) drift_psi: Option<f64>,
    pub(super) drift_span: Option<Step>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub(super) struct Pair {
    pub(super) low: String,
    pub(super) high: String,
    #[serde(default)]
    pub(super) tolerance: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub(super) struct Column {
    pub(super) quantity: Option<Quantity>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) max_change: Option<f64>,
    pub(super) stuck_for: Option<Step>,
    pub(super) sentinels: Option<Action>,
    pub(super) range: Option<Action>,
    pub(super) spikes: Option<Action>,
    pub(super) stuck: Option<Action>,
}
