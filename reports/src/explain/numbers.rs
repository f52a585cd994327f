//! Numbers as the page carries them: 16 bits with a scale for each head, or f32, both as text.
//!
//! A value x of a head whose greatest is m is kept as round(32767 x/m), so it comes back to within
//! m/65534. Bytes become text four at a time, five characters of 85 (as in Ascii85, a quarter more
//! than the bytes; base64 has a third more).

use serde::Serialize;

/// Greatest whole number.
const STEPS: f32 = 32_767.0;

/// Values in 16 bits, blocks of the two leading dimensions with a scale each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sixteen {
    /// [layers, heads, points, p].
    pub shape: Vec<usize>,
    /// What a whole number of a block is multiplied by.
    pub scale: Vec<f32>,
    /// Whole numbers, block by block.
    pub values: Vec<i16>,
}

/// Values in f32.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Floats {
    /// [layers, heads, tokens].
    pub shape: Vec<usize>,
    /// The values.
    pub values: Vec<f32>,
}

/// The same as text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Packed {
    shape: Vec<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scale: Vec<f32>,
    /// Empty where all are zero.
    data: String,
}

impl Sixteen {
    /// From blocks of the two leading dimensions of `shape`.
    pub fn of(shape: Vec<usize>, blocks: &[Vec<f32>]) -> Self {
        let greatest = |b: &Vec<f32>| b.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        let scale: Vec<f32> = blocks.iter().map(|b| greatest(b) / STEPS).collect();
        let whole = |(block, scale): (&Vec<f32>, &f32)| -> Vec<i16> {
            let unit = if *scale > 0.0 { *scale } else { 1.0 };
            block.iter().map(|x| (x / unit).round() as i16).collect()
        };
        let values = blocks.iter().zip(&scale).flat_map(whole).collect();
        Self {
            shape,
            scale,
            values,
        }
    }

    /// The greatest error of a value: half a step of the widest head.
    pub fn error(&self) -> f64 {
        f64::from(self.scale.iter().copied().fold(0.0, f32::max)) / 2.0
    }

    /// As text.
    pub fn packed(&self) -> Packed {
        let zero = self.scale.iter().all(|s| *s == 0.0);
        let bytes = self.values.iter().flat_map(|x| x.to_le_bytes());
        Packed {
            shape: self.shape.clone(),
            scale: self.scale.clone(),
            data: if zero { String::new() } else { text(bytes) },
        }
    }
}

impl Floats {
    /// As text.
    pub fn packed(&self) -> Packed {
        Packed {
            shape: self.shape.clone(),
            scale: Vec::new(),
            data: text(self.values.iter().flat_map(|x| x.to_le_bytes())),
        }
    }
}

/// How many characters so many bytes become.
pub fn characters(bytes: usize) -> usize {
    bytes.div_ceil(4) * 5
}

/// Bytes as characters that may stand in a JSON string inside a script element.
fn text(bytes: impl Iterator<Item = u8>) -> String {
    let bytes: Vec<u8> = bytes.collect();
    let mut out = String::with_capacity(characters(bytes.len()));
    for chunk in bytes.chunks(4) {
        let mut four = [0; 4];
        four[..chunk.len()].copy_from_slice(chunk);
        let mut rest = u32::from_le_bytes(four);
        for _ in 0..5 {
            out.push(character(rest % 85));
            rest /= 85;
        }
    }
    out
}

/// `(` and the 84 after it, but no `<` and no backslash.
fn character(digit: u32) -> char {
    match char::from(40 + digit as u8) {
        '<' => '}',
        '\\' => '~',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    /// What the page's script does.
    fn bytes(text: &str) -> Vec<u8> {
        let digit = |c: u8| match c {
            b'}' => 20,
            b'~' => 52,
            c => u32::from(c) - 40,
        };
        let four = |five: &[u8]| {
            let all = five.iter().rev();
            all.fold(0u32, |sum, c| sum.wrapping_mul(85).wrapping_add(digit(*c)))
        };
        let chunks = text.as_bytes().chunks(5);
        chunks.flat_map(|c| four(c).to_le_bytes()).collect()
    }

    #[test]
    fn bytes_come_back_and_nothing_ends_a_script_or_a_string() {
        let all: Vec<u8> = (0..4000u32).map(|i| (i * i / 7 + i * 31) as u8).collect();
        let written = text(all.iter().copied());
        assert_eq!(bytes(&written), all);
        assert_eq!(written.len(), characters(all.len()));
        assert_eq!(bytes(&text([255; 8].into_iter())), [255; 8]);
        for wrong in ['<', '"', '\\', '&', '\''] {
            assert!(!written.contains(wrong));
        }
        assert_eq!(bytes(&text([1, 2, 3].into_iter())), [1, 2, 3, 0]);
    }

    #[test]
    fn a_value_comes_back_to_half_a_step_of_its_own_head() {
        let blocks = [
            (0..50).map(|i| (i as f32 * 0.7).sin() * 9.0).collect(),
            (0..50).map(|i| (i as f32 * 1.3).cos() * 0.01).collect(),
            vec![0.0; 50],
        ];
        let kept = Sixteen::of(vec![1, 3, 10, 5], &blocks);
        for (h, block) in blocks.iter().enumerate() {
            for (i, x) in block.iter().enumerate() {
                let back = f64::from(kept.scale[h]) * f64::from(kept.values[h * 50 + i]);
                let bound = f64::from(kept.scale[h]) * 0.505;
                assert_abs_diff_eq!(back, f64::from(*x), epsilon = bound);
            }
        }
        let greatest = blocks[0].iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        let half = f64::from(greatest) / 65_534.0;
        assert_abs_diff_eq!(kept.error() / half, 1.0, epsilon = 1e-6);
        let nothing = Sixteen::of(vec![1, 1, 2, 1], &[vec![0.0; 2]]);
        assert_eq!(nothing.packed().data, "");
    }
}
