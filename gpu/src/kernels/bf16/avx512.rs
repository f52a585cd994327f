//! The product by AVX512-BF16: `vdpbf16ps` adds the products of two pairs to each of 16 sums.
//!
//! Operands are copied into blocks that stay in the second-level cache, rounded on the way; an
//! element of a block is a pair of neighbours along the reduction, the first in the low half. Of
//! the left operand a block has row after row, of the right one panels of [`TILE`] columns, pair
//! after pair. A tile of 12 × 32 sums stays in 24 registers while it goes through a block.
#![allow(unsafe_code)]

use super::super::matrix::{Destination, Mat};
use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    _mm512_mul_ps, _mm512_permutexvar_epi16, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::cell::RefCell;
use std::mem::transmute;

/// Elements of a vector of f32.
const LANES: usize = 16;
/// Rows and columns of the sums in registers.
const TILE: [usize; 2] = [12, 32];
/// Terms of the sums in a block.
const DEPTH: usize = 512;
/// Pairs in a row of a block.
const PAIRS: usize = DEPTH / 2;
/// Rows of the left operand in a block, 960 KiB.
const ROWS: usize = 960;
/// Columns of the right operand in a block, 512 KiB.
const COLUMNS: usize = 512;

/// Whether the processor has the instructions.
pub(super) fn is_present() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
}

/// Blocks of both operands; a thread's own, since making them anew takes longer than a small
/// product.
#[derive(Default)]
struct Blocks {
    left: Vec<u32>,
    right: Vec<u32>,
}

thread_local! {
    static BLOCKS: RefCell<Blocks> = RefCell::default();
}

