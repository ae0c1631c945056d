//! First values of parameters: a pure function of the seed, the parameter's path and the index.

use std::sync::Mutex;
use std::thread;

use crate::artifact::description::{Columns, Initial};
use crate::kernels::project::project;
use crate::rng::Key;

/// How many values one thread fills at a time.
const CHUNK: usize = 1 << 16;

/// Fills `values`, a tensor of this shape, with its initial values; they do not depend on the number of threads.
///
/// ```
/// use netc_runtime::artifact::description::Initial;
///
/// let initial = Initial::Uniform { low: -1.0, high: 1.0 };
/// let [mut a, mut b] = [[0.0; 6]; 2];
/// netc_runtime::initial::fill("dense1.weight", &[2, 3], &initial, 7, &mut a, 1);
/// netc_runtime::initial::fill("dense1.weight", &[2, 3], &initial, 7, &mut b, 4);
/// assert_eq!(a, b);
/// ```
pub fn fill(path: &str, shape: &[usize], initial: &Initial, seed: u64, values: &mut [f32], threads: usize) {
    let (key, stream) = (Key::new(seed), stream(path));
    if let Initial::Orthogonal { gain } = *initial {
        return orthogonal(key, stream, shape, gain, values, threads);
    }
    if let Initial::Columns { blocks } = initial {
        return columns(path, shape, blocks, seed, values, threads);
    }
    let chunks = values.chunks_mut(CHUNK).enumerate();
    if threads < 2 || chunks.len() < 2 {
        return chunks.for_each(|(at, chunk)| fill_chunk(initial, key, stream, at * CHUNK, chunk));
    }
    let chunks = Mutex::new(chunks);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let next = || chunks.lock().ok()?.next();
                while let Some((at, chunk)) = next() {
                    fill_chunk(initial, key, stream, at * CHUNK, chunk);
                }
            });
        }
    });
}

/// Values `start..` of a tensor.
fn fill_chunk(initial: &Initial, key: Key, stream: u32, start: usize, values: &mut [f32]) {
    match initial {
        Initial::Constant { value } => values.fill(*value as f32),
        Initial::Values { values: written } => {
            let written = written.get(start..).unwrap_or_default();
            values.iter_mut().zip(written).for_each(|(value, written)| *value = *written as f32);
        }
        Initial::Uniform { low, high } => {
            let (low, range) = (*low as f32, (high - low) as f32);
            for (i, value) in values.iter_mut().enumerate() {
                *value = low + range * key.uniform(stream, (start + i) as u32);
            }
        }
        Initial::Normal { mean, deviation } => {
            for (i, value) in values.iter_mut().enumerate() {
                *value = (mean + deviation * f64::from(key.normal(stream, (start + i) as u32))) as f32;
            }
        }
        Initial::Orthogonal { .. } | Initial::Columns { .. } => unreachable!("made whole"),
    }
}

/// Blocks of columns side by side, each filled as a tensor of its own.
fn columns(path: &str, shape: &[usize], blocks: &[Columns], seed: u64, values: &mut [f32], threads: usize) {
    let rows = shape.first().copied().unwrap_or(1);
    let width = values.len().checked_div(rows).unwrap_or(0);
    let mut start = 0;
    for (number, Columns { count, initial }) in blocks.iter().enumerate() {
        let n = (*count as usize).min(width - start);
        if n == 0 || rows == 0 {
            continue;
        }
        let mut block = vec![0.0; rows * n];
        fill(&format!("{path}.{number}"), &[rows, n], initial, seed, &mut block, threads);
        for (row, block) in values.chunks_mut(width).zip(block.chunks(n)) {
            row[start..start + n].copy_from_slice(block);
        }
        start += n;
    }
}

