//! Likelihoods against the truth and paths against their distribution.

use std::sync::Arc;

use super::*;
use krammerti::data::Frame;
use krammerti::params::{Architecture as Wanted, Bounds, Distribution, ModelParams, PointLoss};
use krammerti::time::Step;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tch::Device;

use crate::checks::{assert_loss_gradient_of, stands_degenerate_data};
use crate::golden;
use crate::link::{Link, Links};
use crate::net::Net;

const LOOKBACK: usize = 7;
const HORIZON: usize = 5;

/// Columns known, past, target and foreign forecast.
const COLUMNS: [Role; 4] = [Role::Future, Role::Past, Role::Target, Role::Forecast];
/// The same with a second target, apart from the first.
const TWO: [Role; 5] = [
    Role::Target,
    Role::Future,
    Role::Past,
    Role::Target,
    Role::Forecast,
];

fn deepar(distribution: Distribution, season: usize) -> Deepar {
    deepar_of(&COLUMNS, distribution, season)
}

fn deepar_of(roles: &[Role], distribution: Distribution, season: usize) -> Deepar {
    let bounds = Bounds {
        lower: Some(-10.0),
        upper: Some(10.0),
    };
    deepar_within(bounds, roles, distribution, season)
}

fn deepar_within(
    bounds: Bounds,
    roles: &[Role],
    distribution: Distribution,
    season: usize,
) -> Deepar {
    deepar_on(wanted(bounds, roles, distribution, season))
}

fn wanted(
    bounds: Bounds,
    roles: &[Role],
    distribution: Distribution,
    season: usize,
) -> (DeeparParams, ModelParams, Vec<FrameColumn>) {
    let params = DeeparParams {
        hidden: 4,
        layers: 2,
        dropout: 0.0,
        distribution,
        paths: 7,
        season: Some(season),
        members: 3,
    };
    let model = ModelParams {
        lookback: LOOKBACK,
        horizon: HORIZON,
        quantiles: vec![0.1, 0.5, 0.9],
        bounds: bounds.into(),
        correction: None,
        architecture: Wanted::Deepar(params),
    };
    let column =
        |(place, &role): (usize, &Role)| FrameColumn::new(format!("{role:?} {place}"), role);
    let columns: Vec<FrameColumn> = roles.iter().enumerate().map(column).collect();
    (params, model, columns)
}

fn deepar_on((params, model, columns): (DeeparParams, ModelParams, Vec<FrameColumn>)) -> Deepar {
    let scalers = vec![Scaler::IDENTITY; columns_with(&columns, Role::Target).len()];
    let shape = Shape::new(&model, &columns, 1, &scalers).unwrap();
    Deepar::new(shape, &columns, &scalers, &params).unwrap()
}

