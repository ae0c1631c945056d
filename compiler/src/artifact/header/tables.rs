//! What the header says of the network's arrays, in words and as constants.

use std::fmt::Write;

use netc_runtime::artifact::description::{
    Description, Element, Keeping, Output, Port, Role, Size, Symbol, Task, Tensor,
};

use super::super::names::{Prefix, Scope};
use super::{comment, wrap};

/// The lines of the comment at the top.
pub(super) fn write(text: &mut String, description: &Description, prefix: &Prefix) {
    let targets = || description.ports.iter().filter(|port| port.is_target);
    let trains = description.entries.iter().any(|entry| entry.task == Task::TrainStep);
    let row = |port: &Port| array(description, &port.name, &port.element, &port.shape, port.vocabulary);
    table(text, "Inputs, in the order of `inputs`:", inputs(description).map(row).collect());
    if trains {
        table(text, "Targets, in the order of `targets`:", targets().map(row).collect());
    }
    let result = |output: &Output| array(description, &output.name, &output.element, &output.shape, None);
    table(text, "Outputs, in the order of `outputs`:", outputs(description).map(result).collect());
    if trains {
        let names = metrics(description).map(|metric| vec![metric.name.clone(), "float".to_owned()]).collect();
        table(text, "Metrics, in the order of `metrics`, each a mean over the batch but for a norm:", names);
    }
    paragraph(text, &prefix.fill(
        "All arrays are row-major, with the batch as their first axis and no gaps; a float needs no more than its own \
         alignment. They are the caller's: a call reads inputs and targets and writes outputs before it returns, and \
         keeps none of their addresses. Numbers are in the unit that the network was trained in (of pictures, `netc \
         train` makes 0 to 1). A token outside of its range is an error, NET_INVALID_INPUT.",
    ));
    if !description.axes.is_empty() {
        let axes = description.axes.join("`, `");
        paragraph(text, &format!("Steps along `{axes}` may be others at each call, up to those of the options."));
    }
    if let [first, ..] = description.stepped.as_slice() {
        let names: Vec<&str> = description.stepped.iter().map(|&at| port_name(description, at)).collect();
        let axis = description.ports[*first as usize].shape.iter().find_map(|size| axis_of(description, size));
        let text_of = format!(
            "NET_step takes one step along `{}`: `{}` without that axis, and so for outputs that have it.",
            axis.unwrap_or_default(),
            names.join("`, `")
        );
        paragraph(text, &prefix.fill(&text_of));
    }
    let parameters = kept(description).map(|tensor| {
        let sizes: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
        vec![tensor.path.clone(), "float".to_owned(), format!("[{}]", sizes.join(", "))]
    });
    table(text, &prefix.fill("Parameters, in the order of NET_parameter:"), parameters.collect());
    while text.ends_with(" *\n") {
        text.truncate(text.len() - 3);
    }
}

fn port_name(description: &Description, at: u32) -> &str {
    &description.ports[at as usize].name
}

pub(super) fn inputs(description: &Description) -> impl Iterator<Item = &Port> {
    description.ports.iter().filter(|port| !port.is_target)
}

pub(super) fn targets(description: &Description) -> impl Iterator<Item = &Port> {
    description.ports.iter().filter(|port| port.is_target)
}

pub(super) fn outputs(description: &Description) -> impl Iterator<Item = &Output> {
    description.results.iter().filter(|result| result.role == Role::Output)
}

fn metrics(description: &Description) -> impl Iterator<Item = &Output> {
    description.results.iter().filter(|result| result.role == Role::Metric)
}

fn kept(description: &Description) -> impl Iterator<Item = &Tensor> {
    description.tensors.iter().filter(|tensor| tensor.keeping != Keeping::Moment)
}

fn paragraph(text: &mut String, of: &str) {
    for line in wrap(of, 94) {
        let _ = writeln!(text, " * {line}");
    }
    text.push_str(" *\n");
}

/// Rows below a title, in columns; nothing without rows.
fn table(text: &mut String, title: &str, rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, " * {title}");
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    for row in &rows {
        let cells =
            (0..columns).filter_map(|column| row.get(column).map(|cell| format!("{cell:w$}", w = width(column))));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, " *   {}", line.trim_end());
    }
    text.push_str(" *\n");
}

