//! `netc layers`: the reference of the layers, from what their files say.

use netc::diag::suggest;
use netc::layers::{self, Argument, Class, Layer, Preset};
use netc::syntax::ast::split_window;

use crate::args::LayersArgs;
use crate::commands::explain::wrap;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Align, Table};

pub fn run(args: &LayersArgs, output: &mut Output) -> Result<(), Failure> {
    let Some(name) = &args.name else { return list(output) };
    // With its window, as it stands in a file: `conv3x3`.
    match layers::find(split_window(name).0) {
        Some(layer) => describe(layer, output),
        None => {
            let near = suggest(name, layers::all().iter().map(|layer| layer.name));
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
