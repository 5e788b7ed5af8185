//! A net: the parameters of its members and what they share.
//!
//! Members of an ensemble are copies of the same parameters under names of their own; they lie in one flat tensor
//! and are trained side by side, each by its own loss, and the forecast is their average.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::architecture::{Architecture, Tensors};
use crate::forecast::Forecast;
use crate::parameters::{Parameters, Spec};
use crate::pass::Pass;
use crate::windows::Inputs;

/// A net: its members' parameters and what they share.
pub(crate) struct Net {
    pub(crate) architecture: Arc<dyn Architecture>,
    pub(crate) parameters: Parameters,
    pub(crate) constants: Vec<Tensor>,
    /// How many parameters a member has.
    each: usize,
}

impl Net {
    /// A net that is yet to be trained.
    pub(crate) fn draw(
        architecture: Arc<dyn Architecture>,
        constants: Vec<Tensor>,
        device: Device,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let parameters = Parameters::zeros(specs(&*architecture), device);
        parameters.draw(rng);
        Self {
            each: architecture.member_specs().len(),
            architecture,
            parameters,
            constants,
        }
    }

    /// A net of zeros, to be filled with weights.
    pub(crate) fn zeros(architecture: Arc<dyn Architecture>, device: Device) -> Self {
        let constants = architecture.constant_shapes();
        Self {
            parameters: Parameters::zeros(specs(&*architecture), device),
            constants: constants
                .into_iter()
                .map(|(_, shape)| Tensor::zeros(shape, (Kind::Float, device)))
                .collect(),
            each: architecture.member_specs().len(),
            architecture,
        }
    }

    /// The same net for another thread: it shares the memory of the parameters.
    pub(crate) fn share(&self) -> Self {
        Self {
            architecture: Arc::clone(&self.architecture),
            parameters: self.parameters.share(),
            constants: self.constants.iter().map(Tensor::shallow_clone).collect(),
            each: self.each,
        }
    }

    /// Gives the series that no window of the training is of, by their places, what the others have on average:
    /// otherwise they would keep what was drawn for them.
    pub(crate) fn average_unseen(&self, seen: &[i64], unseen: &[i64]) {
        let Some(table) = self.architecture.series_table() else {
            return;
        };
        let _no_grad = tch::no_grad_guard();
        let is_table = |name: &str| name.rsplit('.').next() == Some(table);
        let tables = self.parameters.named().filter(|(name, _)| is_table(name));
        for (_, rows) in tables.filter(|_| !unseen.is_empty()) {
            let rows_of = |places: &[i64]| Tensor::from_slice(places).to(rows.device());
            let seen = rows.index_select(0, &rows_of(seen));
            let mean = seen.mean_dim([0_i64].as_slice(), true, Kind::Float);
            let mean = mean.expand([unseen.len() as i64, -1], false);
            let _ = rows.shallow_clone().index_copy_(0, &rows_of(unseen), &mean);
        }
    }

    /// What a pass reads, in the numbers of its body.
    pub(crate) fn tensors(&self, pass: Pass<'_>) -> Tensors<'_> {
        let cast = |view: &Tensor| pass.cast(view);
        let members = self.parameters.views().chunks(self.each);
        let members = members.map(|member| member.iter().map(cast).collect());
        Tensors::new(members.collect(), &self.constants)
    }

    /// Forecasts of each member.
    pub(crate) fn forecast(&self, inputs: &Inputs, pass: Pass<'_>) -> Forecast {
        let base = self.architecture.base(&self.constants, inputs);
        self.architecture
            .forward(&self.tensors(pass), inputs, &base, pass)
    }

    /// All tensors by name, sharing their memory.
    pub(crate) fn named(&self) -> Vec<(String, Tensor)> {
        let constants = self.architecture.constant_shapes();
        let constants = constants.iter().map(|(name, _)| *name).zip(&self.constants);
        self.parameters
            .named()
            .chain(constants)
            .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
            .collect()
    }
}

/// The trained parameters of all members.
fn specs(architecture: &dyn Architecture) -> Vec<Spec> {
    let named = |member: usize| {
        let specs = architecture.member_specs().into_iter();
        specs.map(move |spec| Spec {
            name: format!("member{member}.{}", spec.name),
            ..spec
        })
    };
    (0..architecture.members()).flat_map(named).collect()
}