/// The likelihood of PyTorch: what is read, what is near to a value, its distribution, and its bounds.
#[test]
fn likelihoods_are_those_of_pytorch() {
    let cells = ["l0", "l1"].map(|layer| {
        ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(|of| format!("cell.{of}_{layer}"))
    });
    let response = ["first", "second", "out"]
        .iter()
        .flat_map(|layer| ["weight", "bias"].map(|of| format!("response.{layer}.{of}")));
    let response: Vec<String> = response.collect();
    let between = |lower, upper| Bounds {
        lower: Some(lower),
        upper: Some(upper),
    };
    for (name, distribution, outputs, bounds) in [
        ("gaussian", Distribution::Gaussian, 3, Bounds::default()),
        ("student_t", Distribution::StudentT, 4, Bounds::default()),
        (
            "gaussian_bounds",
            Distribution::Gaussian,
            3,
            between(-0.8, 0.9),
        ),
        (
            "student_t_bounds",
            Distribution::StudentT,
            4,
            between(-0.8, 0.9),
        ),
        (
            "negative_binomial",
            Distribution::NegativeBinomial,
            3,
            Bounds::default(),
        ),
        ("beta", Distribution::Beta, 3, between(0.0, 1.0)),
    ] {
        let roles = [Role::Target, Role::Past, Role::Future];
        let deepar = deepar_within(bounds, &roles, distribution, 3);
        let out = ["weight", "bias"].map(|of| format!("out{outputs}.{of}"));
        let keys = out.iter().chain(cells.as_flattened()).chain(&response);
        let keys: Vec<&str> = keys.map(String::as_str).collect();
        let mut net = golden::net(Arc::new(deepar.clone()), "deepar", &keys);
        net.constants = vec![Tensor::from_slice(&[0.1_f32])];
        let of = |what: &str| golden::tensor(&format!("deepar.{name}.{what}"));
        let past = golden::tensor("deepar.past");
        past.select(2, 0).copy_(&of("target"));
        let inputs = golden::inputs(&past, &golden::tensor("deepar.future_columns"), None);
        let batch = Batch {
            base: deepar.base(&[], &inputs),
            inputs,
            truth: of("truth").to_kind(Kind::Float),
            weights: None,
        };
        let loss = Loss::new(
            PointLoss::Mse,
            &Tensor::ones([5], (Kind::Float, Device::Cpu)),
            &[],
        );
        let tensors = net.tensors(Pass::FORECAST);
        let told = deepar.loss(&tensors, &batch, &loss, Pass::FORECAST);
        golden::assert_near(&told.to_kind(Kind::Double), &of("loss").view([]), 2e-5);
    }
}

fn net(deepar: Deepar) -> Net {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let constants = constants(&deepar);
    Net::draw(Arc::new(deepar), constants, Device::Cpu, &mut rng)
}

/// As if windows differed in at least so much.
fn constants(deepar: &Deepar) -> Vec<Tensor> {
    vec![Tensor::full(
        [deepar.shape.count()],
        0.01,
        (Kind::Float, Device::Cpu),
    )]
}

fn windows(count: i64) -> (Inputs, Tensor) {
    windows_of(&COLUMNS, count)
}

/// Windows of unlike numbers, and what became of them.
fn windows_of(roles: &[Role], count: i64) -> (Inputs, Tensor) {
    let targets = roles.iter().filter(|role| **role == Role::Target).count();
    let numbers = |shape: [i64; 3], from: f64| {
        let length = shape.iter().product::<i64>();
        let numbers = Tensor::arange(length, (Kind::Float, Device::Cpu)) * 0.7 + from;
        numbers.sin().view(shape)
    };
    let inputs = Inputs {
        past: numbers([count, LOOKBACK as i64, roles.len() as i64], 0.0),
        future: numbers([count, HORIZON as i64, 2], 1.0),
        series: None,
        seeds: (0..count as u64).collect(),
    };
    let cells = (targets * HORIZON) as i64;
    let truth = numbers([count, cells, 1], 2.0).squeeze_dim(2);
    (inputs, truth)
}

/// A forecast reads of every row what the training reads of it: walked along the truth it gives
/// the loss of the training.
#[test]
fn a_walk_along_the_truth_is_the_training() {
    for distribution in DISTRIBUTIONS {
        for season in [1, 3, LOOKBACK] {
            for roles in [&COLUMNS[..], &TWO] {
                let deepar = deepar_of(roles, distribution, season);
                walk_along_the_truth(&deepar, windows_of(roles, 6));
            }
        }
    }
}

