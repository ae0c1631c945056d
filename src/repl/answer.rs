//! What is said to an entry: its shape, its parameters, and its value on the present inputs.

use ndarray::{ArrayViewD, Axis, Ix3};
use netc::TensorView;
use netc::data::Tensor;
use netc::elaborate::Extent;
use netc::graph::OutputRole;
use netc::network::{LastValue, Network, Port};
use netc::syntax::ast::{DefinitionKind, ItemKind, Settings, SettingsKind, Stmt, StmtKind};
use netc::types::{Dim, Extents, Symbol, product, show_shape};

use super::source::Understood;
use super::{Repl, check, n_parameters, picture, show};
use crate::failure::{Exit, Failure};
use crate::number::{Sum, thousands};

/// A net with more work, parameters or bytes between its layers than this is not run unasked.
const MAX_WORK: usize = 300_000_000;
const MAX_PARAMETERS: usize = 10_000_000;
const MAX_BYTES: usize = 200_000_000;

/// How much of a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Brief,
    Full,
}

impl Repl<'_> {
    /// Answers an entry that was accepted; `before` parameters were there before it.
    pub(super) fn answer(&mut self, understood: &Understood, before: usize) -> Result<(), Failure> {
        let network = self.network.clone().expect("an entry was accepted");
        let stmt = match understood {
            Understood::Items(items) => {
                for item in items {
                    let text = match &item.kind {
                        ItemKind::Import(path) => format!("import \"{}\"", path.text),
                        ItemKind::Const { name, .. } => format!("const {}", name.text),
                        ItemKind::Definition(definition) => {
                            let names: Vec<&str> =
                                definition.params.iter().map(|param| param.name.text.as_str()).collect();
                            let names =
                                if names.is_empty() { String::new() } else { format!("({})", names.join(", ")) };
                            format!("{} {}{names}", definition.kind, definition.name.text)
                        }
                        ItemKind::Settings(settings) => told(settings, &network),
                    };
                    self.output.line(text)?;
                    if let ItemKind::Definition(definition) = &item.kind
                        && definition.kind == DefinitionKind::Net
                    {
                        self.whole_net()?;
                    }
                }
                return Ok(());
            }
            Understood::Statements(list) => list.last().expect("an empty entry is not kept"),
        };
        let new = match n_parameters(&network).saturating_sub(before) {
            0 => String::new(),
            1 => "  1 parameter".to_owned(),
            n => format!("  {} parameters", thousands(n)),
        };
        if let StmtKind::Input(port) | StmtKind::Target(port) = &stmt.kind
            && let Some(port) = network.ports.iter().find(|known| known.name == port.name.text)
        {
            return self.output.line(port_shape(port));
        }
        let shape = shape_of(stmt, &network);
        match (&shape, &network.last) {
            (Some(shape), _) | (None, Some(LastValue::Output(shape) | LastValue::Inner(shape))) => {
                self.output.line(format!("{}{new}", show_shape(shape)))?;
            }
            (None, Some(LastValue::Known(text))) => self.output.line(format!("{text}{new}"))?,
            (None, None) if !new.is_empty() => self.output.line(new.trim_start())?,
            (None, None) => {}
        }
        match (&stmt.kind, &network.last) {
            (StmtKind::Loss(_), _) => self.show_scores(network, OutputRole::Loss),
            (StmtKind::Metric(_), _) => self.show_scores(network, OutputRole::Metric),
            (_, Some(LastValue::Output(_))) => self.show_last(network, Detail::Brief),
            _ => Ok(()),
        }
    }

    /// What goes into the net and comes out of it, after a file or a definition brought it.
    pub(super) fn whole_net(&mut self) -> Result<(), Failure> {
        let network = self.checked(Extent::Part)?;
        for port in &network.ports {
            let what = if port.is_target { "target" } else { "input" };
            self.output.line(format!("{what} {} {}", port.name, port_shape(port)))?;
        }
        for output in network.inference.outputs.iter().filter(|output| output.role == OutputRole::Output) {
            let shape = show_shape(&network.inference.ty(output.value).shape[1..]);
            self.output.line(format!("output {} {shape}", output.name))?;
        }
        self.output.line(format!("{} parameters", thousands(n_parameters(&network))))
    }

    /// Shows an expression that is not kept, or the last value.
    pub(super) fn show(&mut self, expression: &str) -> Result<(), Failure> {
        self.checked(Extent::Part)?;
        if expression.is_empty() {
            let network = self.network.clone().expect("there is a net");
            return match network.last {
                Some(LastValue::Output(_)) => self.show_last(network, Detail::Full),
                _ => Err(Failure::new(Exit::Input, "the last line has no value; say which: `:show NAME`")),
            };
        }
        if let Some(parameter) = self.session()?.parameter(expression) {
            let parameter = parameter.to_owned();
            self.output.line(format!("{:?}", parameter.shape()))?;
            return self.show_value(&parameter.view(), Detail::Full);
        }
        let network = self.session()?.network();
        if let Some(at) = network.ports.iter().position(|port| port.name == expression) {
            let network = network.clone();
            let (_, tensor) = self.inputs.tensors(&network, 1, self.seed(&network))?.swap_remove(at);
            self.output.line(port_shape(&network.ports[at]))?;
            let values = match tensor {
                Tensor::F32(array) => array,
                Tensor::I32(array) => array.mapv(|token| token as f32),
            };
            return self.show_value(&values.index_axis(Axis(0), 0).into_dyn(), Detail::Full);
        }
        let (source, _) = self.source.with(expression).map_err(|(sources, refused)| {
            use netc::syntax::Refused::{Open, Unfinished, Wrong};
            let (Open(error) | Unfinished(error) | Wrong(error)) = refused;
            crate::network::diagnostics(&sources, &[error])
        })?;
        let network = check(&source, Extent::Last, &mut ())?;
        match &network.last {
            Some(LastValue::Output(shape)) => {
                self.output.line(show_shape(shape))?;
                self.show_last(network, Detail::Full)
            }
            Some(LastValue::Inner(shape)) => self.output.line(show_shape(shape)),
            Some(LastValue::Known(text)) => self.output.line(text),
            None => Err(Failure::new(Exit::Input, format!("`{expression}` is no expression"))),
        }
    }

    /// The value of the last statement, the network's last output.
    fn show_last(&mut self, network: Network, detail: Detail) -> Result<(), Failure> {
        if detail == Detail::Brief && (is_large(&network) || !network.ports.iter().any(|port| !port.is_target)) {
            return Ok(());
        }
        let inputs = self.inputs.tensors(&network, 1, self.seed(&network))?;
        let mut session = self.session_of(network)?;
        let outputs = session.forward(&inputs_only(session.network(), &inputs))?;
        let (_, value) = outputs.outputs().last().expect("the last statement gives an output");
        if value.shape().first() == Some(&0) {
            return Ok(());
        }
        self.show_value(&value.index_axis(Axis(0), 0).into_dyn(), detail)
    }

    fn show_value(&mut self, value: &ArrayViewD<'_, f32>, detail: Detail) -> Result<(), Failure> {
        let is_map = value.ndim() == 3 && value.shape()[1] >= 4 && value.shape()[2] >= 4;
        match detail {
            Detail::Brief => self.output.text(show::brief(value)),
            Detail::Full if is_map => {
                let map = value.view().into_dimensionality::<Ix3>().expect("three axes");
                self.output.text(picture::picture(map, self.is_colored))?;
                self.output.line(show::range(value))
            }
            Detail::Full => self.output.text(show::table(value)),
        }
    }

    /// The loss or the last metric on the present inputs and targets.
    fn show_scores(&mut self, network: Network, role: OutputRole) -> Result<(), Failure> {
        if is_large(&network) || !network.has_loss() {
            return Ok(());
        }
        let inputs = self.inputs.tensors(&network, 1, self.seed(&network))?;
        let mut session = self.session_of(network)?;
        let views: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
        let outputs = session.evaluate(&views)?;
        match (role, outputs.metrics().last()) {
            (OutputRole::Metric, Some((name, value))) => self.output.line(format!("{name} {value:.4}")),
            _ => self.output.line(format!("loss {:.4}", outputs.loss().unwrap_or(f32::NAN))),
        }
    }
}

