//! The C header of a compiled network: what its functions are, and what its arrays look like.

mod tables;
mod wrappers;

use std::fmt::Write;

use netc_runtime::artifact::c::layout::{
    AXIS_OPTION, BATCH, Constant, ELEMENTS, Field, KINDS, OPTIONS, STATUSES, STEPS, TASKS,
};
use netc_runtime::artifact::c::{FUNCTIONS, Function};
use netc_runtime::artifact::description::{Description, Task};

use super::names::{Prefix, Scope};

/// How wide a line may be.
const WIDTH: usize = 100;

/// The functions that this network has a use for.
pub(super) fn functions(description: &Description) -> impl Iterator<Item = &'static Function> {
    let does = |task: Task| description.entries.iter().any(|entry| entry.task == task);
    let (trains, steps) = (does(Task::TrainStep), does(Task::Step));
    let carries = description.entries.iter().any(|entry| entry.carried);
    FUNCTIONS.iter().filter(move |function| match function.suffix() {
        "evaluate" | "train_step" | "learning_rate" | "set_learning_rate" | "steps_done" | "forget_training" => trains,
        "begin" | "step" => steps,
        "set_carry" => carries,
        "reset" | "state" | "set_state" => steps || carries,
        _ => true,
    })
}

/// The header's text.
pub(super) fn header(description: &Description, prefix: &Prefix) -> String {
    let mut text = String::new();
    let (name, upper) = (prefix.name(), prefix.upper());
    let (of, version) = (&description.name, env!("CARGO_PKG_VERSION"));
    let _ = writeln!(text, "/* `{of}`, compiled by netc {version}. Link with -lm -lpthread.\n *");
    tables::write(&mut text, description, prefix);
    text += " */\n";
    text += &format!("#ifndef {upper}_H\n#define {upper}_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n");
    text += "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";
    let functions: Vec<&Function> = functions(description).collect();
    let has = |suffix: &str| functions.iter().any(|function| function.suffix() == suffix);
    constants(&mut text, prefix, "What functions return.", STATUSES);
    let tasks = TASKS.iter().filter(|task| match task.name {
        "TASK_EVALUATE" | "TASK_TRAIN_STEP" => has("train_step"),
        "TASK_STEP" => has("step"),
        _ => true,
    });
    constants(&mut text, prefix, "Bits of `tasks`.", &tasks.copied().collect::<Vec<_>>());
    constants(&mut text, prefix, "What can be counted and named.", KINDS);
    constants(&mut text, prefix, "What an array holds.", ELEMENTS);
    tables::constants(&mut text, description, prefix);
    comment(
        &mut text,
        "",
        &prefix.fill("An instance of the network. NET_create makes it; its fields are nobody's business."),
    );
    let _ = writeln!(text, "typedef struct {name} {name};\n");
    structs(&mut text, description, prefix);
    for function in &functions {
        let documentation = function.documentation.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        comment(&mut text, "", &prefix.fill(&documentation));
        let star = if function.returns.ends_with('*') { "" } else { " " };
        let declared = format!("{}{star}{name}_{}", prefix.fill(function.returns), function.suffix());
        text += &call(&declared, &prefix.fill(function.parameters), ";\n\n");
    }
    wrappers::write(&mut text, description, prefix);
    text += "#ifdef __cplusplus\n}\n#endif\n\n";
    let _ = writeln!(text, "#endif /* {upper}_H */");
    text.replace('…', "...")
}

/// `options`, `sizes` and what they consist of.
fn structs(text: &mut String, description: &Description, prefix: &Prefix) {
    let name = prefix.name();
    if !description.axes.is_empty() {
        comment(text, "", "Sequences of a call along one axis.");
        record(text, prefix, &format!("{name}_steps"), STEPS, &[]);
    }
    let mut axes = Scope::of(&["batch"]);
    let axes: Vec<String> = description.axes.iter().map(|axis| format!("{name}_steps {}", axes.name(axis))).collect();
    comment(text, "", "The sizes of a call.");
    let of_axis = |axis: &String| (axis.clone(), "Of the arrays with this axis.");
    record(text, prefix, &format!("{name}_sizes"), &[BATCH], &axes.iter().map(of_axis).collect::<Vec<_>>());
    let fields: Vec<&str> = OPTIONS.iter().map(field_name).collect();
    let mut axes = Scope::of(&fields);
    let of_axis = |axis: &String| (format!("size_t {}", axes.name(axis)), AXIS_OPTION);
    let axes: Vec<_> = description.axes.iter().map(of_axis).collect();
    comment(text, "", &prefix.fill("How an instance is made; begin with NET_options_default."));
    record(text, prefix, &format!("{name}_options"), OPTIONS, &axes);
}

/// `batch` of `size_t batch`.
fn field_name(field: &Field) -> &'static str {
    field.c.rsplit([' ', '*']).next().unwrap_or_default()
}

fn record(text: &mut String, prefix: &Prefix, name: &str, fields: &[Field], more: &[(String, &str)]) {
    let _ = writeln!(text, "typedef struct {name} {{");
    let fields = fields.iter().map(|field| (field.c.to_owned(), field.documentation));
    for (c, documentation) in fields.chain(more.iter().cloned()) {
        comment(text, "  ", &prefix.fill(documentation));
        let _ = writeln!(text, "  {};", prefix.fill(&c));
    }
    let _ = writeln!(text, "}} {name};\n");
}

fn constants(text: &mut String, prefix: &Prefix, title: &str, constants: &[Constant]) {
    comment(text, "", title);
    text.push_str("enum {\n");
    for (at, constant) in constants.iter().enumerate() {
        comment(text, "  ", &prefix.fill(constant.documentation));
        let comma = if at + 1 < constants.len() { "," } else { "" };
        let _ = writeln!(text, "  {}_{} = {}{comma}", prefix.upper(), constant.name, constant.value);
    }
    text.push_str("};\n\n");
}

/// A comment of as many lines as it takes.
fn comment(text: &mut String, indent: &str, of: &str) {
    let lines = wrap(of, WIDTH - indent.len() - 6);
    let _ = write!(text, "{indent}/* {}", lines.join(&format!("\n{indent} * ")));
    text.push_str(" */\n");
}

/// A function and its parameters, in several lines where one is too short for them.
fn call(declared: &str, parameters: &str, end: &str) -> String {
    let whole = format!("{declared}({parameters}){end}");
    if whole.trim_end().len() <= WIDTH {
        return whole;
    }
    let mut text = format!("{declared}(");
    let mut column = text.len();
    for (at, parameter) in parameters.split(", ").enumerate() {
        if at > 0 {
            text.push(',');
            if column + parameter.len() + 3 > WIDTH {
                text.push_str("\n    ");
                column = 4;
            } else {
                text.push(' ');
            }
        }
        text.push_str(parameter);
        column += parameter.len() + 2;
    }
    text + ")" + end
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one at first");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