fn walk_along_the_truth(deepar: &Deepar, (inputs, truth): (Inputs, Tensor)) {
    let net = net(deepar.clone());
    let tensors = net.tensors(Pass::FORECAST);
    let weights = Tensor::from_slice(&[2.0_f32, 0.0, 1.0, 0.5, 1.5, 1.0]);
    let read = deepar.read(&inputs, &constants(deepar));
    let cells = deepar.shape.cells();
    let mut log = 0.0;
    for taken in tensors.members() {
        let mut leads = vec![0; deepar.emissions.len()];
        let along = |target: usize, parameters: &[Tensor]| {
            let cell = (target * HORIZON) as i64 + leads[target];
            let value = truth.narrow(1, cell, 1).expand([6, 2], false);
            let of_value = deepar.emissions[target].log_likelihood(parameters, &value);
            let counted = of_value * weights.unsqueeze(1);
            log += counted.mean(Kind::Double).double_value(&[]);
            leads[target] += 1;
            value
        };
        let member = Member::take(deepar, taken);
        let paths = deepar.walk(&member, &read, 2, along, Pass::FORECAST);
        assert_eq!(paths.size(), [6, 2, cells]);
        assert_eq!(paths.select(1, 0), truth);
        for apart in apart_of_response(deepar, &member, &read, &truth) {
            let counted = response::loss(&apart) * weights.unsqueeze(1);
            log -= HORIZON as f64 * counted.mean(Kind::Double).double_value(&[]);
        }
    }
    let base = deepar.base(&[], &inputs);
    let batch = Batch {
        inputs,
        base,
        truth,
        weights: Some(weights.unsqueeze(1)),
    };
    let unused = Loss::new(PointLoss::Mse, &Tensor::from_slice(&[1.0_f32]), &[]);
    let loss = deepar.loss(&tensors, &batch, &unused, Pass::FORECAST);
    let walked = -log / (3 * cells) as f64;
    let error = (loss.double_value(&[]) - walked).abs();
    assert!(error < 1e-5, "{deepar:?}: {error}");
}

/// Of each target how far what is expected without the values before lies from the truth; of none where nothing is
/// known ahead.
fn apart_of_response(
    deepar: &Deepar,
    member: &Member<'_>,
    read: &Read,
    truth: &Tensor,
) -> Vec<Tensor> {
    if member.response.is_none() {
        return Vec::new();
    }
    let expected = member.expected(read, Pass::FORECAST);
    let targets = read.targets.iter().zip(&deepar.emissions);
    let truths = truth.chunk(deepar.shape.count(), 1);
    let apart = targets.zip(expected.iter().zip(truths));
    let apart = apart.map(|((of, emission), (expected, truth))| {
        let ahead = expected.narrow(1, 1, HORIZON as i64);
        emission.apart(&ahead, &truth, &of.typical)
    });
    apart.collect()
}

/// The columns that nobody knows ahead, by hand: those of the row before, and after the issue
/// row those of the issue row.
#[test]
fn other_columns_are_of_the_row_before_and_grow_old() {
    let deepar = deepar(Distribution::Gaussian, 5);
    let (inputs, _) = windows(1);
    let rows = Tensor::arange(7, (Kind::Float, Device::Cpu));
    inputs.past.select(2, 1).copy_(&rows.view([1, 7]));
    inputs.past.select(2, 3).copy_(&(rows.view([1, 7]) + 20.0));
    let _ = inputs.future.select(2, 1).fill_(50.0);
    let rest = deepar.read(&inputs, &constants(&deepar)).rest;
    let column = |column: i64| Vec::<f32>::try_from(rest.select(2, column).reshape([-1])).unwrap();
    // Usual, level, size, age, known, foreign forecast, other: of rows 5 to 11, of which 7 is the first
    // lead.
    assert_eq!(column(3), [0.0, 0.0, 0.0, 0.2, 0.4, 0.6, 0.8]);
    assert_eq!(column(5), [25.0, 26.0, 50.0, 50.0, 50.0, 50.0, 50.0]);
    assert_eq!(column(6), [4.0, 5.0, 6.0, 6.0, 6.0, 6.0, 6.0]);
}

