//! A chart of lines: one a method, the mean over seeds and the band between the lowest and the
//! highest.

use super::intervals::Width;
use super::palette;
use super::svg::{Anchor, SHAPES, Scale, Svg, hull, polyline};
use super::words::fixed;
use crate::stats::Summary;

/// One line.
pub struct Line {
    /// The method, which decides colour, dashes and sign.
    pub method: String,
    /// Its name.
    pub title: String,
    /// Place, mean, and the lowest and highest seed.
    pub points: Vec<(f64, f64, [f64; 2])>,
}

/// What one number of a run gives for a line: a value at each place.
pub type Series = Vec<(f64, f64)>;

impl Line {
    /// The line of several runs: at each place the mean over the runs that have a value there; none
    /// without two places.
    pub fn of(method: &str, title: &str, runs: &[Series]) -> Option<Self> {
        let mut places: Vec<f64> = runs.iter().flatten().map(|p| p.0).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let points: Vec<_> = places
            .into_iter()
            .filter_map(|x| {
                let at = runs.iter().flatten().filter(|p| p.0 == x).map(|p| p.1);
                let values: Vec<f64> = at.filter(|y| y.is_finite()).collect();
                let mean = Summary::of(&values)?.mean;
                Some((x, mean, hull(values)?))
            })
            .collect();
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
    pub title: String,
    /// Under the horizontal axis.
    pub axis: String,
    /// Decimals of a value.
    pub digits: usize,
    /// Whether values are drawn by their logarithm.
    pub logarithmic: bool,
    /// Lines.
    pub lines: Vec<Line>,
}

/// More lines than this have no bands: they would cover each other.
const BANDS: usize = 4;

/// What lines and bands are.
pub const KEY: &str = "Line: mean over seeds. Band, where there are at most four lines: from the \
 lowest to the highest seed. Every line ends in its name; dashes and signs tell lines apart \
 without colour.";

/// The smallest value that a logarithmic axis shows; what is below lies on it.
const FLOOR: f64 = 1e-4;

impl Chart {
    /// The picture in both widths; empty without lines.
    pub fn draw(&self) -> String {
        if self.lines.is_empty() {
            return String::new();
        }
        Width::BOTH.iter().map(|w| self.picture(*w)).collect()
    }

    fn height(&self, y: f64) -> f64 {
        match self.logarithmic {
            true => y.max(FLOOR).log10(),
            false => y,
        }
    }

    fn picture(&self, width: Width) -> String {
        let units = width.units();
        let (left, right, top, bottom) = match width {
            Width::Wide => (60.0, units - 150.0, 12.0, 380.0),
            Width::Narrow if self.logarithmic => (60.0, units - 128.0, 12.0, 350.0),
            Width::Narrow => (38.0, units - 128.0, 12.0, 350.0),
        };
        let points = || self.lines.iter().flat_map(|l| &l.points);
        let [low, high] =
            hull(points().flat_map(|p| p.2.map(|y| self.height(y)))).unwrap_or([0.0, 1.0]);
        let margin = 0.04 * (high - low).max(1e-6);
        let x = Scale {
            domain: hull(points().map(|p| p.0)).unwrap_or([0.0, 1.0]),
            range: [left, right],
        };
        let y = Scale {
            domain: [low - margin, high + margin],
            range: [bottom, top],
        };
        let mut svg = Svg::new(units, bottom + 46.0);
        self.axes(&mut svg, &x, &y, width);
        for line in &self.lines {
            self.curve(&mut svg, &x, &y, line);
        }
        self.labels(&mut svg, right, &y, width);
        let ends: Vec<String> = self
            .lines
            .iter()
            .filter_map(|l| {
                let last = l.points.last()?;
                Some(format!(
                    "{} ends at {}",
                    l.title,
                    fixed(last.1, self.digits)
                ))
            })
            .collect();
        let id = format!("{}-{}", self.id, width.class());
        let description = format!("{}. {}.", self.axis, ends.join(". "));
        svg.finish(&id, width.class(), &self.title, &description)
    }

