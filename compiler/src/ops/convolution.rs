//! Convolution in its three directions, each of which is the gradient of the others.

use super::window::{Window, WindowArgMax};
use super::{Primitive, require_f32};
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{self, Scope, Tensor};
use crate::kernel::{Combine, Direction, Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

/// One of the three maps that belong to the form
/// `sum of y[n, o, oh, ow] * weight[o, c, i, j] * x[n, g(o) + c, oh * stride + i * dilation - pad, …]`,
/// which is linear in each of `x` `[n, c, h, w]`, `weight` `[oc, c / groups, kh, kw]` and `y` `[n, oc, oh, ow]`:
/// forward is its derivative with respect to `y`, the data gradient to `x`, the weight gradient to `weight`.
/// Arguments stand in the order `x`, `y`, `weight`, less the one that is the result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Convolution {
    pub direction: Direction,
    /// Height and width of the weight.
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
    /// Height and width of `x`, which `y` does not tell where the stride is above 1.
    pub image: [Dim; 2],
    /// Anything but [`Kept::All`] forward only, and without a gradient: what is scheduled may be so, nothing before.
    pub keeps: Kept,
}

/// What a convolution keeps of its result: of each 2 by 2 neighbors, where a row or column that is left over has none, `y` may be
/// `[n, oc, oh / 2, ow / 2]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    All,
    Largest,
    /// The number of the first that is the largest, as [`WindowArgMax`](super::WindowArgMax) counts them.
    Position,
}

/// What a convolution that is pooled takes the largest of.
pub const POOL: Window = Window { kernel: [2, 2], stride: [2, 2], pad: [0, 0] };

/// The types of all three operands.
struct Operands {
    x: TensorType,
    y: TensorType,
    weight: TensorType,
}

impl Convolution {
    /// The same convolution in another direction.
    pub fn toward(&self, direction: Direction) -> Self {
        Convolution { direction, ..self.clone() }
    }

    /// Height and width of `y`, where windows are counted as for every sliding window:
    /// `floor((h + 2 pad - dilation (kernel - 1) - 1) / stride) + 1`.
    pub fn windows(&self) -> [Dim; 2] {
        [0, 1].map(|axis| {
            let reach = self.dilation[axis] as i64 * (self.kernel[axis] as i64 - 1) + 1;
            let stride = self.stride[axis] as i64;
            self.image[axis].window(2 * self.pad[axis] as i64 - reach + stride, stride)
        })
    }

    /// Refuses attributes that no arguments could fit.
    fn check(&self) -> Result<(), Message> {
        let Convolution { kernel, stride, pad, dilation, groups, image, .. } = self;
        ensure!(!kernel.contains(&0), InvalidSize, "a kernel of {}x{} is empty", kernel[0], kernel[1]);
        ensure!(!stride.contains(&0), InvalidSize, "a stride is at least 1");
        ensure!(!dilation.contains(&0), InvalidSize, "a dilation is at least 1");
        ensure!(*groups > 0, InvalidSize, "a convolution has at least one group");
        let small = [*kernel, *stride, *pad, *dilation].concat().into_iter().all(|n| n < 1 << 24);
        ensure!(small, TooLarge, "a kernel of {}x{} is too large", kernel[0], kernel[1]);
        for (axis, count) in self.windows().iter().enumerate() {
            let fits = count.as_fixed() != Some(0) || image[axis].as_fixed() == Some(0);
            let (k, len, pad) = (kernel[axis], &image[axis], pad[axis]);
            ensure!(
                fits,
                InvalidSize,
                "a kernel of {k}, dilated by {}, exceeds {len}, padded by {pad}",
                dilation[axis]
            );
        }
        Ok(())
    }