/// Of a lookback of 7 rows: those of whole seasons at its end, in phase with the first lead.
#[test]
fn usual_values_by_hand() {
    let rows = Tensor::from_slice(&[9.0_f32, 1.0, 2.0, 3.0, 5.0, 6.0, 7.0]).view([1, 7]);
    let usual = |season: usize| {
        let usual = deepar(Distribution::Gaussian, season).usual(&rows);
        Vec::<f32>::try_from(usual.reshape([-1])).unwrap()
    };
    // From row 2 on, of which row 4 is the first of a season.
    let expected = [4.0, 5.0, 3.0, 4.0, 5.0, 3.0, 4.0, 5.0, 3.0, 4.0];
    assert_eq!(usual(3), expected);
    assert_eq!(usual(7), [7.0, 9.0, 1.0, 2.0, 3.0, 5.0]);
    assert_eq!(usual(5), [5.0, 6.0, 7.0, 2.0, 3.0, 5.0, 6.0, 7.0]);
    assert_eq!(usual(1).len(), 12);
    assert!(
        usual(1)
            .iter()
            .all(|value| (value - 33.0 / 7.0).abs() < 1e-6)
    );
}

fn all_paths(deepar: &Deepar, tensors: &Tensors<'_>, inputs: &Inputs) -> Tensor {
    deepar.courses(tensors, inputs, Pass::FORECAST).unwrap()
}

/// The mean that is told is that of draws cut at a bound, without their noise.
#[test]
fn the_mean_is_that_of_what_a_bound_lets_be_seen() {
    for distribution in [Distribution::Gaussian, Distribution::StudentT] {
        let lower = Bounds {
            lower: Some(0.0),
            upper: None,
        };
        let deepar = Deepar {
            members: 1,
            paths: 2000,
            ..deepar_within(lower, &COLUMNS, distribution, 3)
        };
        let net = net(deepar.clone());
        let tensors = net.tensors(Pass::FORECAST);
        let (inputs, _) = windows(4);
        let base = deepar.base(&[], &inputs);
        let first = |of: &Tensor| of.select(-1, 0).reshape([-1]);
        let told = deepar.forward(&tensors, &inputs, &base, Pass::FORECAST);
        let exact = deepar.sketch(&tensors, &inputs, &base, Pass::FORECAST);
        let of_paths = all_paths(&deepar, &tensors, &inputs);
        let is_cut = of_paths.le(0.0).any();
        assert!(bool::try_from(is_cut).unwrap());
        let error = of_paths.std_dim([1_i64].as_slice(), true, false) / 2000_f64.sqrt();
        let of_paths = of_paths.mean_dim([1_i64].as_slice(), false, Kind::Float);
        // All paths are the same before the first draw.
        let noise = (first(&told.mean) - first(&exact.mean)).abs();
        assert!(noise.max().double_value(&[]) < 1e-5);
        let apart = (&of_paths - told.mean.squeeze_dim(0)).abs() / (error + 1e-6);
        assert!(
            apart.max().double_value(&[]) < 5.0,
            "{distribution:?} {apart:?}"
        );
        assert!(told.mean.min().double_value(&[]) >= 0.0);
    }
}

#[test]
fn members_share_the_paths() {
    let deepar = deepar(Distribution::StudentT, 3);
    let shares: Vec<i64> = (0..3).map(|member| deepar.paths_of(member)).collect();
    assert_eq!(shares, [3, 2, 2]);
    let net = net(deepar.clone());
    let (inputs, _) = windows(4);
    let paths = all_paths(&deepar, &net.tensors(Pass::FORECAST), &inputs);
    assert_eq!(paths.size(), [4, 7, 5]);
}

#[test]
fn paths_are_repeatable_and_of_their_window() {
    for distribution in [
        Distribution::Gaussian,
        Distribution::StudentT,
        Distribution::Beta,
    ] {
        let deepar = deepar(distribution, 3);
        let net = net(deepar.clone());
        let tensors = net.tensors(Pass::FORECAST);
        let (mut inputs, _) = windows(9);
        let paths = |inputs: &Inputs| all_paths(&deepar, &tensors, inputs);
        let all = paths(&inputs);
        assert_eq!(all, paths(&inputs));
        let alone = Inputs {
            past: inputs.past.narrow(0, 6, 1),
            future: inputs.future.narrow(0, 6, 1),
            series: None,
            seeds: vec![6],
        };
        let apart = (paths(&alone) - all.narrow(0, 6, 1)).abs().max();
        assert!(apart.double_value(&[]) < 1e-5, "{distribution:?}");
        inputs.seeds[6] = 100;
        assert_ne!(paths(&inputs), all);
    }
}