/// A row for an array: its name, what it holds, its shape, and the range of tokens.
fn array(
    description: &Description,
    name: &str,
    element: &Element,
    shape: &[Size],
    vocabulary: Option<u64>,
) -> Vec<String> {
    let sizes: Vec<String> = shape.iter().map(|size| show(description, size)).collect();
    let mut row = vec![name.to_owned(), c_type(element).to_owned(), format!("[{}]", sizes.join(", "))];
    row.extend(vocabulary.map(|n| format!("0 to {}", n.saturating_sub(1))));
    row
}

pub(super) fn c_type(element: &Element) -> &'static str {
    match element {
        Element::F32 => "float",
        Element::I32 => "int32_t",
    }
}

/// The name of the axis that a size is the length of.
fn axis_of<'a>(description: &'a Description, size: &Size) -> Option<&'a str> {
    let [symbol] = size.symbols.as_slice() else { return None };
    match &description.symbols[*symbol as usize] {
        Symbol::Axis { index } => Some(&description.axes[*index as usize]),
        Symbol::Batch | Symbol::Derived { .. } => None,
    }
}

fn show(description: &Description, size: &Size) -> String {
    let mut factors = Vec::new();
    if size.factor != 1 || size.symbols.is_empty() {
        factors.push(size.factor.to_string());
    }
    factors.extend(size.symbols.iter().map(|&symbol| match &description.symbols[symbol as usize] {
        Symbol::Batch => "batch".to_owned(),
        Symbol::Axis { index } => description.axes[*index as usize].clone(),
        Symbol::Derived { of, add, div } => {
            let (sign, add) = (if *add < 0 { '-' } else { '+' }, add.abs());
            format!("floor(({} {sign} {add}) / {div})", show(description, of))
        }
    }));
    factors.join(" * ")
}

/// How many arrays there are, the number of each, and how many elements it has.
pub(super) fn constants(text: &mut String, description: &Description, prefix: &Prefix) {
    let mut scope = Scope::default();
    let mut rows: Vec<(String, u64)> = Vec::new();
    let upper = prefix.upper();
    let counts = [
        ("INPUTS", inputs(description).count()),
        ("TARGETS", targets(description).count()),
        ("OUTPUTS", outputs(description).count()),
        ("METRICS", metrics(description).count()),
        ("PARAMETERS", kept(description).count()),
    ];
    rows.extend(counts.map(|(name, n)| (scope.name(&format!("{upper}_N_{name}")), n as u64)));
    let mut arrays: Vec<(String, usize, Option<u64>)> = Vec::new();
    let elements = |shape: &[Size]| elements(description, shape);
    arrays.extend(
        inputs(description).enumerate().map(|(at, port)| (format!("INPUT_{}", port.name), at, elements(&port.shape))),
    );
    arrays.extend(
        targets(description).enumerate().map(|(at, port)| (format!("TARGET_{}", port.name), at, elements(&port.shape))),
    );
    arrays.extend(
        outputs(description).enumerate().map(|(at, port)| (format!("OUTPUT_{}", port.name), at, elements(&port.shape))),
    );
    arrays.extend(metrics(description).enumerate().map(|(at, port)| (format!("METRIC_{}", port.name), at, None)));
    for (name, at, elements) in arrays {
        let name = scope.name(&format!("{upper}_{}", name.to_ascii_uppercase()));
        rows.push((name.clone(), at as u64));
        if let Some(elements) = elements.filter(|&n| n <= i32::MAX as u64) {
            rows.push((scope.name(&format!("{name}_SIZE")), elements));
        }
    }
    comment(
        text,
        "",
        "How many arrays there are, the place of each, and its elements for one member of the batch and one step.",
    );
    text.push_str("enum {\n");
    let last = rows.len() - 1;
    for (at, (name, value)) in rows.iter().enumerate() {
        let _ = writeln!(text, "  {name} = {value}{}", if at < last { "," } else { "" });
    }
    text.push_str("};\n\n");
}

/// The elements for one member and one step; `None` where a size derives from others.
fn elements(description: &Description, shape: &[Size]) -> Option<u64> {
    let is_derived = |&symbol: &u32| matches!(description.symbols[symbol as usize], Symbol::Derived { .. });
    let fixed = shape.iter().all(|size| !size.symbols.iter().any(is_derived));
    fixed.then(|| shape.iter().fold(1, |n: u64, size| n.saturating_mul(size.factor)))
}
