//! Recognizes handwritten digits, learns a few more of them, and filters samples: networks that were compiled with the
//! program, which holds no compiler.

use std::error::Error;

use netc_runtime::artifact::Sizes;

netc_runtime::include_net!("digits");
netc_runtime::include_net!("filter");
netc_runtime::include_net!("learner");

const IMAGES: &[u8] = include_bytes!("../../../models/digits/images.idx");
const LABELS: &[u8] = include_bytes!("../../../models/digits/labels.idx");
const PIXELS: usize = 28 * 28;

fn main() -> Result<(), Box<dyn Error>> {
    // The format of MNIST: a header of 16 bytes before pictures, one of 8 before labels.
    let images: Vec<f32> = IMAGES[16..].iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    let labels: Vec<i32> = LABELS[8..].iter().map(|&label| i32::from(label)).collect();
    let n = labels.len();

    let mut digits = Digits::new(|options| options.batch = n)?;
    let mut logits = vec![0.0; n * 10];
    digits.forward(n, &images, &mut logits)?;
    println!("{} of {n} digits are recognized", right(&logits, &labels));

    // The same network, from scratch, on the same few pictures.
    let (mut first, mut last) = (None, 0.0);
    let mut learner = Learner::new(|options| (options.batch, options.seed) = (n, 7))?;
    for _ in 0..60 {
        let (loss, _) = learner.train_step(n, &images, &labels)?;
        first.get_or_insert(loss);
        last = loss;
    }
    learner.forward(n, &images, &mut logits)?;
    println!(
        "the loss falls from {:.2} to {last:.2}; {} of {n} are right",
        first.unwrap_or(f32::NAN),
        right(&logits, &labels)
    );

    // One sample at a time; nothing is allocated any more.
    let mut filter = Filter::new(|options| options.steps = vec![1])?;
    filter.begin(&Sizes { batch: 1, axes: &[] }, &[], &mut [])?;
    let mut energy = 0.0;
    for t in 0..4800 {
        let (sample, mut out) = ([(t as f32 * 0.05).sin()], [0.0]);
        filter.take_step(&sample, &mut out)?;
        energy += out[0] * out[0];
    }
    println!(
        "4800 samples are filtered, of energy {}",
        if energy.is_finite() { "that is finite" } else { "without end" }
    );
    Ok(())
}

fn right(logits: &[f32], labels: &[i32]) -> usize {
    debug_assert_eq!(IMAGES.len() - 16, labels.len() * PIXELS);
    let best = |scores: &[f32]| (0..10).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0);
    logits.chunks_exact(10).zip(labels).filter(|(scores, label)| best(scores) == **label as usize).count()
}