    fn axes(&self, svg: &mut Svg, x: &Scale, y: &Scale, width: Width) {
        let ([left, right], [bottom, top]) = (x.range, y.range);
        for (at, label) in self.heights(y) {
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

    /// Places and labels of the horizontal grid lines.
    fn heights(&self, y: &Scale) -> Vec<(f64, String)> {
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

    fn curve(&self, svg: &mut Svg, x: &Scale, y: &Scale, line: &Line) {
        let series = line.series();
        let at = |place: f64, value: f64| [x.at(place), y.at(self.height(value))];
        svg.open(&format!("s{series} curve"), &line.title);
        if self.lines.len() <= BANDS {
            self.band(svg, x, y, line);
        }
        let means: Vec<[f64; 2]> = line.points.iter().map(|p| at(p.0, p.1)).collect();
        svg.path("stroke", palette::dash(series), &polyline(&means));
        for ((place, value, _), at) in line.points.iter().zip(&means) {
            let hover = format!(
                "{}, at {}: {}",
                line.title,
                fixed(*place, 0),
                fixed(*value, self.digits)
            );
            svg.open("point", &hover);
            svg.sign("fill", SHAPES[series % SHAPES.len()], *at, 3.2);
            svg.close();
        }
        svg.close();
    }

    /// From the lowest to the highest seed.
    fn band(&self, svg: &mut Svg, x: &Scale, y: &Scale, line: &Line) {
        let at = |place: f64, value: f64| [x.at(place), y.at(self.height(value))];
        let there = line.points.iter().map(|p| at(p.0, p.2[1]));
        let back = line.points.iter().rev().map(|p| at(p.0, p.2[0]));
        let around: Vec<[f64; 2]> = there.chain(back).collect();
        svg.path("band", "", &format!("{}Z", polyline(&around)));
    }

    /// Names at the ends of the lines, moved apart where they would overlap.
    fn labels(&self, svg: &mut Svg, right: f64, y: &Scale, width: Width) {
        let end = |l: &Line| l.points.last().map(|p| y.at(self.height(p.1)));
        let mut ends: Vec<(f64, &Line)> = self
            .lines
            .iter()
            .filter_map(|l| end(l).map(|e| (e, l)))
            .collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted: Vec<f64> = ends.iter().map(|e| e.0).collect();
        let places = apart(&wanted, 16.0, y.range[0]);
        let lead = if width == Width::Wide { 22.0 } else { 12.0 };
        for ((end, line), place) in ends.iter().zip(places) {
            let sign = SHAPES[line.series() % SHAPES.len()];
            svg.open(&format!("s{}", line.series()), &line.title);
            svg.line("leader", [right + 5.0, *end], [right + lead, place]);
            svg.sign("fill", sign, [right + lead + 5.0, place], 3.6);
            let text = [right + lead + 12.0, place + 4.0];
            svg.text("label", text, Anchor::Start, &line.title);
            svg.close();
        }
    }
}

/// Places at least `gap` apart, in order, none below `bottom` where there is room, near the wanted
/// ones.
fn apart(wanted: &[f64], gap: f64, bottom: f64) -> Vec<f64> {
    let mut places = wanted.to_vec();
    for i in 1..places.len() {
        places[i] = places[i].max(places[i - 1] + gap);
    }
    let mut limit = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - gap;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_moved_apart_and_stay_in_order_above_the_axis() {
        let places = apart(&[10.0, 12.0, 95.0, 96.0, 97.0], 10.0, 100.0);
        assert!(
            places.windows(2).all(|w| w[1] - w[0] >= 10.0 - 1e-9),
            "{places:?}"
        );
        assert_eq!(places[0], 10.0);
        assert_eq!(places[4], 100.0);
    }

    #[test]
    fn a_line_is_the_mean_where_there_are_values_and_needs_two_places() {
        let runs = [
            vec![(0.0, 1.0), (5.0, 3.0)],
            vec![(0.0, 2.0), (5.0, f64::NAN)],
        ];
        let line = Line::of("inducer", "Inducer", &runs).unwrap();
        assert_eq!(line.points[0], (0.0, 1.5, [1.0, 2.0]));
        assert_eq!(line.points[1], (5.0, 3.0, [3.0, 3.0]));
        assert!(Line::of("inducer", "Inducer", &[vec![(0.0, 1.0)]]).is_none());
    }

    #[test]
    fn a_logarithmic_axis_has_a_line_at_every_power_of_ten() {
        let chart = Chart {
            id: "x",
            title: "x".into(),
            axis: "x".into(),
            digits: 3,
            logarithmic: true,
            lines: vec![Line::of("lora", "LoRA", &[vec![(0.0, 0.0), (1.0, 2.0)]]).unwrap()],
        };
        let picture = chart.draw();
        for label in [">≤0.0001<", ">0.001<", ">0.01<", ">0.1<", ">1<"] {
            assert!(picture.contains(label), "{label}");
        }
        assert!(!picture.contains("NaN"));
    }
}
