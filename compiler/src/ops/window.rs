//! Pooling: reductions over windows of the last two axes, and what their gradients need.

use super::{Primitive, require_f32};
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{self, Scope, Tensor};
use crate::kernel::{Combine, CompareFn, Condition, Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

/// Windows over the last two axes: window `[oh, ow]` holds the elements `oh * stride + i - pad` (and likewise
/// for columns) for `i` in `0..kernel`. What lies outside of the image is not there.
///
/// Invariant of every use, which the type rules check: each window holds at least one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: [usize; 2],
}

/// From an image `[n, c, h, w]`: `combine` over each window, `[n, c, oh, ow]`.
/// With a second argument `[n, c, oh, ow]`, only over the element with that number (see [`WindowArgMax`]).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowReduce {
    pub combine: Combine,
    pub window: Window,
}

/// From an image and the maximum of each window: the number `i * kernel[1] + j` of the first element that is the
/// maximum, as `f32`; the number of all elements where none is (a NaN).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowArgMax {
    pub window: Window,
}

/// The transpose of a sum over windows: `[n, c, oh, ow]` back to an image, each element of which is the sum over
/// the windows that hold it; with a second argument `[n, c, oh, ow]`, over those in which it has that number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowSpread {
    pub window: Window,
    /// Height and width of the image.
    pub image: [Dim; 2],
}

impl Window {
    /// How many windows fit along spatial axis `axis` of length `len`.
    pub fn count(&self, axis: usize, len: &Dim) -> Dim {
        let span = 2 * self.pad[axis] as i64 - self.kernel[axis] as i64;
        len.window(span + self.stride[axis] as i64, self.stride[axis] as i64)
    }

    /// Whether an element may be in more than one window.
    pub fn overlaps(&self) -> bool {
        self.kernel[0] > self.stride[0] || self.kernel[1] > self.stride[1]
    }

    /// The type of what is reduced from `image`, or why the windows do not fit.
    pub(super) fn reduced(&self, image: &TensorType) -> Result<TensorType, Message> {
        require_f32(&[image])?;
        let Window { kernel, stride, pad } = *self;
        ensure!(image.rank() == 4, ShapeMismatch, "windows slide over [n, c, h, w], not over {image}");
        ensure!(!kernel.contains(&0), InvalidSize, "a window of {}x{} is empty", kernel[0], kernel[1]);
        ensure!(!stride.contains(&0), InvalidSize, "a stride is at least 1");
        let small = [kernel, stride, pad].concat().into_iter().all(|n| n < 1 << 24);
        ensure!(small, TooLarge, "a window of {}x{} is too large", kernel[0], kernel[1]);
        let mut ty = image.clone();
        for axis in 0..2 {
            let (k, p, len) = (kernel[axis], pad[axis], &image.shape[2 + axis]);
            ensure!(p < k, InvalidSize, "a padding of {p} leaves windows of {k} without any element");
            let count = self.count(axis, len);
            let fits = count.as_fixed() != Some(0) || len.as_fixed() == Some(0);
            ensure!(fits, InvalidSize, "a window of {k} does not fit into {image}, padded by {p}");
            ty.shape[2 + axis] = count;
        }
        Ok(ty)
    }

    /// Visits each element of each window: its offset in the image, the window's, and its number within the window.
    pub(super) fn visit(&self, image: &[usize], windows: &[usize], mut visit: impl FnMut(usize, usize, usize)) {
        let Window { kernel, stride, pad } = *self;
        let (h, w) = (image[2], image[3]);
        let mut to = 0;
        for plane in 0..windows[0] * windows[1] {
            for oh in 0..windows[2] {
                for ow in 0..windows[3] {
                    for i in 0..kernel[0] {
                        for j in 0..kernel[1] {
                            let (y, x) = (oh * stride[0] + i, ow * stride[1] + j);
                            let (Some(y), Some(x)) = (y.checked_sub(pad[0]), x.checked_sub(pad[1])) else { continue };
                            if y < h && x < w {
                                visit((plane * h + y) * w + x, to, i * kernel[1] + j);
                            }
                        }
                    }
                    to += 1;
                }
            }
        }
    }

