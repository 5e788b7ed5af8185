//! What the tests of several parts check alike: gradients by finite differences, and that a kind of
//! net stands data without content.

use std::sync::Arc;

use krammerti::data::{Frame, FrameColumn, Role, Scaler};
use krammerti::params::{Bounds, PointLoss};
use krammerti::time::Step;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tch::{Device, Kind, Tensor};

use crate::architecture::{Architecture, Batch};
use crate::generator::Generator;
use crate::link::{Link, Links};
use crate::loss::Loss;
use crate::net::Net;
use crate::optimizer::{AdamW, Factors};
use crate::pass::Pass;
use crate::shape::Shape;
use crate::windows::{Inputs, Windows};

/// One column, one series, no levels and no bounds.
pub(crate) fn shape(lookback: i64, horizon: i64) -> Shape {
    shape_of(1, lookback, horizon)
}

/// The same of several targets, which are all columns.
pub(crate) fn shape_of(targets: usize, lookback: i64, horizon: i64) -> Shape {
    let link = Link::new(Bounds::default(), Scaler::IDENTITY);
    Shape {
        lookback,
        horizon,
        columns: targets as i64,
        targets: (0..targets as i64).collect(),
        future: 0,
        series: 1,
        levels: Vec::new(),
        links: Links::new(vec![link; targets]),
    }
}

/// Fails where the gradient of a function at a point in 64 bits is not that of central differences.
/// What the function gives is summed with different weights, so that no errors cancel.
#[track_caller]
pub(crate) fn assert_gradient(
    at: &Tensor,
    step: f64,
    tolerance: f64,
    function: impl Fn(&Tensor) -> Tensor,
) {
    assert_eq!(at.kind(), Kind::Double);
    let scalar = |x: &Tensor| {
        let values = function(x).reshape([-1]).to_kind(Kind::Double);
        let weights = Tensor::arange(values.size()[0], (Kind::Double, Device::Cpu)).sin() + 1.5;
        (values * weights).sum(Kind::Double)
    };
    let leaf = at.copy().set_requires_grad(true);
    let gradient = Tensor::run_backward(&[scalar(&leaf)], &[&leaf], false, false).remove(0);
    let gradient = Vec::<f64>::try_from(gradient.reshape([-1])).unwrap();
    for (i, gradient) in gradient.into_iter().enumerate() {
        let moved = |by: f64| {
            let moved = at.copy();
            let _ = moved.view([-1]).get(i as i64).g_add_scalar_(by);
            scalar(&moved).double_value(&[])
        };
        let difference = (moved(step) - moved(-step)) / (2.0 * step);
        assert!(
            (gradient - difference).abs() <= tolerance * (1.0 + difference.abs()),
            "value {i}: gradient {gradient}, difference {difference}"
        );
    }
}

/// The same for each parameter of a net and a loss, in one direction of ±1 each: nets are of 32 bits,
/// and the change of one number would drown in rounding.
#[track_caller]
pub(crate) fn assert_net_gradient(net: &Net, inputs: &Inputs) {
    assert_loss_gradient(net, || {
        let forecast = net.forecast(inputs, Pass::FORECAST);
        let mut numbers = vec![forecast.mean.reshape([-1])];
        numbers.extend(forecast.quantiles.map(|levels| levels.reshape([-1])));
        let numbers = Tensor::cat(&numbers, 0).to_kind(Kind::Double);
        let weights = Tensor::arange(numbers.size()[0], (Kind::Double, Device::Cpu)).sin() + 1.5;
        (numbers * weights).mean(Kind::Double)
    });
}

/// The same of any loss of a net.
#[track_caller]
pub(crate) fn assert_loss_gradient(net: &Net, loss: impl Fn() -> Tensor) {
    assert_loss_gradient_of(net, |_| true, loss);
}

/// The same for those of its parameters that are wanted, by their names.
#[track_caller]
pub(crate) fn assert_loss_gradient_of(
    net: &Net,
    is_wanted: impl Fn(&str) -> bool,
    loss: impl Fn() -> Tensor,
) {
    const STEP: f64 = 1.0 / 1024.0;
    let flat = net.parameters.flat();
    let gradient = net.parameters.gradient(&loss()).to_kind(Kind::Double);
    let start = flat.copy();
    let mut influence = 0.0;
    for (name, view) in net.parameters.named().filter(|(name, _)| is_wanted(name)) {
        let numbers = Tensor::arange(view.numel() as i64, (Kind::Double, Device::Cpu));
        let direction = (numbers * 1.7 + 0.4).sin().sign().view(&view.size()[..]);
        let moved = |by: f64| {
            let _no_grad = tch::no_grad_guard();
            let mut view = view.shallow_clone();
            view += &direction * by;
            let moved = (flat.copy(), loss().double_value(&[]));
            net.parameters.assign(&start);
            moved
        };
        let ((above, loss_above), (below, loss_below)) = (moved(STEP), moved(-STEP));
        // As it was rounded.
        let way = above.to_kind(Kind::Double) - below.to_kind(Kind::Double);
        let expected = (&gradient * way).sum(Kind::Double).double_value(&[]) / (2.0 * STEP);
        let difference = (loss_above - loss_below) / (2.0 * STEP);
        assert!(
            (expected - difference).abs() <= 1e-3 * (1.0 + difference.abs()),
            "{name}: gradient {expected}, difference {difference}"
        );
        influence += difference.abs();
    }
    assert!(influence > 0.1, "nothing was tested");
}

