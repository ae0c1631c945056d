//! The text of networks with random cells: random equations, stacks, directions and first values.

use std::fmt::Write;

use crate::random::Random;

/// Functions that keep what they are given small.
const BOUNDED: [&str; 3] = ["tanh", "sigmoid", "hard_sigmoid"];
const FUNCTIONS: [&str; 8] = ["tanh", "sigmoid", "relu", "softplus", "silu", "gelu", "elu", "leaky_relu(0.1)"];

/// A value that a cell knows, and how many numbers it is.
type Known = (String, usize);

struct Cell {
    random: Random,
    text: String,
    known: Vec<Known>,
    n_names: usize,
}

/// What a cell is besides its text.
struct Made {
    text: String,
    states: Vec<Known>,
    has_second_input: bool,
}

/// A network of one to three cells.
pub(crate) fn generate(seed: u64) -> String {
    let mut random = Random(seed ^ 0x00c0_ffee);
    let mut up_to = |low: usize, high: usize| low + random.word() as usize % (high - low + 1);
    let (n_in, n_side, n_out) = (up_to(1, 4), up_to(1, 3), up_to(1, 3));
    let mut cells = String::new();
    let mut body = "  v0 = x -> identity\n".to_owned();
    let n_cells = up_to(1, 3);
    let mut finals = Vec::new();
    for number in 1..=n_cells {
        let made = cell(Random(seed * 16 + number as u64), &format!("unit{number}"));
        cells += &made.text;
        let mut args = Vec::new();
        if made.has_second_input {
            let second = ["side", "v0", "side -> dense(2, tanh)", "v0 -> mean_over(T)"][up_to(0, 3)];
            let _ = writeln!(
                body,
                "  second{number} = {}",
                if second.contains("->") { second.to_owned() } else { format!("{second} -> identity") }
            );
            args.push(format!("second{number}"));
        }
        if up_to(0, 2) == 0 {
            let values: Vec<String> = made.states.iter().map(|(name, _)| format!("{name}{number}")).collect();
            for ((_, n), value) in made.states.iter().zip(&values) {
                let _ = writeln!(body, "  {value} = side -> dense({n}, tanh)");
            }
            args.push(format!("init = [{}]", values.join(", ")));
        }
        let args = if args.is_empty() { String::new() } else { format!("({})", args.join(", ")) };
        let before = format!("v{}", number - 1);
        match up_to(0, 5) {
            0 => drop(writeln!(body, "  v{number} = {before} -> reverse(unit{number}{args})")),
            1 if args.is_empty() => drop(writeln!(body, "  v{number} = {before} -> bidirectional(unit{number})")),
            2 if args.is_empty() => drop(writeln!(body, "  v{number} = {before} -> (unit{number})x2")),
            3 | 4 => {
                let _ = writeln!(
                    body,
                    "  layer named{number} = unit{number}{args}\n  v{number} = {before} -> named{number}"
                );
                let (state, n) = &made.states[up_to(0, made.states.len() - 1)];
                finals.push((format!("named{number}.{state}"), *n));
            }
            _ => drop(writeln!(body, "  v{number} = {before} -> unit{number}{args}")),
        }
    }
    let end = match (up_to(0, 2), finals.first()) {
        (0, _) => format!("  target y[T, {n_out}]\n  z = v{n_cells} -> dense({n_out})\n"),
        (1, Some((last, _))) => format!(
            "  target y[{n_out}]\n  z = ({last} -> dense({n_out})) + (v{n_cells} -> mean_over(T) -> dense({n_out}))\n"
        ),
        _ => format!("  target y[{n_out}]\n  z = v{n_cells} -> last -> dense({n_out}, tanh)\n"),
    };
    let body = body + &end;
    let side = if body.contains("side") { format!("  input side[{n_side}]\n") } else { String::new() };
    format!("{cells}net fuzz {{\n  input x[T, {n_in}]\n{side}{body}  output z\n  loss mse(z, y)\n}}\n")
}

fn cell(random: Random, name: &str) -> Made {
    let mut cell = Cell { random, text: format!("cell {name} {{\n  input x[a]\n"), known: Vec::new(), n_names: 0 };
    let has_second_input = cell.up_to(0, 3) == 0;
    if has_second_input {
        cell.text += "  input w[b]\n";
    }
    let states: Vec<Known> = (0..cell.up_to(1, 3)).map(|number| (format!("s{number}"), cell.up_to(1, 4))).collect();
    for (state, n) in &states {
        let first = ["", "", " = 0.5", " = -1"][cell.up_to(0, 3)];
        let _ = writeln!(cell.text, "  state {state}[{n}]{first}");
    }
    cell.known = states.clone();
    if has_second_input {
        cell.name("[x, w] -> dense(2, tanh)".to_owned(), 2);
    }
    for _ in 0..cell.up_to(0, 3) {
        let n = cell.up_to(1, 4);
        let value = cell.value(n, has_second_input);
        cell.name(value, n);
    }
    for (number, (state, n)) in states.iter().enumerate() {
        let next = cell.next(number, &states, *n, has_second_input);
        let _ = writeln!(cell.text, "  {state}' = {next}");
        // Later equations may read what was just computed.
        cell.known.push((format!("{state}'"), *n));
    }
    // An output that no state needs, now and then of several values.
    let output = match cell.up_to(0, 4) {
        0 => {
            let hidden = cell.joined(has_second_input);
            format!("{hidden} -> dense(3, tanh) -> dense(2)")
        }
        1 => format!("[{}', {}]", states[0].0, cell.any()),
        2 => cell.value(2, has_second_input),
        3 => cell.any(),
        _ => format!("{}'", states.last().expect("a state").0),
    };
    // An input that nothing uses is an error.
    let is_used = |text: &String| ["x ->", "x,", "x]"].iter().any(|way| text.contains(way));
    let last = if is_used(&cell.text) || is_used(&output) { output } else { format!("[{}, x]", cell.name(output, 1)) };
    let _ = writeln!(cell.text, "  output {last}\n}}");
    Made { text: cell.text, states, has_second_input }
}

