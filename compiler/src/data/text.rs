//! Text as data: the characters of a file as tokens, in streams that are walked side by side.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use super::examples::{Batch, Dataset, Unit};
use super::file::{self, damaged};
use crate::error::Error;
use crate::network::{Network, Port};
use crate::types::{Dim, ElementType, Symbol, show_shape};

/// Bytes of a text.
const MAX_TEXT: u64 = 1 << 30;
/// The note of a checkpoint that holds the characters.
const NOTE: &str = "text.vocabulary";

/// The characters (Unicode scalar values) that a network reads and writes, in their order: token 0 is the first.
///
/// ```
/// use netc::data::Vocabulary;
///
/// let vocabulary = Vocabulary::of("hello");
/// assert_eq!(vocabulary.encode("hole").unwrap(), [1, 3, 2, 0]);
/// assert_eq!(vocabulary.character(1), Some('h'));
/// let unknown = vocabulary.encode("help").unwrap_err();
/// assert_eq!(unknown.to_string(), "`p`, character 4 in line 1, is not in the vocabulary of 4 characters");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    characters: Vec<char>,
}

/// A character that a vocabulary does not have, and where it stands, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCharacter {
    /// The character itself.
    pub character: char,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// How many characters the vocabulary has.
    pub known: usize,
}

impl fmt::Display for UnknownCharacter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnknownCharacter { character, line, column, known } = *self;
        let shown = character.escape_debug();
        write!(f, "`{shown}`, character {column} in line {line}, is not in the vocabulary of {known} characters")
    }
}

impl Vocabulary {
    /// The characters of a text.
    pub fn of(text: &str) -> Self {
        Vocabulary { characters: text.chars().collect::<BTreeSet<char>>().into_iter().collect() }
    }
    /// How many characters it has.
    pub fn len(&self) -> usize {
        self.characters.len()
    }
    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }
    /// The character of a token.
    pub fn character(&self, token: usize) -> Option<char> {
        self.characters.get(token).copied()
    }
    /// The token of a character.
    pub fn token(&self, character: char) -> Option<i32> {
        self.characters.binary_search(&character).ok().map(|token| token as i32)
    }
    /// The tokens of a text.
    ///
    /// # Errors
    /// The first character that is not in the vocabulary.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>, UnknownCharacter> {
        let (mut line, mut column) = (1, 0);
        let mut tokens = Vec::new();
        for character in text.chars() {
            column += 1;
            let known = self.len();
            tokens.push(self.token(character).ok_or(UnknownCharacter { character, line, column, known })?);
            if character == '\n' {
                (line, column) = (line + 1, 0);
            }
        }
        Ok(tokens)
    }
    /// For the notes of a checkpoint: the key and the characters.
    pub fn to_note(&self) -> (String, String) {
        (NOTE.to_owned(), self.characters.iter().collect())
    }
    /// From the notes of a checkpoint, where they have one.
    pub fn from_notes(notes: &std::collections::BTreeMap<String, String>) -> Option<Self> {
        notes.get(NOTE).map(|characters| Vocabulary::of(characters))
    }
}

/// A text as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its characters.
    pub vocabulary: Vocabulary,
    /// One for each character of the text.
    pub tokens: Vec<i32>,
}

impl Text {
    /// Reads a file of UTF-8; with the vocabulary of an earlier training, or its own.
    ///
    /// # Errors
    /// When the file cannot be read, is no UTF-8, or has a character that the vocabulary lacks.
    pub fn read(path: &Path, known: Option<&Vocabulary>) -> Result<Self, Error> {
        let text = file::read_text(path, MAX_TEXT)?;
        let vocabulary = known.cloned().unwrap_or_else(|| Vocabulary::of(&text));
        let tokens = vocabulary.encode(&text).map_err(|unknown| damaged(path, unknown.to_string()))?;
        if tokens.len() < 2 {
            return Err(damaged(path, "has fewer than two characters: one to read and one to tell"));
        }
        Ok(Text { vocabulary, tokens })
    }
    /// The first tokens, and the last ones that are held out: this share of them.
    pub fn split(&self, share: f64) -> (&[i32], &[i32]) {
        let held_out = (self.tokens.len() as f64 * share).round() as usize;
        self.tokens.split_at(self.tokens.len() - held_out.min(self.tokens.len()))
    }
}

/// The input that reads a text and the target that tells the next character of it.
#[derive(Debug, Clone, Copy)]
pub struct TextPorts<'n> {
    /// Takes the characters.
    pub input: &'n Port,
    /// Takes the character after each.
    pub target: &'n Port,
}

impl<'n> TextPorts<'n> {
    /// Those of a network with one input and one target, both sequences of tokens.
    ///
    /// # Errors
    /// When the network has others.
    pub fn of(network: &'n Network) -> Result<Self, Error> {
        let is_text = |port: &Port| {
            let is_sequence = |dim: &Dim| dim.factor() == 1 && matches!(dim.symbols(), [Symbol::Axis(_)]);
            port.ty.element == ElementType::I32 && port.ty.rank() == 2 && is_sequence(&port.ty.shape[1])
        };
        match network.ports.as_slice() {
            [input, target] if is_text(input) && is_text(target) && target.is_target && input.ty == target.ty => {
                Ok(TextPorts { input, target })
            }
            ports => {
                let show = |port: &Port| format!("`{}{}`", port.name, show_shape(&port.ty.shape[1..]));
                let found = ports.iter().map(show).collect::<Vec<_>>().join(", ");
                let wanted = "an input and a target like `text[T]: token(n)` and `next[T]: token(n)`";
                Err(Error::Input(format!("text needs a network with {wanted}, but `{}` has {found}", network.name)))
            }
        }
    }
}

