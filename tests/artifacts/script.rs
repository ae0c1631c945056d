//! One list of calls, carried out by a session and, as a script for `driver.c`, by a compiled library.

use ndarray::{ArrayD, IxDyn};
use netc::graph::OutputRole;
use netc::network::{Clip, GRADIENT_NORM, Network, Port};
use netc::types::{Dim, ElementType, Extents, Symbol};
use netc::{Outputs, Session, SessionOptions, TensorView, entries};

const SEED: u64 = 3;

/// What the driver is asked for; the numbers are its own.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Op {
    Forward = 1,
    Evaluate,
    Train,
    Begin,
    Step,
}

#[derive(Clone, Copy)]
enum Setting {
    End = 0,
    Carry = 6,
    Dump = 8,
    Rate,
    Reset,
}

/// The script so far, and what it is to print.
pub(crate) struct Script {
    network: Network,
    session: Session,
    pub(crate) input: Vec<u8>,
    pub(crate) expected: Vec<u8>,
    /// Calls so far, so that each has numbers of its own.
    calls: usize,
    trains: bool,
}

enum Values {
    F32(ArrayD<f32>),
    I32(ArrayD<i32>),
}

impl Values {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Values::F32(array) => array.iter().flat_map(|x| x.to_ne_bytes()).collect(),
            Values::I32(array) => array.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        }
    }
    fn view(&self) -> TensorView<'_> {
        match self {
            Values::F32(array) => array.view().into(),
            Values::I32(array) => array.view().into(),
        }
    }
}

impl Script {
    pub(crate) fn new(network: Network, most: [usize; 2], threads: usize, trains: bool) -> Self {
        let session = Session::new(network.clone(), &SessionOptions { threads: 1, seed: SEED });
        let mut script = Script { network, session, input: Vec::new(), expected: Vec::new(), calls: 0, trains };
        for n in [most[0], threads, SEED as usize, script.network.axes.len()] {
            script.number(n);
        }
        (0..script.network.axes.len()).for_each(|_| script.number(most[1]));
        script
    }

    fn number(&mut self, n: usize) {
        self.input.extend((n as u64).to_ne_bytes());
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.input.extend(bytes);
    }

    pub(crate) fn end(&mut self) {
        self.number(Setting::End as usize);
    }
    pub(crate) fn carry(&mut self, carry: bool) {
        self.session.set_carry(carry).unwrap();
        self.number(Setting::Carry as usize);
        self.number(usize::from(carry));
    }
    pub(crate) fn reset(&mut self) {
        self.session.reset_state();
        self.number(Setting::Reset as usize);
    }
    pub(crate) fn rate(&mut self, rate: f64) {
        self.session.set_learning_rate(rate);
        self.number(Setting::Rate as usize);
        self.input.extend(rate.to_ne_bytes());
    }
    /// All parameters and states.
    pub(crate) fn dump(&mut self) {
        self.number(Setting::Dump as usize);
        for (_, values) in self.session.parameters() {
            self.expected.extend(values.iter().flat_map(|x| x.to_ne_bytes()));
        }
    }

    /// A call with numbers of its own, for so many members and steps; lengths are those along the first axis.
    pub(crate) fn call(&mut self, op: Op, [batch, steps]: [usize; 2], has_lengths: bool) {
        self.calls += 1;
        let axis = entries::step_axis(&self.network).ok();
        let is_stepped = |port: &Port| axis.as_ref().is_some_and(|axis| port.ty.shape.contains(&Dim::axis(axis)));
        let ports = self.network.ports.clone();
        let lengths: Vec<i32> = (0..batch).map(|i| ((i * 3 + self.calls) % (steps + 1)) as i32).collect();
        self.number(op as usize);
        self.number(batch);
        let mut arrays: Vec<(String, Values)> = Vec::new();
        for (at, name) in self.network.axes.clone().into_iter().enumerate() {
            self.number(steps);
            let lengths = Values::I32(ArrayD::from_shape_vec(IxDyn(&[batch]), lengths.clone()).unwrap());
            if has_lengths && at == 0 {
                self.bytes(&lengths.bytes());
                arrays.push((name, lengths));
            } else {
                self.bytes(&[]);
            }
        }
        for port in ports {
            let reads = match op {
                Op::Forward => !port.is_target,
                Op::Evaluate | Op::Train => true,
                Op::Begin => !port.is_target && !is_stepped(&port),
                Op::Step => !port.is_target && is_stepped(&port),
            };
            if !reads {
                self.bytes(&[]);
                continue;
            }
            let mut shape = port.ty.shape.clone();
            if let (Op::Step, Some(axis)) = (op, &axis) {
                shape.retain(|dim| *dim != Dim::axis(axis));
            }
            let values = self.values(&port, &shape, batch, steps);
            self.bytes(&values.bytes());
            arrays.push((port.name, values));
        }
        let inputs: Vec<(&str, TensorView<'_>)> =
            arrays.iter().map(|(name, values)| (name.as_str(), values.view())).collect();
        let outputs = match op {
            Op::Forward => self.session.forward(&inputs),
            Op::Evaluate => self.session.evaluate(&inputs),
            Op::Train => self.session.train_step(&inputs),
            Op::Begin => self.session.begin(batch, &inputs),
            Op::Step => self.session.take_step(&inputs),
        };
        self.expect(&outputs.unwrap_or_else(|error| panic!("{}: {error}", self.network.name)));
    }

    /// Numbers from 0 to 1, or tokens.
    fn values(&self, port: &Port, shape: &[Dim], batch: usize, steps: usize) -> Values {
        let mut extents = Extents::with_batch(batch);
        for axis in &self.network.axes {
            extents.set(Symbol::Axis(axis.as_str().into()), steps);
        }
        let shape: Vec<usize> = shape.iter().map(|dim| dim.eval(&extents)).collect();
        let mut state = self.calls as u64 * 0x9e37_79b9 + port.name.len() as u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as u32
        };
        match port.ty.element {
            ElementType::F32 => {
                Values::F32(ArrayD::from_shape_simple_fn(IxDyn(&shape), || next() as f32 / 16_777_216.0))
            }
            ElementType::I32 => {
                let n = port.vocabulary.unwrap_or(2) as u32;
                Values::I32(ArrayD::from_shape_simple_fn(IxDyn(&shape), || (next() % n) as i32))
            }
        }
    }

    /// Outputs, the loss and all metrics, each in the order of the network; what a call does not tell is 0.
    fn expect(&mut self, outputs: &Outputs) {
        let of = |role| {
            let all = self.network.inference.outputs.iter();
            all.filter(move |output| output.role == role).map(|output| output.name.clone()).collect::<Vec<String>>()
        };
        let (names, mut metrics) = (of(OutputRole::Output), of(OutputRole::Metric));
        for name in names {
            let bytes: Vec<u8> =
                outputs.get(&name).map_or(Vec::new(), |array| array.iter().flat_map(|x| x.to_ne_bytes()).collect());
            self.number(bytes.len());
            self.expected.extend(bytes);
        }
        if self.trains && matches!(self.network.settings.clip, Some(Clip::Norm(_))) {
            metrics.push(GRADIENT_NORM.to_owned());
        }
        let metric = |name: &String| outputs.metrics().find(|(known, _)| known == name).map_or(0.0, |(_, value)| value);
        let numbers: Vec<f32> =
            std::iter::once(outputs.loss().unwrap_or(0.0)).chain(metrics.iter().map(metric)).collect();
        self.expected.extend(numbers.iter().flat_map(|x| x.to_ne_bytes()));
    }
}
