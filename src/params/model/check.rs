//! The section `model` as it is written, and what it must hold.

use serde::Deserialize;

use super::{
    Architecture, Bounds, CorrectionParams, Decoder, DeeparParams, Distribution, LinearParams,
    ModelParams, NETS, RecurrentParams, RidgeParams, SegrnnParams,
};
use crate::params::check::{within, within_others};
use crate::params::{Invalid, TargetBounds, invalid};
use crate::time::Step;
use crate::yaml::sections;

sections!(Raw);

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub(in crate::params) struct Raw {
    kind: String,
    lookback: usize,
    horizon: usize,
    quantiles: Option<Vec<f64>>,
    bounds: Option<TargetBounds>,
    correction: Option<CorrectionParams>,
    hidden: Option<usize>,
    layers: Option<usize>,
    dropout: Option<f64>,
    segment: Option<usize>,
    linear_lags: Option<usize>,
    noise: Option<f64>,
    decoder: Option<Decoder>,
    heads: Option<usize>,
    members: Option<usize>,
    kernel: Option<usize>,
    distribution: Option<Distribution>,
    paths: Option<usize>,
    lags: Option<usize>,
    penalty: Option<f64>,
    season: Option<Step>,
    season_rows: Option<usize>,
}

pub(in crate::params) fn check(raw: &Raw) -> Result<ModelParams, Invalid> {
    within(
        "model.lookback",
        raw.lookback,
        1..=100_000,
        "between 1 and 100000",
    )?;
    within(
        "model.horizon",
        raw.horizon,
        1..=10_000,
        "between 1 and 10000",
    )?;
    let quantiles = raw.quantiles.clone().unwrap_or_default();
    check_quantiles(&quantiles)?;
    let architecture = check_architecture(raw)?;
    let bounds = raw.bounds.clone().unwrap_or_default();
    for (target, bounds) in bounds.iter() {
        check_bounds(target, bounds, &architecture)?;
    }
    if raw.correction.is_some()
        && architecture.distribution() == Some(Distribution::NegativeBinomial)
    {
        let expected = "absent beside distribution: negative_binomial, of whose whole numbers it would make others";
        return Err(invalid("model.correction", expected, "it"));
    }
    Ok(ModelParams {
        lookback: raw.lookback,
        horizon: raw.horizon,
        quantiles,
        bounds,
        correction: raw.correction,
        architecture,
    })
}

impl ModelParams {
    /// Whether they are such as `params.yaml` may hold: those of a model file may have been edited. An error names
    /// the key as it stands there.
    pub fn check(&self) -> Result<(), Invalid> {
        check(&Raw::of(self)).map(|_| ())
    }
}

fn check_quantiles(levels: &[f64]) -> Result<(), Invalid> {
    let expected = "levels between 0 and 1 in increasing order, 0.5 among them";
    let increasing = levels.windows(2).all(|pair| pair[0] < pair[1]);
    let inside = levels.iter().all(|level| *level > 0.0 && *level < 1.0);
    let median = levels.is_empty() || levels.contains(&0.5);
    if increasing && inside && median {
        Ok(())
    } else {
        Err(invalid("model.quantiles", expected, format!("{levels:?}")))
    }
}

fn check_bounds(
    target: Option<&str>,
    bounds: Bounds,
    architecture: &Architecture,
) -> Result<(), Invalid> {
    let key = match target {
        Some(target) => format!("model.bounds.{target}"),
        None => "model.bounds".to_owned(),
    };
    // A net has numbers of 32 bits.
    let finite = |bound: Option<f64>| bound.is_none_or(|bound| (bound as f32).is_finite());
    let told = |name: &str, bound: Option<f64>| match bound {
        Some(bound) => format!("{name} {bound}"),
        None => format!("no {name}"),
    };
    let told = [told("lower", bounds.lower), told("upper", bounds.upper)].join(", ");
    let ordered = match (bounds.lower, bounds.upper) {
        (Some(lower), Some(upper)) => lower < upper,
        _ => true,
    };
    if !finite(bounds.lower) || !finite(bounds.upper) || !ordered {
        let expected = "finite numbers of 32 bits (at most 3.4e38), lower below upper";
        return Err(invalid(key, expected, told));
    }
    if architecture.needs_bounds() && (bounds.lower.is_none() || bounds.upper.is_none()) {
        let expected = "`lower` and `upper`, between which distribution beta speaks of shares";
        return Err(invalid(key, expected, told));
    }
    Ok(())
}

