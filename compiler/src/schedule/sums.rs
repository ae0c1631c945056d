//! Sums over the pixels of a map that a convolution has just computed are taken with it, block by block, while the map is in the
//! cache: what a batch normalization needs to know of its input, and on the way back of its gradient; the gradient of a bias.

use crate::kernel::{
    Address, Axis, BinaryFn, Buffer, ColumnSums, Combine, ConvCall, Direction, Expr, Home, IntExpr, Kernel,
    MOST_PRODUCTS, MoreSums, ProductSum, Program, Scalar, Step, View,
};
use crate::types::{Dim, product};

/// Gives each convolution the sums that can be taken with it.
pub(super) fn of_convolutions(program: &mut Program) {
    for at in (0..program.steps.len()).rev() {
        let Step::Conv(call) = &program.steps[at] else { continue };
        if call.direction == Direction::WeightGrad || call.pooled {
            continue;
        }
        let (sums, gone) = Finder { program, call, at }.sums();
        let Step::Conv(call) = &mut program.steps[at] else { unreachable!("it was one") };
        call.sums = sums;
        let mut index = 0;
        program.steps.retain(|_| {
            index += 1;
            !gone.contains(&(index - 1))
        });
    }
}

/// A loop that sums a map over its pixels.
struct Found {
    /// The loop; and the one before it, if members are summed apart first.
    steps: Vec<usize>,
    sum: Buffer,
    what: What,
}

enum What {
    /// The map itself.
    Plain,
    /// The squares of its differences from what a buffer has for each channel.
    Squares { about: Buffer },
    /// Its products with the differences between another map and what a buffer has for each channel.
    Products { other: View, about: Buffer },
}

struct Finder<'a> {
    program: &'a Program,
    call: &'a ConvCall,
    at: usize,
}

