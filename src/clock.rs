//! Observers of the pipeline: one that looks at the clock, one that keeps what a stage made.

use std::fmt;
use std::time::{Duration, Instant};

use netc::pipeline::{Observer, Stage};

use crate::output::message;
use crate::table::{Align, Table};

/// How long each pass took, for `--time`.
#[derive(Debug)]
pub struct Clock {
    last: Instant,
    /// What is compiled now; empty before.
    entry: &'static str,
    passes: Vec<(String, Duration)>,
}

impl Clock {
    pub fn start() -> Self {
        Clock { last: Instant::now(), entry: "", passes: Vec::new() }
    }
    /// Leaves out what has happened since the last pass.
    pub fn begin(&mut self, entry: &'static str) {
        self.entry = entry;
        self.last = Instant::now();
    }
    pub fn pass(&mut self, name: &str) {
        let name = if self.entry.is_empty() { name.to_owned() } else { format!("{}: {name}", self.entry) };
        self.passes.push((name, self.last.elapsed()));
        self.last = Instant::now();
    }
    /// A table on standard error.
    pub fn report(&self) {
        message(self.table().to_string().trim_end());
    }
    pub fn table(&self) -> Table {
        let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
        let mut table = Table::new([("pass", Align::Left), ("ms", Align::Right)]);
        for (name, time) in &self.passes {
            table.row([name.clone(), ms(*time)]);
        }
        table.rule();
        table.row(["total".to_owned(), ms(self.passes.iter().map(|(_, time)| *time).sum())]);
        table
    }
}

impl Observer for Clock {
    fn after(&mut self, stage: Stage, _: &dyn fmt::Display) {
        match stage {
            Stage::Ast => self.pass("parse"),
            Stage::Graph => self.pass("select"),
            Stage::Backward => self.pass("differentiate"),
            Stage::Simplified => self.pass("simplify"),
            Stage::Kernels => self.pass("schedule"),
            Stage::Plan => self.pass("plan memory"),
            Stage::Clif => self.pass("generate code"),
            // Made together with the former.
            Stage::Asm => self.last = Instant::now(),
        }
    }
}

/// The text of one stage.
#[derive(Debug)]
pub struct Capture {
    pub stage: Stage,
    pub text: Option<String>,
}

impl Observer for Capture {
    fn after(&mut self, stage: Stage, product: &dyn fmt::Display) {
        if stage == self.stage {
            self.text = Some(product.to_string());
        }
    }
}