/// The shape of a parameter or of an output.
fn shape_of(stmt: &Stmt, network: &Network) -> Option<Vec<Dim>> {
    match &stmt.kind {
        StmtKind::Param(decls) => {
            let name = &decls.last()?.name.text;
            let parameter = network.parameters.iter().find(|parameter| parameter.path == *name)?;
            Some(parameter.shape.iter().map(|n| Dim::fixed(*n)).collect())
        }
        StmtKind::Output(_) => {
            let outputs = &network.inference.outputs;
            let last = outputs.iter().rev().find(|output| output.role == OutputRole::Output)?;
            Some(network.inference.ty(last.value).shape[1..].to_vec())
        }
        StmtKind::Input(_)
        | StmtKind::Target(_)
        | StmtKind::State(_)
        | StmtKind::Layer { .. }
        | StmtKind::Bind { .. }
        | StmtKind::Flow(_)
        | StmtKind::Loss(_)
        | StmtKind::Metric(_)
        | StmtKind::For { .. }
        | StmtKind::If { .. } => None,
    }
}

/// `[3, 32, 32]`, `[T] token(65)`, `token(10)`
fn port_shape(port: &Port) -> String {
    let shape = show_shape(&port.ty.shape[1..]);
    match port.vocabulary {
        None => shape,
        Some(n) if port.ty.rank() == 1 => format!("token({n})"),
        Some(n) => format!("{shape} token({n})"),
    }
}

/// What an entry that infers takes.
pub(super) fn inputs_only<'t>(network: &Network, tensors: &'t [(String, Tensor)]) -> Vec<(&'t str, TensorView<'t>)> {
    let is_input = |name: &str| network.ports.iter().any(|port| port.name == name && !port.is_target);
    tensors.iter().filter(|(name, _)| is_input(name)).map(|(name, tensor)| (name.as_str(), tensor.view())).collect()
}

/// Whether running it would let somebody wait.
fn is_large(network: &Network) -> bool {
    let (mut work, mut bytes) = (Sum::default(), Sum::default());
    for layer in &network.layers {
        work.add(&layer.multiply_accumulates);
        bytes.add(&layer.activation_bytes);
    }
    network.ports.iter().for_each(|port| bytes.add(&product(&port.ty.shape[1..]).times(&Dim::fixed(4))));
    let mut extents = Extents::default();
    network.axes.iter().for_each(|axis| extents.set(Symbol::Axis(axis.as_str().into()), 8));
    let is_more = |sum: &Sum, most: usize| sum.value(&extents).is_some_and(|n| n > most);
    n_parameters(network) > MAX_PARAMETERS || is_more(&work, MAX_WORK) || is_more(&bytes, MAX_BYTES)
}

/// What settings come to.
fn told(settings: &Settings, network: &Network) -> String {
    let train = &network.settings;
    match settings.kind {
        SettingsKind::Train => format!(
            "train: {}, learning rate {}, batch {}, {} epochs, seed {}",
            train.optimizer.name(),
            train.optimizer.lr(),
            train.batch,
            train.epochs,
            train.seed
        ),
        SettingsKind::Generate => format!("generate {}", settings.target.text),
    }
}