    /// The types of all operands from those of two, or why these do not fit.
    fn operands(&self, args: &[&TensorType]) -> Result<Operands, Message> {
        let [first, second] = args else { panic!("two arguments, not {args:?}") };
        let name = match self.direction {
            Direction::Forward => ["an image", "a weight"],
            Direction::DataGrad => ["a cotangent", "a weight"],
            Direction::WeightGrad => ["an image", "a cotangent"],
        };
        require_f32(args)?;
        self.check()?;
        for (name, ty) in name.iter().zip(args) {
            ensure!(ty.rank() == 4, ShapeMismatch, "{name} of a convolution has four axes, unlike {ty}");
        }
        let (groups, [h, w], [oh, ow]) = (self.groups, self.image.clone(), self.windows());
        let fixed = |ty: &TensorType, axis: usize| {
            let n = ty.shape[axis].as_fixed();
            ensure!(n.is_some(), ShapeMismatch, "the channels of {ty} are not constant");
            Ok(n.expect("just checked"))
        };
        // From either argument: the batch, the channels of x and of y.
        let (n, c, oc) = match self.direction {
            Direction::Forward => (&first.shape[0], fixed(first, 1)?, fixed(second, 0)?),
            Direction::DataGrad => (&first.shape[0], fixed(second, 1)?.saturating_mul(groups), fixed(first, 1)?),
            Direction::WeightGrad => (&first.shape[0], fixed(first, 1)?, fixed(second, 1)?),
        };
        ensure!(c.is_multiple_of(groups), ShapeMismatch, "{c} channels do not divide into {groups} groups");
        ensure!(oc.is_multiple_of(groups), ShapeMismatch, "{oc} output channels do not divide into {groups} groups");
        let [kh, kw] = self.kernel.map(Dim::fixed);
        let operands = Operands {
            x: TensorType::f32([n.clone(), Dim::fixed(c), h, w]),
            y: TensorType::f32([n.clone(), Dim::fixed(oc), oh, ow]),
            weight: TensorType::f32([Dim::fixed(oc), Dim::fixed(c / groups), kh, kw]),
        };
        for ((name, ty), expected) in name.iter().zip(args).zip(operands.arguments(self.direction)) {
            ensure!(**ty == expected, ShapeMismatch, "{name} of this convolution is {expected}, not {ty}");
        }
        Ok(operands)
    }

    /// Visits runs of products: each takes elements of `y` from `run.y` on, of `x` from `run.x` on in steps of
    /// the stride, and one of the weight.
    fn visit(&self, x: &[usize], y: &[usize], weight: &[usize], mut visit: impl FnMut(Run)) {
        let (c_group, oc_group) = (weight[1], weight[0] / self.groups);
        for n in 0..x[0] {
            for oc in 0..weight[0] {
                for c in 0..c_group {
                    let x_plane = (n * x[1] + oc / oc_group * c_group + c) * x[2];
                    let y_plane = (n * y[1] + oc) * y[2];
                    for i in 0..weight[2] {
                        for j in 0..weight[3] {
                            let weight = ((oc * c_group + c) * weight[2] + i) * weight[3] + j;
                            let rows = self.inside(0, i, x[2], y[2]);
                            let cols = self.inside(1, j, x[3], y[3]);
                            if cols.is_empty() {
                                continue;
                            }
                            let x_col = cols.start * self.stride[1] + j * self.dilation[1] - self.pad[1];
                            for oh in rows {
                                let x_row = x_plane + oh * self.stride[0] + i * self.dilation[0] - self.pad[0];
                                let y_start = (y_plane + oh) * y[3] + cols.start;
                                visit(Run { x: x_row * x[3] + x_col, y: y_start, weight, len: cols.len() });
                            }
                        }
                    }
                }
            }
        }
    }

    /// The windows in which element `i` of the kernel lies within the image.
    fn inside(&self, axis: usize, i: usize, len: usize, windows: usize) -> std::ops::Range<usize> {
        let (offset, pad, stride) = (i * self.dilation[axis], self.pad[axis], self.stride[axis]);
        let start = pad.saturating_sub(offset).div_ceil(stride);
        let end = (len + pad).saturating_sub(offset).div_ceil(stride).min(windows);
        start..end.max(start)
    }
}

/// See [`Convolution::visit`].
struct Run {
    x: usize,
    y: usize,
    weight: usize,
    len: usize,
}

impl Operands {
    fn arguments(&self, direction: Direction) -> [TensorType; 2] {
        match direction {
            Direction::Forward => [self.x.clone(), self.weight.clone()],
            Direction::DataGrad => [self.y.clone(), self.weight.clone()],
            Direction::WeightGrad => [self.x.clone(), self.y.clone()],
        }
    }
}

