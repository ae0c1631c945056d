//! What the command line sets: `--set hidden=256`, `--set train.optimizer.lr=1e-4`.

use super::cx::{Cx, report};
use super::generate;
use super::program::Program;
use super::settings::{SETTINGS, argument_names};
use super::value::Value;
use crate::diag::{Code, Diagnostic, FileId, Message, Sources, Span};
use crate::syntax::ast::{Definition, Expr, ItemKind};
use crate::syntax::parse;

/// All of them, parsed; the last of those with one name counts.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    all: Vec<Override>,
}

#[derive(Debug)]
pub(super) struct Override {
    /// `hidden`; `train`, `optimizer`, `lr`
    pub(super) path: Vec<String>,
    pub(super) value: Expr,
}

impl Overrides {
    /// Values are expressions of the language; each has a source of its own, so that errors can show it.
    pub(super) fn parse(
        sources: &mut Sources,
        root: FileId,
        given: &[(String, String)],
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut overrides = Overrides::default();
        let mut errors = Vec::new();
        for (name, text) in given {
            let file = sources.add(format!("--set {name}"), format!("const value = {text}\n"));
            let parsed = parse(file, sources.text(file));
            let only = match parsed {
                Ok(parsed) if parsed.items.len() == 1 => parsed.items.into_iter().next(),
                Ok(_) => None,
                Err(all) => {
                    errors.extend(all);
                    continue;
                }
            };
            match only.map(|item| item.kind) {
                Some(ItemKind::Const { value, .. }) => {
                    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
                    overrides.all.retain(|known| known.path != path);
                    overrides.all.push(Override { path, value });
                }
                _ => {
                    let message = Message::new(Code::Syntax, format!("`{name}` is set to more than one value"));
                    errors.push(message.at(Span::new(root, 0, 0)));
                }
            }
        }
        if errors.is_empty() { Ok(overrides) } else { Err(errors) }
    }

    /// Reports names that are neither parameters of the net nor settings.
    pub(super) fn check(&self, program: &Program<'_>, net: &Definition, errors: &mut Vec<Diagnostic>) {
        let params: Vec<&str> = net.params.iter().map(|param| param.name.text.as_str()).collect();
        let mut valid: Vec<String> = params.iter().map(|&name| name.to_owned()).collect();
        for setting in SETTINGS {
            valid.push(format!("train.{setting}"));
            valid.extend(argument_names(setting).iter().map(|argument| format!("train.{setting}.{argument}")));
        }
        if generate::entries(program, net).is_some() {
            valid.extend(
                generate::SETTINGS.iter().filter(|name| **name != "feed").map(|name| format!("generate.{name}")),
            );
        }
        for Override { path, value } in &self.all {
            let name = path.join(".");
            if !valid.contains(&name) {
                let message = Message::new(Code::UnknownName, format!("nothing that can be set is called `{name}`"));
                let names = valid.iter().map(String::as_str);
                let message = message.did_you_mean(&name, names);
                let message = match params.is_empty() {
                    true => message,
                    false => message.note(format!(
                        "the net `{}` has the parameters `{}`",
                        net.name.text,
                        params.join("`, `")
                    )),
                };
                report(errors, message.at(value.span));
            }
        }
    }

    /// The net's parameters among them.
    pub(super) fn arguments<'a, 'b>(&'a self, cx: &mut Cx<'a, 'b>) -> Vec<(&'a str, Value<'a, 'b>)> {
        let of_net = self.all.iter().filter(|set| set.path.len() == 1);
        of_net.map(|set| (set.path[0].as_str(), cx.eval(&set.value))).collect()
    }

    /// What was set for `train.setting`, or for its argument.
    pub(super) fn find(&self, setting: &str, argument: Option<&str>) -> Option<&Expr> {
        let path: Vec<&str> = ["train", setting].into_iter().chain(argument).collect();
        self.all.iter().find(|set| set.path == path).map(|set| &set.value)
    }

    /// What was set for `generate.setting`.
    pub(super) fn find_generate(&self, setting: &str) -> Option<&Expr> {
        self.all.iter().find(|set| set.path == ["generate", setting]).map(|set| &set.value)
    }
}
