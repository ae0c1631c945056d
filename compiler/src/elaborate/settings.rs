//! Settings: `train NAME { }` becomes [`TrainSettings`]; those of `generate` are in `generate`.

use super::cx::{Cx, report};
use super::overrides::Overrides;
use super::program::Program;
use super::value::Value;
use crate::diag::{Code, Diagnostic, Message, Sources, Span};
use crate::graph::Builder;
use crate::layers::{Bounds, Mode};
use crate::network::{Clip, Optimizer, Schedule, TrainSettings};
use crate::syntax::ast::{Arg, Definition, Expr, ExprKind, Setting, SettingValue, SettingsKind};

/// What a `train` block may say.
pub(super) const SETTINGS: [&str; 7] = ["optimizer", "schedule", "clip", "batch", "epochs", "seed", "tbptt"];

/// One thing to choose, with its arguments: `adam(lr = 1e-3)`.
struct Choice {
    name: &'static str,
    args: &'static [(&'static str, Take, Option<f64>)],
}

/// What an argument of a choice may be.
#[derive(Clone, Copy)]
enum Take {
    Number(Bounds),
    Count(usize),
    Flag,
}

static OPTIMIZERS: &[Choice] = &[
    Choice {
        name: "sgd",
        args: &[
            ("lr", Take::Number(Bounds::Positive), Some(0.01)),
            ("momentum", Take::Number(Bounds::Fraction), Some(0.0)),
            ("nesterov", Take::Flag, Some(0.0)),
            ("weight_decay", Take::Number(Bounds::NonNegative), Some(0.0)),
        ],
    },
    Choice { name: "adam", args: ADAM },
    Choice {
        name: "adamw",
        args: &[ADAM[0], ADAM[1], ADAM[2], ADAM[3], ("weight_decay", Take::Number(Bounds::NonNegative), Some(0.01))],
    },
    Choice {
        name: "rmsprop",
        args: &[
            ("lr", Take::Number(Bounds::Positive), Some(0.01)),
            ("alpha", Take::Number(Bounds::Fraction), Some(0.99)),
            ("epsilon", Take::Number(Bounds::Positive), Some(1e-8)),
            ("momentum", Take::Number(Bounds::Fraction), Some(0.0)),
            ("weight_decay", Take::Number(Bounds::NonNegative), Some(0.0)),
        ],
    },
    Choice {
        name: "adagrad",
        args: &[
            ("lr", Take::Number(Bounds::Positive), Some(0.01)),
            ("epsilon", Take::Number(Bounds::Positive), Some(1e-10)),
            ("weight_decay", Take::Number(Bounds::NonNegative), Some(0.0)),
        ],
    },
];
const ADAM: &[(&str, Take, Option<f64>)] = &[
    ("lr", Take::Number(Bounds::Positive), Some(1e-3)),
    ("beta1", Take::Number(Bounds::Fraction), Some(0.9)),
    ("beta2", Take::Number(Bounds::Fraction), Some(0.999)),
    ("epsilon", Take::Number(Bounds::Positive), Some(1e-8)),
    ("weight_decay", Take::Number(Bounds::NonNegative), Some(0.0)),
];
static SCHEDULES: &[Choice] = &[
    Choice { name: "constant", args: &[] },
    Choice {
        name: "step",
        args: &[("every", Take::Count(1), None), ("factor", Take::Number(Bounds::Positive), Some(0.1))],
    },
    Choice { name: "exponential", args: &[("factor", Take::Number(Bounds::Positive), None)] },
    Choice {
        name: "cosine",
        args: &[("epochs", Take::Count(1), None), ("floor", Take::Number(Bounds::NonNegative), Some(0.0))],
    },
    Choice { name: "warm_up", args: &[("epochs", Take::Count(1), None)] },
    Choice {
        name: "plateau",
        args: &[("factor", Take::Number(Bounds::Positive), Some(0.1)), ("patience", Take::Count(0), Some(10.0))],
    },
];
static CLIPS: &[Choice] = &[
    Choice { name: "norm", args: &[("limit", Take::Number(Bounds::Positive), None)] },
    Choice { name: "value", args: &[("limit", Take::Number(Bounds::Positive), None)] },
];

