//! Colours for light and dark.
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

/// One colour a method, the last for methods that this file does not know: name of the method,
/// value in the light and the dark scheme. `--s0` is the first one's name in the style.
#[rustfmt::skip]
pub const SERIES: [Colour; 14] = [
    ("none",         0x6b7280, 0x9aa3af),
    ("full",         0x2f3640, 0xd7dade),
    ("prefix",       0x946200, 0xe0b04a),
    ("adaptive",     0x0f7a63, 0x4cc9a4),
    ("extension",    0x1f6fb2, 0x6cb6ff),
    ("gating",       0xc0390b, 0xff8f5e),
    ("inducer",      0x5b3fc4, 0xb3a1ff),
    ("inducer-lora", 0x97268f, 0xec8fe6),
    ("adapter",      0x4d7211, 0xa8cf5a),
    ("lora",         0x0b6f8a, 0x58c7e0),
    ("mam-adapter",  0xb3245f, 0xff86b0),
    ("mam-inducer",  0x7a3a1d, 0xd9a07e),
    ("bitfit",       0x57534e, 0xb8b2aa),
    ("others",       0x3d5a3d, 0x9dc49d),
];

/// The index of a method's colour in [`SERIES`].
pub fn series(method: &str) -> usize {
    let found = SERIES.iter().position(|colour| colour.0 == method);
    found.unwrap_or(SERIES.len() - 1)
}

/// A colour of the light scheme by its name in the style.
pub fn light(name: &str) -> Option<u32> {
    let named = GROUNDS.iter().chain(&INKS).chain(&RULES);
    let found = named.into_iter().find(|colour| colour.0 == name);
    let series = || SERIES.get(name.strip_prefix('s')?.parse::<usize>().ok()?);
    found.or_else(series).map(|colour| colour.1)
}

/// The custom properties of one scheme.
fn properties(dark: bool) -> String {
    let named = GROUNDS.iter().chain(&INKS).chain(&RULES);
    let named = named.map(|(name, light, night)| (name.to_string(), light, night));
    let series = SERIES.iter().enumerate();
    let series = series.map(|(i, (_, light, night))| (format!("s{i}"), light, night));
    let value = |(name, light, night): (String, &u32, &u32)| {
        format!("--{name}:#{:06x};", if dark { night } else { light })
    };
    named.chain(series).map(value).collect()
}

/// CSS: the colours of both schemes (paper is always light) and one class a series.
pub fn css() -> String {
    let classes = (0..SERIES.len()).map(|i| format!(".s{i}{{--c:var(--s{i})}}"));
    format!(
        ":root{{color-scheme:light dark;{}}}\n@media screen and \
         (prefers-color-scheme:dark){{:root{{{}}}}}\n{}\n",
        properties(false),
        properties(true),
        classes.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

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
        assert_abs_diff_eq!(contrast(0, 0xffffff), 21.0, epsilon = 1e-12);
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
    fn a_method_that_is_not_known_has_the_last_colour() {
        assert_eq!(series("inducer"), 6);
        assert_eq!(series("an unknown method"), SERIES.len() - 1);
    }
}