/// Fails where a kind of net gives anything but finite numbers before or after a step of a training on one
/// column, on a constant one, beside a constant one, which may be a target too, or on a lookback of one
/// row.
#[track_caller]
pub(crate) fn stands_degenerate_data(build: impl Fn(Shape) -> Arc<dyn Architecture>) {
    let wave = |row: usize| (row as f32 * 0.7).sin();
    let same = |_: usize| 0.7;
    for columns in [
        &[&wave as &dyn Fn(usize) -> f32][..],
        &[&same],
        &[&wave, &same],
        &[&same, &same],
    ] {
        for (lookback, horizon) in [(1, 1), (1, 3), (4, 1), (4, 3)] {
            for levels in [&[][..], &[0.5], &[0.1, 0.5, 0.9]] {
                for targets in 1..=columns.len() {
                    let shape = Shape {
                        columns: columns.len() as i64,
                        levels: levels.to_vec(),
                        ..shape_of(targets, lookback, horizon)
                    };
                    step_on(build(shape), columns);
                }
            }
        }
    }
}

#[track_caller]
fn step_on(architecture: Arc<dyn Architecture>, columns: &[&dyn Fn(usize) -> f32]) {
    const ROWS: usize = 40;
    let shape = architecture.shape().clone();
    let values = (0..ROWS)
        .flat_map(|row| columns.iter().map(move |column| column(row)))
        .collect();
    let column = |i: usize| {
        let is_target = shape.targets.contains(&(i as i64));
        let role = if is_target { Role::Target } else { Role::Past };
        FrameColumn::new(format!("c{i}"), role)
    };
    let columns = (0..columns.len()).map(column).collect();
    let frame = Frame::single(0, Step::HOUR, columns, values);
    let (lookback, horizon) = (shape.lookback, shape.horizon);
    let windows = Windows::new(&frame, lookback, horizon, &[], Device::Cpu);
    let issues: Vec<usize> = (lookback as usize - 1..ROWS - horizon as usize).collect();
    let (train, validation) = issues.split_at(issues.len() / 2);
    let constants = architecture.solve(&windows, train, validation).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let net = Net::draw(architecture, constants, Device::Cpu, &mut rng);

    let at = windows.issues(train);
    let mut inputs = windows.inputs(&at);
    inputs.seeds = (0..train.len() as u64).collect();
    let batch = Batch {
        base: net.architecture.base(&net.constants, &inputs),
        truth: windows.truth(&at),
        weights: None,
        inputs,
    };
    let spread = net.architecture.spread(&net.constants);
    let cells = [shape.cells()];
    let spread = spread.unwrap_or_else(|| Tensor::ones(cells, (Kind::Float, Device::Cpu)));
    let measure = Loss::new(PointLoss::Mse, &spread, &shape.levels);
    let generator = Generator::seeded(1);
    let pass = Pass {
        generator: Some(&generator),
        kind: Kind::Float,
    };
    let loss = net
        .architecture
        .loss(&net.tensors(pass), &batch, &measure, pass);
    let gradient = net.parameters.gradient(&loss);
    assert!(is_finite(&loss) && is_finite(&gradient), "{shape:?}");
    let by = Factors::of(1, 0.01, 0.01, 1.0);
    AdamW::new(net.parameters.flat()).step(net.parameters.flat(), &gradient, &by);

    let forecast = net.forecast(&batch.inputs, Pass::FORECAST);
    let mut size = vec![
        net.architecture.members() as i64,
        train.len() as i64,
        shape.cells(),
    ];
    assert_eq!(forecast.mean.size(), size);
    assert!(is_finite(&forecast.mean), "{shape:?}");
    assert_eq!(forecast.quantiles.is_some(), !shape.levels.is_empty());
    if let Some(quantiles) = &forecast.quantiles {
        size.push(shape.levels.len() as i64);
        assert_eq!(quantiles.size(), size);
        assert!(is_finite(quantiles), "{shape:?}");
    }
}

/// The mean of independent numbers in units of its standard error.
pub(crate) fn standardised_mean(values: &Tensor) -> f64 {
    let error = values.std(true) / (values.numel() as f64).sqrt();
    (values.mean(Kind::Double) / error).double_value(&[])
}

fn is_finite(tensor: &Tensor) -> bool {
    bool::try_from(tensor.isfinite().all()).unwrap()
}
