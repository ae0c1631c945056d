//! The typed interface of a network for Rust: a module's text, to be included.

use std::fmt::Write as _;

use netc_runtime::artifact::description::{Description, Element, Port, Role, Size};

use super::names::{Prefix, is_rust_keyword};

/// The module: one struct for the network, with a method for each of its tasks. It names `netc_runtime` alone.
pub(super) fn rust(description: &Description, prefix: &Prefix, trains: bool, steps: bool) -> String {
    let ty = camel(prefix.name());
    let symbol = symbol(prefix);
    let name = prefix.name();
    let ports =
        |target: bool| description.ports.iter().filter(move |port| port.is_target == target).collect::<Vec<_>>();
    let (inputs, targets) = (ports(false), ports(true));
    let mut text = format!("// The network `{name}`, made by netc from its file. Not to be edited.\n\n");
    let _ = writeln!(text, "/// An instance of the network `{name}`: its parameters, states and memory.");
    let _ = writeln!(
        text,
        "///\n/// It is a [`netc_runtime::artifact::Instance`] with methods that know its arrays: row-major, with the"
    );
    let _ = writeln!(text, "/// batch, `B`, as their first axis.");
    let _ =
        writeln!(text, "#[derive(Debug)]\npub struct {ty} {{\n    instance: netc_runtime::artifact::Instance,\n}}\n");
    let _ = writeln!(text, "#[allow(dead_code, unsafe_code, clippy::all, clippy::pedantic)]\nimpl {ty} {{");
    let _ = writeln!(
        text,
        "    /// The compiled network.
    ///
    /// # Errors
    /// When there is no code for this processor.
    pub fn network() -> Result<netc_runtime::artifact::Network, netc_runtime::artifact::Error> {{
        unsafe extern \"C\" {{
            static {symbol}: netc_runtime::artifact::raw::Artifact;
        }}
        // SAFETY: the object file that was compiled together with this text has it.
        unsafe {{ netc_runtime::artifact::Network::new(&raw const {symbol}) }}
    }}
    /// An instance with the weights that were compiled in, or else initial values; `options` change what
    /// [`netc_runtime::artifact::Network::options`] says.
    ///
    /// # Errors
    /// When there is no code for this processor, or memory does not suffice.
    pub fn new(
        options: impl FnOnce(&mut netc_runtime::artifact::Options),
    ) -> Result<Self, netc_runtime::artifact::Error> {{
        let network = Self::network()?;
        let mut chosen = network.options();
        options(&mut chosen);
        Ok(Self {{ instance: netc_runtime::artifact::Instance::new(&network, &chosen)? }})
    }}"
    );
    let outputs: Vec<(&str, &[Size])> = description
        .results
        .iter()
        .filter(|result| result.role == Role::Output)
        .map(|result| (result.name.as_str(), result.shape.as_slice()))
        .collect();
    let writer = Writer { description };
    writer.method(&mut text, "forward", "Inputs to outputs.", &[&inputs], &outputs, None);
    if trains {
        let metrics = description.results.iter().filter(|result| result.role == Role::Metric);
        let metrics: Vec<&str> = metrics.map(|result| result.name.as_str()).collect();
        let title = "Inputs and targets to outputs, the loss and metrics, as the network infers.";
        writer.method(&mut text, "evaluate", title, &[&inputs, &targets], &outputs, Some(&metrics));
        let title = "One step of the optimizer on one batch; the loss and metrics are those before it.";
        writer.method(&mut text, "train_step", title, &[&inputs, &targets], &[], Some(&metrics));
    }
    if steps {
        writer.step(&mut text, &inputs, &outputs);
    }
    text += "}\n\n";
    for (of, body) in
        [("Deref", "deref(&self) -> &Self::Target"), ("DerefMut", "deref_mut(&mut self) -> &mut Self::Target")]
    {
        let _ = writeln!(text, "impl std::ops::{of} for {ty} {{");
        if of == "Deref" {
            text += "    type Target = netc_runtime::artifact::Instance;\n";
        }
        let reference = if of == "Deref" { "&" } else { "&mut " };
        let _ = writeln!(text, "    fn {body} {{\n        {reference}self.instance\n    }}\n}}");
    }
    text
}

/// The name under which the object file exports what it holds.
pub(super) fn symbol(prefix: &Prefix) -> String {
    format!("netc_artifact_of_{}", prefix.name())
}

struct Writer<'a> {
    description: &'a Description,
}