impl Primitive for Convolution {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let operands = self.operands(args)?;
        Ok(match self.direction {
            Direction::Forward if self.keeps != Kept::All => POOL.reduced(&operands.y)?,
            Direction::Forward => operands.y,
            Direction::DataGrad => operands.x,
            Direction::WeightGrad => operands.weight,
        })
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], scope: &Scope) -> Tensor {
        let [a, b] = args else { panic!("two arguments") };
        if self.keeps != Kept::All {
            let [oh, ow] = self.windows().map(|dim| dim.eval(&scope.extents));
            let plain = Convolution { keeps: Kept::All, ..self.clone() };
            let y = plain.eval(args, &[shape[0], shape[1], oh, ow], scope);
            let mut largest = Tensor::filled(shape, 0.0);
            // From the first on: four that are no numbers are none.
            POOL.visit(&y.shape, shape, |from, to, number| {
                let most = if number == 0 { y.data[from] } else { largest.data[to] };
                largest.data[to] = interp::combine(Combine::Max, most, y.data[from]);
            });
            if self.keeps == Kept::Position {
                return WindowArgMax { window: POOL }.eval(&[&y, &largest], shape, scope);
            }
            return largest;
        }
        let mut result = Tensor::filled(shape, 0.0);
        let sums = &mut result.data;
        let step = self.stride[1];
        match self.direction {
            Direction::Forward => self.visit(&a.shape, shape, &b.shape, |run| {
                let (weight, x) = (b.data[run.weight], a.data[run.x..].iter().step_by(step));
                for (y, x) in sums[run.y..][..run.len].iter_mut().zip(x) {
                    *y += weight * x;
                }
            }),
            Direction::DataGrad => self.visit(shape, &a.shape, &b.shape, |run| {
                let (weight, x) = (b.data[run.weight], sums[run.x..].iter_mut().step_by(step));
                for (x, y) in x.zip(&a.data[run.y..][..run.len]) {
                    *x += weight * y;
                }
            }),
            Direction::WeightGrad => self.visit(&a.shape, &b.shape, shape, |run| {
                let pairs = a.data[run.x..].iter().step_by(step).zip(&b.data[run.y..][..run.len]);
                sums[run.weight] += pairs.map(|(x, y)| x * y).sum::<f64>();
            }),
        }
        result.map(|sum| scope.round(sum))
    }

    fn vjp<'b>(&self, arg: usize, x: &[Var<'b>], _: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        if self.keeps != Kept::All {
            return None;
        }
        let emit = |direction, a, b| ct.builder.emit(self.toward(direction), &[a, b]);
        // The cotangent takes the place of the result in the form, and the argument becomes the result.
        Some(match (self.direction, arg) {
            (Direction::Forward, 0) => emit(Direction::DataGrad, ct, x[1]),
            (Direction::Forward, _) => emit(Direction::WeightGrad, x[0], ct),
            (Direction::DataGrad, 0) => emit(Direction::Forward, ct, x[1]),
            (Direction::DataGrad, _) => emit(Direction::WeightGrad, ct, x[0]),
            (Direction::WeightGrad, 0) => emit(Direction::DataGrad, x[1], ct),
            (Direction::WeightGrad, _) => emit(Direction::Forward, x[0], ct),
        })
    }

    fn element(&self, _: &mut Lowering<'_>, _: &[Value], _: &[Int]) -> Option<Expr> {
        None
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let fixed = [Dim::fixed(5), Dim::fixed(6)];
        let named = [Dim::fixed(1), Dim::axis("T")];
        let plain = Convolution {
            direction: Direction::Forward,
            kernel: [3, 3],
            stride: [1, 1],
            pad: [1, 1],
            dilation: [1, 1],
            groups: 1,
            image: fixed,
            keeps: Kept::All,
        };
        let cases = [
            (plain.clone(), 2, 3),
            (Convolution { kernel: [1, 1], pad: [0, 0], ..plain.clone() }, 3, 2),
            (Convolution { kernel: [3, 2], stride: [2, 3], pad: [1, 0], ..plain.clone() }, 2, 1),
            (Convolution { kernel: [2, 3], dilation: [3, 2], pad: [2, 4], groups: 2, ..plain.clone() }, 4, 2),
            (Convolution { stride: [2, 2], groups: 3, ..plain.clone() }, 3, 6),
            (Convolution { kernel: [1, 3], pad: [0, 1], image: named.clone(), ..plain.clone() }, 2, 2),
            (Convolution { kernel: [1, 2], pad: [0, 0], stride: [1, 2], image: named, ..plain }, 1, 2),
        ];
        let mut samples = Vec::new();
        for (op, c, oc) in cases {
            for direction in [Direction::Forward, Direction::DataGrad, Direction::WeightGrad] {
                let x = TensorType::f32([&[Dim::batch(), Dim::fixed(c)], op.image.as_slice()].concat());
                let weight = TensorType::f32([oc, c / op.groups, op.kernel[0], op.kernel[1]]);
                let operands = op.operands(&[&x, &weight]).expect("samples fit");
                samples.push((op.toward(direction), operands.arguments(direction).to_vec()));
            }
        }
        samples
    }
}
