//! A chart of curves: one a method, the mean over seeds and the band between the lowest and the
//! highest.

use super::svg::{Anchor, Scale, Shape, Svg, Width, dash, hull, polyline};
use crate::document::format::fixed;
use crate::document::palette;
use crate::stats::Summary;
use crate::study::{Row, Run};

/// One curve.
pub struct Curve {
    /// The method, which decides colour, dashes and sign.
    pub method: String,
    /// Its name.
    pub title: String,
    /// Points, from left to right.
    pub points: Vec<Point>,
}

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Where it lies on the horizontal axis.
    pub x: f64,
    /// Mean over seeds.
    pub mean: f64,
    /// The lowest and the highest seed.
    pub range: [f64; 2],
}

impl Curve {
    /// The curves of the methods that have one, from the points that each run has.
    pub fn all<'a>(
        rows: impl IntoIterator<Item = &'a Row>,
        points: impl Fn(&Run) -> Vec<(f64, f64)>,
    ) -> Vec<Self> {
        let curve = |row: &Row| {
            let runs: Vec<_> = row.runs.iter().map(&points).collect();
            Self::of(&row.method, &row.title, &runs)
        };
        rows.into_iter().filter_map(curve).collect()
    }

    /// The curve of several runs: at each x the mean over the runs that have a value there; none
    /// without two points.
    fn of(method: &str, title: &str, runs: &[Vec<(f64, f64)>]) -> Option<Self> {
        let mut xs: Vec<f64> = runs.iter().flatten().map(|p| p.0).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        let point = |x: f64| {
            let at = runs.iter().flatten().filter(|p| p.0 == x).map(|p| p.1);
            let values: Vec<f64> = at.filter(|y| y.is_finite()).collect();
            let mean = Summary::of(&values)?.mean;
            let range = hull(values)?;
            Some(Point { x, mean, range })
        };
        let points: Vec<Point> = xs.into_iter().filter_map(point).collect();
        (points.len() > 1).then(|| Self {
            method: method.into(),
            title: title.into(),
            points,
        })
    }

    fn series(&self) -> usize {
        palette::series(&self.method)
    }
}

/// A chart.
pub struct Chart {
    /// Unique in the page.
    pub id: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// Under the horizontal axis.
    pub axis: String,
    /// Decimals of a value.
    pub digits: usize,
    /// Whether values are drawn by their logarithm.
    pub logarithmic: bool,
    /// Curves.
    pub curves: Vec<Curve>,
}

/// More curves than this have no bands: they would cover each other.
const BANDS: usize = 4;

/// What lines and bands are.
pub const SIGNS: &str = "Line: mean over seeds. Band, where there are at most four lines: from the \
 lowest to the highest seed. Every line ends in its name; dashes and signs tell lines apart \
 without colour.";

/// The smallest value that a logarithmic axis shows; what is below lies on it.
const FLOOR: f64 = 1e-4;

impl Chart {
    /// The picture in both widths; empty without curves.
    pub fn draw(&self) -> String {
        if self.curves.is_empty() {
            return String::new();
        }
        let end = |c: &Curve| {
            let last = fixed(c.points.last()?.mean, self.digits);
            Some(format!("{} ends at {last}", c.title))
        };
        let ends: Vec<String> = self.curves.iter().filter_map(end).collect();
        let description = format!("{}. {}.", self.axis, ends.join(". "));
        Svg::in_both_widths(self.id, self.title, &description, |w| self.picture(w))
    }

    /// What the vertical axis measures of a value.
    fn height(&self, y: f64) -> f64 {
        match self.logarithmic {
            true => y.max(FLOOR).log10(),
            false => y,
        }
    }

    fn picture(&self, width: Width) -> Svg {
        let units = width.units();
        let (left, right, top, bottom) = match width {
            Width::Wide => (60.0, units - 150.0, 12.0, 380.0),
            Width::Narrow if self.logarithmic => (60.0, units - 128.0, 12.0, 350.0),
            Width::Narrow => (38.0, units - 128.0, 12.0, 350.0),
        };
        let points = || self.curves.iter().flat_map(|c| &c.points);
        let heights = points().flat_map(|p| p.range.map(|y| self.height(y)));
        let [low, high] = hull(heights).unwrap_or([0.0, 1.0]);
        let margin = 0.04 * (high - low).max(1e-6);
        let x = Scale {
            domain: hull(points().map(|p| p.x)).unwrap_or([0.0, 1.0]),
            range: [left, right],
        };
        let y = Scale {
            domain: [low - margin, high + margin],
            range: [bottom, top],
        };
        let mut svg = Svg::new(units, bottom + 46.0);
        self.axes(&mut svg, &x, &y, width);
        for curve in &self.curves {
            self.curve(&mut svg, &x, &y, curve);
        }
        self.labels(&mut svg, right, &y, width);
        svg
    }

    fn axes(&self, svg: &mut Svg, x: &Scale, y: &Scale, width: Width) {
        let ([left, right], [bottom, top]) = (x.range, y.range);
        for (at, label) in self.grid_lines(y) {
            svg.line("grid", [left, at], [right, at]);
            svg.text("tick", [left - 6.0, at + 4.0], Anchor::End, &label);
        }
        let (ticks, digits) = x.ticks(if width == Width::Wide { 6 } else { 3 });
        for t in ticks {
            svg.line("grid", [x.at(t), top], [x.at(t), bottom]);
            let label = fixed(t, digits);
            svg.text("tick", [x.at(t), bottom + 18.0], Anchor::Middle, &label);
        }
        let middle = 0.5 * (left + right);
        svg.text("axis", [middle, bottom + 38.0], Anchor::Middle, &self.axis);
    }

