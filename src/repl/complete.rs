//! What the word at the cursor may become: commands, layers, arguments, names and files.

use std::path::Path;

use netc::layers::{self, Class};
use netc::library;
use netc::pipeline::{Entry, Stage};
use netc::syntax::ast::split_window;
use netc::syntax::{TokenKind, tokens};

use super::commands::COMMANDS;

/// The names that mean something now.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Of values, blocks, cells and constants.
    pub names: Vec<String>,
    pub ports: Vec<String>,
    pub axes: Vec<String>,
    pub parameters: Vec<String>,
    /// The parameters of the net that `:set` can set.
    pub settings: Vec<String>,
    /// Of blocks and cells that were typed: the names of their parameters.
    pub arguments: Vec<(String, Vec<String>)>,
}

/// What a statement may begin with.
const STATEMENTS: [&str; 17] = [
    "block ",
    "cell ",
    "const ",
    "for ",
    "generate ",
    "if ",
    "import ",
    "input ",
    "layer ",
    "loss ",
    "metric ",
    "net ",
    "output ",
    "param ",
    "state ",
    "target ",
    "train ",
];
/// Layers with the windows that are used most.
const WINDOWS: [&str; 7] = ["avgpool2x2", "conv1x1", "conv3x3", "conv5x5", "conv7x7", "maxpool2x2", "maxpool3x3"];
const SETTINGS: [&str; 7] = ["batch", "clip", "epochs", "optimizer", "schedule", "seed", "tbptt"];

