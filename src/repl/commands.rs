//! What begins with `:`.

use std::ops::ControlFlow;

use netc::diag::suggest;
use netc::elaborate::Extent;
use netc::pipeline::{Entry, Stage};

use super::answer::inputs_only;
use super::inputs::Given;
use super::source::Source;
use super::{Repl, check, measure, show};
use crate::args::{CheckArgs, LayersArgs, NetArgs};
use crate::commands::{check as check_command, emit, layers};
use crate::failure::{Exit, Failure};
use crate::table::{Align, Table};

/// A command: how it is written, and what it does.
pub struct Command {
    pub name: &'static str,
    pub arguments: &'static str,
    pub summary: &'static str,
    /// What `:help NAME` says beside the summary.
    pub detail: &'static str,
    run: fn(&mut Repl<'_>, &[&str]) -> Result<ControlFlow<()>, Failure>,
}

macro_rules! commands {
    ($($name:literal $arguments:literal $summary:literal $detail:literal => $run:expr;)*) => {
        /// All of them, in the order of `:help`.
        pub const COMMANDS: &[Command] = &[$(Command {
            name: $name,
            arguments: $arguments,
            summary: $summary,
            detail: $detail,
            run: |repl, words| {
                let run: fn(&mut Repl<'_>, &[&str]) -> Result<(), Failure> = $run;
                run(repl, words).map(|()| if $name == "quit" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            },
        }),*];
    };
}

commands! {
    "load" "FILE [NET]" "go on with a file's net, or take weights from a .safetensors"
        "The net of the file takes the place of what was typed; what is typed then stands at its end. `:undo` brings back what was there." => |repl, words| repl.load(words);
    "save" "FILE" "write the net to a file, or the weights to a .safetensors"
        "The file is in canonical form, and is only written when `netc check` takes it." => |repl, words| repl.save(words);
    "source" "" "print the net as it stands" "" => |repl, _| repl.print_source();
    "undo" "" "take back the last entry" "Parameters that were trained stay, wherever path and shape stay the same." => |repl, _| repl.undo();
    "clear" "" "begin anew" "Forgets the net, what was trained and what was set." => |repl, _| repl.clear();
    "check" "" "the table of the layers and the memory" "As `netc check`." => |repl, _| check_net(repl);
    "parameters" "" "the parameters, with their shapes and values" "" => |repl, _| measure::parameters(repl);
    "show" "[NAME|EXPRESSION]" "the value of a name, a parameter or an expression, without keeping it"
        "Without a name the last value. Maps are drawn, other values are tables." => |repl, words| repl.show(&words.join(" "));
    "input" "NAME FILE|random|zeros|ones" "what flows into an input or a target"
        "Files are .npy, .npz and pictures. At first all inputs are random, the same for the same seed." => input;
    "length" "AXIS N" "how long random sequences are" "At first 8 steps." => length;
    "run" "[FILE|NAME=FILE …]" "compute the outputs" "Files are those of `:input`, for this run alone." => run_net;
    "grad" "" "the norms of the gradients, by parameter" "On a batch of random inputs and targets, or those that `:input` gives." => |repl, _| measure::gradients(repl);
    "train" "[DATA] [STEPS]" "train on data, or on one batch of the present inputs"
        "DATA is as for `netc train --data`: `idx:…`, `npz:…`, `text:…`. A batch is walked 100 times unless STEPS says otherwise. Ctrl-C stops it and keeps what was learned." => |repl, words| repl.train(words);
    "time" "" "how long the compiler's passes and the network take" "" => |repl, _| measure::time(repl);
    "emit" "STAGE [ENTRY]" "what a stage of the compiler makes of it"
        "Stages: ast, graph, backward, simplified, kernels, plan, clif, asm. Entries: forward, evaluate, gradients, flow, train_step." => emit_stage;
    "set" "NAME=VALUE" "override a parameter of the net, or a setting" "`hidden=256`, `train.optimizer.lr=1e-4`; as `--set` elsewhere." => set;
    "help" "[COMMAND|LAYER]" "this, more of a command, or a layer's page" "" => help;
    "quit" "" "leave; so does Ctrl-D" "" => |_, _| Ok(());
}

/// Runs a command, by its name or the beginning of it.
pub fn run(repl: &mut Repl<'_>, line: &str) -> Result<ControlFlow<()>, Failure> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some((name, rest)) = words.split_first() else {
        return Err(Failure::arguments("a command has a name; `:help` lists them"));
    };
    (find(name)?.run)(repl, rest)
}

fn find(name: &str) -> Result<&'static Command, Failure> {
    let begins: Vec<&Command> = COMMANDS.iter().filter(|command| command.name.starts_with(name)).collect();
    match (COMMANDS.iter().find(|command| command.name == name), begins.as_slice()) {
        (Some(command), _) => Ok(command),
        (None, [command]) => Ok(command),
        (None, []) => {
            let near = suggest(name, COMMANDS.iter().map(|command| command.name));
            let help = near.first().map_or("`:help` lists them".to_owned(), |near| format!("did you mean `:{near}`?"));
            Err(Failure::arguments(format!("there is no command `:{name}`; {help}")))
        }
        (None, several) => {
            let names: Vec<String> = several.iter().map(|command| format!("`:{}`", command.name)).collect();
            Err(Failure::arguments(format!("`:{name}` may be {}", names.join(" or "))))
        }
    }
}

/// Says how a command is written.
pub(super) fn usage(name: &str) -> Failure {
    let arguments = COMMANDS.iter().find(|command| command.name == name).map_or("", |command| command.arguments);
    Failure::arguments(format!("write `:{name} {arguments}`"))
}

impl Repl<'_> {
    fn undo(&mut self) -> Result<(), Failure> {
        let Some((source, entry)) = self.source.undone() else {
            return Err(Failure::new(Exit::Input, "there is nothing to undo"));
        };
        let network = if source.is_empty() { None } else { Some(check(&source, Extent::Last, &mut ())?) };
        self.change(source, network);
        self.output.line(format!("undone: {}", entry.trim_end()))
    }
    fn clear(&mut self) -> Result<(), Failure> {
        self.change(Source::default(), None);
        self.kept.clear();
        self.inputs = super::inputs::Inputs::default();
        Ok(())
    }
}

