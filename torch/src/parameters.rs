//! The trained parameters of a net: named views of one flat tensor.
//!
//! One flat tensor makes a step of the optimiser, the average of weights and the copy of the best
//! ones a few operations each, whatever the number of layers. It also fixes where every parameter
//! lies in memory, on which the last bits of a matrix product can depend: a loaded net gives the
//! same bytes as the one that was trained.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

/// Every parameter begins at a multiple of 64 bytes, as tensors of their own would.
const ALIGNMENT: i64 = 16;

/// A parameter that is yet to be made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec {
    /// Its name among the weights.
    pub(crate) name: String,
    /// Length of each axis.
    pub(crate) shape: Vec<i64>,
    /// It starts uniform between minus this and this.
    pub(crate) bound: f64,
}

impl Spec {
    /// Uniform up to 1/√(inputs), as PyTorch draws its layers.
    pub(crate) fn by_fan_in(name: impl Into<String>, shape: Vec<i64>, inputs: i64) -> Self {
        Self {
            name: name.into(),
            shape,
            bound: 1.0 / (inputs as f64).sqrt(),
        }
    }

    /// All 0: for maps that a net is better off without until they have learnt something.
    pub(crate) fn zeros(name: impl Into<String>, shape: Vec<i64>) -> Self {
        Self {
            name: name.into(),
            shape,
            bound: 0.0,
        }
    }

    fn len(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// All trained parameters of a net.
pub(crate) struct Parameters {
    specs: Vec<Spec>,
    flat: Tensor,
    views: Vec<Tensor>,
    /// What lies between a parameter and the next one, in a gradient.
    gaps: Vec<Option<Tensor>>,
}

impl Parameters {
    /// Zeros.
    pub(crate) fn zeros(specs: Vec<Spec>, device: Device) -> Self {
        let total: i64 = specs.iter().map(|spec| padded(spec.len())).sum();
        let flat = Tensor::zeros([total], (Kind::Float, device));
        let mut offset = 0;
        let views = specs
            .iter()
            .map(|spec| {
                let view = flat.narrow(0, offset, spec.len()).view(&spec.shape[..]);
                offset += padded(spec.len());
                // Detached, so that each is a leaf with a gradient; the memory is still `flat`'s.
                view.detach().set_requires_grad(true)
            })
            .collect();
        let gap = |spec: &Spec| {
            let length = padded(spec.len()) - spec.len();
            (length > 0).then(|| Tensor::zeros([length], (Kind::Float, device)))
        };
        let gaps = specs.iter().map(gap).collect();
        Self {
            specs,
            flat,
            views,
            gaps,
        }
    }

    /// The same parameters for another thread: it shares their memory, and is a graph of its own.
    pub(crate) fn share(&self) -> Self {
        let leaf = |view: &Tensor| view.detach().set_requires_grad(true);
        let gap = |gap: &Option<Tensor>| gap.as_ref().map(Tensor::shallow_clone);
        Self {
            specs: self.specs.clone(),
            flat: self.flat.shallow_clone(),
            views: self.views.iter().map(leaf).collect(),
            gaps: self.gaps.iter().map(gap).collect(),
        }
    }

    /// Uniform draws. They come from a generator of ours: torch's has other sequences on a GPU.
    pub(crate) fn draw(&self, rng: &mut ChaCha8Rng) {
        let _no_grad = tch::no_grad_guard();
        for (spec, view) in self.specs.iter().zip(&self.views) {
            let bound = spec.bound as f32;
            let values: Vec<f32> = (0..spec.len())
                .map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound)
                .collect();
            let drawn = Tensor::from_slice(&values).view(&spec.shape[..]);
            view.shallow_clone().copy_(&drawn);
        }
    }

    /// The parameter with a name, and its name.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.specs
            .iter()
            .map(|spec| spec.name.as_str())
            .zip(&self.views)
    }

    /// The views, in the order of the specs.
    pub(crate) fn views(&self) -> &[Tensor] {
        &self.views
    }

    /// All of them in one tensor.
    pub(crate) fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// Replaces all values.
    pub(crate) fn assign(&self, flat: &Tensor) {
        let _no_grad = tch::no_grad_guard();
        self.flat.shallow_clone().copy_(flat);
    }

    /// Gradients of a loss, which every parameter must have an influence on, laid out as
    /// [`Self::flat`] is.
    pub(crate) fn gradient(&self, loss: &Tensor) -> Tensor {
        let gradients = Tensor::run_backward(&[loss], &self.views, false, false);
        let _no_grad = tch::no_grad_guard();
        let mut parts = Vec::with_capacity(2 * gradients.len());
        for (gradient, gap) in gradients.iter().zip(&self.gaps) {
            parts.push(gradient.reshape([-1]));
            parts.extend(gap.as_ref().map(Tensor::shallow_clone));
        }
        Tensor::cat(&parts, 0)
    }
}

fn padded(length: i64) -> i64 {
    (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    fn two() -> Parameters {
        let spec = |name: &str, shape: &[i64]| Spec {
            name: name.to_owned(),
            shape: shape.to_vec(),
            bound: 0.5,
        };
        Parameters::zeros(vec![spec("a", &[2, 3]), spec("b", &[20])], Device::Cpu)
    }

    #[test]
    fn views_share_the_flat_memory() {
        let parameters = two();
        assert_eq!(parameters.flat().size(), [48]);
        parameters.assign(&Tensor::arange(48, (Kind::Float, Device::Cpu)));
        assert_eq!(parameters.views()[0].double_value(&[1, 2]), 5.0);
        assert_eq!(parameters.views()[1].double_value(&[0]), 16.0);
    }

    #[test]
    fn gradients_lie_as_the_values_do() {
        let parameters = two();
        let [a, b] = parameters.views() else {
            unreachable!()
        };
        let loss = (a * 2.0).sum(Kind::Float) + (b * 3.0).sum(Kind::Float);
        let gradient = Vec::<f32>::try_from(parameters.gradient(&loss)).unwrap();
        assert_eq!(gradient[..6], [2.0; 6]);
        assert_eq!(gradient[6..16], [0.0; 10]);
        assert_eq!(gradient[16..36], [3.0; 20]);
    }

    #[test]
    fn draws_keep_their_bound_and_their_seed() {
        let drawn = |seed| {
            let parameters = two();
            parameters.draw(&mut ChaCha8Rng::seed_from_u64(seed));
            Vec::<f32>::try_from(parameters.flat()).unwrap()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert!(drawn(1).iter().all(|value| value.abs() <= 0.5));
    }
}