fn check_architecture(raw: &Raw) -> Result<Architecture, Invalid> {
    let (architecture, allowed): (_, &[&str]) = match raw.kind.as_str() {
        "persistence" => (Architecture::Persistence, &[]),
        "climatology" => (Architecture::Climatology, &[]),
        "seasonal" => {
            let season = raw.season.unwrap_or(Step::DAY);
            (Architecture::Seasonal { season }, &["season"])
        }
        "ridge" => (Architecture::Ridge(check_ridge(raw)?), &["lags", "penalty"]),
        "lstm" => (Architecture::Lstm(check_recurrent(raw)?), RECURRENT),
        "gru" => (Architecture::Gru(check_recurrent(raw)?), RECURRENT),
        "segrnn" => (
            Architecture::Segrnn(check_segrnn(raw)?),
            &["hidden", "dropout", "segment", "members"],
        ),
        "linear" => (
            Architecture::Linear(check_linear(raw)?),
            &["kernel", "members"],
        ),
        "deepar" => (
            Architecture::Deepar(check_deepar(raw)?),
            &[
                "hidden",
                "layers",
                "dropout",
                "distribution",
                "paths",
                "season_rows",
                "members",
            ],
        ),
        other => {
            let kinds = format!(
                "persistence, seasonal, climatology, ridge, {}",
                NETS.join(", ")
            );
            return Err(Invalid {
                always: true,
                ..invalid("model.kind", kinds, other)
            });
        }
    };
    match raw.given().find(|name| !allowed.contains(name)) {
        Some(name) => {
            let expected = format!(
                "absent beside kind {} (`--set model.{name}=null` takes it away)",
                raw.kind
            );
            Err(invalid(format!("model.{name}"), expected, "it"))
        }
        None => Ok(architecture),
    }
}

/// What belongs to the kinds `lstm` and `gru`.
const RECURRENT: &[&str] = &[
    "hidden",
    "layers",
    "dropout",
    "segment",
    "linear_lags",
    "noise",
    "decoder",
    "heads",
    "members",
];

impl Raw {
    /// As it would be written with nothing left out.
    fn of(model: &ModelParams) -> Self {
        let common = Self {
            kind: model.kind().to_owned(),
            lookback: model.lookback,
            horizon: model.horizon,
            quantiles: Some(model.quantiles.clone()),
            bounds: Some(model.bounds.clone()),
            correction: model.correction,
            ..Self::default()
        };
        match model.architecture {
            Architecture::Persistence | Architecture::Climatology => common,
            Architecture::Seasonal { season } => Self {
                season: Some(season),
                ..common
            },
            Architecture::Ridge(RidgeParams { lags, penalty }) => Self {
                lags: Some(lags),
                penalty: Some(penalty),
                ..common
            },
            Architecture::Lstm(recurrent) | Architecture::Gru(recurrent) => Self {
                hidden: Some(recurrent.hidden),
                layers: Some(recurrent.layers),
                dropout: Some(recurrent.dropout),
                segment: Some(recurrent.segment),
                linear_lags: Some(recurrent.linear_lags),
                noise: Some(recurrent.noise),
                members: Some(recurrent.members),
                decoder: Some(recurrent.decoder),
                heads: Some(recurrent.heads),
                ..common
            },
            Architecture::Segrnn(segrnn) => Self {
                hidden: Some(segrnn.hidden),
                dropout: Some(segrnn.dropout),
                segment: Some(segrnn.segment),
                members: Some(segrnn.members),
                ..common
            },
            Architecture::Linear(LinearParams { kernel, members }) => Self {
                kernel: Some(kernel),
                members: Some(members),
                ..common
            },
            Architecture::Deepar(deepar) => Self {
                hidden: Some(deepar.hidden),
                layers: Some(deepar.layers),
                dropout: Some(deepar.dropout),
                distribution: Some(deepar.distribution),
                paths: Some(deepar.paths),
                season_rows: deepar.season,
                members: Some(deepar.members),
                ..common
            },
        }
    }

