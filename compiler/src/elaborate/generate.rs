//! `generate NAME { }`: how a net writes a sequence, checked against its ports and outputs.

use super::Expanded;
use super::cx::Cx;
use super::overrides::Overrides;
use super::program::Program;
use super::value::Value;
use crate::diag::{Code, Diagnostic, Message, Sources, Span};
use crate::graph::{Builder, OutputRole};
use crate::layers::{Bounds, Mode, user_shape};
use crate::network::{Draw, Generate, Port};
use crate::syntax::ast::{Definition, Expr, ExprKind, Ident, Setting, SettingValue, Settings, SettingsKind};
use crate::types::{Dim, Symbol, show_shape};

/// What a `generate` block may say.
pub(super) const SETTINGS: [&str; 5] = ["feed", "until", "length", "temperature", "top_k"];
/// Steps, where the file does not say how many.
const LENGTH: usize = 100;

/// The settings that the file has for `net`.
pub(super) fn entries<'a>(program: &Program<'a>, net: &Definition) -> Option<&'a Settings> {
    let of_net =
        |settings: &&Settings| settings.kind == SettingsKind::Generate && settings.target.text == net.name.text;
    program.settings.iter().copied().find(of_net)
}

/// The settings of `net`, when the file has some.
pub(super) fn read(
    program: &Program<'_>,
    sources: &Sources,
    net: &Definition,
    overrides: &Overrides,
    expanded: &Expanded,
    errors: &mut Vec<Diagnostic>,
) -> Option<Generate> {
    let settings = entries(program, net)?;
    let builder = Builder::default();
    let mut cx = Cx::new(program, sources, &builder, Mode::Inference);
    cx.errors = std::mem::take(errors);
    cx.evaluate_constants();
    let generate = Reader { cx: &mut cx, overrides, settings }.generate(expanded);
    *errors = cx.errors;
    generate
}

struct Reader<'r, 'a, 'b> {
    cx: &'r mut Cx<'a, 'b>,
    overrides: &'a Overrides,
    settings: &'a Settings,
}

impl<'a> Reader<'_, 'a, '_> {
    fn generate(&mut self, expanded: &Expanded) -> Option<Generate> {
        let Some((input, drawn)) = self.find("feed").and_then(|entry| match &entry.value {
            SettingValue::Feed { input, value } => Some((input, value)),
            SettingValue::Values(_) => None,
        }) else {
            let message = Message::new(Code::BadSetting, "generation needs to know what is fed where");
            self.cx.error(message.help("write `feed text <- sample(logits)`").at(self.settings.target.span));
            return None;
        };
        let port = self.port(input, expanded);
        let (draws, output) = self.drawn(drawn)?;
        let port = port?;
        let vocabulary = port.vocabulary.expect("tokens, as was checked");
        self.output(output, port, vocabulary, expanded)?;

        let temperature = self.value("temperature");
        let top_k = self.value("top_k");
        let is_sampled = draws == "sample";
        for (name, said) in [("temperature", temperature), ("top_k", top_k)] {
            if let Some((_, span)) = said.filter(|_| !is_sampled) {
                let message = Message::new(Code::BadSetting, format!("`{name}` says how `sample` draws"));
                self.cx.error(message.note("`argmax` takes the greatest score").at(span));
            }
        }
        let temperature = temperature.and_then(|(expr, span)| self.temperature(expr, span)).unwrap_or(1.0);
        let top_k = top_k.and_then(|(expr, span)| self.count("top_k", expr, 1, vocabulary, span));
        let until = self.value("until").and_then(|(expr, span)| self.count("until", expr, 0, vocabulary - 1, span));
        let length = self.value("length").and_then(|(expr, span)| self.count("length", expr, 1, 1 << 24, span));
        Some(Generate {
            input: input.text.clone(),
            output: output.text.clone(),
            draw: if is_sampled { Draw::Sample { temperature, top_k } } else { Draw::ArgMax },
            until,
            length: length.unwrap_or(LENGTH),
        })
    }

