//! The stable names of everything that can be wrong with a user's file.

/// Makes the enum and its tables from one list, so that a new code is one entry.
macro_rules! codes {
    ($($name:ident $slug:literal $explain:literal;)*) => {
        /// The stable identity of an error; `netc explain SLUG` prints its paragraph.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = concat!("`", $slug, "`")] $name,)*
        }

        impl Code {
            /// Every code, in the order of the list.
            pub fn all() -> &'static [Code] {
                &[$(Code::$name,)*]
            }

            /// The name a user sees, `shape-mismatch`.
            pub fn slug(self) -> &'static str {
                match self {
                    $(Code::$name => $slug,)*
                }
            }

            /// A paragraph for someone who meets this error for the first time.
            pub fn explain(self) -> &'static str {
                match self {
                    $(Code::$name => $explain,)*
                }
            }
        }
    };
}

codes! {
    Syntax "syntax"
        "The text does not follow the grammar. A statement ends with its line; a line that starts with `->` continues the one \
         before, and newlines are free inside `( )` and `[ ]`. After a syntax error the rest of the file is not looked at, so \
         that one mistake is reported once.";
    NotText "not-text"
        "A source file is UTF-8 text without NUL bytes. This one holds other bytes: perhaps it is a checkpoint, an image, or \
         text in an older encoding.";
    TooDeep "too-deep"
        "Brackets, operators or blocks are nested so deeply that no person wrote them. Give the inner part a name and use the \
         name.";
    TooLarge "too-large"
        "The file, or what it expands to, is beyond the limits that make a stranger's file safe to open. A description of a \
         network is small: weights and data belong in files of their own.";
    UnknownName "unknown-name"
        "A name is used that nothing defines: no input, state, parameter, binding or constant in reach has it.";
    UnknownLayer "unknown-layer"
        "A layer is used that is neither in the library nor a `block` or `cell` of this file or of its imports.";
    UnknownArgument "unknown-argument"
        "A layer or block is given an argument it does not have.";
    MissingArgument "missing-argument"
        "A layer or block needs an argument that has no default and was not given.";
    DuplicateArgument "duplicate-argument"
        "The same argument is given twice, perhaps once by its position and once by its name.";
    DuplicateName "duplicate-name"
        "The same name is defined twice where one definition would hide the other.";
    WrongKind "wrong-kind"
        "A value of one kind stands where another is needed: a number where a layer is expected, a tensor where the compiler \
         needs a number it can compute, and so on.";
    ShapeMismatch "shape-mismatch"
        "The shapes of two values, or of a value and the layer it flows into, do not fit together. The message says where \
         each shape comes from.";
    InvalidSize "invalid-size"
        "A size came out as zero, negative, fractional or far too large: for instance a window larger than what it slides over. \
         Sizes follow floor((in + 2*pad - dilation*(k - 1) - 1) / stride) + 1.";
    AxisOutOfRange "axis-out-of-range"
        "An axis is named that the value does not have. Axes count from 0 and leave out the batch.";
    BadValue "bad-value"
        "The value of an argument is of the right kind but out of range: a dropout of 1.5, a stride of 0.";
    UnknownSetting "unknown-setting"
        "A line of a `train` or `generate` block names a setting that does not exist.";
    DuplicateSetting "duplicate-setting"
        "The same setting is given twice in one block.";
    BadSetting "bad-setting"
        "The value of a setting is of the wrong kind or out of range.";
    ImportNotFound "import-not-found"
        "An imported file does not exist or cannot be read. Paths are relative to the file that imports.";
    ImportCycle "import-cycle"
        "A file imports itself, directly or through others.";
    BlockCycle "block-cycle"
        "A block uses itself, directly or through others, so its expansion would never end.";
    NoFlow "no-flow"
        "A layer stands where no value flows: before any input, after several inputs of which none was chosen, or after an \
         `output`. Start the line with the value it should apply to: `x -> dense(10)`.";
    Misplaced "misplaced"
        "A statement stands where it has no meaning: a `target` or a `loss` outside of a `net`, a `state` or a primed name \
         outside of a `cell`.";
    UnknownNet "unknown-net"
        "A net is asked for, or settings are given for one, that the file does not define.";
    NoNet "no-net"
        "The file defines no `net`, so there is nothing to compile. A file of blocks and cells is for importing.";
    AmbiguousNet "ambiguous-net"
        "The file defines several nets and the command does not say which one is meant.";
    MissingLoss "missing-loss"
        "Training needs a `loss` statement in the net: the number that training makes small.";
    UnusedInput "unused-input"
        "An input is declared and nothing uses it.";
    StateWithoutNext "state-without-next"
        "A cell declares a state and never says what it becomes. The primed name is its value after the step: \
         `h' = tanh([x, h] -> dense(hidden))`.";
    NotSupported "not-supported"
        "The text is correct and means something, but this version of the compiler cannot do it.";
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn slugs_are_unique_and_every_code_is_explained() {
        let mut slugs: Vec<_> = Code::all().iter().map(|code| code.slug()).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), Code::all().len());
        for code in Code::all() {
            let explain = code.explain();
            assert!(explain.ends_with(['.', '?']) && !explain.contains("  "), "{}: {explain}", code.slug());
        }
    }
}
