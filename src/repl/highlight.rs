//! Colors for what is typed.

use netc::syntax::{TokenKind, tokens};

const KEYWORDS: [&str; 22] = [
    "block", "cell", "const", "else", "for", "generate", "if", "import", "in", "input", "and", "layer", "loss",
    "metric", "net", "not", "or", "output", "param", "state", "target", "train",
];

/// The line with codes of colors; nothing else is changed.
pub fn highlight(line: &str) -> String {
    let mut text = String::new();
    let mut end = 0;
    for token in tokens(line) {
        text += &line[end..token.start];
        end = token.start + token.text.len();
        let color = match token.kind {
            TokenKind::Comment => "2",
            TokenKind::Number => "33",
            TokenKind::Text => "32",
            TokenKind::Word if KEYWORDS.contains(&token.text) => "1;35",
            TokenKind::Word if is_layer(token.text) => "36",
            TokenKind::Sign if matches!(token.text, "->" | "<-") => "1;35",
            TokenKind::Word | TokenKind::Sign => "",
        };
        match color {
            "" => text += token.text,
            color => text += &format!("\x1b[{color}m{}\x1b[0m", token.text),
        }
    }
    text + &line[end..]
}

fn is_layer(word: &str) -> bool {
    let (base, _) = netc::syntax::ast::split_window(word);
    netc::layers::find(base).is_some() || netc::library::documentation(word).is_some()
}

#[cfg(test)]
mod tests {
    use super::highlight;

    #[test]
    fn only_colors_are_added() {
        let line = "y = x -> conv3x3(16)x2  # é";
        let text = highlight(line);
        assert_eq!(text, "y = x \x1b[1;35m->\x1b[0m \x1b[36mconv3x3\x1b[0m(\x1b[33m16\x1b[0m)x2  \x1b[2m# é\x1b[0m");
        for line in ["", "  ", ":load a.net", "input x[3, 0.5e", "\"open"] {
            let mut plain = highlight(line);
            for color in ["\x1b[0m", "\x1b[2m", "\x1b[33m", "\x1b[32m", "\x1b[36m", "\x1b[1;35m"] {
                plain = plain.replace(color, "");
            }
            assert_eq!(plain, line);
        }
    }
}