fn choices(setting: &str) -> &'static [Choice] {
    match setting {
        "optimizer" => OPTIMIZERS,
        "schedule" => SCHEDULES,
        "clip" => CLIPS,
        _ => &[],
    }
}

/// The arguments that what is chosen for a setting may have.
pub(super) fn argument_names(setting: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> =
        choices(setting).iter().flat_map(|choice| choice.args.iter().map(|(name, ..)| *name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The settings of `net`; all blocks of the file are checked.
pub(super) fn read(
    program: &Program<'_>,
    sources: &Sources,
    net: &Definition,
    overrides: &Overrides,
    errors: &mut Vec<Diagnostic>,
) -> TrainSettings {
    let builder = Builder::default();
    let mut cx = Cx::new(program, sources, &builder, Mode::Inference);
    cx.errors = std::mem::take(errors);
    cx.evaluate_constants();
    let mut reader = Reader { cx, overrides };
    let mut train = None;
    let mut seen: Vec<(SettingsKind, &str, Span)> = Vec::new();
    for settings in &program.settings {
        let (kind, target) = (settings.kind, settings.target.text.as_str());
        let names: &[&str] = if kind == SettingsKind::Train { &SETTINGS } else { &super::generate::SETTINGS };
        reader.known_names(&settings.entries, names);
        if !program.nets.iter().any(|net| net.name.text == target) {
            let message = Message::new(Code::UnknownNet, format!("the file has no net `{target}`"));
            let nets = program.nets.iter().map(|net| net.name.text.as_str());
            reader.cx.error(message.did_you_mean(target, nets).at(settings.target.span));
        }
        if let Some((.., first)) = seen.iter().find(|(known, of, _)| (*known, *of) == (kind, target)) {
            let first = *first;
            let message = Message::new(Code::DuplicateSetting, format!("`{target}` has settings of this kind already"));
            reader.cx.error(message.at(settings.target.span).label("again here").also(first, "first here"));
        }
        seen.push((kind, target, settings.target.span));
        if kind == SettingsKind::Train {
            let is_chosen = target == net.name.text;
            let read = reader.train(&settings.entries, is_chosen);
            if is_chosen {
                train = Some(read);
            }
        }
    }
    let train = train.unwrap_or_else(|| reader.train(&[], true));
    *errors = reader.cx.errors;
    train
}

struct Reader<'a, 'b> {
    cx: Cx<'a, 'b>,
    overrides: &'a Overrides,
}

impl<'a> Reader<'a, '_> {
    fn known_names(&mut self, entries: &'a [Setting], valid: &[&'static str]) {
        for (i, entry) in entries.iter().enumerate() {
            let name = entry.name.text.as_str();
            if !valid.contains(&name) {
                let list = valid.join("`, `");
                let message = Message::new(Code::UnknownSetting, format!("there is no setting `{name}`"));
                let message =
                    message.did_you_mean(name, valid.iter().copied()).note(format!("the settings are `{list}`"));
                self.cx.error(message.at(entry.name.span));
                continue;
            }
            let first = entries[..i].iter().find(|first| first.name.text == name);
            if let Some(first) = first {
                let message = Message::new(Code::DuplicateSetting, format!("`{name}` is set twice"));
                report(
                    &mut self.cx.errors,
                    message.at(entry.name.span).label("again here").also(first.name.span, "first here"),
                );
            }
        }
    }

    fn train(&mut self, entries: &'a [Setting], is_chosen: bool) -> TrainSettings {
        let find = |name: &str| entries.iter().find(|entry| entry.name.text == name);
        let mut value = |name: &str| -> Option<&'a Expr> {
            if is_chosen && let Some(set) = self.overrides.find(name, None) {
                return Some(set);
            }
            let entry = find(name)?;
            match &entry.value {
                SettingValue::Values(values) if values.len() == 1 => values.first(),
                SettingValue::Values(_) | SettingValue::Feed { .. } => {
                    self.cx.fail(Code::BadSetting, format!("`{name}` takes one value"), entry.span);
                    None
                }
            }
        };
        let [optimizer, schedule, clip, batch, epochs, seed, tbptt] = SETTINGS.map(&mut value);
        let optimizer = self.chosen("optimizer", optimizer, Some("adam"), is_chosen);
        let schedule = self.chosen("schedule", schedule, Some("constant"), is_chosen);
        let clip = self.chosen("clip", clip, None, is_chosen);
        TrainSettings {
            optimizer: optimizer.map_or_else(
                || as_optimizer("adam", &ADAM.iter().map(|(.., n)| n.unwrap_or(0.0)).collect::<Vec<_>>()),
                |(name, n)| as_optimizer(name, &n),
            ),
            schedule: schedule.map_or(Schedule::Constant, |(name, n)| as_schedule(name, &n)),
            clip: clip.map(|(name, n)| if name == "norm" { Clip::Norm(n[0]) } else { Clip::Value(n[0]) }),
            batch: self.count("batch", batch, 1).unwrap_or(32),
            epochs: self.count("epochs", epochs, 1).unwrap_or(10),
            seed: self.count("seed", seed, 0).unwrap_or(0) as u64,
            tbptt: self.count("tbptt", tbptt, 1),
        }
    }

    fn count(&mut self, name: &str, expr: Option<&'a Expr>, least: usize) -> Option<usize> {
        let expr = expr?;
        match self.cx.eval(expr) {
            Value::Poison => None,
            Value::Number(n) if n.fract() == 0.0 && n >= least as f64 && n <= super::eval::MAX_WHOLE => {
                Some(n as usize)
            }
            Value::Number(n) => {
                self.cx.fail(Code::BadSetting, format!("`{name}` is a whole number from {least}, not {n}"), expr.span);
                None
            }
            other => {
                self.cx.fail(
                    Code::BadSetting,
                    format!("`{name}` is a whole number, not {}", other.describe()),
                    expr.span,
                );
                None
            }
        }
    }

    /// The name of what is chosen for `setting`, and its arguments in the order of its table.
    fn chosen(
        &mut self,
        setting: &str,
        expr: Option<&'a Expr>,
        preset: Option<&'static str>,
        is_chosen: bool,
    ) -> Option<(&'static str, Vec<f64>)> {
        let (name, args, span): (&str, &'a [Arg], Option<Span>) = match expr.map(|expr| (&expr.kind, expr.span)) {
            None => (preset?, &[], None),
            Some((ExprKind::Name(name), span)) => (&name.text, &[], Some(span)),
            Some((ExprKind::Call { callee, args, repeat: None }, span)) => (&callee.text, args, Some(span)),
            Some((_, span)) => {
                let names: Vec<&str> = choices(setting).iter().map(|choice| choice.name).collect();
                self.cx.fail(Code::BadSetting, format!("`{setting}` is one of `{}`", names.join("`, `")), span);
                return None;
            }
        };
        let Some(choice) = choices(setting).iter().find(|choice| choice.name == name) else {
            let names = choices(setting).iter().map(|choice| choice.name);
            let list: Vec<&str> = names.clone().collect();
            let message = Message::new(Code::BadSetting, format!("there is no {setting} `{name}`"));
            let message = message.did_you_mean(name, names).note(format!("there are `{}`", list.join("`, `")));
            self.cx.error(message.at(span.expect("presets exist")));
            return None;
        };
        let mut numbers: Vec<Option<f64>> = choice.args.iter().map(|(.., preset)| *preset).collect();
        let mut given = vec![false; numbers.len()];
        for (position, arg) in args.iter().enumerate() {
            let index = match &arg.name {
                Some(name) => choice.args.iter().position(|(known, ..)| *known == name.text),
                None => Some(position).filter(|&position| position < choice.args.len()),
            };
            let Some(index) = index else {
                let message = match &arg.name {
                    Some(given) => {
                        super::call::unknown_argument(name, &given.text, choice.args.iter().map(|(known, ..)| *known))
                    }
                    None => Message::new(
                        Code::UnknownArgument,
                        format!("`{name}` takes at most {} arguments", choice.args.len()),
                    ),
                };
                self.cx.error(message.at(arg.span()));
                continue;
            };
            if std::mem::replace(&mut given[index], true) {
                self.cx.fail(
                    Code::DuplicateArgument,
                    format!("`{}` of `{name}` is given twice", choice.args[index].0),
                    arg.span(),
                );
                continue;
            }
            numbers[index] = self.taken(name, choice, index, &arg.value);
        }
        if is_chosen {
            let all = argument_names(setting);
            for argument in all {
                let Some(set) = self.overrides.find(setting, Some(argument)) else { continue };
                match choice.args.iter().position(|(known, ..)| *known == argument) {
                    Some(index) => numbers[index] = self.taken(name, choice, index, set),
                    None => {
                        let valid = choice.args.iter().map(|(known, ..)| *known);
                        self.cx.error(super::call::unknown_argument(name, argument, valid).at(set.span));
                    }
                }
            }
        }
        let missing = numbers.iter().zip(&given).position(|(n, given)| n.is_none() && !given);
        if let (Some(missing), Some(span)) = (missing, span) {
            let text = format!("`{name}` needs its argument `{}`", choice.args[missing].0);
            self.cx.fail(Code::MissingArgument, text, span);
        }
        let numbers: Option<Vec<f64>> = numbers.into_iter().collect();
        numbers.map(|numbers| (choice.name, numbers))
    }

    fn taken(&mut self, name: &str, choice: &Choice, index: usize, expr: &'a Expr) -> Option<f64> {
        let (argument, take, _) = choice.args[index];
        let value = self.cx.eval(expr);
        let wanted = match (take, &value) {
            (_, Value::Poison) => return None,
            (Take::Number(bounds), Value::Number(n)) if bounds.hold(*n) => return Some(*n),
            (Take::Count(least), Value::Number(n)) if n.fract() == 0.0 && *n >= least as f64 && *n <= 1e12 => {
                return Some(*n);
            }
            (Take::Flag, Value::Bool(flag)) => return Some(f64::from(*flag)),
            (Take::Number(bounds), _) => bounds.to_string(),
            (Take::Count(least), _) => format!("a whole number from {least}"),
            (Take::Flag, _) => "`true` or `false`".to_owned(),
        };
        let found = if let Value::Number(n) = value { n.to_string() } else { value.describe() };
        self.cx.fail(Code::BadSetting, format!("`{argument}` of `{name}` is {wanted}, not {found}"), expr.span);
        None
    }
}