/// A text cut into parts of one length, the examples, each a stream from its beginning to its end.
///
/// The target of a character is the one after it. What is left over when the text is divided, fewer characters than
/// there are streams, is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streams {
    input: String,
    target: String,
    tokens: Vec<i32>,
    n: usize,
    len: usize,
}

impl Streams {
    /// `n` streams, or fewer when the text is too short to give each of them `least` characters.
    ///
    /// # Errors
    /// When there are fewer than two tokens.
    pub fn new(ports: TextPorts<'_>, tokens: &[i32], n: usize, least: usize) -> Result<Self, Error> {
        let Some(steps) = tokens.len().checked_sub(1).filter(|steps| *steps > 0) else {
            return Err(Error::Input("a part of the text has fewer than two characters".to_owned()));
        };
        let n = n.min(steps / least.max(1)).max(1);
        let (input, target) = (ports.input.name.clone(), ports.target.name.clone());
        Ok(Streams { input, target, tokens: tokens.to_vec(), n, len: steps / n })
    }
    /// Characters of a stream.
    pub fn steps(&self) -> usize {
        self.len
    }
}

impl Dataset for Streams {
    fn n_examples(&self) -> usize {
        self.n
    }
    fn gather(&self, examples: &[usize], batch: &mut Batch) -> Result<(), Error> {
        let shape = [examples.len(), self.len];
        for (at, (name, shift)) in [(&self.input, 0), (&self.target, 1)].into_iter().enumerate() {
            let streams = examples.iter().map(|stream| &self.tokens[stream * self.len + shift..][..self.len]);
            batch.set_tokens(at, name, &shape, streams.flatten().copied());
        }
        batch.truncate(2);
        Ok(())
    }
    fn unit(&self) -> Unit {
        Unit::Character
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Streams, Text, TextPorts, Vocabulary};
    use crate::check_source;
    use crate::data::{Batch, Dataset};
    use crate::network::{Network, Port};
    use crate::session::TensorView;
    use crate::types::{Dim, TensorType};

    #[test]
    fn characters_are_in_order_and_go_there_and_back() {
        let vocabulary = Vocabulary::of("héé\n\u{1F600}h");
        assert_eq!(vocabulary.len(), 4);
        assert_eq!(vocabulary.encode("h\u{1F600}\né").unwrap(), [1, 3, 0, 2]);
        let (key, value) = vocabulary.to_note();
        assert_eq!(Vocabulary::from_notes(&[(key, value)].into()), Some(vocabulary.clone()));
        let unknown = vocabulary.encode("h\nh\t").unwrap_err();
        assert_eq!((unknown.line, unknown.column), (2, 2));
        assert_eq!(unknown.to_string(), "`\\t`, character 2 in line 2, is not in the vocabulary of 4 characters");
    }

    #[test]
    fn texts_are_read_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        let error = |known: Option<&Vocabulary>| Text::read(&path, known).unwrap_err().to_string();
        fs::write(&path, b"a").unwrap();
        assert!(error(None).contains("has fewer than two characters"));
        fs::write(&path, b"ab\xff").unwrap();
        assert!(error(None).contains("is no text in UTF-8"));
        fs::write(&path, "abracadabra").unwrap();
        assert!(error(Some(&Vocabulary::of("abrd"))).contains("`c`, character 5 in line 1"));
        let text = Text::read(&path, None).unwrap();
        assert_eq!(text.split(0.2), (&[0, 1, 4, 0, 2, 0, 3, 0, 1][..], &[4, 0][..]));
    }

    fn network() -> Network {
        let mut network = check_source("a.net", "net a {\n  input x[2]\n  dense(1)\n}").unwrap();
        let ty = TensorType::i32([Dim::batch(), Dim::axis("T")]);
        let port =
            |name: &str, is_target| Port { name: name.to_owned(), is_target, ty: ty.clone(), vocabulary: Some(5) };
        network.ports = vec![port("text", false), port("next", true)];
        network
    }

    #[test]
    fn streams_lie_side_by_side_and_targets_follow() {
        let network = network();
        let ports = TextPorts::of(&network).unwrap();
        let tokens: Vec<i32> = (0..12).collect();
        let streams = Streams::new(ports, &tokens, 2, 3).unwrap();
        assert_eq!((streams.n_examples(), streams.steps()), (2, 5));
        let mut batch = Batch::default();
        streams.gather(&[1, 0], &mut batch).unwrap();
        let views = batch.views();
        let tokens = |at: usize| match &views[at].1 {
            TensorView::I32(tokens) => tokens.iter().copied().collect::<Vec<i32>>(),
            TensorView::F32(_) => panic!("tokens"),
        };
        assert_eq!((views[0].0, views[1].0, views[0].1.shape()), ("text", "next", &[2, 5][..]));
        assert_eq!(tokens(0), [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]);
        assert_eq!(tokens(1), [6, 7, 8, 9, 10, 1, 2, 3, 4, 5]);
        // Too short for so many streams.
        let streams = Streams::new(ports, &[1, 2, 3, 4], 8, 10).unwrap();
        assert_eq!((streams.n_examples(), streams.steps()), (1, 3));
        assert!(Streams::new(ports, &[1], 1, 1).is_err());
    }

    #[test]
    fn other_networks_take_no_text() {
        let network = check_source("a.net", "net a {\n  input x[2]\n  dense(1)\n}").unwrap();
        let error = TextPorts::of(&network).unwrap_err().to_string();
        assert!(error.ends_with("but `a` has `x[2]`"), "{error}");
    }
}