impl Finder<'_> {
    /// What can be summed with the convolution, and the steps that do so now.
    fn sums(&self) -> (Option<ColumnSums>, Vec<usize>) {
        let result = self.call.result().buffer;
        let behind = (self.at + 1..self.program.steps.len()).take_while(|&at| !self.step(at).writes(result));
        let found: Vec<Found> = behind.filter_map(|at| self.found(at)).collect();
        let Some(plain) = found.iter().find(|found| matches!(found.what, What::Plain)) else {
            return (None, Vec::new());
        };
        let mut gone = plain.steps.clone();
        let is_mean = |about: Buffer| self.is_mean_of(about, plain.sum);
        let squares = found.iter().find(|found| matches!(found.what, What::Squares { about } if is_mean(about)));
        let more = if let Some(squares) = squares {
            gone.extend(&squares.steps);
            MoreSums::Squares(squares.sum)
        } else {
            let mut products = Vec::new();
            for found in &found {
                if let What::Products { other, about } = &found.what
                    && products.len() < MOST_PRODUCTS
                {
                    products.push(ProductSum { other: other.clone(), about: *about, sum: found.sum });
                    gone.extend(&found.steps);
                }
            }
            MoreSums::Products(products)
        };
        (Some(ColumnSums { sum: plain.sum, more }), gone)
    }
    fn step(&self, at: usize) -> &Step {
        &self.program.steps[at]
    }

    /// Whether a step is such a loop, which may as well be carried out with the convolution.
    fn found(&self, at: usize) -> Option<Found> {
        let Step::Loop(kernel) = self.step(at) else { return None };
        let [store] = &kernel.stores[..] else { return None };
        let (value, reduced) = reduction(kernel, store.value);
        let &channel = kernel.domain.last()?;
        let (what, [member, of_channel, row, col]) = self.what(kernel, value, channel)?;
        let is_all = |axes: &[Option<Axis>]| {
            let axes = axes.iter().flatten();
            axes.clone().count() == reduced.len() && axes.clone().all(|axis| reduced.contains(axis))
        };
        let (steps, sum) = match kernel.domain[..] {
            _ if of_channel != Some(channel) => return None,
            [_] if is_of_channels(kernel, &store.at, channel) && is_all(&[member, row, col]) => {
                (vec![at], store.buffer)
            }
            // Each member has a sum of its own, and another loop adds these up.
            [first, _] if Some(first) == member && is_all(&[row, col]) => {
                let shape = [self.call.result_shape()[0].clone(), kernel.axes[channel].clone()];
                let lies_densely = lies_at(kernel, &store.at, &[(first, shape[1].clone()), (channel, Dim::ONE)]);
                let next = self.sum_of_members(store.buffer, at, &shape).filter(|_| lies_densely)?;
                (vec![at, next.0], next.1)
            }
            _ => return None,
        };
        let is_free = |index: usize| steps.contains(&index) || !self.step(index).touches(sum);
        let reads: Vec<Buffer> = match &what {
            What::Products { other, about } => vec![other.buffer, *about],
            What::Plain | What::Squares { .. } => Vec::new(),
        };
        let is_there = |buffer: &Buffer| !(self.at..at).any(|index| self.step(index).writes(*buffer));
        let moves = (self.at..*steps.last()?).all(is_free) && reads.iter().all(is_there);
        let has_channels = |buffer: Buffer| self.program.buffers[buffer].len == self.call.result_shape()[1];
        let about_channels = match what {
            What::Products { about, .. } => has_channels(about),
            What::Plain | What::Squares { .. } => true,
        };
        let is_whole = !matches!(self.program.buffers[sum].home, Home::Slice { .. }) && has_channels(sum);
        (moves && is_whole && about_channels).then_some(Found { steps, sum, what })
    }

    /// The loop that adds up over its rows the `[n, c]` that step `before` stores, and where it stores that, if nobody else touches
    /// them.
    fn sum_of_members(&self, of: Buffer, before: usize, shape: &[Dim; 2]) -> Option<(usize, Buffer)> {
        let mut users = (0..self.program.steps.len()).filter(|&at| at != before && self.step(at).touches(of));
        let (at, None) = (users.next()?, users.next()) else { return None };
        let Step::Loop(kernel) = self.step(at) else { return None };
        let ([store], [channel]) = (&kernel.stores[..], &kernel.domain[..]) else { return None };
        let (value, reduced) = reduction(kernel, store.value);
        let Scalar::Load { buffer, at: from } = &kernel.exprs[value] else { return None };
        let [member] = reduced[..] else { return None };
        let is_sum = *buffer == of
            && at > before
            && self.program.buffers[of].home == Home::Workspace
            && [&kernel.axes[member], &kernel.axes[*channel]] == [&shape[0], &shape[1]]
            && lies_at(kernel, from, &[(member, shape[1].clone()), (*channel, Dim::ONE)])
            && is_of_channels(kernel, &store.at, *channel);
        is_sum.then_some((at, store.buffer))
    }

    /// What is summed, and the loops along `[n, c, h, w]`.
    fn what(&self, kernel: &Kernel, value: Expr, channel: Axis) -> Option<(What, [Option<Axis>; 4])> {
        let result = self.call.result();
        match kernel.exprs[value] {
            Scalar::Load { .. } => Some((What::Plain, self.pixel(kernel, value, result)?)),
            Scalar::Binary(BinaryFn::Mul, a, b) if a == b => {
                let (from, about) = difference(kernel, a, channel)?;
                Some((What::Squares { about }, self.pixel(kernel, from, result)?))
            }
            Scalar::Binary(BinaryFn::Mul, a, b) => [(a, b), (b, a)].into_iter().find_map(|(of, with)| {
                let (from, about) = difference(kernel, with, channel)?;
                let Scalar::Load { buffer, at } = &kernel.exprs[from] else { return None };
                let other = View { buffer: *buffer, offset: at.offset.clone(), strides: result.strides.clone() };
                let pixel = self.pixel(kernel, of, result)?;
                let is_other = *buffer != result.buffer && self.pixel(kernel, from, &other) == Some(pixel);
                is_other.then_some((What::Products { other, about }, pixel))
            }),
            _ => None,
        }
    }

    /// The loops along `[n, c, h, w]`, if an expression loads the element of a view that they are at.
    fn pixel(&self, kernel: &Kernel, expr: Expr, view: &View) -> Option<[Option<Axis>; 4]> {
        let Scalar::Load { buffer, at } = &kernel.exprs[expr] else { return None };
        if *buffer != view.buffer || at.offset != view.offset {
            return None;
        }
        let mut terms = terms(kernel, at)?;
        let mut axes = [None; 4];
        for ((axis, size), stride) in axes.iter_mut().zip(self.call.result_shape()).zip(&view.strides) {
            if !size.is_one() {
                let is_it = |(its, by): &(Axis, Dim)| kernel.axes[*its] == size && by == stride;
                *axis = Some(terms.remove(terms.iter().position(is_it)?).0);
            }
        }
        terms.is_empty().then_some(axes)
    }

    /// Whether a buffer holds the mean of the result's channels, of which there are these sums.
    fn is_mean_of(&self, mean: Buffer, sum: Buffer) -> bool {
        let [n, _, h, w] = self.call.result_shape();
        let pixels = product(&[n, h, w]);
        let mut writers = self.program.steps.iter().filter(|step| step.writes(mean));
        let (Some(Step::Loop(kernel)), None) = (writers.next(), writers.next()) else { return false };
        let &[channel] = &kernel.domain[..] else { return false };
        let store = kernel.stores.iter().find(|store| store.buffer == mean);
        let Some(store) = store.filter(|store| is_of_channels(kernel, &store.at, channel)) else { return false };
        let Scalar::Binary(BinaryFn::Div, of, by) = kernel.exprs[store.value] else { return false };
        let is_sum = matches!(&kernel.exprs[of], Scalar::Load { buffer, at } if *buffer == sum && is_of_channels(kernel, at, channel));
        let is_count = match kernel.exprs[by] {
            Scalar::Const(count) => pixels.as_fixed().is_some_and(|pixels| pixels as f64 == count),
            Scalar::Convert(x) => match kernel.exprs[x] {
                Scalar::Position(int) => kernel.ints[int] == IntExpr::Size(pixels),
                _ => false,
            },
            _ => false,
        };
        is_sum && is_count
    }
}