fn as_optimizer(name: &str, n: &[f64]) -> Optimizer {
    match name {
        "sgd" => Optimizer::Sgd { lr: n[0], momentum: n[1], nesterov: n[2] != 0.0, weight_decay: n[3] },
        "rmsprop" => Optimizer::RmsProp { lr: n[0], alpha: n[1], epsilon: n[2], momentum: n[3], weight_decay: n[4] },
        "adagrad" => Optimizer::AdaGrad { lr: n[0], epsilon: n[1], weight_decay: n[2] },
        _ => Optimizer::Adam {
            lr: n[0],
            beta1: n[1],
            beta2: n[2],
            epsilon: n[3],
            weight_decay: n[4],
            decoupled: name == "adamw",
        },
    }
}

fn as_schedule(name: &str, n: &[f64]) -> Schedule {
    match name {
        "step" => Schedule::Step { every: n[0] as usize, factor: n[1] },
        "exponential" => Schedule::Exponential { factor: n[0] },
        "cosine" => Schedule::Cosine { epochs: n[0] as usize, floor: n[1] },
        "warm_up" => Schedule::WarmUp { epochs: n[0] as usize },
        "plateau" => Schedule::Plateau { factor: n[0], patience: n[1] as usize },
        _ => Schedule::Constant,
    }
}
