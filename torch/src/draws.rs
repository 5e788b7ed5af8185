//! The randomness of sample paths, and what paths say together.
//!
//! A forecast of a window is the same whichever windows are forecast beside it, so each window has
//! a stream of random numbers of its own: `ChaCha8` with the number of the member as key and the window's
//! identity as nonce. The stream gives each value one number, from which a small generator of the
//! value's own goes on. How many numbers a value consumes depends on its parameters where values
//! are drawn by rejection, and parameters may differ in their last bit between one batch and
//! another; so it must not move the draws of other values.

use std::array;
use std::convert::Infallible;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng, TryRng};
use tch::{Kind, Tensor};

/// The streams of some windows.
pub(crate) struct Draws {
    streams: Vec<ChaCha8Rng>,
}

impl Draws {
    /// Streams of windows by their identities, such as their issue times; equal identities have
    /// equal draws.
    pub(crate) fn new(seed: u64, windows: impl IntoIterator<Item = u64>) -> Self {
        let key = ChaCha8Rng::seed_from_u64(seed);
        let stream = |window| {
            let mut stream = key.clone();
            stream.set_stream(window);
            stream
        };
        Self {
            streams: windows.into_iter().map(stream).collect(),
        }
    }

    /// One draw for each element of the parameters, all `[windows, ...]` of one shape. Computed in
    /// double precision on the CPU; in the kind and on the device of the parameters.
    pub(crate) fn each<const N: usize>(
        &mut self,
        parameters: [&Tensor; N],
        draw: impl Fn([f64; N], &mut ValueRng) -> f64,
    ) -> Tensor {
        let first = parameters[0];
        let shape = first.size();
        assert_eq!(shape[0], self.streams.len() as i64, "windows");
        let columns = parameters.map(|parameter| {
            assert_eq!(parameter.size(), shape, "parameters of one shape");
            let flat = parameter.detach().to(tch::Device::Cpu).reshape([-1]);
            Vec::<f64>::try_from(flat.to_kind(Kind::Double)).expect("a flat tensor of doubles")
        });
        let values = first.numel() / self.streams.len().max(1);
        let mut drawn: Vec<f32> = Vec::with_capacity(first.numel());
        for stream in &mut self.streams {
            let first = drawn.len();
            drawn.extend((first..first + values).map(|index| {
                let mut rng = ValueRng(stream.next_u64());
                let parameters = array::from_fn(|parameter| columns[parameter][index]);
                draw(parameters, &mut rng) as f32
            }));
        }
        Tensor::from_slice(&drawn)
            .view(&shape[..])
            .to_kind(first.kind())
            .to(first.device())
    }
}

