//! Drawing: an SVG picture with a title and a description, scales, ticks, and signs.

use crate::document::html::escape;

/// The width of a picture: for screens and paper, or for phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 760 units.
    Wide,
    /// 340 units.
    Narrow,
}

impl Width {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Wide, Self::Narrow];

    /// In units, which are pixels where there is room.
    pub fn units(self) -> f64 {
        match self {
            Self::Wide => 760.0,
            Self::Narrow => 340.0,
        }
    }

    /// The class in the page's style.
    pub fn class(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }
}

/// A picture that is being drawn.
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// The sign of a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// ●
    Circle,
    /// ■
    Square,
    /// ▲
    Up,
    /// ◆
    Diamond,
    /// ▼
    Down,
}

/// The signs, by series.
const SHAPES: [Shape; 5] = [
    Shape::Circle,
    Shape::Square,
    Shape::Up,
    Shape::Diamond,
    Shape::Down,
];

impl Shape {
    /// The sign of a series ([`crate::document::palette::series`]).
    pub fn of(series: usize) -> Self {
        SHAPES[series % SHAPES.len()]
    }
}

/// The dash pattern of a series' line; no two known methods share it and the sign.
pub fn dash(series: usize) -> &'static str {
    const DASHES: [&str; 4] = ["", "7 3", "2 3", "9 3 2 3"];
    let n = SHAPES.len();
    DASHES[(series / n + series % n) % DASHES.len()]
}

/// Which point of a text lies at the given position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its start.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

impl Svg {
    /// An empty picture.
    pub fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            body: String::new(),
        }
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        self.body += &format!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" \
             y2=\"{y2:.1}\"/>\n"
        );
    }

    /// A rectangle.
    pub fn rect(&mut self, class: &str, [x, y]: [f64; 2], [w, h]: [f64; 2]) {
        self.body += &format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" \
             height=\"{h:.1}\"/>\n"
        );
    }

    /// A path with a dash pattern; without one when it is empty.
    pub fn path(&mut self, class: &str, dash: &str, d: &str) {
        let dash = match dash {
            "" => String::new(),
            dash => format!(" stroke-dasharray=\"{dash}\""),
        };
        self.body += &format!("<path class=\"{class}\"{dash} d=\"{d}\"/>\n");
    }

    /// A text.
    pub fn text(&mut self, class: &str, [x, y]: [f64; 2], anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        self.body += &format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" \
             text-anchor=\"{anchor}\">{text}</text>\n"
        );
    }

    /// A sign of radius `r`.
    pub fn sign(&mut self, class: &str, shape: Shape, [x, y]: [f64; 2], r: f64) {
        if shape == Shape::Circle {
            self.body +=
                &format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\"/>\n");
            return;
        }
        let corners: &[[f64; 2]] = match shape {
            Shape::Square => &[[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
            Shape::Up => &[[0.0, -1.2], [1.1, 0.85], [-1.1, 0.85]],
            Shape::Down => &[[0.0, 1.2], [1.1, -0.85], [-1.1, -0.85]],
            Shape::Diamond | Shape::Circle => &[[0.0, -1.3], [1.3, 0.0], [0.0, 1.3], [-1.3, 0.0]],
        };
        let points = corners.iter().map(|c| [x + r * c[0], y + r * c[1]]);
        let points: Vec<[f64; 2]> = points.collect();
        self.path(class, "", &format!("{}Z", polyline(&points)));
    }

    /// Opens a group whose parts share a text on hover.
    pub fn open(&mut self, class: &str, hover: &str) {
        let hover = escape(hover);
        self.body += &format!("<g class=\"{class}\"><title>{hover}</title>\n");
    }

    /// Closes the group.
    pub fn close(&mut self) {
        self.body += "</g>\n";
    }

    /// A picture for each width; `id` is unique in the page.
    pub fn in_both_widths(
        id: &str,
        title: &str,
        description: &str,
        draw: impl Fn(Width) -> Self,
    ) -> String {
        let picture = |width: &Width| {
            let (id, size) = (format!("{id}-{}", width.class()), width.class());
            draw(*width).finish(&id, size, title, description)
        };
        Width::BOTH.iter().map(picture).collect()
    }

    /// The picture; `id` is unique in the page, `size` is a class of the page's style.
    pub fn finish(self, id: &str, size: &str, title: &str, description: &str) -> String {
        format!(
            "<svg class=\"{size}\" viewBox=\"0 0 {:.0} {:.0}\" role=\"img\" \
             aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{}</title>\
             <desc id=\"{id}-d\">{}</desc>\n{}</svg>\n",
            self.width,
            self.height,
            escape(title),
            escape(description),
            self.body
        )
    }
}