/// `dst ← [dst +] scale · a b`.
///
/// # Safety
/// As [`super::multiply`]; the processor has the instructions ([`is_present`]).
pub(super) unsafe fn multiply(operands: [Mat<'_, f32>; 2], dst: Destination<f32>, scale: f32) {
    // SAFETY: the caller's promise.
    BLOCKS.with_borrow_mut(|blocks| unsafe { by_blocks(operands, dst, scale, blocks) });
}

/// So many elements at least; what is there is never cleared again.
fn make_room(block: &mut Vec<u32>, elements: usize) {
    if block.len() < elements {
        block.resize(elements, 0);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn by_blocks(
    [a, b]: [Mat<'_, f32>; 2],
    dst: Destination<f32>,
    scale: f32,
    blocks: &mut Blocks,
) {
    let [m, n, k] = [a.shape[0], b.shape[1], a.shape[1]];
    let Blocks { left, right } = blocks;
    make_room(left, ROWS.min(m) * PAIRS);
    make_room(right, COLUMNS.min(n).next_multiple_of(TILE[1]) * PAIRS);
    for i in (0..m).step_by(ROWS) {
        for k0 in (0..k).step_by(DEPTH) {
            let (rows, terms) = (ROWS.min(m - i), DEPTH.min(k - k0));
            copy_rows(left, a.block([i, k0], [rows, terms]));
            for j in (0..n).step_by(COLUMNS) {
                let columns = COLUMNS.min(n - j);
                copy_columns(right, b.block([k0, j], [terms, columns]));
                let part = Destination {
                    at: dst.at.wrapping_add(i * dst.row + j),
                    add: dst.add || k0 > 0,
                    ..dst
                };
                // SAFETY: the part's rows and columns are the destination's, by the caller's
                // promise; the blocks have been filled with as many.
                unsafe { by_tiles([left, right], part, scale, [rows, columns, terms]) };
            }
        }
    }
}

/// The product of two blocks with these numbers of rows, columns and terms.
///
/// # Safety
/// As [`super::multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn by_tiles(
    [left, right]: [&[u32]; 2],
    dst: Destination<f32>,
    scale: f32,
    [rows, columns, terms]: [usize; 3],
) {
    let pairs = terms.div_ceil(2);
    let panels = right.chunks_exact(pairs * TILE[1]);
    for (j, panel) in (0..columns).step_by(TILE[1]).zip(panels) {
        for i in (0..rows).step_by(TILE[0]) {
            let (height, width) = (TILE[0].min(rows - i), TILE[1].min(columns - j));
            let tile = Destination {
                at: dst.at.wrapping_add(i * dst.row + j),
                ..dst
            };
            let a = &left[i * PAIRS..];
            // SAFETY: `height` rows and `width` columns of the destination from here on are the
            // caller's; the block has as many rows.
            unsafe {
                match height {
                    1 => sums::<1>(a, panel, tile, width, scale),
                    2 => sums::<2>(a, panel, tile, width, scale),
                    3 => sums::<3>(a, panel, tile, width, scale),
                    4 => sums::<4>(a, panel, tile, width, scale),
                    5 => sums::<5>(a, panel, tile, width, scale),
                    6 => sums::<6>(a, panel, tile, width, scale),
                    7 => sums::<7>(a, panel, tile, width, scale),
                    8 => sums::<8>(a, panel, tile, width, scale),
                    9 => sums::<9>(a, panel, tile, width, scale),
                    10 => sums::<10>(a, panel, tile, width, scale),
                    11 => sums::<11>(a, panel, tile, width, scale),
                    _ => sums::<12>(a, panel, tile, width, scale),
                }
            }
        }
    }
}

/// A tile of `M` rows and `width` columns.
///
/// # Safety
/// As [`super::multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn sums<const M: usize>(
    left: &[u32],
    panel: &[u32],
    dst: Destination<f32>,
    width: usize,
    scale: f32,
) {
    let pairs = panel.len() / TILE[1];
    assert!(left.len() >= (M - 1) * PAIRS + pairs);
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    for p in 0..pairs {
        let line = &panel[p * TILE[1]..][..TILE[1]];
        // SAFETY: two vectors of the line; row r of the block has `pairs` elements (checked above).
        unsafe {
            let b0: __m512bh = transmute(_mm512_loadu_si512(line.as_ptr().cast()));
            let b1: __m512bh = transmute(_mm512_loadu_si512(line.as_ptr().add(LANES).cast()));
            for (r, sums) in sums.iter_mut().enumerate() {
                let pair = *left.get_unchecked(r * PAIRS + p);
                let a: __m512bh = transmute(_mm512_set1_epi32(pair as i32));
                sums[0] = _mm512_dpbf16_ps(sums[0], a, b0);
                sums[1] = _mm512_dpbf16_ps(sums[1], a, b1);
            }
        }
    }
    let scale = _mm512_set1_ps(scale);
    for (r, sums) in sums.into_iter().enumerate() {
        for (v, sum) in sums.into_iter().enumerate() {
            let mask = first(width.saturating_sub(v * LANES));
            let at = dst.at.wrapping_add(r * dst.row + v * LANES);
            // SAFETY: the mask has the columns that are the destination's, by the caller's promise.
            unsafe {
                let y = match dst.add {
                    true => _mm512_fmadd_ps(sum, scale, _mm512_maskz_loadu_ps(mask, at)),
                    false => _mm512_mul_ps(sum, scale),
                };
                _mm512_mask_storeu_ps(at, mask, y);
            }
        }
    }
}

/// The mask of the first `count` lanes.
fn first(count: usize) -> u16 {
    match count {
        LANES.. => u16::MAX,
        _ => (1 << count) - 1,
    }
}

/// The left operand's rows in pairs along its columns, [`PAIRS`] apart.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn copy_rows(block: &mut [u32], a: Mat<'_, f32>) {
    let [rows, terms] = a.shape;
    let pairs = terms.div_ceil(2);
    for p in (0..pairs).step_by(LANES) {
        if a.column == 1 {
            for i in 0..rows {
                store(&mut block[i * PAIRS + p..], neighbours(a, i, 2 * p));
            }
        } else {
            for i in (0..rows).step_by(LANES) {
                let lines = std::array::from_fn(|q| across(a.t(), 2 * (p + q), i));
                for (r, line) in transposed(lines).into_iter().take(rows - i).enumerate() {
                    store(&mut block[(i + r) * PAIRS + p..], line);
                }
            }
        }
    }
}

/// The right operand in panels of its columns, in pairs along its rows.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn copy_columns(block: &mut [u32], b: Mat<'_, f32>) {
    let [terms, columns] = b.shape;
    let pairs = terms.div_ceil(2);
    let panels = block.chunks_exact_mut(pairs * TILE[1]);
    for (j, panel) in (0..columns).step_by(TILE[1]).zip(panels) {
        for from in (0..TILE[1]).step_by(LANES) {
            if b.column == 1 {
                for p in 0..pairs {
                    store(&mut panel[p * TILE[1] + from..], across(b, 2 * p, j + from));
                }
                continue;
            }
            for p in (0..pairs).step_by(LANES) {
                let lines = std::array::from_fn(|c| neighbours(b.t(), j + from + c, 2 * p));
                for (q, line) in transposed(lines).into_iter().take(pairs - p).enumerate() {
                    store(&mut panel[(p + q) * TILE[1] + from..], line);
                }
            }
        }
    }
}

