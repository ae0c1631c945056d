//! `netc explain`: what an error means.

use netc::diag::{Code, suggest};
use serde_json::json;

use crate::args::ExplainArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Align, Table};

/// The version of `--json`.
const VERSION: u32 = 1;

pub fn run(args: &ExplainArgs, output: &mut Output) -> Result<(), Failure> {
    let Some(name) = &args.code else {
        if args.json {
            return json(Code::all(), output);
        }
        let mut table = Table::new([("code", Align::Left), ("meaning", Align::Left)]);
        for code in Code::all() {
            let meaning = code.explain();
            let sentence = meaning.split_once(". ").map_or(meaning, |(first, _)| first).trim_end_matches('.');
            table.row([code.slug(), sentence]);
        }
        return output.text(table);
    };
    // As it stands in a message: `error[shape-mismatch]`.
    let slug = name.trim_start_matches("error").trim_matches(['[', ']']);
    match Code::all().iter().find(|code| code.slug() == slug) {
        Some(code) if args.json => json(std::slice::from_ref(code), output),
        Some(code) => {
            output.line(code.slug())?;
            output.line(wrap(code.explain(), 80))
        }
        None => {
            let near = suggest(slug, Code::all().iter().map(|code| code.slug()));
            let help = near
                .first()
                .map_or_else(|| "`netc explain` lists them".to_owned(), |near| format!("did you mean `{near}`?"));
            Err(Failure::arguments(format!("there is no error `{slug}`; {help}")))
        }
    }
}

fn json(codes: &[Code], output: &mut Output) -> Result<(), Failure> {
    let codes = codes.iter().map(|code| json!({"code": code.slug(), "meaning": code.explain()}));
    output.line(json!({"version": VERSION, "errors": codes.collect::<Vec<_>>()}))
}

/// Breaks a paragraph into lines of at most `width` characters.
pub fn wrap(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn paragraphs_are_broken() {
        assert_eq!(wrap("a bc  def\ng", 4), "a bc\ndef\ng");
        assert_eq!(wrap("", 4), "");
    }
}
