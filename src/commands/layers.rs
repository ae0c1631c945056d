//! `netc layers`: the reference of the layers, from what their files say.

use netc::diag::suggest;
use netc::layers::{self, Argument, Class, Layer, Preset};
use netc::library::{self, Cell};
use netc::syntax::ast::split_window;

use crate::args::LayersArgs;
use crate::commands::explain::wrap;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Align, Table};

pub fn run(args: &LayersArgs, output: &mut Output) -> Result<(), Failure> {
    let Some(name) = &args.name else { return list(output) };
    // With its window, as it stands in a file: `conv3x3`.
    match (layers::find(split_window(name).0), library::documentation(name)) {
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