/// 16 pairs of neighbours in row `i`, from column `j` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn neighbours(m: Mat<'_, f32>, i: usize, j: usize) -> __m512i {
    let [low, high] = [load(m, i, j), load(m, i, j + LANES)];
    // SAFETY: both are 32 numbers of 16 bits.
    unsafe { transmute(_mm512_cvtne2ps_pbh(high, low)) }
}

/// 16 pairs of elements of rows `i` and `i + 1`, from column `j` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn across(m: Mat<'_, f32>, i: usize, j: usize) -> __m512i {
    const ALTERNATING: [u16; 32] = {
        let mut from = [0; 32];
        let mut lane = 0;
        while lane < 32 {
            from[lane] = lane as u16 / 2 + 16 * (lane as u16 % 2);
            lane += 1;
        }
        from
    };
    let [low, high] = [load(m, i, j), load(m, i + 1, j)];
    // SAFETY: both are 32 numbers of 16 bits; the indices are a vector of them.
    unsafe {
        let both: __m512i = transmute(_mm512_cvtne2ps_pbh(high, low));
        let order = _mm512_loadu_si512(ALTERNATING.as_ptr().cast());
        _mm512_permutexvar_epi16(order, both)
    }
}

/// Row `i` of a matrix from column `j` on; zeros beyond its ends.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn load(m: Mat<'_, f32>, i: usize, j: usize) -> __m512 {
    let [rows, columns] = m.shape;
    let count = columns.saturating_sub(j).min(LANES);
    if i >= rows || count == 0 {
        return _mm512_setzero_ps();
    }
    let there = &m.data[m.offset + i * m.row + j..][..count];
    // SAFETY: `count` elements are there.
    unsafe {
        match count {
            LANES => _mm512_loadu_ps(there.as_ptr()),
            _ => _mm512_maskz_loadu_ps(first(count), there.as_ptr()),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn store(to: &mut [u32], line: __m512i) {
    let to = &mut to[..LANES];
    // SAFETY: a vector's elements are there.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), line) };
}

/// The transpose of 16 × 16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn transposed(r: [__m512i; 16]) -> [__m512i; 16] {
    let mut s = r;
    for i in (0..16).step_by(2) {
        s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    let mut t = s;
    for i in (0..16).step_by(4) {
        t[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
        t[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
        t[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
        t[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
    }
    // now quarters of four lanes change places
    let mut u = t;
    for i in 0..4 {
        u[i] = _mm512_shuffle_i32x4(t[i], t[4 + i], 0x88);
        u[4 + i] = _mm512_shuffle_i32x4(t[i], t[4 + i], 0xdd);
        u[8 + i] = _mm512_shuffle_i32x4(t[8 + i], t[12 + i], 0x88);
        u[12 + i] = _mm512_shuffle_i32x4(t[8 + i], t[12 + i], 0xdd);
    }
    let mut v = u;
    for i in 0..8 {
        v[i] = _mm512_shuffle_i32x4(u[i], u[8 + i], 0x88);
        v[8 + i] = _mm512_shuffle_i32x4(u[i], u[8 + i], 0xdd);
    }
    v
}
