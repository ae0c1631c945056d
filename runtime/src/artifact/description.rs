//! What a compiled network says of itself: all that is needed to make an instance of it and to call its code.

use super::codec::{Coded, choice, record};

record! {
    /// A compiled network without its code.
    pub struct Description {
        /// [`VERSION`] of the compiler that wrote it.
        pub version: u32,
        pub name: String,
        /// All named sizes; a derived one comes after what it derives from.
        pub symbols: Vec<Symbol>,
        /// The names of the sequence axes, in the order of the file.
        pub axes: Vec<String>,
        /// Inputs first, then targets.
        pub ports: Vec<Port>,
        /// Outputs of [`Role::Output`], then the loss, then metrics: what the entries compute, each once.
        pub results: Vec<Output>,
        /// Parameters, then states, then the optimizer's moments.
        pub tensors: Vec<Tensor>,
        pub entries: Vec<Entry>,
        /// The optimizer's learning rate before the first step.
        pub learning_rate: f64,
        /// Of initial values and dropout, when the caller gives none.
        pub seed: u64,
        /// The inputs that have the axis of single steps, by index into `ports`.
        pub stepped: Vec<u32>,
    }
}

/// Of the layout of descriptions; another is refused.
pub const VERSION: u32 = 1;

record! {
    /// A size: a constant times named sizes.
    pub struct Size {
        pub factor: u64,
        /// By index into [`Description::symbols`].
        pub symbols: Vec<u32>,
    }
}

choice! {
    /// A size that is known at run time only.
    pub enum Symbol {
        /// How many members the batch has.
        0 = Batch,
        /// The length of a sequence axis: by index into [`Description::axes`].
        1 = Axis { index: u32 },
        /// `max(0, floor((of + add) / div))`.
        2 = Derived { of: Size, add: i64, div: i64 },
    }
}

choice! {
    /// What a tensor holds.
    pub enum Element {
        0 = F32,
        1 = I32,
    }
}

record! {
    /// An input or target.
    pub struct Port {
        pub name: String,
        pub is_target: bool,
        pub element: Element,
        /// With the batch first.
        pub shape: Vec<Size>,
        /// For tokens, how many there are.
        pub vocabulary: Option<u64>,
    }
}

choice! {
    /// What a result is to the caller.
    pub enum Role {
        0 = Output,
        1 = Loss,
        2 = Metric,
    }
}

record! {
    /// Something an entry computes for the caller.
    pub struct Output {
        pub name: String,
        pub role: Role,
        pub element: Element,
        /// With the batch first.
        pub shape: Vec<Size>,
    }
}

choice! {
    /// Why an instance keeps a tensor.
    pub enum Keeping {
        /// Trained.
        0 = Parameter,
        /// Replaced by a training step without a gradient: running statistics.
        1 = State,
        /// What the optimizer remembers; not part of the weights.
        2 = Moment,
    }
}

record! {
    /// A tensor that an instance keeps, of fixed shape.
    pub struct Tensor {
        pub path: String,
        pub keeping: Keeping,
        pub shape: Vec<u64>,
        pub initial: Initial,
    }
}

choice! {
    /// How a tensor gets its first values.
    pub enum Initial {
        0 = Constant { value: f64 },
        /// Row-major.
        1 = Values { values: Vec<f64> },
        2 = Uniform { low: f64, high: f64 },
        3 = Normal { mean: f64, deviation: f64 },
        /// Blocks of columns of a matrix, each begun as a tensor of its own.
        4 = Columns { blocks: Vec<Columns> },
        /// A matrix with orthonormal rows or columns, times `gain` (Saxe et al. 2013).
        5 = Orthogonal { gain: f64 },
    }
}

record! {
    /// Neighboring columns of a matrix.
    pub struct Columns {
        pub count: u64,
        pub initial: Initial,
    }
}

choice! {
    /// What a compiled network can be asked to do.
    pub enum Task {
        /// Inputs to outputs.
        0 = Forward,
        /// Inputs and targets to outputs, loss and metrics.
        1 = Evaluate,
        /// Inputs and targets to loss and metrics; parameters, states and moments are replaced.
        2 = TrainStep,
        /// Inputs without the stepped axis to the first recurrent states.
        3 = Begin,
        /// One step of the inputs to one step of the outputs; the recurrent states are replaced.
        4 = Step,
    }
}

record! {
    /// One task as a program: how its frame is filled.
    ///
    /// A frame is an array of 64-bit words: the address of the thread pool, the values of `symbols`, the addresses of
    /// `buffers`.
    pub struct Entry {
        pub task: Task,
        /// Whether it reads the lengths of the members of the batch.
        pub masked: bool,
        /// Whether recurrences begin with what the last call left.
        pub carried: bool,
        /// By index into [`Description::symbols`].
        pub symbols: Vec<u32>,
        pub buffers: Vec<Buffer>,
        pub slots: Vec<Slot>,
        /// Whether it has anything to prepare when parameters have changed.
        pub prepares: bool,
        /// The numbers of rows for few or many of which it prepares operands; see [`super::PreparedFor`].
        pub prepared_rows: Vec<Size>,
        /// Every library call that takes scratch memory, of `prepare` and `run`, those within scans included.
        pub calls: Vec<Call>,
    }
}

