//! What each kind of net implements: a config, the list of its trained parameters, and a forward pass. It knows nothing
//! of how it is trained, saved or run.

use anyhow::Result;
use tch::Tensor;

use crate::forecast::Forecast;
use crate::loss::Loss;
use crate::parameters::Spec;
use crate::pass::Pass;
use crate::shape::Shape;
use crate::windows::{Inputs, Windows};

/// A kind of net with its sizes.
pub(crate) trait Architecture: Send + Sync {
    fn shape(&self) -> &Shape;

    /// How many nets of this shape are averaged.
    fn members(&self) -> usize;

    /// The trained parameters of one member, in the order in which the forward pass takes them.
    fn member_specs(&self) -> Vec<Spec>;

    /// Windows of a part of a step on the CPU: few enough for what is made of them to stay in the cache of a
    /// core, and for a step to have parts for several; enough to be worth its operations.
    fn windows_of_part(&self) -> usize {
        64
    }

    /// The parameter that has a row for each series, where it tells one from another, and so forecasts only
    /// those that it was trained on.
    fn series_table(&self) -> Option<&'static str> {
        None
    }

    /// Whether it tells one series from another.
    fn knows_series(&self) -> bool {
        self.series_table().is_some()
    }

    /// Tensors that are solved before the training and then stand still, with their shapes.
    fn constant_shapes(&self) -> Vec<(&'static str, Vec<i64>)> {
        Vec::new()
    }

    /// Solves them, in the same order.
    fn solve(&self, _: &Windows, _: &[usize], _: &[usize]) -> Result<Vec<Tensor>> {
        Ok(Vec::new())
    }

    /// `[issues, cells]`, or `[issues, 1]` where it is the same in all of them: what a forecast begins
    /// with and no parameter changes; so a training computes it once for each window.
    fn base(&self, _: &[Tensor], inputs: &Inputs) -> Tensor {
        self.shape().carried(inputs)
    }

    /// Whether what is solved makes the base more than a value that is read.
    fn solves_base(&self) -> bool {
        !self.constant_shapes().is_empty()
    }

    /// `[cells]`: how far the truth is expected to lie from the base.
    fn spread(&self, _: &[Tensor]) -> Option<Tensor> {
        None
    }

    /// Forecasts of each member.
    fn forward(
        &self,
        tensors: &Tensors<'_>,
        inputs: &Inputs,
        base: &Tensor,
        pass: Pass<'_>,
    ) -> Forecast;

    /// Possible courses of the targets, `[issues, paths, cells]`, where a forecast comes of such.
    fn courses(&self, _: &Tensors<'_>, _: &Inputs, _: Pass<'_>) -> Option<Tensor> {
        None
    }

    /// Whether quantiles are those of such courses.
    fn draws_courses(&self) -> bool {
        false
    }

    /// A forecast of which only the mean is wanted, after each epoch; where an own loss stands for
    /// the rest it may be a rough one.
    fn sketch(
        &self,
        tensors: &Tensors<'_>,
        inputs: &Inputs,
        base: &Tensor,
        pass: Pass<'_>,
    ) -> Forecast {
        self.forward(tensors, inputs, base, pass)
    }

    /// What the training makes small: the mean over members and windows.
    fn loss(&self, tensors: &Tensors<'_>, batch: &Batch, loss: &Loss, pass: Pass<'_>) -> Tensor {
        loss.of(
            &self.forward(tensors, &batch.inputs, &batch.base, pass),
            &batch.truth,
            batch.weights.as_ref(),
        )
    }

    /// Whether [`Architecture::loss`] is the only loss: a likelihood, which a forecast has none of.
    fn has_own_loss(&self) -> bool {
        false
    }
}

/// Some windows with all that a step of the training needs.
pub(crate) struct Batch {
    pub(crate) inputs: Inputs,
    /// As [`Architecture::base`] gives it.
    pub(crate) base: Tensor,
    /// `[issues, cells]`.
    pub(crate) truth: Tensor,
    /// How much each cell counts, `[issues, cells]` or `[issues, 1]`; all the same where there are none.
    pub(crate) weights: Option<Tensor>,
}

/// What a forward pass reads besides its windows.
pub(crate) struct Tensors<'a> {
    /// Of each member, as [`Architecture::member_specs`] lists them.
    members: Vec<Vec<Tensor>>,
    /// As [`Architecture::constant_shapes`] lists them.
    pub(crate) constants: &'a [Tensor],
}

/// The parameters of one member, taken one after the other.
pub(crate) struct Taken<'a>(std::slice::Iter<'a, Tensor>);

impl<'a> Tensors<'a> {
    /// Of each member those that [`Architecture::member_specs`] lists, and of
    /// [`Architecture::constant_shapes`].
    pub(crate) fn new(members: Vec<Vec<Tensor>>, constants: &'a [Tensor]) -> Self {
        Self { members, constants }
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = Taken<'_>> {
        self.members.iter().map(|member| Taken(member.iter()))
    }

    /// What each member makes of its parameters.
    pub(crate) fn each(&self, make: impl FnMut(Taken<'_>) -> Tensor) -> Vec<Tensor> {
        self.members().map(make).collect()
    }
}

impl<'a> Taken<'a> {
    pub(crate) fn next(&mut self) -> &'a Tensor {
        self.0.next().expect("as many tensors as there are specs")
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<&'a Tensor> {
        (0..count).map(|_| self.next()).collect()
    }
}
