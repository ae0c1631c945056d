//! Products whose rows go to several places.

use super::*;
use crate::abi::Piece;

#[test]
fn pieces_of_a_result_are_its_rows() {
    // Few rows and many, short sums and long ones, results that are computed as they are and transposed.
    for (pieces, [m, n, k]) in [
        (1, [5, 7, 3]),
        (2, [6, 70, 20]),
        (4, [400, 96, 100]),
        (3, [390, 130, 700]),
        (4, [1024, 40, 530]),
        (2, [260, 300, 2100]),
    ] {
        for transposes in 0..4 {
            for cpu in cpus() {
                let (a, b) = (random(m * k, 0), random(k * n, 1));
                let strides = strides(transposes, [m, n, k], n);
                let pool = Pool::new(1 + transposes % 2);
                let words = pool_frame(&pool);
                let mut whole = vec![f32::NAN; m * n];
                let d = descriptor([m, n, k], strides, &a, &b, &mut whole);
                // SAFETY: the descriptor is that of the vectors.
                unsafe { matmul_on(cpu, pool.team(), Frame::new(words.as_ptr()), &d) };
                // Each in rows of its own length, with a border.
                let run = m / pieces;
                let lens: Vec<usize> = (0..pieces).map(|piece| n + 3 * piece + 1).collect();
                let mut parts: Vec<Vec<f32>> = lens.iter().map(|len| vec![7.0; run * len]).collect();
                let places: Vec<Piece> = (parts.iter_mut().zip(&lens))
                    .map(|(part, &len)| Piece { c: part.as_mut_ptr(), c_rs: len as i64 })
                    .collect();
                let (c, first) = (std::ptr::null_mut(), places.as_ptr());
                let d = MatMul { c, pieces: first, piece_count: pieces as i64, ..d };
                let mut pool = Pool::new(2);
                let words = pool_frame(&pool);
                // SAFETY: as above.
                unsafe { matmul_on(cpu, pool.team(), Frame::new(words.as_ptr()), &d) };
                let what = format!("{m}x{n}x{k} {transposes} in {pieces} on {cpu:?}");
                assert_within(&mut pool, &needs(1, [m, n, k], 1, false), &what);
                for (row, truth) in whole.chunks(n).enumerate() {
                    let (len, part) = (lens[row / run], &parts[row / run]);
                    let found = &part[row % run * len..][..len];
                    let truth: Vec<f64> = truth.iter().map(|&x| f64::from(x)).collect();
                    assert_near(&found[..n], &truth, k, &what);
                    assert!(found[n..].iter().all(|&x| x == 7.0), "{what}: beyond row {row}");
                }
            }
        }
    }
}