impl Writer<'_> {
    /// `ports` are the inputs, and the targets where the task has them.
    fn method(
        &self,
        text: &mut String,
        name: &str,
        title: &str,
        ports: &[&[&Port]],
        outputs: &[(&str, &[Size])],
        metrics: Option<&[&str]>,
    ) {
        let mut arguments = Arguments::default();
        let _ = writeln!(text, "    /// {title}\n    ///\n    /// | array | shape |\n    /// |---|---|");
        let mut parameters = vec!["batch: usize".to_owned()];
        let axes: Vec<String> = self.description.axes.iter().map(|axis| arguments.name(axis)).collect();
        parameters.extend(axes.iter().map(|axis| format!("{axis}: netc_runtime::artifact::Steps<'_>")));
        let mut lists = Vec::new();
        for ports in ports {
            let mut names = Vec::new();
            for port in *ports {
                let (argument, element) = (arguments.name(&port.name), rust_type(&port.element));
                self.row(text, &port.name, &port.shape, port.vocabulary);
                parameters.push(format!("{argument}: &[{element}]"));
                names.push(format!("{argument}.into()"));
            }
            lists.push(format!("&[{}]", names.join(", ")));
        }
        let mut written = Vec::new();
        for (output, shape) in outputs {
            let argument = arguments.name(output);
            self.row(text, output, shape, None);
            parameters.push(format!("{argument}: &mut [f32]"));
            written.push(argument);
        }
        if !outputs.is_empty() || metrics.is_none() {
            lists.push(format!("&mut [{}]", written.join(", ")));
        }
        let result = match metrics {
            None => "()".to_owned(),
            Some(metrics) => {
                let _ =
                    writeln!(text, "    ///\n    /// The result is the loss, then the metrics: {}.", listed(metrics));
                format!("(f32, [f32; {}])", metrics.len())
            }
        };
        let _ = writeln!(
            text,
            "    ///\n    /// # Errors\n    /// When an array does not fit, or a size is larger than `options` said."
        );
        let _ = writeln!(
            text,
            "    pub fn {name}(&mut self, {}) -> Result<{result}, netc_runtime::artifact::Error> {{",
            parameters.join(", ")
        );
        let sizes = format!("netc_runtime::artifact::Sizes {{ batch, axes: &[{}] }}", axes.join(", "));
        match metrics {
            None => {
                let _ = writeln!(text, "        self.instance.{name}(&{sizes}, {})", lists.join(", "));
            }
            Some(metrics) => {
                let _ = writeln!(
                    text,
                    "        let mut metrics = [0.0; {}];
        let mut figures = netc_runtime::artifact::Figures {{ loss: 0.0, metrics: &mut metrics }};
        self.instance.{name}(&{sizes}, {}, &mut figures)?;
        Ok((figures.loss, metrics))",
                    metrics.len(),
                    lists.join(", ")
                );
            }
        }
        text.push_str("    }\n");
    }

    /// `begin` takes all inputs, as the instance does; a step takes those that have the axis.
    fn step(&self, text: &mut String, inputs: &[&Port], outputs: &[(&str, &[Size])]) {
        let is_stepped = |port: &Port| {
            let at = self.description.ports.iter().position(|known| known.name == port.name);
            at.is_some_and(|at| self.description.stepped.contains(&(at as u32)))
        };
        let mut arguments = Arguments::default();
        let (mut parameters, mut given) = (Vec::new(), Vec::new());
        let _ = writeln!(
            text,
            "    /// One step of a sequence, after [`netc_runtime::artifact::Instance::begin`].\n    ///\n    /// | array | shape of all steps |\n    /// |---|---|"
        );
        for port in inputs {
            if !is_stepped(port) {
                given.push("netc_runtime::artifact::Array::F32(&[])".to_owned());
                continue;
            }
            let (argument, element) = (arguments.name(&port.name), rust_type(&port.element));
            self.row(text, &port.name, &port.shape, port.vocabulary);
            parameters.push(format!("{argument}: &[{element}]"));
            given.push(format!("{argument}.into()"));
        }
        let mut written = Vec::new();
        for (output, shape) in outputs {
            let argument = arguments.name(output);
            self.row(text, output, shape, None);
            parameters.push(format!("{argument}: &mut [f32]"));
            written.push(argument);
        }
        let _ = writeln!(text, "    ///\n    /// # Errors\n    /// Before `begin`, or when an array does not fit.");
        let _ = writeln!(
            text,
            "    pub fn take_step(&mut self, {}) -> Result<(), netc_runtime::artifact::Error> {{
        self.instance.step(&[{}], &mut [{}])
    }}",
            parameters.join(", "),
            given.join(", "),
            written.join(", ")
        );
    }

    fn row(&self, text: &mut String, name: &str, shape: &[Size], vocabulary: Option<u64>) {
        let shape = self.description.show_shape(shape);
        let tokens = vocabulary.map_or(String::new(), |n| format!(", from 0 to {}", n.saturating_sub(1)));
        let _ = writeln!(text, "    /// | `{name}` | `{shape}`{tokens} |");
    }
}

fn rust_type(element: &Element) -> &'static str {
    match element {
        Element::F32 => "f32",
        Element::I32 => "i32",
    }
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "there are none".to_owned(),
        names => format!("`{}`", names.join("`, `")),
    }
}

/// Names of a method's arguments, which differ.
#[derive(Debug)]
struct Arguments {
    used: Vec<String>,
}

impl Default for Arguments {
    fn default() -> Self {
        Arguments { used: ["batch", "metrics", "figures"].map(str::to_owned).to_vec() }
    }
}

impl Arguments {
    fn name(&mut self, wanted: &str) -> String {
        let mut name: String =
            wanted.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            name.insert(0, 'x');
        }
        while self.used.contains(&name) || is_rust_keyword(&name) {
            name.push('_');
        }
        self.used.push(name.clone());
        name
    }
}

/// `Vgg16` of `vgg16`, `Seq2seqAttention` of `seq2seq_attention`.
fn camel(name: &str) -> String {
    let words = name.split('_').filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}