#[test]
fn the_least_deviation_is_of_windows_that_moved() {
    let mut deviations = vec![0.0, 1e-8];
    assert_eq!(least_of(deviations.clone()), 1.0);
    deviations.extend((1..=100).map(|hundredths| hundredths as f32 / 100.0));
    assert_eq!(least_of(deviations.clone()), 0.03);
    // Of a small series beside a large one it is that of the small one.
    deviations.extend([2e-4; 50]);
    assert_eq!(least_of(deviations), 2e-4);
}

/// A target that stood still through the whole lookback, and then did not.
#[test]
fn a_change_after_standing_still_is_no_wonder() {
    let rows = 60;
    let values = (0..rows).map(|row| {
        if row % 30 < 20 {
            0.0
        } else {
            (row as f32).sin()
        }
    });
    let column = FrameColumn::new("rain".to_owned(), Role::Target);
    let frame = Frame::single(0, Step::HOUR, vec![column], values.collect());
    let deepar = deepar_of(&[Role::Target], Distribution::Gaussian, 3);
    let windows = Windows::new(&frame, LOOKBACK as i64, HORIZON as i64, &[], Device::Cpu);
    let issues: Vec<usize> = (LOOKBACK - 1..rows - HORIZON).collect();
    let constants = deepar.solve(&windows, &issues, &[]).unwrap();
    assert!(constants[0].double_value(&[0]) > 0.05, "{:?}", constants[0]);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let net = Net::draw(Arc::new(deepar), constants, Device::Cpu, &mut rng);
    // Rows 12 to 19 are zeros, 20 is not.
    let at = windows.issues(&[18]);
    let inputs = windows.inputs(&at);
    let batch = Batch {
        base: net.architecture.base(&net.constants, &inputs),
        truth: windows.truth(&at),
        weights: None,
        inputs,
    };
    let spread = Tensor::ones([HORIZON as i64], (Kind::Float, Device::Cpu));
    let measure = Loss::new(PointLoss::Mse, &spread, &[]);
    let tensors = net.tensors(Pass::FORECAST);
    let loss = net
        .architecture
        .loss(&tensors, &batch, &measure, Pass::FORECAST);
    assert!(loss.double_value(&[]) < 50.0, "{loss:?}");
}

const DISTRIBUTIONS: [Distribution; 4] = [
    Distribution::Gaussian,
    Distribution::StudentT,
    Distribution::NegativeBinomial,
    Distribution::Beta,
];

/// Windows of which one does not count, and the loss of a net on them.
fn counted_windows(roles: &[Role]) -> Batch {
    let (inputs, truth) = windows_of(roles, 6);
    let weights = Tensor::from_slice(&[2.0_f32, 0.0, 1.0, 0.5, 1.5, 1.0]);
    Batch {
        base: truth.zeros_like(),
        truth,
        weights: Some(weights.unsqueeze(1)),
        inputs,
    }
}

fn loss_of(net: &Net, batch: &Batch) -> Tensor {
    let cells = net.architecture.shape().cells();
    let spread = Tensor::ones([cells], (Kind::Float, Device::Cpu));
    let measure = Loss::new(PointLoss::Mse, &spread, &[]);
    let tensors = net.tensors(Pass::FORECAST);
    net.architecture
        .loss(&tensors, batch, &measure, Pass::FORECAST)
}

