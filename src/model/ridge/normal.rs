//! Normal equations of many least squares problems that share most of their unknowns.
//!
//! A problem is a *side*: what one lead of one target becomes. All of them share the features of a
//! window. The sides of one *group*, the targets at one lead, also share a few unknowns of their own:
//! what is known of that lead alone. So there is one large Cholesky factor, and a small one for each
//! group, of what its own features say beyond the shared ones (the Schur complement).
//!
//! This module must not know what a feature stands for.

/// How many windows are added to the sums at once: enough to use each sum that is loaded from
/// memory several times, few enough to stay in registers.
pub(super) const BLOCK: usize = 8;
/// A pivot that is smaller than this share of its diagonal is rounding error: the features are
/// linearly dependent.
const SINGULAR: f64 = 1e-12;

/// The numbers of a window: `[shared features and the constant | those of each group | sides]`. The
/// sides of one target, one of each group, stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Shared features and the constant, which is the last of them.
    pub(super) shared: usize,
    /// Features of a group.
    pub(super) own: usize,
    pub(super) groups: usize,
    /// Sides of a group.
    pub(super) sides: usize,
}

impl Shape {
    /// How many numbers a window has.
    pub(super) fn width(self) -> usize {
        self.first_side() + self.groups * self.sides
    }

    /// Where the features of a group begin.
    fn first_own(self, group: usize) -> usize {
        self.shared + group * self.own
    }

    /// Where the sides begin.
    pub(super) fn first_side(self) -> usize {
        self.shared + self.groups * self.own
    }

    /// Where a side of a group stands.
    fn side(self, group: usize, side: usize) -> usize {
        self.first_side() + side * self.groups + group
    }
}

/// Sums over windows.
pub(super) struct Normal {
    pub(super) shape: Shape,
    /// Of the shared features with all that follows, `[shared × width]`; what is below the diagonal is
    /// never written.
    sums: Vec<f64>,
    /// Of the features of each group with themselves and with its sides,
    /// `[groups × own × (own + sides)]`.
    of_groups: Vec<f64>,
    pub(super) windows: usize,
}