fn check_net(repl: &mut Repl<'_>) -> Result<(), Failure> {
    let network = repl.checked(Extent::Part)?;
    let net = NetArgs::default();
    let length = network.axes.iter().map(|axis| (axis.clone(), repl.inputs.length(axis))).collect();
    let args =
        CheckArgs { net, batch: None, length, explain: false, json: false, emit: None, entry: None, time: false };
    repl.output.text(check_command::table(&network, &args)?)
}

fn input(repl: &mut Repl<'_>, words: &[&str]) -> Result<(), Failure> {
    let [name, value] = words else { return Err(usage("input")) };
    let network = repl.checked(Extent::Part)?;
    let Some(port) = network.ports.iter().find(|port| port.name == *name) else {
        let names: Vec<String> = network.ports.iter().map(|port| format!("`{}`", port.name)).collect();
        return Err(Failure::arguments(format!(
            "the net has no input or target `{name}`; it has {}",
            names.join(", ")
        )));
    };
    let given = Given::read(value);
    if let Given::File(path) = &given {
        // What does not fit is told now, and changes nothing.
        netc::data::read_input(port, path, &netc::data::Preparation::default())?;
    }
    repl.inputs.give(name, given);
    repl.show(name)
}

fn length(repl: &mut Repl<'_>, words: &[&str]) -> Result<(), Failure> {
    let [axis, steps] = words else { return Err(usage("length")) };
    let network = repl.checked(Extent::Part)?;
    if !network.axes.iter().any(|known| known == axis) {
        return Err(Failure::arguments(format!("the net has no sequence axis `{axis}`")));
    }
    match steps.parse() {
        Ok(steps @ 1..=1_000_000) => repl.inputs.set_length(axis, steps),
        _ => return Err(Failure::arguments(format!("`{steps}` is no length"))),
    }
    Ok(())
}

