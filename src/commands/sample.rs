//! `netc sample`: a network writes a sequence, one token at a time, as its `generate` block says.

use std::path::Path;

use ndarray::{Array2, ArrayView2};
use netc::data::{Preparation, Tensor, Vocabulary, read_input};
use netc::network::{Draw, Generate, Network, Port};
use netc::types::ElementType;
use serde_json::json;

use crate::args::SampleArgs;
use crate::clock::Clock;
use crate::failure::{Exit, Failure};
use crate::network::{self, Weights};
use crate::output::Output;

/// The version of `--json`.
const VERSION: u32 = 1;

pub fn run(args: &SampleArgs, output: &mut Output) -> Result<(), Failure> {
    let weights = Weights::read(&args.weights)?;
    let network = network::load(&args.net, &weights.overrides(), &mut Clock::start())?;
    let vocabulary = Vocabulary::from_notes(&weights.notes);
    let generate = settings(&network, args)?;
    let prompt = prompt(&network, &generate, vocabulary.as_ref(), args.prompt.as_deref())?;
    let inputs = other_inputs(&network, &generate, vocabulary.as_ref(), &args.input)?;
    let seed = args.seed.unwrap_or(network.settings.seed);
    let mut session = network::session(network, Some(&weights), seed, args.threads)?;
    drop(weights);
    let views: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();

    let name = session.network().name.clone();
    if args.json {
        let row = ArrayView2::from_shape((1, prompt.len()), &prompt).expect("one row");
        let mut tokens = Vec::new();
        for drawn in session.generate(row, &views, &generate, seed)? {
            tokens.extend(drawn?.into_iter().flatten());
        }
        let character = |token: &i32| vocabulary.as_ref()?.character(*token as usize);
        let text: Option<String> = tokens.iter().map(character).collect();
        let prompt = args.prompt.is_some().then_some(&prompt);
        return output.line(json!({
            "version": VERSION, "network": name, "seed": seed, "prompt": prompt, "tokens": tokens, "text": text,
        }));
    }
    let mut writer = Writer { output, vocabulary: vocabulary.as_ref(), last: None };
    if args.prompt.is_some() {
        prompt.iter().try_for_each(|&token| writer.write(token))?;
    }
    let prompt = ArrayView2::from_shape((1, prompt.len()), &prompt).expect("one row");
    for tokens in session.generate(prompt, &views, &generate, seed)? {
        tokens?.into_iter().flatten().try_for_each(|token| writer.write(token))?;
    }
    writer.end()
}

/// What the file says, with the arguments in its place.
fn settings(network: &Network, args: &SampleArgs) -> Result<Generate, Failure> {
    let name = &network.name;
    let Some(mut generate) = network.generate.clone() else {
        let message = format!(
            "`{name}` has no `generate` block, which says what is fed to which input: \
             `generate {name} {{ feed text <- sample(logits) }}`"
        );
        return Err(Failure::new(Exit::Input, message));
    };
    generate.length = args.length.unwrap_or(generate.length);
    if args.temperature.is_some() || args.top_k.is_some() {
        let (temperature, top_k) = match generate.draw {
            Draw::Sample { temperature, top_k } => (temperature, top_k),
            Draw::ArgMax => (1.0, None),
        };
        generate.draw =
            Draw::Sample { temperature: args.temperature.unwrap_or(temperature), top_k: args.top_k.or(top_k) };
    }
    Ok(generate)
}

/// The tokens to begin with. Without a prompt: a line's end, so that a new line begins, or the first token.
fn prompt(
    network: &Network,
    generate: &Generate,
    vocabulary: Option<&Vocabulary>,
    text: Option<&str>,
) -> Result<Vec<i32>, Failure> {
    let port = port(network, &generate.input);
    match text {
        Some(text) => {
            let tokens = tokens(port, vocabulary, text, "--prompt")?;
            if tokens.is_empty() {
                return Err(Failure::arguments("`--prompt` is empty: leave it out to begin anywhere"));
            }
            Ok(tokens)
        }
        None => Ok(vec![vocabulary.and_then(|vocabulary| vocabulary.token('\n')).unwrap_or(0)]),
    }
}

