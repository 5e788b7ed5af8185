//! Numbers of PyTorch, by `scripts/golden-nets.py`, for the tests of nets and their parts.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use tch::{Device, Kind, Tensor};

use crate::architecture::Architecture;
use crate::net::Net;
use crate::windows::Inputs;

static ALL: LazyLock<BTreeMap<String, Vec<f64>>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../tests/golden.json")).expect("golden.json is valid")
});

/// A tensor in 64 bits.
pub(crate) fn tensor(key: &str) -> Tensor {
    let lengths = &ALL[&format!("{key}.shape")];
    let shape: Vec<i64> = lengths.iter().map(|&length| length as i64).collect();
    Tensor::from_slice(&ALL[key]).view(&shape[..])
}

/// What a net reads.
pub(crate) fn inputs(past: &Tensor, future: &Tensor, series: Option<&str>) -> Inputs {
    Inputs {
        past: past.to_kind(Kind::Float),
        future: future.to_kind(Kind::Float),
        series: series.map(|key| tensor(key).to_kind(Kind::Int64)),
        seeds: Vec::new(),
    }
}

/// A net whose members all have the parameters `{name}.{key}`, in the order of its specs.
pub(crate) fn net(architecture: Arc<dyn Architecture>, name: &str, keys: &[&str]) -> Net {
    let _no_grad = tch::no_grad_guard();
    let net = Net::zeros(architecture, Device::Cpu);
    let members = net.architecture.members();
    assert_eq!(net.parameters.views().len(), members * keys.len());
    for (view, key) in net.parameters.views().iter().zip(keys.iter().cycle()) {
        let value = tensor(&format!("{name}.{key}"));
        assert_eq!(view.size(), value.size(), "{name}.{key}");
        view.shallow_clone().copy_(&value);
    }
    net
}

/// Fails where a tensor has another shape than the expected one, or a value that is further off.
#[track_caller]
pub(crate) fn assert_near(actual: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(actual.size(), expected.size());
    let worst = (actual - expected).abs().max().double_value(&[]);
    assert!(
        worst <= tolerance,
        "{worst} off: {} and not {}",
        actual.to_string(80).unwrap_or_default(),
        expected.to_string(80).unwrap_or_default()
    );
}

/// The same for a stored tensor.
#[track_caller]
pub(crate) fn assert_golden(actual: &Tensor, key: &str, tolerance: f64) {
    assert_near(actual, &tensor(key), tolerance);
}