/// Where the word begins, and what may stand in its place, in order.
pub fn complete(line: &str, cursor: usize, known: &Known) -> (usize, Vec<String>) {
    let before = &line[..cursor];
    if let Some(command) = before.trim_start().strip_prefix(':') {
        return of_command(before, command, known);
    }
    if let Some(quote) = before.rfind('"').filter(|_| before.trim_start().starts_with("import")) {
        return files(before, quote + 1, &[".net"]);
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let start = before.rfind(|c| !is_word(c)).map_or(0, |at| at + 1);
    let (word, rest) = (&before[start..], before[..start].trim_end());
    let mut found: Vec<String> = Vec::new();
    let callee = callee(&before[..start]);
    if let Some(callee) = callee
        && (rest.ends_with('(') || rest.ends_with(','))
    {
        found.extend(arguments(callee, known).into_iter().map(|name| format!("{name} = ")));
    }
    if callee.is_none() && (rest.is_empty() || rest.ends_with(['\n', '{', '}'])) {
        found.extend(STATEMENTS.iter().map(|keyword| (*keyword).to_owned()));
    }
    let of_library = layers::all().iter().filter(|layer| callee.is_none() || layer.class == Class::Activation);
    found.extend(of_library.map(|layer| layer.name.to_owned()));
    if callee.is_none() {
        found.extend(WINDOWS.iter().map(|name| (*name).to_owned()));
        found.extend(library::all().iter().chain(library::DIRECTIONS).map(|cell| cell.name.to_owned()));
    }
    found.extend(known.names.iter().cloned());
    (start, matching(found, word))
}

/// Those that begin with a word, in order, each once.
fn matching(mut found: Vec<String>, word: &str) -> Vec<String> {
    found.retain(|name| name.starts_with(word));
    found.sort();
    found.dedup();
    found
}

/// The layer in whose parentheses the text ends.
fn callee(text: &str) -> Option<&str> {
    let mut open: Vec<Option<&str>> = Vec::new();
    let mut last = None;
    for token in tokens(text) {
        match (token.kind, token.text) {
            (TokenKind::Sign, "(") => open.push(last),
            (TokenKind::Sign, "[" | "{") => open.push(None),
            (TokenKind::Sign, ")" | "]" | "}") => {
                open.pop();
            }
            _ => {}
        }
        last = (token.kind == TokenKind::Word).then_some(token.text);
    }
    open.last().copied().flatten()
}

fn arguments(callee: &str, known: &Known) -> Vec<String> {
    if let Some((_, names)) = known.arguments.iter().find(|(name, _)| name == callee) {
        return names.clone();
    }
    let (base, window) = split_window(callee);
    if let Some(layer) = layers::find(base) {
        let names = layer.arguments.iter().map(|argument| argument.name);
        return names.filter(|name| window.is_none() || *name != "k").map(str::to_owned).collect();
    }
    let cell = library::documentation(callee).map(library::Cell::arguments).unwrap_or_default();
    cell.into_iter().map(|(name, ..)| name.to_owned()).chain(library::find(callee).map(|_| "init".to_owned())).collect()
}

fn of_command(before: &str, command: &str, known: &Known) -> (usize, Vec<String>) {
    let start = before.rfind([' ', '=']).map_or(0, |at| at + 1);
    let words: Vec<&str> = command.split_whitespace().collect();
    let at = words.len() - usize::from(!command.ends_with(' ') && !words.is_empty());
    let word = &before[start..];
    if at == 0 {
        let colon = before.len() - command.len();
        let names = COMMANDS.iter().map(|command| format!("{} ", command.name).trim_end().to_owned());
        return (colon, matching(names.collect(), command));
    }
    let name = COMMANDS.iter().find(|known| known.name.starts_with(words[0])).map_or("", |known| known.name);
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let found = match (name, at) {
        ("load", 1) => return files(before, start, &[".net", ".safetensors"]),
        ("save" | "run", _) => return files(before, start, &[]),
        ("train", 1) => match word.split_once(':') {
            Some((kind, _)) => return files(before, start + kind.len() + 1, &[]),
            None => texts(&["idx:", "npz:", "text:"]),
        },
        ("emit", 1) => Stage::ALL.map(Stage::name).map(str::to_owned).to_vec(),
        ("emit", 2) => {
            let entries = [Entry::Forward, Entry::Evaluate, Entry::Gradients, Entry::Flow, Entry::TrainStep];
            entries.map(Entry::name).map(str::to_owned).to_vec()
        }
        ("input", 1) => known.ports.clone(),
        ("input", 2) => {
            let words = matching(texts(&["ones", "random", "zeros"]), word);
            let (start, files) = files(before, start, &[]);
            return (start, words.into_iter().chain(files).collect());
        }
        ("length", 1) => known.axes.clone(),
        ("show", _) => known.names.iter().chain(&known.parameters).cloned().collect(),
        ("set", 1) => {
            let own = known.settings.iter().map(|name| format!("{name}="));
            own.chain(SETTINGS.iter().map(|name| format!("train.{name}="))).collect()
        }
        ("help", 1) => {
            let commands = COMMANDS.iter().map(|command| command.name);
            commands.chain(layers::all().iter().map(|layer| layer.name)).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    (start, matching(found, word))
}

/// Folders, and files with one of these ends; any where there is none.
fn files(before: &str, start: usize, ends: &[&str]) -> (usize, Vec<String>) {
    let path = &before[start..];
    let (folder, word) = path.rfind('/').map_or(("", path), |slash| path.split_at(slash + 1));
    let place = if folder.is_empty() { Path::new(".") } else { Path::new(folder) };
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let is_folder = entry.path().is_dir();
        let is_hidden = name.starts_with('.') && !word.starts_with('.');
        let fits = is_folder || ends.is_empty() || ends.iter().any(|end| name.ends_with(end));
        (fits && !is_hidden).then(|| if is_folder { format!("{name}/") } else { name })
    });
    (start + folder.len(), matching(names.collect(), word))
}

#[cfg(test)]
mod tests {
    use super::{Known, complete};

    fn of(line: &str) -> Vec<String> {
        let known = Known {
            names: vec!["twice".to_owned(), "skip".to_owned()],
            ports: vec!["image".to_owned()],
            settings: vec!["hidden".to_owned()],
            arguments: vec![("twice".to_owned(), vec!["f".to_owned(), "times".to_owned()])],
            ..Known::default()
        };
        complete(line, line.len(), &known).1
    }

    #[test]
    fn layers_names_and_keywords() {
        assert_eq!(of("glob"), ["global_avgpool", "global_maxpool"]);
        assert_eq!(of("x -> tw"), ["twice"]);
        assert_eq!(of("sk"), ["skip"]);
        assert_eq!(of("inp"), ["input "]);
        assert_eq!(of("y = conv3"), ["conv3x3"]);
        assert_eq!(of("x -> bidi"), ["bidirectional"]);
    }

    #[test]
    fn arguments_in_parentheses() {
        assert_eq!(of("conv3x3(16, st"), ["stride = "]);
        assert_eq!(of("conv3x3(16, relu) -> twice(ti"), ["times = "]);
        assert_eq!(of("lstm(16, in"), ["init = "]);
        assert!(!of("conv3x3(16, k").contains(&"k = ".to_owned()));
        assert_eq!(of("dense(10, act = softm"), ["softmax"]);
        assert_eq!(of("dense(10) -> inp"), [""; 0]);
    }

    #[test]
    fn commands_and_their_words() {
        assert_eq!(of(":em"), ["emit"]);
        assert_eq!(of(":emit cl"), ["clif"]);
        assert_eq!(of(":emit clif train"), ["train_step"]);
        assert_eq!(of(":input im"), ["image"]);
        assert_eq!(of(":set train.ep"), ["train.epochs="]);
        assert_eq!(of(":set hi"), ["hidden="]);
        assert_eq!(of(":load Cargo.t"), [""; 0]);
        assert_eq!(of(":load models/vgg"), ["vgg16.net", "vgg19.net"]);
        assert_eq!(of("import \"models/vgg1"), ["vgg16.net", "vgg19.net"]);
    }
}