impl Cell {
    fn up_to(&mut self, low: usize, high: usize) -> usize {
        low + self.random.word() as usize % (high - low + 1)
    }
    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.random.word() as usize % from.len()]
    }
    fn any(&mut self) -> String {
        let at = self.up_to(0, self.known.len() - 1);
        self.known[at].0.clone()
    }
    /// A known value of `n` numbers.
    fn of_size(&mut self, n: usize) -> Option<String> {
        let fit: Vec<String> = self.known.iter().filter(|known| known.1 == n).map(|known| known.0.clone()).collect();
        (!fit.is_empty()).then(|| fit[self.random.word() as usize % fit.len()].clone())
    }
    fn name(&mut self, value: String, n: usize) -> String {
        self.n_names += 1;
        let name = format!("g{}", self.n_names);
        let _ = writeln!(self.text, "  {name} = {value}");
        self.known.push((name.clone(), n));
        name
    }
    fn param(&mut self, shape: &str) -> String {
        self.n_names += 1;
        let _ = writeln!(self.text, "  param p{}[{shape}]", self.n_names);
        format!("p{}", self.n_names)
    }

    /// Inputs and states beside each other, sometimes a product of states among them.
    fn joined(&mut self, has_second_input: bool) -> String {
        let mut parts = Vec::new();
        if self.up_to(0, 4) > 0 {
            parts.push("x".to_owned());
        }
        if has_second_input && self.up_to(0, 1) == 0 {
            parts.push("w".to_owned());
        }
        for _ in 0..self.up_to(usize::from(parts.is_empty()), 2) {
            let (value, n) = self.known[self.random.word() as usize % self.known.len()].clone();
            match self.of_size(n) {
                Some(other) if self.up_to(0, 2) == 0 => parts.push(format!("{value} * {other}")),
                _ => parts.push(value),
            }
        }
        // Parts in any order.
        let turn = self.up_to(0, parts.len() - 1);
        parts.rotate_left(turn);
        if parts.len() == 1 && !parts[0].contains('*') { parts.remove(0) } else { format!("[{}]", parts.join(", ")) }
    }
    /// `n` numbers of some size.
    fn value(&mut self, n: usize, second: bool) -> String {
        let (joined, function) = (self.joined(second), self.pick(&FUNCTIONS));
        match self.up_to(0, 8) {
            0 => format!("{joined} -> dense({n}) -> layernorm"),
            1 => format!("{joined} -> dense({n}, bias = false)"),
            2 => match self.of_size(n) {
                Some(known) => {
                    format!("({joined} -> dense({n}, {function})) + {} * {known}", self.param(&n.to_string()))
                }
                None => format!("{joined} -> dense({n}, {function})"),
            },
            3 => {
                let from = self.known[self.random.word() as usize % self.known.len()].clone();
                let (matrix, vector) = (self.param(&format!("{n}, {}", from.1)), self.param(&n.to_string()));
                format!("{matrix} @ {} + {vector}", from.0)
            }
            4 => match self.of_size(n) {
                Some(known) => format!("sigmoid({joined} -> dense({n})) * {known}"),
                None => format!("1 - ({joined} -> dense({n}, {function}))"),
            },
            5 => format!("0.3 * ({joined} -> dense({n}, {function})) - 0.2"),
            // What nothing of the recurrence enters.
            6 => format!("x -> dense({n}, {function})"),
            _ => format!("{joined} -> dense({n}) -> {function}"),
        }
    }
    /// The next value of a state, which stays small over many steps.
    fn next(&mut self, number: usize, states: &[Known], n: usize, second: bool) -> String {
        let state = &states[number].0;
        let bounded = self.pick(&BOUNDED);
        match self.up_to(0, 7) {
            0 => match states.iter().find(|(other, size)| other != state && *size == n) {
                // A state that only moves on.
                Some((other, _)) => other.clone(),
                None => format!("tanh({})", self.simple(n, second)),
            },
            1 => format!("{state} + (x -> dense({n}, tanh))"),
            2 | 3 => {
                let gate = self.joined(second);
                let gate = self.name(format!("sigmoid({gate} -> dense({n}))"), n);
                let value = self.simple(n, second);
                format!("(1 - {gate}) * {state} + {gate} * {bounded}({value})")
            }
            4 => format!("{} -> layernorm", self.simple(n, second)),
            _ => format!("{bounded}({})", self.simple(n, second)),
        }
    }
    fn simple(&mut self, n: usize, second: bool) -> String {
        let value = self.value(n, second);
        self.name(value, n)
    }
}
