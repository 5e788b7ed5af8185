//! Between a net and named arrays.
//!
//! Strict in one direction: weights that are not exactly those of the net are refused by name.

use anyhow::Result;
use krammerti::model::{Array, Weights};
use tch::{Kind, Tensor};

use crate::net::Net;

/// Weights that do not belong to a net.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WrongWeights {
    /// The net has a weight that is not there.
    #[error("the weights lack `{0}`")]
    Missing(String),
    /// There is one that the net does not have.
    #[error("the weights hold `{0}`, which this model does not have")]
    Extra(String),
    /// One has another shape, or not as many values as its shape says.
    #[error("weight `{name}`: expected shape {expected:?}, found {found:?} with {values} values")]
    Shape {
        /// Which.
        name: String,
        /// The net's.
        expected: Vec<usize>,
        /// The array's.
        found: Vec<usize>,
        /// How many values the array holds.
        values: usize,
    },
}

/// All weights of a net.
pub(crate) fn save(net: &Net) -> Result<Weights> {
    net.named()
        .into_iter()
        .map(|(name, tensor)| Ok((name, to_array(&tensor)?)))
        .collect()
}

/// Fills a net.
pub(crate) fn load(net: &Net, weights: &Weights) -> Result<(), WrongWeights> {
    fill(net, weights, |_| true)
}

/// Fills what is trained of a net; what was solved for its data stays.
pub(crate) fn load_trained(net: &Net, weights: &Weights) -> Result<(), WrongWeights> {
    let trained: Vec<&str> = net.parameters.named().map(|(name, _)| name).collect();
    fill(net, weights, |name| trained.contains(&name))
}

/// Weights must be those of the net, whether they are wanted or not.
fn fill(net: &Net, weights: &Weights, wanted: impl Fn(&str) -> bool) -> Result<(), WrongWeights> {
    let tensors = net.named();
    let known = |name: &String| tensors.iter().any(|(own, _)| own == name);
    if let Some(extra) = weights.keys().find(|name| !known(name)) {
        return Err(WrongWeights::Extra(extra.clone()));
    }
    for (name, tensor) in tensors {
        let array = weights
            .get(&name)
            .ok_or_else(|| WrongWeights::Missing(name.clone()))?;
        if wanted(&name) {
            fill_one(&name, array, &tensor)?;
        } else {
            check_shape(&name, array, &tensor)?;
        }
    }
    Ok(())
}

/// Fills a tensor with an array of its shape.
pub(crate) fn fill_one(name: &str, array: &Array, into: &Tensor) -> Result<(), WrongWeights> {
    check_shape(name, array, into)?;
    let _no_grad = tch::no_grad_guard();
    let values = Tensor::from_slice(&array.values).view_as(into);
    into.shallow_clone().copy_(&values);
    Ok(())
}

pub(crate) fn to_array(tensor: &Tensor) -> Result<Array> {
    let flat = tensor
        .detach()
        .to(tch::Device::Cpu)
        .to_kind(Kind::Float)
        .reshape([-1]);
    Ok(Array {
        shape: shape(tensor),
        values: Vec::<f32>::try_from(flat)?,
    })
}

fn check_shape(name: &str, array: &Array, into: &Tensor) -> Result<(), WrongWeights> {
    let expected = shape(into);
    if array.shape == expected && array.values.len() == into.numel() {
        return Ok(());
    }
    Err(WrongWeights::Shape {
        name: name.to_owned(),
        expected,
        found: array.shape.clone(),
        values: array.values.len(),
    })
}

fn shape(tensor: &Tensor) -> Vec<usize> {
    tensor
        .size()
        .iter()
        .map(|&length| length as usize)
        .collect()
}
