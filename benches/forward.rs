//! Milliseconds of a network's forward pass at batch 1: `cargo bench --bench forward -- FILE THREADS CALLS`.
//! Prints one line a call, after a warm-up.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::Instant;

use ndarray::{ArrayD, IxDyn};
use netc::{Session, SessionOptions, TensorView, types::Extents};

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let file = args.next().unwrap_or_else(|| "models/vgg16.net".to_owned());
    let threads = args.next().map_or(1, |n| n.parse().expect("a number of threads"));
    let calls: usize = args.next().map_or(5, |n| n.parse().expect("a number of calls"));
    let source = std::fs::read_to_string(&file).expect("a readable file");
    let network = netc::check_source(&file, &source).unwrap_or_else(|error| panic!("{error}"));
    let mut session = Session::new(network, &SessionOptions { threads, seed: 1 });
    let inputs: Vec<(String, ArrayD<f32>)> = session
        .network()
        .ports
        .iter()
        .filter(|port| !port.is_target)
        .map(|port| {
            let shape = port.ty.eval(&Extents::with_batch(1));
            let n: usize = shape.iter().product();
            let values = (0..n).map(|i| ((i * 7919 % 1009) as f32) / 1009.0 - 0.5).collect();
            (port.name.clone(), ArrayD::from_shape_vec(IxDyn(&shape), values).expect("as many as the shape says"))
        })
        .collect();
    let views: Vec<(&str, TensorView<'_>)> =
        inputs.iter().map(|(name, array)| (name.as_str(), array.view().into())).collect();
    for call in 0..=calls {
        let start = Instant::now();
        let outputs = session.forward(&views).unwrap_or_else(|error| panic!("{error}"));
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        assert!(outputs.outputs().all(|(_, output)| output.iter().all(|x| x.is_finite())), "an output is not finite");
        if call > 0 {
            println!("{milliseconds:.3}");
        }
    }
}