impl Normal {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            shape,
            sums: vec![0.0; shape.shared * shape.width()],
            of_groups: vec![0.0; shape.groups * shape.own * (shape.own + shape.sides)],
            windows: 0,
        }
    }

    /// The same windows with one side of one group.
    pub(super) fn of(&self, group: usize, side: usize) -> Self {
        let all = self.shape;
        let mut one = Self::new(Shape {
            groups: 1,
            sides: 1,
            ..all
        });
        let rows = one.sums.chunks_exact_mut(one.shape.width());
        for (one, row) in rows.zip(self.sums.chunks_exact(all.width())) {
            let (shared, rest) = one.split_at_mut(all.shared);
            shared.copy_from_slice(&row[..all.shared]);
            rest[..all.own].copy_from_slice(&row[all.first_own(group)..][..all.own]);
            rest[all.own] = row[all.side(group, side)];
        }
        let rows = one.of_groups.chunks_exact_mut(all.own + 1);
        for (one, row) in rows.zip(self.of_group(group)) {
            one[..all.own].copy_from_slice(&row[..all.own]);
            one[all.own] = row[all.own + side];
        }
        one.windows = self.windows;
        one
    }

    /// One row for each feature of a group.
    fn of_group(&self, group: usize) -> impl Iterator<Item = &[f64]> {
        let width = self.shape.own + self.shape.sides;
        let rows = self.of_groups.chunks_exact(width);
        rows.skip(group * self.shape.own).take(self.shape.own)
    }

    /// Adds `[BLOCK × width]` numbers, of which `filled` rows are windows and the rest is zero.
    pub(super) fn add(&mut self, block: &[f64], filled: usize) {
        self.windows += filled;
        self.add_shared(block);
        for window in block.chunks_exact(self.shape.width()).take(filled) {
            self.add_own(window);
        }
    }

    /// Adds the windows of another one of this shape.
    pub(super) fn add_all(&mut self, other: &Self) {
        self.windows += other.windows;
        let sums = self.sums.iter_mut().zip(&other.sums);
        let of_groups = self.of_groups.iter_mut().zip(&other.of_groups);
        for (sum, more) in sums.chain(of_groups) {
            *sum += more;
        }
    }

    /// The innermost loop runs over adjoining sums without a dependency between them, which is
    /// what a compiler can vectorise.
    fn add_shared(&mut self, block: &[f64]) {
        let width = self.shape.width();
        for (i, sums) in self.sums.chunks_exact_mut(width).enumerate() {
            let sums = &mut sums[i..];
            let rows: [&[f64]; BLOCK] = std::array::from_fn(|row| {
                let start = row * width + i;
                &block[start..start + sums.len()]
            });
            let factors = rows.map(|row| row[0]);
            for (j, sum) in sums.iter_mut().enumerate() {
                let mut total = *sum;
                for (row, factor) in rows.iter().zip(factors) {
                    total += factor * row[j];
                }
                *sum = total;
            }
        }
    }

    fn add_own(&mut self, window: &[f64]) {
        let shape = self.shape;
        if shape.own == 0 {
            return;
        }
        let groups = self
            .of_groups
            .chunks_exact_mut(shape.own * (shape.own + shape.sides));
        for (group, sums) in groups.enumerate() {
            let own = &window[shape.first_own(group)..][..shape.own];
            let rows = sums.chunks_exact_mut(shape.own + shape.sides);
            for (factor, sums) in own.iter().zip(rows) {
                let (with_own, with_sides) = sums.split_at_mut(shape.own);
                for (sum, value) in with_own.iter_mut().zip(own) {
                    *sum += factor * value;
                }
                for (side, sum) in with_sides.iter_mut().enumerate() {
                    *sum += factor * window[shape.side(group, side)];
                }
            }
        }
    }

    /// The solution `[(shared + own) × (sides × groups)]`, the unknowns of its group after the shared ones,
    /// under a penalty on all but the constant, given as a share of the number of windows; `None` where
    /// there is no single one.
    pub(super) fn solve(mut self, penalty: f64) -> Option<Vec<f64>> {
        let shape = self.shape;
        let width = shape.width();
        let penalty = penalty * self.windows as f64;
        for i in 0..shape.shared - 1 {
            self.sums[i * width + i] += penalty;
        }
        let least: Vec<f64> = (0..shape.shared)
            .map(|i| self.sums[i * width + i] * SINGULAR)
            .collect();
        factorise(&mut self.sums, width, &least)?;
        let own = (0..shape.groups)
            .map(|group| self.solve_group(group, penalty))
            .collect::<Option<Vec<_>>>()?;

        let sides = shape.groups * shape.sides;
        let mut solution = substitute_back(&self.sums, width, shape.first_side());
        for unknown in 0..shape.own {
            let of_side = |side: usize| {
                let (of_group, side) = (&own[side % shape.groups], side / shape.groups);
                of_group[unknown * shape.sides + side]
            };
            solution.extend((0..sides).map(of_side));
        }
        Some(solution)
    }

    /// Solves for the unknowns of a group, `[own × sides]`, after the shared ones have been factorised, and
    /// takes from its sides what they explain.
    fn solve_group(&mut self, group: usize, penalty: f64) -> Option<Vec<f64>> {
        let shape = self.shape;
        let (width, own_width) = (shape.width(), shape.own + shape.sides);
        let place = |at: usize| {
            if at < shape.own {
                shape.first_own(group) + at
            } else {
                shape.side(group, at - shape.own)
            }
        };
        let mut rest: Vec<f64> = self.of_group(group).flatten().copied().collect();
        let mut least = vec![0.0; shape.own];
        for (i, row) in rest.chunks_exact_mut(own_width).enumerate() {
            row[i] += penalty;
            least[i] = row[i] * SINGULAR;
            for shared in self.sums.chunks_exact(width) {
                let factor = shared[place(i)];
                for (at, value) in row.iter_mut().enumerate() {
                    *value -= factor * shared[place(at)];
                }
            }
        }
        factorise(&mut rest, own_width, &least)?;
        let own = substitute_back(&rest, own_width, shape.own);
        for shared in self.sums.chunks_exact_mut(width) {
            for (i, solution) in own.chunks_exact(shape.sides).enumerate() {
                let factor = shared[place(i)];
                for (side, value) in solution.iter().enumerate() {
                    shared[shape.side(group, side)] -= factor * value;
                }
            }
        }
        Some(own)
    }
}

/// Cholesky: turns rows `[A | B]` into `[U | U⁻ᵀB]` with `UᵀU = A`, row by row; none where a pivot is not
/// above the least that it may be.
fn factorise(rows: &mut [f64], width: usize, least: &[f64]) -> Option<()> {
    for (k, least) in least.iter().enumerate() {
        let (done, below) = rows.split_at_mut((k + 1) * width);
        let pivot_row = &mut done[k * width + k..];
        let pivot = pivot_row[0];
        if pivot.is_nan() || pivot <= *least {
            return None;
        }
        let root = pivot.sqrt();
        for value in pivot_row.iter_mut() {
            *value /= root;
        }
        for (row, i) in below.chunks_exact_mut(width).zip(1..) {
            let factor = pivot_row[i];
            for (value, pivot) in row[k + i..].iter_mut().zip(&pivot_row[i..]) {
                *value -= factor * pivot;
            }
        }
    }
    Some(())
}

