//! netc's side of the comparison with other systems, and one row of it alone.
//!
//! - `cargo bench --bench row -- NET BATCH THREADS forward|gradients|train CALLS` prints the median milliseconds of a call;
//!   NET is `lstm`, `gru`, `rnn`, `mgu`, `peephole`, `conv_lstm`, or a file and perhaps the name of its net,
//!   `models/charlm.net` or `FILE:NAME`. All but NET may be left out.
//! - `row worker FOLDER` obeys `benches/compare.py`, line by line (`worker.rs`).
//! - `row limits THREADS` prints what the machine can do: operations and bytes a second.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod task;
mod worker;

use std::path::Path;

use ndarray::ArrayD;
use netc::data::Tensor;
use netc::network::Port;
use netc::types::Extents;
use netc_runtime::Pool;
use netc_runtime::kernels::limits;
use task::{Call, Task};

fn main() {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let arg = |at: usize, default: &str| args.get(at).cloned().unwrap_or_else(|| default.to_owned());
    let result = match arg(0, "lstm").as_str() {
        "worker" => worker::serve(Path::new(&arg(1, "."))),
        "limits" => limits(&arg(1, "1")),
        net => row(net, [arg(1, "32"), arg(2, "1"), arg(3, "forward"), arg(4, "20")]),
    };
    if let Err(message) = result {
        println!("error {message}");
        std::process::exit(1);
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn limits(threads: &str) -> Result<(), String> {
    let pool = Pool::new(number(threads)?);
    println!("{:e} {:e}", limits::operations_per_second(&pool), limits::bytes_per_second(&pool));
    Ok(())
}

/// The median of the calls, after two that compile and warm up.
fn row(net: &str, [batch, threads, entry, calls]: [String; 4]) -> Result<(), String> {
    const RECURRENT: &str = "benches/networks/recurrent.net";
    let (file, net, length) = match net {
        "lstm" => ("benches/networks/lstm.net", None, 100),
        "gru" | "rnn" | "mgu" | "peephole" => (RECURRENT, Some(format!("{net}_layer")), 100),
        "conv_lstm" => (RECURRENT, Some("conv_lstm_layer".to_owned()), 10),
        _ => match net.split_once(':') {
            Some((file, name)) => (file, Some(name.to_owned()), 50),
            None => (net, None, 50),
        },
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let task = Task {
        file: root.join(file),
        net,
        settings: Vec::new(),
        call: Call::named(&entry)?,
        batch: number(&batch)?,
        length,
        threads: number(&threads)?,
    };
    let mut session = task.session(None).map_err(|error| error.to_string())?;
    let extents = task.extents(&session);
    let arrays = task.arrays(&session, |port| Ok(pattern(port, &extents))).map_err(|error| error.to_string())?;
    let times = task::times(&mut session, task.call, &arrays, number(&calls)?.max(1) + 2, task::clock);
    let mut times = times.map_err(|error| error.to_string())?.split_off(2);
    times.sort_by(f64::total_cmp);
    println!("{:.4}", times[times.len() / 2]);
    Ok(())
}

/// Values that follow no line, in [-0.5, 0.5), and tokens.
fn pattern(port: &Port, extents: &Extents) -> Tensor {
    let shape = port.ty.eval(extents);
    let numbers = (0..shape.iter().product()).map(|i: usize| i * 7919 % 1009);
    let whole = "as many as the shape says";
    match port.vocabulary {
        Some(vocabulary) => {
            let tokens = numbers.map(|x| (x % vocabulary) as i32).collect();
            Tensor::I32(ArrayD::from_shape_vec(shape, tokens).expect(whole))
        }
        None => {
            let values = numbers.map(|x| x as f32 / 1009.0 - 0.5).collect();
            Tensor::F32(ArrayD::from_shape_vec(shape, values).expect(whole))
        }
    }
}