    /// The keys that stand there and do not belong to every kind.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        [
            ("hidden", self.hidden.is_some()),
            ("layers", self.layers.is_some()),
            ("dropout", self.dropout.is_some()),
            ("segment", self.segment.is_some()),
            ("linear_lags", self.linear_lags.is_some()),
            ("noise", self.noise.is_some()),
            ("decoder", self.decoder.is_some()),
            ("heads", self.heads.is_some()),
            ("members", self.members.is_some()),
            ("kernel", self.kernel.is_some()),
            ("distribution", self.distribution.is_some()),
            ("paths", self.paths.is_some()),
            ("lags", self.lags.is_some()),
            ("penalty", self.penalty.is_some()),
            ("season", self.season.is_some()),
            ("season_rows", self.season_rows.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
    }

    fn hidden(&self, default: usize) -> Result<usize, Invalid> {
        let hidden = self.hidden.unwrap_or(default);
        within("model.hidden", hidden, 1..=4096, "between 1 and 4096")?;
        Ok(hidden)
    }

    fn layers(&self, default: usize) -> Result<usize, Invalid> {
        let layers = self.layers.unwrap_or(default);
        within("model.layers", layers, 1..=8, "between 1 and 8")?;
        Ok(layers)
    }

    fn dropout(&self) -> Result<f64, Invalid> {
        let dropout = self.dropout.unwrap_or(0.0);
        within("model.dropout", dropout, 0.0..=0.9, "between 0 and 0.9")?;
        Ok(dropout)
    }

    fn members(&self) -> Result<usize, Invalid> {
        let members = self.members.unwrap_or(1);
        within("model.members", members, 1..=64, "between 1 and 64")?;
        Ok(members)
    }

    fn segment(&self, default: usize) -> Result<usize, Invalid> {
        let segment = self.segment.unwrap_or(default);
        if segment == 0 || !self.lookback.is_multiple_of(segment) {
            let expected = format!("a divisor of model.lookback ({})", self.lookback);
            return Err(invalid("model.segment", expected, segment));
        }
        Ok(segment)
    }
}

fn check_ridge(raw: &Raw) -> Result<RidgeParams, Invalid> {
    let lags = raw.lags.unwrap_or(72.min(raw.lookback));
    within_others(
        "model.lags",
        lags,
        1..=raw.lookback,
        "between 1 and model.lookback",
    )?;
    let penalty = raw.penalty.unwrap_or(1e-5);
    within("model.penalty", penalty, 0.0..=1e6, "between 0 and 1e6")?;
    Ok(RidgeParams { lags, penalty })
}

fn check_recurrent(raw: &Raw) -> Result<RecurrentParams, Invalid> {
    let linear_lags = raw.linear_lags.unwrap_or(raw.lookback.min(24));
    within_others(
        "model.linear_lags",
        linear_lags,
        1..=raw.lookback,
        "between 1 and model.lookback",
    )?;
    let noise = raw.noise.unwrap_or(0.0);
    within("model.noise", noise, 0.0..=10.0, "between 0 and 10")?;
    let decoder = raw.decoder.unwrap_or_default();
    // Leads that come one after the other have no place for them.
    let (usual, most) = match decoder {
        Decoder::Direct => (3, 8),
        Decoder::Autoregressive => (0, 0),
    };
    let heads = raw.heads.unwrap_or(usual);
    within_others(
        "model.heads",
        heads,
        0..=most,
        "between 0 and 8, and 0 beside decoder: autoregressive",
    )?;
    Ok(RecurrentParams {
        hidden: raw.hidden(64)?,
        layers: raw.layers(1)?,
        dropout: raw.dropout()?,
        segment: raw.segment(1)?,
        linear_lags,
        noise,
        members: raw.members()?,
        decoder,
        heads,
    })
}

fn check_segrnn(raw: &Raw) -> Result<SegrnnParams, Invalid> {
    let hidden = raw.hidden(128)?;
    if !hidden.is_multiple_of(2) {
        let expected = "an even number: half of it tells the position, half the series";
        return Err(invalid("model.hidden", expected, hidden));
    }
    // A day of hours, where the lookback is whole days.
    let default = if raw.lookback.is_multiple_of(24) {
        24
    } else {
        1
    };
    Ok(SegrnnParams {
        hidden,
        dropout: raw.dropout()?,
        segment: raw.segment(default)?,
        members: raw.members()?,
    })
}