/// `M x y L x y …`
pub fn polyline(points: &[[f64; 2]]) -> String {
    let mut d = String::new();
    for (i, [x, y]) in points.iter().enumerate() {
        d += &format!("{}{x:.1} {y:.1} ", if i == 0 { "M" } else { "L" });
    }
    d.trim_end().into()
}

/// A linear map from values to positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Values.
    pub domain: [f64; 2],
    /// Positions.
    pub range: [f64; 2],
}

impl Scale {
    /// The position of a value.
    pub fn at(&self, x: f64) -> f64 {
        let [a, b] = self.domain;
        let [u, v] = self.range;
        let width = if b > a { b - a } else { 1.0 };
        u + (v - u) * (x - a) / width
    }

    /// As [`Scale::at`], of the nearest value inside the domain.
    pub fn clamped(&self, x: f64) -> f64 {
        self.at(x.clamp(self.domain[0], self.domain[1].max(self.domain[0])))
    }

    /// About `n` round values inside the domain, and the decimals they need.
    pub fn ticks(&self, n: usize) -> (Vec<f64>, usize) {
        let [a, b] = self.domain;
        let raw = (b - a) / n.max(1) as f64;
        if !raw.is_finite() || raw <= 0.0 {
            return (vec![a], 2);
        }
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|m| m * power)
            .find(|s| *s >= raw * 0.999)
            .unwrap_or(10.0 * power);
        let decimals = (-(step * 1.001).log10().floor()).max(0.0) as usize;
        let (first, last) = ((a / step - 1e-9).ceil(), (b / step + 1e-9).floor());
        let ticks = (0..=(last - first).max(0.0) as usize)
            .map(|i| (first + i as f64) * step)
            .collect();
        (ticks, decimals)
    }
}

/// The smallest and the largest of the finite values.
pub fn hull(values: impl IntoIterator<Item = f64>) -> Option<[f64; 2]> {
    values
        .into_iter()
        .filter(|x| x.is_finite())
        .fold(None, |hull, x| match hull {
            None => Some([x, x]),
            Some([a, b]) => Some([x.min(a), x.max(b)]),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::palette::SERIES;
    use approx::assert_abs_diff_eq;

    fn scale(a: f64, b: f64) -> Scale {
        Scale {
            domain: [a, b],
            range: [0.0, 100.0],
        }
    }

    #[test]
    fn a_scale_is_linear_and_clamps_what_lies_outside() {
        let s = scale(2.0, 4.0);
        assert_eq!(
            [s.at(2.0), s.at(3.0), s.at(4.0), s.at(5.0)],
            [0.0, 50.0, 100.0, 150.0]
        );
        assert_eq!([s.clamped(1.0), s.clamped(5.0)], [0.0, 100.0]);
        assert_eq!(scale(1.0, 1.0).at(1.0), 0.0);
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(
            scale(0.0, 50.0).ticks(5),
            (vec![0.0, 10.0, 20.0, 30.0, 40.0, 50.0], 0)
        );
        let (ticks, decimals) = scale(-0.31, 0.42).ticks(4);
        assert_eq!((ticks.len(), decimals), (4, 1));
        assert_abs_diff_eq!(ticks[0], -0.2, epsilon = 1e-12);
        assert_abs_diff_eq!(ticks[3], 0.4, epsilon = 1e-12);
        assert_eq!(scale(1.0, 1.0).ticks(4).0, vec![1.0]);
    }

    #[test]
    fn hull_passes_over_what_is_not_finite() {
        assert_eq!(
            hull([f64::NAN, 2.0, -1.0, f64::INFINITY]),
            Some([-1.0, 2.0])
        );
        assert_eq!(hull([]), None);
    }

    #[test]
    fn texts_in_pictures_are_escaped() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text("t", [0.0, 0.0], Anchor::Start, "a<b");
        let out = svg.finish("x", "wide", "t&t", "d");
        assert!(out.contains("a&lt;b") && out.contains("t&amp;t") && !out.contains("a<b"));
    }

    #[test]
    fn no_two_known_methods_share_shape_and_dash() {
        let known = SERIES.len() - 1;
        for (a, b) in (0..known).flat_map(|a| (0..known).map(move |b| (a, b))) {
            let same = Shape::of(a) == Shape::of(b) && dash(a) == dash(b);
            assert_eq!(same, a == b, "{} and {}", SERIES[a].0, SERIES[b].0);
        }
    }
}