#[test]
fn the_gradient_of_its_likelihood_is_that_of_differences() {
    for distribution in DISTRIBUTIONS {
        for roles in [&COLUMNS[..], &TWO] {
            let net = net(deepar_of(roles, distribution, 3));
            let batch = counted_windows(roles);
            // A response learns from its own error, not from the likelihood that it has an influence on.
            let is_of_likelihood = |name: &str| !name.contains("response");
            assert_loss_gradient_of(&net, is_of_likelihood, || loss_of(&net, &batch));
        }
    }
}

#[test]
fn the_time_alone_asks_for_no_response() {
    let responds = |of_time: [bool; 4]| {
        let bounds = Bounds::default();
        let (params, model, mut columns) = wanted(bounds, &COLUMNS, Distribution::Gaussian, 3);
        for (column, of_time) in columns.iter_mut().zip(of_time) {
            column.of_time = of_time;
        }
        let specs = deepar_on((params, model, columns)).member_specs();
        specs.iter().any(|spec| spec.name.starts_with("response."))
    };
    // A column known ahead, and a forecast from outside.
    assert!(!responds([true, false, false, true]));
    assert!(responds([false, false, false, true]));
    assert!(responds([true, false, false, false]));
}

#[test]
fn a_response_learns_from_its_own_error_alone() {
    for distribution in DISTRIBUTIONS {
        let deepar = deepar_of(&TWO, distribution, 3);
        let net = net(deepar.clone());
        let batch = counted_windows(&TWO);
        let read = deepar.read(&batch.inputs, &constants(&deepar));
        let weights = batch.weights.as_ref().unwrap();
        let tensors = net.tensors(Pass::FORECAST);
        let errors = tensors.each(|taken| {
            let member = Member::take(&deepar, taken);
            let apart = apart_of_response(&deepar, &member, &read, &batch.truth);
            let apart = Tensor::cat(&apart, 1);
            (response::loss(&apart) * weights).mean(Kind::Float)
        });
        let error = Tensor::stack(&errors, 0).mean(Kind::Float);
        let of_response =
            |(name, view): (&str, &Tensor)| name.contains("response").then(|| view.shallow_clone());
        let response: Vec<Tensor> = net.parameters.named().filter_map(of_response).collect();
        let gradient = |loss: &Tensor| Tensor::run_backward(&[loss], &response, false, false);
        for (of_loss, of_error) in gradient(&loss_of(&net, &batch))
            .iter()
            .zip(gradient(&error))
        {
            assert!(of_error.abs().max().double_value(&[]) > 0.0);
            let apart = (of_loss - of_error).abs().max().double_value(&[]);
            assert!(apart < 1e-5, "{distribution:?}: {apart}");
        }
    }
}

#[test]
fn it_stands_degenerate_data() {
    let bounds = Bounds {
        lower: Some(-2.0),
        upper: Some(2.0),
    };
    for distribution in DISTRIBUTIONS {
        // Counts are refused below 0, and half of a wave lies there.
        if distribution == Distribution::NegativeBinomial {
            continue;
        }
        stands_degenerate_data(|shape| {
            let role = |place: i64| {
                if shape.targets.contains(&place) {
                    Role::Target
                } else {
                    Role::Past
                }
            };
            let columns: Vec<FrameColumn> = (0..shape.columns)
                .map(|place| FrameColumn::new(place.to_string(), role(place)))
                .collect();
            let scalers = vec![Scaler::IDENTITY; shape.targets.len()];
            let link = Link::new(bounds, Scaler::IDENTITY);
            let shape = Shape {
                links: Links::new(vec![link; shape.targets.len()]),
                ..shape
            };
            let params = DeeparParams {
                hidden: 4,
                layers: 1,
                dropout: 0.0,
                distribution,
                paths: 5,
                season: Some(1),
                // Of several it gives the forecast together.
                members: 1,
            };
            Arc::new(Deepar::new(shape, &columns, &scalers, &params).unwrap())
        });
    }
}