fn check_linear(raw: &Raw) -> Result<LinearParams, Invalid> {
    let kernel = raw.kernel.unwrap_or(25);
    within("model.kernel", kernel, 1..=9999, "between 1 and 9999")?;
    if kernel.is_multiple_of(2) {
        return Err(invalid("model.kernel", "an odd number of rows", kernel));
    }
    Ok(LinearParams {
        kernel,
        members: raw.members()?,
    })
}

fn check_deepar(raw: &Raw) -> Result<DeeparParams, Invalid> {
    let paths = raw.paths.unwrap_or(200);
    within("model.paths", paths, 2..=100_000, "between 2 and 100000")?;
    within_others(
        "model.season_rows",
        raw.season_rows.unwrap_or(1),
        1..=raw.lookback,
        "between 1 and model.lookback",
    )?;
    Ok(DeeparParams {
        hidden: raw.hidden(40)?,
        layers: raw.layers(2)?,
        dropout: raw.dropout()?,
        distribution: raw.distribution.unwrap_or_default(),
        paths,
        season: raw.season_rows,
        members: raw.members()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<ModelParams, Invalid> {
        let raw: Raw = serde_yaml::from_str(text).expect("as it is written");
        check(&raw)
    }

    #[test]
    fn every_kind_has_its_defaults() {
        for (kind, net) in [("persistence", false), ("ridge", false)]
            .into_iter()
            .chain(NETS.map(|kind| (kind, true)))
        {
            let model = checked(&format!("{{kind: {kind}, lookback: 48, horizon: 6}}"));
            let model = model.expect(kind);
            assert_eq!((model.kind(), model.is_net()), (kind, net));
            let json = serde_json::to_string(&model).expect("JSON");
            assert_eq!(
                serde_json::from_str::<ModelParams>(&json).expect(kind),
                model
            );
            assert_eq!(check(&Raw::of(&model)).expect(kind), model);
        }
    }

    /// A day of rows, where the lookback has two.
    #[test]
    fn the_season_of_deepar_is_a_day() {
        let season = |lookback: usize, more: &str, step: &str| {
            let text = format!("{{kind: deepar, lookback: {lookback}, horizon: 6{more}}}");
            let params = checked(&text).unwrap().on(step.parse().unwrap());
            let Architecture::Deepar(deepar) = params.architecture else {
                panic!("{params:?}");
            };
            deepar.season.unwrap()
        };
        for (lookback, more, step, expected) in [
            (48, "", "1h", 24),
            (47, "", "1h", 1),
            (288, "", "10min", 144),
            (96, "", "10min", 1),
            (60, "", "1d", 1),
            (96, "", "7h", 1),
            (96, ", season_rows: 7", "10min", 7),
        ] {
            assert_eq!(season(lookback, more, step), expected, "{lookback} {step}");
        }
    }

    #[test]
    fn what_cannot_be_is_told_by_its_key() {
        let told = |rest: &str| {
            let text = format!("{{lookback: 48, horizon: 6, {rest}}}");
            checked(&text).expect_err(rest).to_string()
        };
        let cases = [
            (
                "kind: lstm, bounds: {lower: 2, upper: 1}",
                "lower below upper",
            ),
            (
                "kind: gru, bounds: {lower: .inf}",
                "found lower inf, no upper",
            ),
            (
                "kind: gru, bounds: {wind: {lower: 2, upper: 1}}",
                "model.bounds.wind: expected finite numbers of 32 bits (at most 3.4e38), lower below upper",
            ),
            (
                "kind: gru, bounds: {lower: 1.0e39}",
                "model.bounds: expected finite numbers of 32 bits",
            ),
            (
                "kind: segrnn, hidden: 7",
                "model.hidden: expected an even number",
            ),
            (
                "kind: segrnn, segment: 9",
                "a divisor of model.lookback (48)",
            ),
            (
                "kind: linear, kernel: 4",
                "model.kernel: expected an odd number",
            ),
            ("kind: linear, hidden: 4", "model.hidden: expected absent"),
            ("kind: deepar, season_rows: 49", "model.season_rows"),
            ("kind: deepar, paths: 1", "model.paths"),
            (
                "kind: deepar, distribution: beta",
                "between which distribution beta",
            ),
            (
                "kind: deepar, distribution: negative_binomial, correction: {half_life: 7d}",
                "model.correction: expected absent beside distribution: negative_binomial",
            ),
        ];
        for (rest, expected) in cases {
            let message = told(rest);
            assert!(message.contains(expected), "{rest}: {message}");
        }
    }
}