choice! {
    /// A library call, as far as its scratch memory depends on it; see [`crate::abi::MatMul`] and [`crate::abi::Conv`]. Parts of a
    /// convolution's result have so many rows of sums ([`crate::kernels::conv::rows_of_sums`]), or none.
    pub enum Call {
        0 = MatMul { batch: Size, m: Size, n: Size, k: Size, groups: u64, is_packed: bool },
        1 = Conv { direction: Direction, geometry: Geometry, algorithm: Algorithm, is_packed: bool, sums: u64 },
    }
}

choice! {
    /// How a convolution is computed; see [`crate::kernels::conv`].
    pub enum Algorithm {
        0 = Direct,
        1 = Winograd,
        2 = Winograd2x2,
    }
}

choice! {
    /// What a convolution computes.
    pub enum Direction {
        0 = Forward,
        1 = DataGrad,
        2 = WeightGrad,
    }
}

record! {
    /// The sizes of a convolution. `x` is `[n, c, h, w]`, `y` is `[n, oc, oh, ow]`; pairs are down and across.
    pub struct Geometry {
        pub n: Size,
        pub c: u64,
        pub h: Size,
        pub w: Size,
        pub oc: u64,
        pub oh: Size,
        pub ow: Size,
        pub kernel: Vec<u64>,
        pub stride: Vec<u64>,
        pub pad: Vec<u64>,
        pub dilation: Vec<u64>,
        pub groups: u64,
        /// From a channel of `x` to the next in memory is one element.
        pub adjacent: bool,
        /// Images of what is computed have many pixels; see [`crate::abi::Conv`].
        pub many: bool,
    }
}

record! {
    /// A run of elements of four bytes in memory.
    pub struct Buffer {
        pub len: Size,
        pub home: Home,
    }
}

choice! {
    /// Who owns a buffer's memory.
    pub enum Home {
        /// The slot that names it.
        0 = Slot,
        /// The workspace of a call, where it is in use from one step to another, both included.
        1 = Workspace { first: u32, last: u32 },
        /// Nobody: nothing touches it.
        2 = Unused,
        /// The instance; written when parameters have changed.
        3 = Prepared,
        /// The code itself moves it about in another buffer.
        4 = Slice,
    }
}

record! {
    /// A buffer that the caller or the instance brings.
    pub struct Slot {
        pub buffer: u32,
        pub source: Source,
        pub element: Element,
        /// Of a recurrent state or a result, with the batch first where it has one.
        pub shape: Vec<Size>,
    }
}

choice! {
    /// Where a slot's memory comes from.
    pub enum Source {
        /// An input or target of the call: by index into [`Description::ports`].
        0 = Port { index: u32 },
        /// The lengths of the batch's members along an axis, `[batch]` of i32: by index into [`Description::axes`].
        1 = Lengths { axis: u32 },
        /// A kept tensor: by index into [`Description::tensors`].
        2 = Tensor { index: u32 },
        /// A recurrent state, or what `Begin` leaves for `Step`: by name, kept from call to call.
        3 = Recurrent { name: String, first: f32 },
        /// Two words of i32: the key of this call's random numbers.
        4 = Key,
        /// One f32.
        5 = LearningRate,
        /// One f32: the number of the training step, from 1.
        6 = StepNumber,
        /// A result: by index into [`Description::results`].
        7 = Result { index: u32 },
    }
}

impl Description {
    /// As bytes, for an object file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.put(&mut bytes);
        bytes
    }
    /// What [`Description::to_bytes`] has written; `None` when it is damaged or of another version.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        if u32::take(&mut { bytes })? != VERSION {
            return None;
        }
        let description = Description::take(&mut bytes)?;
        bytes.is_empty().then_some(description)
    }
}

impl Size {
    /// The number, when each symbol has the value at its index.
    pub fn eval(&self, values: &[u64]) -> u64 {
        self.symbols.iter().fold(self.factor, |n, &symbol| n.saturating_mul(values[symbol as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_as_it_was_written() {
        let batch = Size { factor: 3, symbols: vec![0] };
        let description = Description {
            version: VERSION,
            name: "möbius".to_owned(),
            symbols: vec![Symbol::Batch, Symbol::Derived { of: batch.clone(), add: -2, div: 2 }],
            axes: vec!["T".to_owned()],
            ports: vec![Port {
                name: "x".to_owned(),
                is_target: false,
                element: Element::I32,
                shape: vec![batch.clone()],
                vocabulary: Some(7),
            }],
            results: Vec::new(),
            tensors: Vec::new(),
            entries: vec![Entry {
                task: Task::Step,
                masked: true,
                carried: false,
                symbols: vec![0],
                buffers: vec![Buffer { len: batch.clone(), home: Home::Workspace { first: 1, last: 4 } }],
                slots: Vec::new(),
                prepares: true,
                prepared_rows: vec![batch.clone()],
                calls: vec![Call::MatMul {
                    batch: batch.clone(),
                    m: batch.clone(),
                    n: batch.clone(),
                    k: batch.clone(),
                    groups: 1,
                    is_packed: false,
                }],
            }],
            learning_rate: 0.1,
            seed: 5,
            stepped: vec![0],
        };
        let bytes = description.to_bytes();
        assert_eq!(Description::from_bytes(&bytes), Some(description));
        assert_eq!(batch.eval(&[4]), 12);
        for end in 0..bytes.len() {
            assert_eq!(Description::from_bytes(&bytes[..end]), None, "cut at {end}");
        }
    }
}