    fn find(&self, name: &str) -> Option<&'a Setting> {
        self.settings.entries.iter().find(|entry| entry.name.text == name)
    }

    /// The one value of a setting, from the command line or the file.
    fn value(&mut self, name: &str) -> Option<(&'a Expr, Span)> {
        if let Some(set) = self.overrides.find_generate(name) {
            return Some((set, set.span));
        }
        let entry = self.find(name)?;
        match &entry.value {
            SettingValue::Values(values) if values.len() == 1 => Some((&values[0], values[0].span)),
            SettingValue::Values(_) | SettingValue::Feed { .. } => {
                self.cx.fail(Code::BadSetting, format!("`{name}` takes one value"), entry.span);
                None
            }
        }
    }

    /// The input of tokens that is fed.
    fn port<'e>(&mut self, name: &Ident, expanded: &'e Expanded) -> Option<&'e Port> {
        let Some(port) = expanded.ports.iter().find(|port| port.name == name.text && !port.is_target) else {
            let inputs = expanded.ports.iter().filter(|port| !port.is_target).map(|port| port.name.as_str());
            let message = Message::new(Code::UnknownName, format!("the net has no input `{}`", name.text));
            self.cx.error(message.did_you_mean(&name.text, inputs).at(name.span));
            return None;
        };
        let is_sequence = matches!(port.ty.shape.as_slice(), [_, steps] if steps.as_fixed().is_none());
        if port.vocabulary.is_none() || !is_sequence {
            let shape = show_shape(user_shape(&port.ty.shape));
            let text = format!("what is drawn is fed to a sequence of tokens, and `{}` is {shape}", name.text);
            let message = Message::new(Code::BadSetting, text);
            self.cx
                .error(message.help(format!("declare it as one: `input {}[T]: token(65)`", name.text)).at(name.span));
            return None;
        }
        Some(port)
    }

    /// `sample(logits)`, `argmax(logits)`
    fn drawn(&mut self, value: &'a Expr) -> Option<(&'a str, &'a Ident)> {
        if let ExprKind::Call { callee, args, repeat: None } = &value.kind
            && matches!(callee.text.as_str(), "sample" | "argmax")
            && let [arg] = args.as_slice()
            && let (None, ExprKind::Name(output)) = (&arg.name, &arg.value.kind)
        {
            return Some((&callee.text, output));
        }
        let message = Message::new(Code::BadSetting, "what is fed is drawn from an output of the net");
        self.cx.error(message.help("write `sample(logits)`, or `argmax(logits)` for the greatest").at(value.span));
        None
    }

    /// Checks that the output holds a score for each token.
    fn output(&mut self, name: &Ident, port: &Port, vocabulary: usize, expanded: &Expanded) -> Option<()> {
        let outputs = || expanded.graph.outputs.iter().filter(|output| output.role == OutputRole::Output);
        let Some(output) = outputs().find(|output| output.name == name.text) else {
            let message = Message::new(Code::UnknownName, format!("the net has no output `{}`", name.text));
            let message = message.did_you_mean(&name.text, outputs().map(|output| output.name.as_str()));
            self.cx.error(message.help(format!("the net says what it gives: `output {}`", name.text)).at(name.span));
            return None;
        };
        let shape = &expanded.graph.ty(output.value).shape;
        let fits = match user_shape(shape) {
            [scores] => scores.as_fixed() == Some(vocabulary),
            [steps, scores] => *steps == port.ty.shape[1] && scores.as_fixed() == Some(vocabulary),
            _ => false,
        };
        if !fits {
            let steps = axis_name(&port.ty.shape[1]);
            let text = format!(
                "`{}` takes one of {vocabulary} tokens, and `{}` is {}",
                port.name,
                name.text,
                show_shape(user_shape(shape))
            );
            let message = Message::new(Code::BadSetting, text);
            let note = format!("a score for each token is [{vocabulary}], or [{steps}, {vocabulary}]");
            self.cx.error(message.note(note).at(name.span));
            return None;
        }
        Some(())
    }

    fn temperature(&mut self, expr: &'a Expr, span: Span) -> Option<f64> {
        match self.cx.eval(expr) {
            Value::Poison => None,
            Value::Number(n) if Bounds::Positive.hold(n) => Some(n),
            Value::Number(n) => {
                let message = Message::new(Code::BadSetting, format!("`temperature` is a number above 0, not {n}"));
                self.cx.error(message.help("the nearest to 0 is `argmax`").at(span));
                None
            }
            other => {
                let text = format!("`temperature` is a number above 0, not {}", other.describe());
                self.cx.fail(Code::BadSetting, text, span);
                None
            }
        }
    }

    fn count(&mut self, name: &str, expr: &'a Expr, least: usize, most: usize, span: Span) -> Option<usize> {
        let found = match self.cx.eval(expr) {
            Value::Poison => return None,
            Value::Number(n) if n.fract() == 0.0 && n >= least as f64 && n <= most as f64 => return Some(n as usize),
            Value::Number(n) => n.to_string(),
            other => other.describe(),
        };
        let text = format!("`{name}` is a whole number from {least} to {most}, not {found}");
        self.cx.fail(Code::BadSetting, text, span);
        None
    }
}

fn axis_name(dim: &Dim) -> String {
    match dim.symbols() {
        [Symbol::Axis(name)] => name.to_string(),
        _ => dim.to_string(),
    }
}