    /// Positions and labels of the horizontal grid lines.
    fn grid_lines(&self, y: &Scale) -> Vec<(f64, String)> {
        let [low, high] = y.domain;
        if self.logarithmic && (high.floor() - low.ceil()) >= 1.0 {
            let powers = low.ceil() as i32..=high.floor() as i32;
            let label = |k: i32| {
                let text = fixed(10f64.powi(k), (-k).max(0) as usize);
                let floor = 10f64.powi(k) <= FLOOR;
                if floor { format!("≤{text}") } else { text }
            };
            return powers.map(|k| (y.at(f64::from(k)), label(k))).collect();
        }
        let (ticks, digits) = y.ticks(6);
        let label = |t: f64| match self.logarithmic {
            true => format!("{:.2e}", 10f64.powf(t)),
            false => fixed(t, digits),
        };
        ticks.into_iter().map(|t| (y.at(t), label(t))).collect()
    }

    fn curve(&self, svg: &mut Svg, x: &Scale, y: &Scale, curve: &Curve) {
        let series = curve.series();
        let at = |point: &Point, value: f64| [x.at(point.x), y.at(self.height(value))];
        svg.open(&format!("s{series} curve"), &curve.title);
        if self.curves.len() <= BANDS {
            let top = curve.points.iter().map(|p| at(p, p.range[1]));
            let back = curve.points.iter().rev().map(|p| at(p, p.range[0]));
            let around: Vec<[f64; 2]> = top.chain(back).collect();
            svg.path("band", "", &format!("{}Z", polyline(&around)));
        }
        let means: Vec<[f64; 2]> = curve.points.iter().map(|p| at(p, p.mean)).collect();
        svg.path("stroke", dash(series), &polyline(&means));
        for (point, at) in curve.points.iter().zip(&means) {
            let (x, mean) = (fixed(point.x, 0), fixed(point.mean, self.digits));
            svg.open("point", &format!("{}, at {x}: {mean}", curve.title));
            svg.sign("fill", Shape::of(series), *at, 3.2);
            svg.close();
        }
        svg.close();
    }

    /// Names at the ends of the curves, moved apart where they would overlap.
    fn labels(&self, svg: &mut Svg, right: f64, y: &Scale, width: Width) {
        let end = |c: &Curve| c.points.last().map(|p| y.at(self.height(p.mean)));
        let curves = self.curves.iter();
        let mut ends: Vec<(f64, &Curve)> = curves.filter_map(|c| Some((end(c)?, c))).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted: Vec<f64> = ends.iter().map(|e| e.0).collect();
        let lead = if width == Width::Wide { 22.0 } else { 12.0 };
        for ((end, curve), at) in ends.iter().zip(apart(&wanted, 16.0, y.range[0])) {
            let series = curve.series();
            svg.open(&format!("s{series}"), &curve.title);
            svg.line("leader", [right + 5.0, *end], [right + lead, at]);
            svg.sign("fill", Shape::of(series), [right + lead + 5.0, at], 3.6);
            let text = [right + lead + 12.0, at + 4.0];
            svg.text("label", text, Anchor::Start, &curve.title);
            svg.close();
        }
    }
}

/// Positions at least `gap` apart, in order, none below `bottom` where there is room, near the
/// wanted ones.
fn apart(wanted: &[f64], gap: f64, bottom: f64) -> Vec<f64> {
    let mut positions = wanted.to_vec();
    for i in 1..positions.len() {
        positions[i] = positions[i].max(positions[i - 1] + gap);
    }
    let mut limit = bottom;
    for position in positions.iter_mut().rev() {
        *position = position.min(limit);
        limit = *position - gap;
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_moved_apart_and_stay_in_order_above_the_axis() {
        let positions = apart(&[10.0, 12.0, 95.0, 96.0, 97.0], 10.0, 100.0);
        assert!(
            positions.windows(2).all(|w| w[1] - w[0] >= 10.0 - 1e-9),
            "{positions:?}"
        );
        assert_eq!(positions[0], 10.0);
        assert_eq!(positions[4], 100.0);
    }

    #[test]
    fn a_curve_is_the_mean_where_there_are_values_and_needs_two_points() {
        let runs = [
            vec![(0.0, 1.0), (5.0, 3.0)],
            vec![(0.0, 2.0), (5.0, f64::NAN)],
        ];
        let curve = Curve::of("inducer", "Inducer", &runs).unwrap();
        let point = |x, mean, range| Point { x, mean, range };
        assert_eq!(curve.points[0], point(0.0, 1.5, [1.0, 2.0]));
        assert_eq!(curve.points[1], point(5.0, 3.0, [3.0, 3.0]));
        assert!(Curve::of("inducer", "Inducer", &[vec![(0.0, 1.0)]]).is_none());
    }

    #[test]
    fn a_logarithmic_axis_has_a_line_at_every_power_of_ten() {
        let chart = Chart {
            id: "x",
            title: "x",
            axis: "x".into(),
            digits: 3,
            logarithmic: true,
            curves: vec![Curve::of("lora", "LoRA", &[vec![(0.0, 0.0), (1.0, 2.0)]]).unwrap()],
        };
        let picture = chart.draw();
        for label in [">≤0.0001<", ">0.001<", ">0.01<", ">0.1<", ">1<"] {
            assert!(picture.contains(label), "{label}");
        }
        assert!(!picture.contains("NaN"));
    }
}
