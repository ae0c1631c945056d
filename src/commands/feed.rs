//! What a training is fed: the arguments' data, checked against the network.

use netc::data::{Dataset, Examples, Holdout, Part, Preparation, Spec, Streams, Text, TextPorts, Vocabulary, split};
use netc::network::Network;

use crate::args::NetArgs;
use crate::clock::Clock;
use crate::failure::{Exit, Failure};
use crate::network::{self, Weights};
use crate::output::note;

/// The share of a text that is held out when nobody says another.
const HELD_OUT: f64 = 0.1;

/// A network, and the text that it is for.
pub struct Subject {
    pub network: Network,
    pub text: Option<Text>,
}

impl Subject {
    /// Reads the network and, where the data are one, the text. A parameter `vocab` that nobody has set becomes the
    /// number of characters.
    pub fn load(args: &NetArgs, saved: Option<&Weights>, data: &Spec, clock: &mut Clock) -> Result<Self, Failure> {
        let mut overrides = saved.map(Weights::overrides).unwrap_or_default();
        let network = network::load(args, &overrides, clock)?;
        let Spec::Text(path) = data else { return Ok(Subject { network, text: None }) };
        let known = saved.and_then(|saved| Vocabulary::from_notes(&saved.notes));
        let text = Text::read(path, known.as_ref())?;
        let ports = TextPorts::of(&network)?;
        let (n, has) = (text.vocabulary.len(), ports.input.vocabulary);
        if has == Some(n) {
            return Ok(Subject { network, text: Some(text) });
        }
        let is_set = args.set.iter().chain(&overrides).any(|(name, _)| name == "vocab");
        if !is_set {
            overrides.push(("vocab".to_owned(), n.to_string()));
            if let Ok(network) = network::load(args, &overrides, clock)
                && TextPorts::of(&network)?.input.vocabulary == Some(n)
            {
                note(format!("note: `vocab` is {n}, the number of different characters in `{}`", path.display()));
                return Ok(Subject { network, text: Some(text) });
            }
        }
        let has = has.map_or_else(|| "any tokens".to_owned(), |has| format!("{has} tokens"));
        let of = known.map_or_else(|| path.display().to_string(), |_| "the text of the checkpoint".to_owned());
        let help = match is_set {
            true => format!("`--set vocab={n}` mends it"),
            false => {
                format!("write `token({n})`, or give the network a parameter `vocab` that `--set vocab={n}` can set")
            }
        };
        let message = format!("`{}` takes {has}, but {of} has {n} different characters; {help}", ports.input.name);
        Err(Failure::new(Exit::Input, message))
    }
}

/// The data to train and to validate on.
pub enum Feed {
    Examples { data: Examples, held_out: Option<Examples>, fraction: Option<f64> },
    Text { train: Streams, validate: Option<Streams> },
}

impl Feed {
    /// Reads what the arguments name, for batches of so many examples or streams.
    pub fn load(
        subject: &Subject,
        data: &Spec,
        validate: Option<&Holdout>,
        batch: usize,
        preparation: &Preparation,
    ) -> Result<Self, Failure> {
        let network = &subject.network;
        if let Some(text) = &subject.text {
            return streams(network, text, validate, batch);
        }
        let data = data.load(network, preparation)?;
        let (held_out, fraction) = match validate {
            Some(Holdout::Data(spec)) => (Some(spec.load(network, preparation)?), None),
            Some(Holdout::Fraction(fraction)) => (None, Some(*fraction)),
            Some(Holdout::Nothing) | None => (None, None),
        };
        Ok(Feed::Examples { data, held_out, fraction })
    }

    pub fn parts(&self) -> Result<(Part<'_>, Option<Part<'_>>), Failure> {
        Ok(match self {
            Feed::Examples { data, fraction: Some(fraction), .. } => {
                let (train, last) = split(data, Holdout::count(*fraction, data.n_examples()))?;
                (train, Some(last))
            }
            Feed::Examples { data, held_out, .. } => {
                (Part::whole(data), held_out.as_ref().map(|held_out| Part::whole(held_out)))
            }
            Feed::Text { train, validate } => {
                (Part::whole(train), validate.as_ref().map(|validate| Part::whole(validate)))
            }
        })
    }
}

/// The first part of the text to train, the last to validate on, each in streams of at least one window.
fn streams(network: &Network, text: &Text, validate: Option<&Holdout>, batch: usize) -> Result<Feed, Failure> {
    let ports = TextPorts::of(network)?;
    let Some(window) = network.settings.tbptt else {
        let message = "a text is walked in windows, but the `train` block does not say how long they are: write \
                       `tbptt 50` there, or `--set train.tbptt=50`";
        return Err(Failure::new(Exit::Input, message));
    };
    let cut = |tokens: &[i32]| Streams::new(ports, tokens, batch, window);
    let (train, validate) = match validate {
        Some(Holdout::Nothing) => (cut(&text.tokens)?, None),
        Some(Holdout::Data(Spec::Text(path))) => {
            let other = Text::read(path, Some(&text.vocabulary))?;
            (cut(&text.tokens)?, Some(cut(&other.tokens)?))
        }
        Some(Holdout::Data(_)) => {
            let message = "a training on text is validated on text: `--validate text:FILE`, or a share like `10%`";
            return Err(Failure::arguments(message));
        }
        Some(Holdout::Fraction(share)) => {
            let (train, held_out) = text.split(*share);
            (cut(train)?, Some(cut(held_out)?))
        }
        None => {
            let (train, held_out) = text.split(HELD_OUT);
            // What is left of a very short text tells nothing.
            (cut(train)?, cut(held_out).ok())
        }
    };
    Ok(Feed::Text { train, validate })
}
