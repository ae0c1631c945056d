//! `netc layers`: the reference of the layers, from what their files say.

use netc::diag::suggest;
use netc::layers::{self, Argument, Class, Layer, Preset};
use netc::library::{self, Cell};
use netc::syntax::ast::split_window;
use serde_json::{Value, json};

use crate::args::LayersArgs;
use crate::commands::explain::wrap;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Align, Table};

/// The version of `--json`.
const VERSION: u32 = 1;

pub fn run(args: &LayersArgs, output: &mut Output) -> Result<(), Failure> {
    let Some(name) = &args.name else {
        return if args.json { output.line(json(layers::all(), &all_cells())) } else { list(output) };
    };
    // With its window, as it stands in a file: `conv3x3`.
    match (layers::find(split_window(name).0), library::documentation(name)) {
        (Some(layer), _) if args.json => output.line(json(&[layer], &[])),
        (None, Some(cell)) if args.json => output.line(json(&[], &[cell])),
        (Some(layer), _) => describe(layer, output),
        (None, Some(cell)) => describe_cell(cell, output),
        (None, None) => {
            let cells = library::all().iter().chain(library::DIRECTIONS).map(|cell| cell.name);
            let near = suggest(name, layers::all().iter().map(|layer| layer.name).chain(cells));
            let help = near
                .first()
                .map_or_else(|| "`netc layers` lists them".to_owned(), |near| format!("did you mean `{near}`?"));
            Err(Failure::arguments(format!("there is no layer `{name}`; {help}")))
        }
    }
}

fn all_cells() -> Vec<&'static Cell> {
    library::all().iter().chain(library::DIRECTIONS).collect()
}

/// All that their pages say.
fn json(layers: &[&Layer], cells: &[&Cell]) -> Value {
    let class = |class: Class| match class {
        Class::Layer => "layer",
        Class::Activation => "activation",
        Class::Loss => "loss",
        Class::Metric => "metric",
    };
    let of_layers = layers.iter().map(|layer| {
        let arguments = layer.arguments.iter().map(|Argument { name, kind, preset, doc }| {
            let is_required = *preset == Preset::Required;
            json!({"name": name, "takes": kind.to_string(), "required": is_required, "about": doc})
        });
        json!({
            "name": layer.name,
            "class": class(layer.class),
            "signature": layer.signature(),
            "summary": layer.doc.summary,
            "shapes": layer.doc.shapes,
            "formula": layer.doc.formula,
            "source": layer.doc.source,
            "window": layer.window,
            "arguments": arguments.collect::<Vec<_>>(),
            "example": layer.doc.example,
        })
    });
    let of_cells = cells.iter().map(|cell| {
        let arguments = cell.arguments().into_iter().map(
            |(name, preset, doc)| json!({"name": name, "default": preset, "required": preset.is_none(), "about": doc}),
        );
        json!({
            "name": cell.name,
            "class": "recurrent",
            "signature": cell.signature(),
            "summary": cell.summary(),
            "shapes": cell.fact("shapes"),
            "formula": cell.fact("formula"),
            "source": cell.fact("source"),
            "arguments": arguments.collect::<Vec<_>>(),
            "example": cell.example(),
            "definition": cell.definition(),
        })
    });
    json!({"version": VERSION, "layers": of_layers.chain(of_cells).collect::<Vec<_>>()})
}

fn list(output: &mut Output) -> Result<(), Failure> {
    let classes = [
        (Class::Layer, "Layers"),
        (Class::Activation, "Activations"),
        (Class::Loss, "Losses"),
        (Class::Metric, "Metrics"),
    ];
    for (at, (class, title)) in classes.into_iter().enumerate() {
        if at > 0 {
            output.line("")?;
        }
        let mut table = Table::new([(title, Align::Left), ("", Align::Left)]);
        for layer in layers::all().iter().filter(|layer| layer.class == class) {
            table.row([layer.name, layer.doc.summary]);
        }
        output.text(table)?;
        if class == Class::Layer {
            let mut table = Table::new([("Recurrent layers", Align::Left), ("", Align::Left)]);
            for cell in library::all().iter().chain(library::DIRECTIONS) {
                table.row([cell.name, cell.summary()]);
            }
            output.line("")?;
            output.text(table)?;
        }
    }
    Ok(())
}

/// A cell of the library, from the comments of its file; then the file itself.
fn describe_cell(cell: &Cell, output: &mut Output) -> Result<(), Failure> {
    output.line(cell.signature())?;
    output.line("")?;
    output.line(wrap(cell.summary(), 80))?;
    output.line("")?;
    let mut facts = Table::new([("", Align::Left), ("", Align::Left)]);
    for name in ["shapes", "formula", "source"].into_iter().filter(|name| !cell.fact(name).is_empty()) {
        facts.row([name, cell.fact(name)]);
    }
    output.text(facts)?;
    output.line("")?;
    let mut table = Table::new([("argument", Align::Left), ("", Align::Left)]);
    for (name, preset, doc) in cell.arguments() {
        table.row([name.to_owned(), preset.map_or_else(|| doc.to_owned(), |preset| format!("{doc}; {preset}"))]);
    }
    if cell.definition().is_some() {
        table.row(["init".to_owned(), library::INIT.to_owned()]);
    }
    output.text(table)?;
    output.line("\nexample:")?;
    for line in cell.example().lines() {
        output.line(format!("  {line}"))?;
    }
    if let Some(definition) = cell.definition() {
        output.line("\nwritten as:")?;
        for line in definition.lines() {
            output.line(format!("  {line}"))?;
        }
    }
    Ok(())
}

fn describe(layer: &Layer, output: &mut Output) -> Result<(), Failure> {
    output.line(layer.signature())?;
    output.line("")?;
    output.line(wrap(layer.doc.summary, 80))?;
    output.line("")?;
    let mut facts = Table::new([("", Align::Left), ("", Align::Left)]);
    for (name, text) in [("shapes", layer.doc.shapes), ("formula", layer.doc.formula), ("source", layer.doc.source)] {
        if !text.is_empty() {
            facts.row([name, text]);
        }
    }
    output.text(facts)?;
    if !layer.arguments.is_empty() {
        output.line("")?;
        let mut table = Table::new([("argument", Align::Left), ("takes", Align::Left), ("", Align::Left)]);
        for Argument { name, kind, preset, doc } in layer.arguments {
            let doc = if *preset == Preset::Required { format!("{doc} (required)") } else { (*doc).to_owned() };
            table.row([(*name).to_owned(), kind.to_string(), doc]);
        }
        output.text(table)?;
    }
    if !layer.doc.example.is_empty() {
        output.line("\nexample:")?;
        for line in layer.doc.example.lines() {
            output.line(format!("  {line}"))?;
        }
    }
    Ok(())
}