fn port<'n>(network: &'n Network, name: &str) -> &'n Port {
    network.ports.iter().find(|port| port.name == name).expect("checked with the file")
}

/// Characters of the vocabulary, or numbers where there is none.
fn tokens(port: &Port, vocabulary: Option<&Vocabulary>, text: &str, option: &str) -> Result<Vec<i32>, Failure> {
    if let Some(vocabulary) = vocabulary {
        return vocabulary.encode(text).map_err(|unknown| Failure::arguments(format!("{option}: {unknown}")));
    }
    let most = port.vocabulary.map_or(i64::from(i32::MAX), |n| n as i64 - 1);
    let number = |word: &str| match word.parse::<i64>() {
        Ok(token) if (0..=most).contains(&token) => Ok(token as i32),
        _ => {
            let message = format!(
                "{option}: the weights have no vocabulary, so tokens are numbers from 0 to {most}, which `{word}` is not"
            );
            Err(Failure::arguments(message))
        }
    };
    text.split([' ', ',']).filter(|word| !word.is_empty()).map(number).collect()
}

/// The inputs beside the one that is fed: files, or texts for inputs that take tokens.
fn other_inputs(
    network: &Network,
    generate: &Generate,
    vocabulary: Option<&Vocabulary>,
    args: &[String],
) -> Result<Vec<(String, Tensor)>, Failure> {
    let ports: Vec<&Port> =
        network.ports.iter().filter(|port| !port.is_target && port.name != generate.input).collect();
    let names = || match ports.as_slice() {
        [] => "none".to_owned(),
        ports => ports.iter().map(|port| format!("`{}`", port.name)).collect::<Vec<_>>().join(", "),
    };
    let mut inputs = Vec::new();
    for arg in args {
        let Some((name, value)) = arg.split_once('=') else {
            return Err(Failure::arguments(format!("`--input {arg}`: write `NAME=FILE` or `NAME=TEXT`")));
        };
        let Some(port) = ports.iter().find(|port| port.name == name) else {
            let message =
                format!("`{name}` is no input beside `{}`, which is fed; there are {}", generate.input, names());
            return Err(Failure::arguments(message));
        };
        let is_tokens = port.ty.element == ElementType::I32 && port.ty.rank() == 2;
        let tensor = if is_tokens && !Path::new(value.rsplit_once(".npz:").map_or(value, |(path, _)| path)).exists() {
            let tokens = tokens(port, vocabulary, value, &format!("--input {name}"))?;
            Tensor::from(Array2::from_shape_vec((1, tokens.len()), tokens).expect("one row").view())
        } else {
            read_input(port, value, &Preparation::default())?
        };
        inputs.push((name.to_owned(), tensor));
    }
    match ports.iter().find(|port| !inputs.iter().any(|(name, _)| *name == port.name)) {
        Some(port) => Err(Failure::arguments(format!("there is no `--input {}=FILE`", port.name))),
        None => Ok(inputs),
    }
}

/// Writes tokens as they come.
struct Writer<'a> {
    output: &'a mut Output,
    vocabulary: Option<&'a Vocabulary>,
    last: Option<char>,
}

impl Writer<'_> {
    fn write(&mut self, token: i32) -> Result<(), Failure> {
        match self.vocabulary.and_then(|vocabulary| vocabulary.character(token as usize)) {
            Some(character) => {
                self.output.text(character)?;
                self.last = Some(character);
            }
            None => {
                let space = if self.last.is_some() { " " } else { "" };
                self.output.text(format_args!("{space}{token}"))?;
                self.last = Some('0');
            }
        }
        self.output.flush()
    }
    /// The last line ends.
    fn end(self) -> Result<(), Failure> {
        if self.last.is_some_and(|last| last != '\n') { self.output.line("") } else { Ok(()) }
    }
}