/// Solves `U w = b` for every right-hand side, which stand in the rows from a column on, from the last
/// unknown to the first.
fn substitute_back(rows: &[f64], width: usize, first_side: usize) -> Vec<f64> {
    let unknowns = rows.len() / width;
    let sides = width - first_side;
    let mut solution = vec![0.0; unknowns * sides];
    for i in (0..unknowns).rev() {
        let row = &rows[i * width..(i + 1) * width];
        let (above, known) = solution.split_at_mut((i + 1) * sides);
        let unknown = &mut above[i * sides..];
        unknown.copy_from_slice(&row[first_side..]);
        for (factor, known) in row[i + 1..unknowns].iter().zip(known.chunks_exact(sides)) {
            for (value, known) in unknown.iter_mut().zip(known) {
                *value -= factor * known;
            }
        }
        for value in unknown {
            *value /= row[i];
        }
    }
    solution
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of windows, each with all its numbers.
    fn sums(shape: Shape, windows: &[Vec<f64>]) -> Normal {
        let mut normal = Normal::new(shape);
        for chunk in windows.chunks(BLOCK) {
            let mut block = chunk.concat();
            block.resize(BLOCK * shape.width(), 0.0);
            normal.add(&block, chunk.len());
        }
        normal
    }

    /// Solved by hand: y = 2x + 1 at x = −1, 0, 1, and with λn = 2 the slope is 4 / (2 + 2).
    #[test]
    fn a_line_by_hand() {
        let shape = Shape {
            shared: 2,
            own: 0,
            groups: 1,
            sides: 1,
        };
        let windows = [[-1.0, 1.0, -1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 3.0]].map(Vec::from);
        let normal = sums(shape, &windows);
        assert_eq!(normal.windows, 3);
        let solution = normal.solve(2.0 / 3.0).expect("a solution");
        assert!((solution[0] - 1.0).abs() < 1e-12, "{solution:?}");
        assert!(
            (solution[1] - 1.0).abs() < 1e-12,
            "the constant is not penalised"
        );
    }

    #[test]
    fn the_sums_of_parts_are_those_of_all() {
        let shape = Shape {
            shared: 2,
            own: 1,
            groups: 2,
            sides: 1,
        };
        let window = |x: i32| [x, 1, x % 5, x % 7, 3 * x, 2].map(f64::from).to_vec();
        let windows: Vec<Vec<f64>> = (0..20).map(window).collect();
        let whole = sums(shape, &windows);
        let mut parts = sums(shape, &windows[..7]);
        parts.add_all(&sums(shape, &windows[7..]));
        // Whole numbers, so that their order does not matter.
        assert_eq!(parts.windows, 20);
        assert_eq!((parts.sums, parts.of_groups), (whole.sums, whole.of_groups));
    }

    #[test]
    fn a_feature_of_a_group_that_the_shared_ones_tell_needs_a_penalty() {
        let shape = Shape {
            shared: 2,
            own: 1,
            groups: 1,
            sides: 1,
        };
        let window = |x: i32| vec![f64::from(x), 1.0, 3.0 * f64::from(x) + 1.0, 2.0];
        let windows: Vec<Vec<f64>> = (0..20).map(window).collect();
        assert!(sums(shape, &windows).solve(0.0).is_none());
        assert!(sums(shape, &windows).solve(1e-6).is_some());
    }

    proptest! {
        /// At the minimum the gradient is zero: XᵀX w + λn w = Xᵀy, and without λ for the constant. So it is
        /// of each side by itself, with what is its group's own.
        #[test]
        fn the_solution_solves_the_normal_equations(
            own in 0..3_usize,
            windows in prop::collection::vec(prop::collection::vec(-2.0..2.0_f64, 14), 1..30),
        ) {
            // A window has three shared features and a constant, two groups, and two sides of each.
            let (shape, penalty) = (Shape { shared: 4, own, groups: 2, sides: 2 }, 0.1);
            let windows: Vec<Vec<f64>> = windows
                .into_iter()
                .map(|mut window| {
                    window[3] = 1.0;
                    window.truncate(shape.width());
                    window
                })
                .collect();
            let solution = sums(shape, &windows).solve(penalty).expect("a solution");
            for group in 0..2 {
                for side in 0..2 {
                    let features = |window: &[f64]| {
                        let own = &window[4 + group * own..][..own];
                        [&window[..4], own].concat()
                    };
                    let truth = |window: &[f64]| window[4 + 2 * own + side * 2 + group];
                    let weight = |i: usize| solution[i * 4 + side * 2 + group];
                    for i in 0..4 + own {
                        let mut gradient = if i == 3 {
                            0.0
                        } else {
                            penalty * windows.len() as f64 * weight(i)
                        };
                        for window in &windows {
                            let x = features(window);
                            let fit: f64 = (0..x.len()).map(|j| x[j] * weight(j)).sum();
                            gradient += x[i] * (fit - truth(window));
                        }
                        prop_assert!(gradient.abs() < 1e-8, "{gradient}");
                    }
                    let alone = sums(shape, &windows).of(group, side).solve(penalty).expect("a solution");
                    for (i, value) in alone.iter().enumerate() {
                        prop_assert!((value - weight(i)).abs() < 1e-9);
                    }
                }
            }
        }
    }
}
