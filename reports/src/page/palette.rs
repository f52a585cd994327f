//! Colours for light and dark, and the signs that tell methods apart without them.
//!
//! Contrast is WCAG's: (L₁ + 0.05)/(L₂ + 0.05) with L the relative luminance. Text has at least 4.5
//! on every ground, lines and dots at least 3 (`every_colour_has_enough_contrast_in_both_schemes`).

/// A name and its values in the light and the dark scheme.
pub type Colour = (&'static str, u32, u32);

/// What text stands on.
pub const GROUNDS: [Colour; 3] = [
    ("ground", 0xfdfcfa, 0x14171a),
    ("raised", 0xf4f2ed, 0x1d2125),
    ("mark", 0xfbe9c6, 0x4a3a12),
];

/// Text and what is drawn like text.
pub const INKS: [Colour; 3] = [
    ("ink", 0x1d2329, 0xe8e6e1),
    ("soft", 0x56606a, 0xa9b0b8),
    ("link", 0x1f5fa8, 0x8bbcf5),
];

/// Rules and grid lines, which carry no information.
pub const RULES: [Colour; 2] = [("rule", 0xdad6cd, 0x343a41), ("grid", 0xe9e6df, 0x272c32)];

/// One colour a method; the last ones are for methods that this file does not know.
#[rustfmt::skip]
pub const SERIES: [Colour; 14] = [
    ("s0", 0x6b7280, 0x9aa3af), // none
    ("s1", 0x2f3640, 0xd7dade), // full
    ("s2", 0x946200, 0xe0b04a), // prefix
    ("s3", 0x0f7a63, 0x4cc9a4), // adaptive
    ("s4", 0x1f6fb2, 0x6cb6ff), // extension
    ("s5", 0xc0390b, 0xff8f5e), // gating
    ("s6", 0x5b3fc4, 0xb3a1ff), // inducer
    ("s7", 0x97268f, 0xec8fe6), // inducer-lora
    ("s8", 0x4d7211, 0xa8cf5a), // adapter
    ("s9", 0x0b6f8a, 0x58c7e0), // lora
    ("s10", 0xb3245f, 0xff86b0), // mam-adapter
    ("s11", 0x7a3a1d, 0xd9a07e), // mam-inducer
    ("s12", 0x57534e, 0xb8b2aa), // bitfit
    ("s13", 0x3d5a3d, 0x9dc49d), // others
];

const KNOWN: [&str; 13] = [
    "none",
    "full",
    "prefix",
    "adaptive",
    "extension",
    "gating",
    "inducer",
    "inducer-lora",
    "adapter",
    "lora",
    "mam-adapter",
    "mam-inducer",
    "bitfit",
];

/// Dash patterns of lines; with [`super::svg::SHAPES`] no two known methods share both.
const DASHES: [&str; 4] = ["", "7 3", "2 3", "9 3 2 3"];

/// The place of a method in [`SERIES`].
pub fn series(method: &str) -> usize {
    KNOWN
        .iter()
        .position(|m| *m == method)
        .unwrap_or(KNOWN.len())
}

/// The dash pattern of a method's line.
pub fn dash(series: usize) -> &'static str {
    {
        let n = super::svg::SHAPES.len();
        DASHES[(series / n + series % n) % DASHES.len()]
    }
}

/// The custom properties of one scheme.
fn properties(dark: bool) -> String {
    let all = GROUNDS.iter().chain(&INKS).chain(&RULES).chain(&SERIES);
    all.map(|(name, light, night)| format!("--{name}:#{:06x};", if dark { night } else { light }))
        .collect()
}

/// CSS: the colours of both schemes (paper is always light) and one class a series.
pub fn css() -> String {
    let classes: String = (0..SERIES.len())
        .map(|i| format!(".s{i}{{--c:var(--s{i})}}"))
        .collect();
    format!(
        ":root{{color-scheme:light dark;{}}}\n@media screen and \
         (prefers-color-scheme:dark){{:root{{{}}}}}\n{classes}\n",
        properties(false),
        properties(true)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn luminance(rgb: u32) -> f64 {
        let linear = |shift: u32| {
            let c = f64::from((rgb >> shift) & 255) / 255.0;
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * linear(16) + 0.7152 * linear(8) + 0.0722 * linear(0)
    }

    fn contrast(a: u32, b: u32) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn contrast_of_black_on_white_is_21_and_of_a_known_pair_as_published() {
        assert!((contrast(0, 0xffffff) - 21.0).abs() < 1e-12);
        // #767676 is the lightest grey with 4.5 on white.
        assert!(contrast(0x767676, 0xffffff) >= 4.5 && contrast(0x777777, 0xffffff) < 4.5);
    }

    #[test]
    fn every_colour_has_enough_contrast_in_both_schemes() {
        for (g, light, dark) in GROUNDS {
            for (name, l, d) in INKS {
                let worst = contrast(l, light).min(contrast(d, dark));
                assert!(worst >= 4.5, "{name} on {g}: {worst:.2}");
            }
            for (name, l, d) in SERIES {
                let worst = contrast(l, light).min(contrast(d, dark));
                assert!(g == "mark" || worst >= 3.0, "{name} on {g}: {worst:.2}");
            }
        }
    }

    #[test]
    fn no_two_known_methods_share_shape_and_dash() {
        let signs: HashSet<(usize, &str)> = KNOWN
            .iter()
            .map(|m| series(m))
            .map(|s| (s % super::super::svg::SHAPES.len(), dash(s)))
            .collect();
        assert_eq!(signs.len(), KNOWN.len());
        assert_eq!(series("an unknown method"), 13);
    }
}
