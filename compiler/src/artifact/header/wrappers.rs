//! Inline functions that take each array by its name and type.

use std::fmt::Write;

use netc_runtime::artifact::description::{Description, Output, Port, Task};

use super::super::names::{Prefix, Scope};
use super::tables::{c_type, inputs, outputs, targets};
use super::{call, comment};

/// `NET_run`, `NET_train` and `NET_advance`, as far as the network has what they call.
pub(super) fn write(text: &mut String, description: &Description, prefix: &Prefix) {
    let does = |task: Task| description.entries.iter().any(|entry| entry.task == task);
    let mut run = Wrapper::new(description);
    run.size();
    run.inputs(|_| true);
    run.outputs();
    run.write(text, prefix, "run", "forward", "net, sizes, inputs, outputs");
    if does(Task::TrainStep) {
        let mut train = Wrapper::new(description);
        train.size();
        train.inputs(|_| true);
        train.targets();
        train.parameters.push("float *loss".to_owned());
        train.write(text, prefix, "train", "train_step", "net, sizes, inputs, targets, loss, NULL");
    }
    if does(Task::Step) {
        let mut advance = Wrapper::new(description);
        advance.inputs(|at| description.stepped.contains(&(at as u32)));
        advance.outputs();
        advance.write(text, prefix, "advance", "step", "net, inputs, NULL, outputs");
    }
}

struct Wrapper<'a> {
    description: &'a Description,
    scope: Scope,
    parameters: Vec<String>,
    /// Declarations, before all statements.
    locals: Vec<String>,
    statements: Vec<String>,
    /// Whether `sizes` are made of a batch.
    has_batch: bool,
}

impl<'a> Wrapper<'a> {
    fn new(description: &'a Description) -> Self {
        let scope = Scope::of(&["net", "sizes", "batch", "inputs", "targets", "outputs", "loss", "call"]);
        let parameters = vec!["NET *net".to_owned()];
        Wrapper { description, scope, parameters, locals: Vec::new(), statements: Vec::new(), has_batch: false }
    }
    /// The batch alone, where nothing else is to be said.
    fn size(&mut self) {
        if !self.description.axes.is_empty() {
            return self.parameters.push("const NET_sizes *sizes".to_owned());
        }
        self.has_batch = true;
        self.parameters.push("size_t batch".to_owned());
        self.locals.push("NET_sizes call".to_owned());
        self.statements.push("call.batch = batch".to_owned());
    }
    fn inputs(&mut self, takes: impl Fn(usize) -> bool) {
        let ports: Vec<&Port> = inputs(self.description).collect();
        self.locals.push(format!("const void *inputs[{}]", ports.len()));
        for (at, port) in ports.into_iter().enumerate() {
            let value = if takes(at) { self.read(port) } else { "NULL".to_owned() };
            self.statements.push(format!("inputs[{at}] = {value}"));
        }
    }
    fn targets(&mut self) {
        let ports: Vec<&Port> = targets(self.description).collect();
        // C has no arrays without elements.
        self.locals.push(format!("const void *targets[{}]", ports.len().max(1)));
        if ports.is_empty() {
            self.statements.push("targets[0] = NULL".to_owned());
        }
        for (at, port) in ports.into_iter().enumerate() {
            let value = self.read(port);
            self.statements.push(format!("targets[{at}] = {value}"));
        }
    }
    fn read(&mut self, port: &Port) -> String {
        let name = self.scope.name(&port.name);
        self.parameters.push(format!("const {} *{name}", c_type(&port.element)));
        name
    }
    fn outputs(&mut self) {
        let outputs: Vec<&Output> = outputs(self.description).collect();
        self.locals.push(format!("void *outputs[{}]", outputs.len().max(1)));
        for (at, output) in outputs.into_iter().enumerate() {
            let name = self.scope.name(&output.name);
            self.parameters.push(format!("{} *{name}", c_type(&output.element)));
            self.statements.push(format!("outputs[{at}] = {name}"));
        }
    }
    fn write(self, text: &mut String, prefix: &Prefix, name: &str, of: &str, arguments: &str) {
        comment(text, "", &prefix.fill(&format!("NET_{of} with the arrays by their names.")));
        let arguments = if self.has_batch { arguments.replace("sizes", "&call") } else { arguments.to_owned() };
        // Names of arrays are the network's: only ours are filled in.
        let ours = |line: &String| match line.split_once("NET") {
            Some((before, after)) => format!("{before}{}{after}", prefix.name()),
            None => line.clone(),
        };
        let is_ours = |line: &String| line.starts_with("NET") || line.starts_with("const NET_sizes");
        let filled = |line: &String| if is_ours(line) { ours(line) } else { line.clone() };
        let parameters: Vec<String> = self.parameters.iter().map(filled).collect();
        let declared = format!("static inline int {}_{name}", prefix.name());
        text.push_str(&call(&declared, &parameters.join(", "), " {\n"));
        for line in self.locals.iter().map(filled).chain(self.statements) {
            let _ = writeln!(text, "  {line};");
        }
        let _ = writeln!(text, "  return {}_{of}({arguments});\n}}\n", prefix.name());
    }
}