    /// The reduction over the window at `index` of what `body` makes of each element and its number.
    fn reduce(
        &self,
        cx: &mut Lowering<'_>,
        combine: Combine,
        image: Value,
        index: &[Int],
        body: impl FnOnce(&mut Lowering<'_>, Expr, Expr) -> Expr,
    ) -> Expr {
        let loops = self.kernel.map(|extent| cx.axis(Dim::fixed(extent)));
        let inner = loops.map(|axis| cx.int_axis(axis));
        let mut at = index.to_vec();
        let mut conditions = Vec::new();
        for axis in 0..2 {
            let start = cx.int_mul(index[2 + axis], self.stride[axis] as i64);
            let back = cx.int_const(-(self.pad[axis] as i64));
            let offset = cx.int_add(inner[axis], back);
            at[2 + axis] = cx.int_add(start, offset);
            if self.pad[axis] > 0 {
                conditions.push(Condition::InRange(at[2 + axis], cx.shape(image)[2 + axis].clone()));
            }
        }
        let x = cx.element(image, &at);
        let number = self.number(cx, inner);
        let x = body(cx, x, number);
        let x = cx.guard(conditions, x, combine.neutral());
        let row = cx.reduce(combine, loops[1], x);
        cx.reduce(combine, loops[0], row)
    }

    /// `i * kernel[1] + j`, as an `f32`.
    fn number(&self, cx: &mut Lowering<'_>, [i, j]: [Int; 2]) -> Expr {
        let row = cx.int_mul(i, self.kernel[1] as i64);
        let number = cx.int_add(row, j);
        let number = cx.position(number);
        cx.convert(number)
    }

    /// Windows that overlap, leave gaps and hang over the edge.
    fn samples() -> [Window; 4] {
        [
            Window { kernel: [2, 2], stride: [2, 2], pad: [0, 0] },
            Window { kernel: [3, 2], stride: [2, 1], pad: [1, 0] },
            Window { kernel: [1, 3], stride: [3, 2], pad: [0, 2] },
            Window { kernel: [3, 3], stride: [1, 1], pad: [1, 1] },
        ]
    }
}

/// Refuses a second argument that does not have one number for each window.
fn require_numbers(args: &[&TensorType], windows: &TensorType) -> Result<(), Message> {
    let odd = args.get(1).filter(|chosen| **chosen != windows);
    let shown = odd.map(|ty| ty.to_string()).unwrap_or_default();
    ensure!(odd.is_none(), ShapeMismatch, "{shown} does not choose one element for each window of {windows}");
    Ok(())
}

/// `x` where `number` is the chosen one, else 0.
fn only(cx: &mut Lowering<'_>, chosen: Expr, number: Expr, x: Expr) -> Expr {
    let here = cx.compare(CompareFn::Eq, chosen, number);
    let zero = cx.constant(0.0);
    cx.select(here, x, zero)
}

impl Primitive for WindowReduce {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let windows = self.window.reduced(args[0])?;
        require_numbers(args, &windows)?;
        let meaningful = match self.combine {
            Combine::Sum => true,
            Combine::Max => args.len() == 1,
            Combine::Min => false,
        };
        ensure!(meaningful, WrongKind, "windows are reduced by their sum or maximum");
        Ok(windows)
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], scope: &Scope) -> Tensor {
        let x = args[0];
        let mut y = Tensor::filled(shape, self.combine.neutral());
        self.window.visit(&x.shape, shape, |from, to, number| {
            if args.get(1).is_none_or(|chosen| chosen.data[to] == number as f64) {
                y.data[to] = interp::combine(self.combine, y.data[to], x.data[from]);
            }
        });
        y.map(|y| scope.round(y))
    }

    fn vjp<'b>(&self, arg: usize, x: &[Var<'b>], y: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        let window = self.window;
        let shape = x[0].shape();
        let spread = WindowSpread { window, image: [shape[2].clone(), shape[3].clone()] };
        match (self.combine, x) {
            _ if arg == 1 => None,
            (Combine::Max, _) => {
                let chosen = ct.builder.emit(WindowArgMax { window }, &[x[0], y]);
                Some(ct.builder.emit(spread, &[ct, chosen]))
            }
            (_, [_, chosen]) => Some(ct.builder.emit(spread, &[ct, *chosen])),
            (_, _) => Some(ct.builder.emit(spread, &[ct])),
        }
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let chosen = args.get(1).map(|&chosen| cx.element(chosen, index));
        Some(self.window.reduce(cx, self.combine, args[0], index, |cx, x, number| match chosen {
            Some(chosen) => only(cx, chosen, number, x),
            None => x,
        }))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let image = sample_image();
        let mut samples = Vec::new();
        for window in Window::samples() {
            let windows = window.reduced(&image).expect("samples fit");
            samples.push((WindowReduce { combine: Combine::Sum, window }, vec![image.clone()]));
            samples.push((WindowReduce { combine: Combine::Max, window }, vec![image.clone()]));
            samples.push((WindowReduce { combine: Combine::Sum, window }, vec![image.clone(), windows]));
        }
        samples
    }
}

impl WindowArgMax {
    /// The number that no element has.
    fn none(&self) -> f64 {
        (self.window.kernel[0] * self.window.kernel[1]) as f64
    }
}

