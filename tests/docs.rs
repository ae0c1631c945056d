//! The pages a newcomer reads stay true: their networks compile, their commands print what they show, and the
//! reference pages say what the code says. `UPDATE_EXPECT=1` rewrites what is generated.

#[path = "docs/reference.rs"]
mod reference;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use expect_test::expect_file;
use netc::Error;

const BIN: &str = env!("CARGO_BIN_EXE_netc");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and everything in `docs`.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

/// A fenced block of a page.
struct Block<'a> {
    /// What stands after the fence: `net body error=no-flow`.
    marks: Vec<&'a str>,
    /// The number of the line of the fence, from 1.
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (number, line) in (1..).zip(page.lines()) {
        match (line.strip_prefix("```"), open.take()) {
            (Some(marks), None) => {
                open = Some(Block { marks: marks.split_whitespace().collect(), line: number, text: String::new() });
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The file that a block stands for: itself, or the inside of a net, or parts beside some net.
fn source(block: &Block<'_>) -> String {
    if block.marks.contains(&"body") {
        reference::wrapped(&block.text)
    } else if block.marks.contains(&"parts") {
        format!("{}\nnet example {{\n  input x[1]\n  relu\n}}\n", block.text)
    } else {
        block.text.clone()
    }
}

#[test]
fn networks_on_the_pages_compile() {
    let mut n = 0;
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        for block in blocks(&page).iter().filter(|block| block.marks.first() == Some(&"net")) {
            n += 1;
            let place = format!("{}:{}", path.display(), block.line);
            let source = source(block);
            let code = block.marks.iter().find_map(|mark| mark.strip_prefix("error="));
            match (netc::check_source("example.net", &source), code) {
                (Ok(_), None) => {}
                (Ok(_), Some(code)) => panic!("{place} compiles, but should fail with {code}"),
                (Err(error), None) => panic!("{place}\n{error}"),
                (Err(Error::Source { diagnostics, rendered }), Some(code)) => {
                    let codes: Vec<&str> = diagnostics.iter().map(|error| error.message.code.slug()).collect();
                    assert_eq!(codes, [code], "{place}\n{rendered}");
                }
                (Err(error), Some(_)) => panic!("{place}\n{error}"),
            }
            if code != Some("syntax") {
                assert_eq!(reference::formatted(&source), source, "{place} is not in canonical form");
            }
        }
    }
    assert!(n > 50, "only {n} networks found");
}

#[test]
fn reference_pages_are_up_to_date() {
    expect_file![root().join("docs/layers.md")].assert_eq(&reference::layers());
    expect_file![root().join("docs/errors.md")].assert_eq(&reference::errors(&root().join("tests/ui")));
}

/// A block `repl` shows a session of `netc repl --echo`: what is typed stands after `> ` and `| `.
fn session(lines: &[&str]) -> Vec<String> {
    let typed =
        |line: &&str| line.strip_prefix(['>', '|']).map(|text| text.strip_prefix(' ').unwrap_or(text).to_owned());
    let script: Vec<String> = lines.iter().filter_map(typed).collect();
    let folder = tempfile::tempdir().unwrap();
    let at = if script.iter().any(|line| line.starts_with(":save")) { folder.path() } else { root() };
    let mut repl = Command::new(BIN);
    repl.args(["repl", "--echo"]).env("NO_COLOR", "1").current_dir(at);
    let mut repl = repl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    repl.stdin.take().unwrap().write_all(script.join("\n").as_bytes()).unwrap();
    let run = repl.wait_with_output().unwrap();
    let text = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
    text.trim_end().lines().map(str::to_owned).collect()
}

/// A block of a console shows commands after `$ ` and what they print. The files that they name are in the
/// repository; a block of a network whose first line is a comment `# NAME.net` is a file of that name.
#[test]
fn commands_on_the_pages_print_what_they_show() {
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut names = Vec::new();
        let blocks = blocks(&page);
        for block in blocks.iter().filter(|block| block.marks.first() == Some(&"net")) {
            let name = block.text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
            if name.ends_with(".net") && !name.contains(' ') {
                fs::write(folder.path().join(name), &block.text).unwrap();
                names.push(name);
            }
        }
        let mut lines: Vec<String> = Vec::new();
        let (mut in_console, mut in_output) = (false, false);
        let mut typed: Option<Vec<&str>> = None;
        for line in page.lines() {
            match &mut typed {
                Some(block) if line == "```" => {
                    lines.extend(session(block));
                    typed = None;
                }
                Some(block) => {
                    block.push(line);
                    continue;
                }
                None if line == "```repl" => typed = Some(Vec::new()),
                None => {}
            }
            in_console = if line.starts_with("```") { line == "```console" } else { in_console };
            let Some(command) = line.strip_prefix("$ ").filter(|_| in_console) else {
                in_output &= in_console;
                if !in_output {
                    lines.push(line.to_owned());
                }
                continue;
            };
            lines.push(line.to_owned());
            in_output = true;
            let at = if names.iter().any(|name| command.ends_with(name)) { folder.path() } else { root() };
            lines.extend(output(command, at).lines().map(str::to_owned));
        }
        expect_file![path].assert_eq(&format!("{}\n", lines.join("\n")));
    }
}

/// What a command prints, on both streams.
fn output(command: &str, folder: &Path) -> String {
    let release = "cargo run --release --";
    let args = command.strip_prefix("netc").or_else(|| command.strip_prefix(release));
    let args = args.unwrap_or_else(|| panic!("`{command}` is not netc")).split_whitespace();
    let run = Command::new(BIN).args(args).env("NO_COLOR", "1").current_dir(folder).output().unwrap();
    let text = [run.stderr, run.stdout].concat();
    String::from_utf8(text).unwrap().trim_end().to_owned()
}

/// Every command has a section in docs/commands.md, with its help, which has examples.
#[test]
fn every_command_is_on_its_page() {
    let page = fs::read_to_string(root().join("docs/commands.md")).unwrap();
    let help = output("netc --help", root());
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> =
        commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let section =
            page.split_once(&format!("\n## netc {name}\n")).unwrap_or_else(|| panic!("`{name}` has no section")).1;
        let section = section.split("\n## ").next().unwrap();
        assert!(section.contains(&format!("$ netc {name} --help")) && section.contains("Examples:"), "{name}");
    }
}

/// The front page of the crate, README.md and `examples/library.rs` show one program.
#[test]
fn the_library_example_is_one() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let readme = read("README.md");
    let blocks = blocks(&readme);
    let example = blocks.iter().find(|block| block.marks == ["rust"]).expect("README.md shows the library");
    let lines: Vec<&str> = example.text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert!(lines.len() < 20, "{} lines", lines.len());
    for name in ["compiler/src/lib.rs", "examples/library.rs"] {
        let text = read(name);
        let mut rest = text.lines().map(|line| line.trim_start_matches("//!").trim());
        for line in &lines {
            assert!(rest.any(|other| other == *line), "{name} does not have, in its place: {line}");
        }
    }
}

/// Links between the pages lead somewhere.
#[test]
fn links_lead_somewhere() {
    let mut pages = pages();
    let names = ["ARCHITECTURE.md", "STYLE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    pages.extend(names.iter().map(|name| root().join(name)));
    for path in pages {
        let page = fs::read_to_string(&path).unwrap();
        for (_, rest) in page.match_indices("](").map(|(at, _)| page.split_at(at + 2)) {
            let link = rest.split(')').next().unwrap_or_default();
            if link.starts_with("http") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            assert!(target.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let found = text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
                assert!(found, "{}: {link}", path.display());
            }
        }
    }
}

/// The anchor of a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