/// How far apart the states of `SplitMix64` (Steele, Lea and Flood 2014) are.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What `SplitMix64` makes of a state: those of neighbouring states have nothing to do with each other.
pub(crate) fn mixed(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The generator of one value: `SplitMix64`, which costs nothing to start and of which a value takes a
/// handful of numbers.
pub(crate) struct ValueRng(u64);

impl TryRng for ValueRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.next_u64() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(GOLDEN);
        Ok(mixed(self.0))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Quantiles `[windows, cells, levels]` of paths `[windows, paths, cells]`. A quantile lies between the
/// two paths nearest to its level, on a straight line (type 7 of Hyndman and Fan 1996); with levels in
/// order quantiles are in order.
pub(crate) fn quantiles_of_paths(paths: &Tensor, levels: &[f64]) -> Tensor {
    let (sorted, _) = paths.sort(1, false);
    let last = paths.size()[1] - 1;
    let positions: Vec<f64> = levels.iter().map(|level| level * last as f64).collect();
    let rank = |beyond: i64| {
        let ranks: Vec<i64> = positions
            .iter()
            .map(|&position| (position as i64 + beyond).min(last))
            .collect();
        sorted.index_select(1, &Tensor::from_slice(&ranks).to(paths.device()))
    };
    let shares: Vec<f64> = positions.iter().map(|position| position.fract()).collect();
    let share = Tensor::from_slice(&shares)
        .to_kind(paths.kind())
        .to(paths.device());
    let (below, above) = (rank(0), rank(1));
    // Rounding may carry the sum a bit beyond the path above, where the next level starts.
    let quantiles = (&below + (&above - &below) * share.unsqueeze(1)).minimum(&above);
    quantiles.permute([0, 2, 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Generator;
    use tch::Device;

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::<f32>::try_from(tensor.reshape([-1])).unwrap()
    }

    /// Draws of windows at two leads, of which each value takes as many numbers as it is told.
    fn draws(windows: &[u64], takes: &Tensor) -> (Tensor, Tensor) {
        let mut draws = Draws::new(5, windows.iter().copied());
        let mut lead = || {
            draws.each([takes], |[takes], rng| {
                let numbers = (0..takes as usize).map(|_| rng.next_u64());
                numbers.last().unwrap() as f64
            })
        };
        (lead(), lead())
    }

    #[test]
    fn a_window_is_drawn_alike_alone_and_beside_others() {
        let takes = Tensor::ones([3, 40], (Kind::Float, Device::Cpu));
        let (first, second) = draws(&[10, 11, 12], &takes);
        let (first_alone, second_alone) = draws(&[11], &takes.narrow(0, 0, 1));
        assert_eq!(values(&first.get(1)), values(&first_alone));
        assert_eq!(values(&second.get(1)), values(&second_alone));
        assert_ne!(values(&first_alone), values(&second_alone));
        assert_ne!(values(&first.get(0)), values(&first.get(1)));
        let (again, _) = draws(&[10, 11, 12], &takes);
        assert_eq!(values(&first), values(&again));
    }

    #[test]
    fn what_a_value_takes_moves_no_other() {
        let takes = Tensor::ones([1, 40], (Kind::Float, Device::Cpu));
        let (first, second) = draws(&[10], &takes);
        let _ = takes.narrow(1, 3, 1).fill_(9.0);
        let (moved, second_moved) = draws(&[10], &takes);
        let (first, moved) = (values(&first), values(&moved));
        let differ: Vec<usize> = (0..40).filter(|&i| first[i] != moved[i]).collect();
        assert_eq!(differ, [3]);
        assert_ne!(values(&second), values(&second_moved));
    }

    #[test]
    fn another_seed_draws_otherwise() {
        let zeros = Tensor::zeros([1, 4], (Kind::Float, Device::Cpu));
        let drawn = |seed| {
            let first = |_: [f64; 1], rng: &mut ValueRng| rng.next_u64() as f64;
            values(&Draws::new(seed, [0]).each([&zeros], first))
        };
        assert_ne!(drawn(1), drawn(2));
    }

    /// The first numbers of Vigna's splitmix64.c for the seed 1234567.
    #[test]
    fn numbers_of_splitmix() {
        let mut rng = ValueRng(1_234_567);
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
        assert_eq!(rng.next_u64(), 9_817_491_932_198_370_423);
    }

    /// `numpy.quantile([1, 2, 4, 8], levels)` is 1, 1.3, 3, 6.8, 8.
    #[test]
    fn quantiles_by_hand() {
        let paths = Tensor::from_slice(&[4.0_f32, -1.0, 1.0, -1.0, 8.0, -1.0, 2.0, -1.0]);
        let quantiles = quantiles_of_paths(&paths.view([1, 4, 2]), &[0.0, 0.1, 0.5, 0.9, 1.0]);
        assert_eq!(quantiles.size(), [1, 2, 5]);
        let expected = [1.0, 1.3, 3.0, 6.8, 8.0];
        for (quantile, expected) in values(&quantiles.get(0).get(0)).iter().zip(expected) {
            assert!((quantile - expected).abs() < 1e-6, "{quantile} {expected}");
        }
        assert_eq!(values(&quantiles.get(0).get(1)), [-1.0; 5]);
    }

    #[test]
    fn quantiles_are_in_order() {
        let generator = Generator::seeded(1);
        let ones = Tensor::ones([50, 7, 3], (Kind::Float, Device::Cpu));
        // Of very unequal size, so that sums are rounded.
        let paths = generator.normal(&ones) * generator.normal(&ones).exp2() * 1e4;
        let levels: Vec<f64> = (0..=1000).map(|level| f64::from(level) / 1000.0).collect();
        let quantiles = quantiles_of_paths(&paths, &levels);
        let step = quantiles.narrow(2, 1, 1000) - quantiles.narrow(2, 0, 1000);
        assert!(step.min().double_value(&[]) >= 0.0);
    }

    #[test]
    fn one_path_and_no_level() {
        let paths = Tensor::from_slice(&[3.0_f32, 5.0]).view([1, 1, 2]);
        let quantiles = quantiles_of_paths(&paths, &[0.1, 0.9]);
        assert_eq!(values(&quantiles), [3.0, 3.0, 5.0, 5.0]);
        assert_eq!(quantiles_of_paths(&paths, &[]).size(), [1, 2, 0]);
    }
}