impl Primitive for WindowArgMax {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let windows = self.window.reduced(args[0])?;
        require_numbers(args, &windows)?;
        Ok(windows)
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], _: &Scope) -> Tensor {
        let (x, highest) = (args[0], args[1]);
        let mut first = Tensor::filled(shape, self.none());
        self.window.visit(&x.shape, shape, |from, to, number| {
            if x.data[from] == highest.data[to] {
                first.data[to] = first.data[to].min(number as f64);
            }
        });
        first
    }

    fn vjp<'b>(&self, _: usize, _: &[Var<'b>], _: Var<'b>, _: Var<'b>) -> Option<Var<'b>> {
        None
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let highest = cx.element(args[1], index);
        Some(self.window.reduce(cx, Combine::Min, args[0], index, |cx, x, number| {
            let here = cx.compare(CompareFn::Eq, x, highest);
            let none = cx.constant(self.none());
            cx.select(here, number, none)
        }))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let image = sample_image();
        let sample = |window: Window| {
            let windows = window.reduced(&image).expect("samples fit");
            (WindowArgMax { window }, vec![image.clone(), windows])
        };
        Window::samples().map(sample).to_vec()
    }
}

impl Primitive for WindowSpread {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let windows = args[0];
        require_f32(args)?;
        require_numbers(args, windows)?;
        ensure!(windows.rank() == 4, ShapeMismatch, "windows are [n, c, h, w], not {windows}");
        let [h, w] = self.image.clone();
        let image = windows.with_shape(vec![windows.shape[0].clone(), windows.shape[1].clone(), h, w]);
        let expected = self.window.reduced(&image)?;
        ensure!(expected == *windows, ShapeMismatch, "the windows of {image} are {expected}, not {windows}");
        Ok(image)
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], scope: &Scope) -> Tensor {
        let ct = args[0];
        let mut dx = Tensor::filled(shape, 0.0);
        self.window.visit(shape, &ct.shape, |to, from, number| {
            if args.get(1).is_none_or(|chosen| chosen.data[from] == number as f64) {
                dx.data[to] += ct.data[from];
            }
        });
        dx.map(|dx| scope.round(dx))
    }

    fn vjp<'b>(&self, arg: usize, x: &[Var<'b>], _: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        // What is linear in its first argument has its transpose as gradient.
        let reduce = WindowReduce { combine: Combine::Sum, window: self.window };
        let args: Vec<Var<'b>> = std::iter::once(ct).chain(x.get(1).copied()).collect();
        (arg == 0).then(|| ct.builder.emit(reduce, &args))
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let Window { kernel, stride, pad } = self.window;
        let (mut at, mut inner) = (index.to_vec(), [index[2], index[3]]);
        let (mut loops, mut conditions) = (Vec::new(), Vec::new());
        for axis in 0..2 {
            // The last window that may hold element h is (h + pad) / stride, where it has number (h + pad) % stride;
            // in each window before, its number is greater by the stride.
            let (k, s) = (kernel[axis], stride[axis]);
            let ahead = cx.int_const(pad[axis] as i64);
            let start = cx.int_add(index[2 + axis], ahead);
            let (mut window, mut number) = (cx.int_div(start, s as i64), cx.int_rem(start, s as i64));
            let n_windows = k.div_ceil(s);
            if n_windows > 1 {
                let bound = cx.axis(Dim::fixed(n_windows));
                loops.push(bound);
                let before = cx.int_axis(bound);
                let back = cx.int_mul(before, -1);
                window = cx.int_add(window, back);
                let more = cx.int_mul(before, s as i64);
                number = cx.int_add(number, more);
            }
            if k % s != 0 {
                conditions.push(Condition::InRange(number, Dim::fixed(k)));
            }
            (at[2 + axis], inner[axis]) = (window, number);
            let (count, image) = (cx.shape(args[0])[2 + axis].clone(), &self.image[axis]);
            // Windows that tile the image hold all of it.
            let tiles = n_windows == 1 && pad[axis] == 0 && *image == count.times(&Dim::fixed(s));
            if !tiles {
                conditions.push(Condition::InRange(window, count));
            }
        }
        let ct = cx.element(args[0], &at);
        let ct = match args.get(1) {
            Some(&chosen) => {
                let chosen = cx.element(chosen, &at);
                let number = self.window.number(cx, inner);
                only(cx, chosen, number, ct)
            }
            None => ct,
        };
        let ct = cx.guard(conditions, ct, 0.0);
        Some(loops.into_iter().rev().fold(ct, |body, axis| cx.reduce(Combine::Sum, axis, body)))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let image = sample_image();
        let mut samples = Vec::new();
        for window in Window::samples() {
            let windows = window.reduced(&image).expect("samples fit");
            let spread = WindowSpread { window, image: [image.shape[2].clone(), image.shape[3].clone()] };
            samples.push((spread.clone(), vec![windows.clone()]));
            samples.push((spread, vec![windows.clone(), windows]));
        }
        samples
    }
}

fn sample_image() -> TensorType {
    TensorType::f32([Dim::batch(), Dim::fixed(2), Dim::fixed(5), Dim::axis("T")])
}