/// What a sum over several axes is of, and the axes that have several steps.
fn reduction(kernel: &Kernel, mut value: Expr) -> (Expr, Vec<Axis>) {
    let mut axes = Vec::new();
    while let Scalar::Reduce { combine: Combine::Sum, axis, body } = kernel.exprs[value] {
        if !kernel.axes[axis].is_one() {
            axes.push(axis);
        }
        value = body;
    }
    (value, axes)
}

/// Of an expression `x - y[c]` the load `x`, and what buffer `y` is.
fn difference(kernel: &Kernel, expr: Expr, channel: Axis) -> Option<(Expr, Buffer)> {
    let Scalar::Binary(BinaryFn::Sub, from, about) = kernel.exprs[expr] else { return None };
    match &kernel.exprs[about] {
        Scalar::Load { buffer, at } if is_of_channels(kernel, at, channel) => Some((from, *buffer)),
        _ => None,
    }
}

/// Whether an address is that of a channel in a buffer with an element for each.
fn is_of_channels(kernel: &Kernel, at: &Address, channel: Axis) -> bool {
    lies_at(kernel, at, &[(channel, Dim::ONE)])
}

/// Whether an address begins at 0 and moves along these axes, and no others.
fn lies_at(kernel: &Kernel, at: &Address, expected: &[(Axis, Dim)]) -> bool {
    let Some(terms) = terms(kernel, at) else { return false };
    at.offset == Dim::fixed(0) && terms.len() == expected.len() && expected.iter().all(|term| terms.contains(term))
}

/// How an address moves along loops of several steps, unless it does so in another way.
fn terms(kernel: &Kernel, at: &Address) -> Option<Vec<(Axis, Dim)>> {
    let mut terms = kernel.moves(at)?;
    terms.retain(|(axis, _)| !kernel.axes[*axis].is_one());
    Some(terms)
}
