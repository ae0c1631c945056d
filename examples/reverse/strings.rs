//! Strings to reverse, and how many of them a network reverses.

use ndarray::{Array1, Array2};
use netc::network::Generate;
use netc::{Error, Session, TensorView};

/// Ends what is written, and fills up what is shorter than the longest of a batch.
pub(crate) const END: i32 = 0;
/// What a prefix begins with.
pub(crate) const START: i32 = 1;
/// The first token that strings consist of.
const FIRST: i32 = 2;

/// Random strings of 1 to `longest` tokens of `2..vocabulary`, the same ones for the same seed.
#[derive(Debug)]
pub(crate) struct Strings {
    pub(crate) longest: usize,
    pub(crate) vocabulary: usize,
    pub(crate) seed: u64,
}

/// Strings, and what a network is to write after each prefix: the reversed string and the end.
#[derive(Debug)]
pub(crate) struct Batch {
    source: Array2<i32>,
    source_lengths: Array1<i32>,
    prefix: Array2<i32>,
    next: Array2<i32>,
    lengths: Array1<i32>,
}

impl Strings {
    /// Steele, Lea and Flood 2014, "SplitMix".
    fn up_to(&mut self, n: usize) -> usize {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    pub(crate) fn batch(&mut self, n: usize) -> Batch {
        let n_symbols = self.vocabulary - FIRST as usize;
        let strings: Vec<Vec<i32>> = (0..n)
            .map(|_| {
                let length = 1 + self.up_to(self.longest);
                (0..length).map(|_| FIRST + self.up_to(n_symbols) as i32).collect()
            })
            .collect();
        let longest = strings.iter().map(Vec::len).max().unwrap_or(0);
        let mut batch = Batch {
            source: Array2::from_elem((n, longest), END),
            source_lengths: strings.iter().map(|string| string.len() as i32).collect(),
            prefix: Array2::from_elem((n, longest + 1), END),
            next: Array2::from_elem((n, longest + 1), END),
            lengths: strings.iter().map(|string| string.len() as i32 + 1).collect(),
        };
        for (member, string) in strings.iter().enumerate() {
            batch.prefix[[member, 0]] = START;
            for (at, (&token, &reversed)) in string.iter().zip(string.iter().rev()).enumerate() {
                batch.source[[member, at]] = token;
                batch.prefix[[member, at + 1]] = reversed;
                batch.next[[member, at]] = reversed;
            }
        }
        batch
    }
}

impl Batch {
    fn source(&self) -> Vec<(&str, TensorView<'_>)> {
        vec![("source", self.source.view().into()), ("S", self.source_lengths.view().into())]
    }

    /// One step of training, in which every prefix is right; its loss.
    pub(crate) fn train(&self, session: &mut Session) -> Result<f32, Error> {
        let mut inputs = self.source();
        inputs.push(("prefix", self.prefix.view().into()));
        inputs.push(("next", self.next.view().into()));
        inputs.push(("U", self.lengths.view().into()));
        let outputs = session.train_step(&inputs)?;
        Ok(outputs.loss().expect("training has a loss"))
    }

    /// The share of strings that the network reverses to the last token, reading what it has written itself.
    pub(crate) fn accuracy(&self, session: &mut Session) -> Result<f64, Error> {
        let n = self.source.nrows();
        let prompt = Array2::from_elem((n, 1), START);
        let how = session.network().generate.clone().expect("the model says how it writes");
        let how = Generate { length: self.next.ncols(), ..how };
        let mut is_right = vec![true; n];
        for (at, tokens) in session.generate(prompt.view(), &self.source(), &how, 0)?.enumerate() {
            for (member, token) in tokens?.into_iter().enumerate() {
                is_right[member] &= token.is_none_or(|token| token == self.next[[member, at]]);
            }
        }
        Ok(is_right.iter().filter(|&&right| right).count() as f64 / n as f64)
    }
}