/// A stream of random numbers for each path (FNV-1a), so that a new layer changes no other's values.
fn stream(path: &str) -> u32 {
    path.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// How many vectors of the basis are taken from the others at a time: they stay in a core's cache meanwhile.
const BLOCK: usize = 16;
/// Work, in multiplications, from which on threads help.
const SHARED: usize = 1 << 24;
/// A vector that keeps less of its length than this share has lost digits, and is projected once more.
const LOST: f64 = 1e-3;

/// Orthonormal rows, or columns when there are fewer of them: Gram-Schmidt of normal values, a block of vectors after the
/// other. Each block is made orthonormal and then taken from all vectors behind it, which threads share.
///
/// Projecting once in `f64` leaves products of about 1e-16 times the condition number, far below an `f32`; where a
/// vector nearly vanishes it is projected again ("twice is enough", Giraud, Langou and Rozloznik 2005).
fn orthogonal(key: Key, stream: u32, shape: &[usize], gain: f64, values: &mut [f32], threads: usize) {
    let rows = shape.first().copied().unwrap_or(1);
    let cols = values.len().checked_div(rows).unwrap_or(0);
    let (n, len) = (rows.min(cols), rows.max(cols));
    if n == 0 {
        return;
    }
    let mut basis: Vec<f64> = (0..n * len).map(|at| f64::from(key.normal(stream, at as u32))).collect();
    for begin in (0..n).step_by(BLOCK) {
        let (done, rest) = basis.split_at_mut(begin * len);
        let (block, rest) = rest.split_at_mut(BLOCK.min(n - begin) * len);
        orthonormalize(done, block, len);
        let share = (rest.len() / len).div_ceil(threads.max(1)).max(1) * len;
        if threads < 2 || n * n * len < SHARED {
            project(block, rest, len);
            continue;
        }
        let block = &*block;
        thread::scope(|scope| {
            for rest in rest.chunks_mut(share) {
                scope.spawn(|| project(block, rest, len));
            }
        });
    }
    for (at, value) in values.iter_mut().enumerate() {
        let (row, col) = (at / cols, at % cols);
        let element = if rows <= cols { basis[row * len + col] } else { basis[col * len + row] };
        *value = (gain * element) as f32;
    }
}

/// Makes the vectors of a block orthonormal, which are orthogonal to all `done` ones already.
fn orthonormalize(done: &[f64], block: &mut [f64], len: usize) {
    for at in 0..block.len() / len {
        let (before, vector) = block.split_at_mut(at * len);
        let vector = &mut vector[..len];
        project(before, vector, len);
        // Normal values have a length of about the root of their number.
        if length(vector) < LOST * (len as f64).sqrt() {
            project(done, vector, len);
            project(before, vector, len);
        }
        let length = length(vector).max(f64::MIN_POSITIVE);
        vector.iter_mut().for_each(|x| *x /= length);
    }
}

fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(path: &str, shape: &[usize], initial: Initial) -> Vec<f32> {
        let mut values = vec![f32::NAN; shape.iter().product()];
        fill(path, shape, &initial, 7, &mut values, 2);
        values
    }

    #[test]
    fn orthogonal_rows_and_columns() {
        for (rows, cols) in [(3, 5), (5, 3), (4, 4), (1, 1), (70, 37), (50, 67), (300, 300)] {
            let w = filled("w", &[rows, cols], Initial::Orthogonal { gain: 2.0 });
            let n = rows.min(cols);
            for i in 0..n {
                for j in 0..n {
                    let element = |k: usize, i: usize| if rows <= cols { w[i * cols + k] } else { w[k * cols + i] };
                    let dot: f32 = (0..rows.max(cols)).map(|k| element(k, i) * element(k, j)).sum();
                    let expected = if i == j { 4.0 } else { 0.0 };
                    assert!((dot - expected).abs() < 1e-5, "{rows}x{cols}: {i}.{j} = {dot}");
                }
            }
        }
    }

    #[test]
    fn columns_begin_each_as_they_say() {
        let constant = Columns { count: 2, initial: Initial::Constant { value: 3.0 } };
        let orthogonal = Columns { count: 4, initial: Initial::Orthogonal { gain: 1.0 } };
        let w = filled("w", &[4, 6], Initial::Columns { blocks: vec![constant, orthogonal] });
        for i in 0..4 {
            assert_eq!(w[i * 6..][..2], [3.0, 3.0]);
            for j in 0..4 {
                let dot: f32 = (2..6).map(|k| w[i * 6 + k] * w[j * 6 + k]).sum();
                assert!((dot - if i == j { 1.0 } else { 0.0 }).abs() < 1e-5, "{i}.{j} = {dot}");
            }
        }
    }

    #[test]
    fn values_depend_on_the_path_alone() {
        let uniform = || Initial::Uniform { low: -1.0, high: 1.0 };
        assert_eq!(filled("a", &[64], uniform()), filled("a", &[64], uniform()));
        assert_ne!(filled("a", &[64], uniform()), filled("b", &[64], uniform()));
        assert!(filled("a", &[4096], uniform()).iter().all(|x| (-1.0..=1.0).contains(x)));
    }
}