fn run_net(repl: &mut Repl<'_>, words: &[&str]) -> Result<(), Failure> {
    let network = repl.checked(Extent::Whole)?;
    let mut inputs = repl.inputs.tensors(&network, 1, repl.seed(&network))?;
    let ports: Vec<_> = network.ports.iter().filter(|port| !port.is_target).collect();
    for word in words {
        let (name, path) = match (word.split_once('='), ports.as_slice()) {
            (Some((name, path)), _) if ports.iter().any(|port| port.name == name) => (name, path),
            (_, [only]) => (only.name.as_str(), *word),
            _ => return Err(Failure::arguments(format!("say which input `{word}` is for: `NAME={word}`"))),
        };
        let port = ports.iter().find(|port| port.name == name).expect("found above");
        let tensor = netc::data::read_input(port, path, &netc::data::Preparation::default())?;
        inputs.iter_mut().filter(|(known, _)| known == name).for_each(|(_, old)| *old = tensor.clone());
    }
    let session = repl.session()?;
    let outputs = session.forward(&inputs_only(session.network(), &inputs))?;
    for (name, values) in outputs.outputs() {
        let one = values.shape()[0] == 1;
        let values = if one { values.index_axis_move(ndarray::Axis(0), 0) } else { values };
        repl.output.line(format!("{name} {:?}", values.shape()))?;
        repl.output.text(if one { show::brief(&values) } else { show::table(&values) })?;
    }
    Ok(())
}

impl Repl<'_> {
    /// The net, which must be complete and have a loss.
    pub(super) fn needs_loss(&self) -> Result<netc::Network, Failure> {
        let network = self.checked(Extent::Whole)?;
        if network.has_loss() {
            return Ok(network);
        }
        let message = "the net has no loss: `target t[…]`, then `loss mse(VALUE, t)` gives it one";
        Err(Failure::new(Exit::Input, message))
    }
}

fn emit_stage(repl: &mut Repl<'_>, words: &[&str]) -> Result<(), Failure> {
    let (stage, entry) = match words {
        [stage] => (stage, None),
        [stage, entry] => (stage, Some(entry)),
        _ => return Err(usage("emit")),
    };
    let all = Stage::ALL.map(Stage::name);
    let Some(stage) = Stage::ALL.into_iter().find(|known| known.name() == *stage) else {
        return Err(Failure::arguments(format!("there is no stage `{stage}`; there are {}", all.join(", "))));
    };
    let entries = [Entry::Forward, Entry::Evaluate, Entry::Gradients, Entry::Flow, Entry::TrainStep];
    let entry = match entry {
        None => None,
        Some(name) => match entries.into_iter().find(|known| known.name() == *name) {
            None => {
                let names = entries.map(Entry::name).join(", ");
                return Err(Failure::arguments(format!("there is no entry `{name}`; there are {names}")));
            }
            found => found,
        },
    };
    repl.checked(Extent::Part)?;
    let text = emit::stage_of(|observer| check(&repl.source, Extent::Part, observer), stage, entry)?;
    repl.output.text(text)
}

fn set(repl: &mut Repl<'_>, words: &[&str]) -> Result<(), Failure> {
    let text = words.join(" ");
    let (name, value) = match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => (name.trim(), value.trim()),
        _ => return Err(usage("set")),
    };
    let source = repl.source.with_override(name, value);
    let network = check(&source, Extent::Last, &mut ())?;
    repl.change(source, Some(network));
    Ok(())
}

fn help(repl: &mut Repl<'_>, words: &[&str]) -> Result<(), Failure> {
    let Some(name) = words.first() else {
        let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
        for Command { name, arguments, summary, .. } in COMMANDS {
            table.row([format!(":{name} {arguments}").trim_end(), *summary]);
        }
        return repl.output.text(format!(
            "{table}\nAll else is a statement of a net, such as `input x[3, 32, 32]` and `conv3x3(16, relu)`, or a definition.\n\
             A command's name may be cut short. `:help conv` describes a layer, `netc layers` lists them.\n"
        ));
    };
    if let Some(name) = name.strip_prefix(':') {
        return help_on(repl, find(name)?);
    }
    match (COMMANDS.iter().find(|command| command.name == *name), netc::layers::find(name)) {
        (Some(command), None) => help_on(repl, command),
        _ => layers::run(&LayersArgs { name: Some((*name).to_owned()), json: false }, repl.output),
    }
}

fn help_on(repl: &mut Repl<'_>, command: &Command) -> Result<(), Failure> {
    let Command { name, arguments, summary, detail, .. } = command;
    repl.output.line(format!(":{name} {arguments}").trim_end())?;
    repl.output.line(format!("  {summary}"))?;
    if detail.is_empty() { Ok(()) } else { repl.output.line(format!("  {detail}")) }
}
