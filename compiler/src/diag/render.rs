//! Diagnostics as text for a terminal: the only place that knows the renderer.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{Diagnostic, Sources, Span};

/// More errors than this help nobody: the rest are only counted.
const SHOWN: usize = 20;

/// The diagnostics as a terminal shows them, in the order given, at most 20 of them and how many more there are.
pub fn render(sources: &Sources, diagnostics: &[Diagnostic], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for diagnostic in diagnostics.iter().take(SHOWN) {
        text += &renderer.render(&[group(sources, diagnostic)]);
        text += "\n\n";
    }
    match diagnostics.len().saturating_sub(SHOWN) {
        0 => {}
        1 => text += "… and 1 more error\n",
        more => text += &format!("… and {more} more errors\n"),
    }
    text
}

fn group<'a>(sources: &'a Sources, diagnostic: &'a Diagnostic) -> Group<'a> {
    let message = &*diagnostic.message;
    let mut labels = vec![(diagnostic.span, diagnostic.label.as_str(), AnnotationKind::Primary)];
    for (span, label) in &diagnostic.labels {
        labels.push((*span, label, AnnotationKind::Context));
    }

    // One snippet a file, the primary's first.
    let mut files = Vec::new();
    for (span, _, _) in &labels {
        if !files.contains(&span.file) {
            files.push(span.file);
        }
    }

    let title = Level::ERROR.primary_title(&message.text).id(message.code.slug());
    let mut group = Group::with_title(title);
    for file in files {
        let mut snippet = Snippet::source(sources.text(file)).path(sources.name(file));
        for (span, label, kind) in labels.iter().filter(|(span, _, _)| span.file == file) {
            let label = (!label.is_empty()).then_some(*label);
            snippet = snippet.annotation(kind.span(visible(sources, *span)).label(label));
        }
        group = group.element(snippet);
    }
    for note in &message.notes {
        group = group.element(Level::NOTE.message(note));
    }
    for help in &message.help {
        group = group.element(Level::HELP.message(help));
    }
    group
}

/// An empty span at the end of the file is shown at the end of the last line with text.
fn visible(sources: &Sources, span: Span) -> std::ops::Range<usize> {
    let text = sources.text(span.file);
    if span.start as usize >= text.len() {
        let end = text.trim_end().len();
        return end..end;
    }
    span.range()
}
