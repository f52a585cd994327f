//! Dots, means and intervals on one axis, one lane a method: the ladder, and what each ablation
//! costs.

use super::svg::{Anchor, Scale, Shape, Svg, Width, hull, polyline};
use crate::document::format::{fixed, interval, signed};
use crate::document::palette;
use crate::stats::Summary;

/// One method.
pub struct Lane {
    /// The method, which decides colour and sign.
    pub method: String,
    /// Its name.
    pub title: String,
    /// Its mean in words.
    pub value: String,
    /// A value for each seed.
    pub dots: Vec<(u64, f64)>,
    /// Their summary.
    pub summary: Option<Summary>,
    /// The paper's figure.
    pub paper: Option<f64>,
}

/// A picture of lanes; its axis holds zero.
pub struct Intervals {
    /// Unique in the page.
    pub id: &'static str,
    /// What it shows.
    pub title: String,
    /// Under the axis.
    pub axis: String,
    /// Decimals of a value, and of the paper's.
    pub digits: [usize; 2],
    /// Whether values are differences, which may be negative and have signs.
    pub signed: bool,
    /// Differences up to this size, on either side of zero, count as none.
    pub band: Option<f64>,
    /// Lanes, from top to bottom.
    pub lanes: Vec<Lane>,
}

/// Room for the longest name of a lane, in units: text is 13 units high.
fn room(lanes: &[Lane]) -> f64 {
    let longest = lanes.iter().map(|l| l.title.chars().count()).max();
    (7.2 * longest.unwrap_or(0) as f64 + 16.0).max(150.0)
}

impl Intervals {
    /// The picture in both widths.
    pub fn draw(&self) -> String {
        let lanes: Vec<String> = self.lanes.iter().map(|l| self.hover(l)).collect();
        let description = format!("{}. {}.", self.axis, lanes.join(". "));
        Svg::in_both_widths(self.id, &self.title, &description, |w| self.picture(w))
    }

    fn write(&self, x: f64, digits: usize) -> String {
        match self.signed {
            true => signed(x, digits),
            false => fixed(x, digits),
        }
    }

    /// Zero, the dots and the paper's figures; intervals up to as far as the dots span.
    fn domain(&self) -> [f64; 2] {
        let lanes = self.lanes.iter();
        let dots = lanes.flat_map(|l| l.dots.iter().map(|d| d.1).chain(l.paper));
        let band = self.band.into_iter().flat_map(|b| [-b, b]);
        let dots = dots.chain(band);
        let [a, b] = hull(dots.chain([0.0])).unwrap_or([0.0, 1.0]);
        let room = (0.5 * (b - a)).max(1e-3);
        let ends = self.lanes.iter().filter_map(|l| l.summary?.interval);
        let ends = ends.flat_map(|(l, h)| [l.max(a - room), h.min(b + room)]);
        let [low, high] = hull(ends.chain([a, b])).unwrap_or([a, b]);
        let low = if self.signed { low } else { low.max(0.0) };
        [low, high.max(low + 1e-3)]
    }

    fn picture(&self, width: Width) -> Svg {
        let units = width.units();
        let (left, right, pitch, top) = match width {
            Width::Wide => (room(&self.lanes), units - 120.0, 34.0, 10.0),
            Width::Narrow => (10.0, units - 12.0, 48.0, 6.0),
        };
        let bottom = top + pitch * self.lanes.len() as f64;
        let x = Scale {
            domain: self.domain(),
            range: [left + 8.0, right - 8.0],
        };
        let mut svg = Svg::new(units, bottom + 46.0);
        if let Some(band) = self.band {
            let [low, high] = [-band, band].map(|b| x.clamped(b));
            let corners = [[low, top], [high, top], [high, bottom], [low, bottom]];
            svg.path("margin", "", &format!("{}Z", polyline(&corners)));
        }
        self.axis(&mut svg, &x, [top, bottom], width);
        for (i, lane) in self.lanes.iter().enumerate() {
            let y = top + pitch * i as f64;
            let middle = y + 0.5 * pitch;
            let (name, value, dots) = match width {
                Width::Wide => (
                    ([left - 8.0, middle + 4.5], Anchor::End),
                    ([right + 8.0, middle + 4.5], Anchor::Start),
                    middle,
                ),
                Width::Narrow => (
                    ([left, y + 18.0], Anchor::Start),
                    ([right, y + 18.0], Anchor::End),
                    y + 34.0,
                ),
            };
            svg.text("name", name.0, name.1, &lane.title);
            svg.text("value", value.0, value.1, &lane.value);
            self.lane(&mut svg, &x, dots, lane);
        }
        svg
    }

    fn axis(&self, svg: &mut Svg, x: &Scale, [top, bottom]: [f64; 2], width: Width) {
        let (ticks, digits) = x.ticks(if width == Width::Wide { 7 } else { 4 });
        for t in ticks {
            let at = x.at(t);
            let class = if t.abs() < 1e-12 { "zero" } else { "grid" };
            svg.line(class, [at, top], [at, bottom + 4.0]);
            let label = self.write(t, digits);
            svg.text("tick", [at, bottom + 18.0], Anchor::Middle, &label);
        }
        let middle = 0.5 * (x.range[0] + x.range[1]);
        svg.text("axis", [middle, bottom + 38.0], Anchor::Middle, &self.axis);
    }

    fn lane(&self, svg: &mut Svg, x: &Scale, y: f64, lane: &Lane) {
        let series = palette::series(&lane.method);
        svg.open(&format!("s{series}"), &self.hover(lane));
        if let Some(s) = lane.summary {
            if let Some(interval) = s.interval {
                range(svg, x, y, interval);
            }
            let mean = [x.clamped(s.mean), y];
            svg.sign("fill mean", Shape::of(series), mean, 5.0);
        }
        for (_, value) in &lane.dots {
            svg.sign("dot", Shape::Circle, [x.at(*value), y - 9.0], 2.6);
        }
        if let Some(p) = lane.paper {
            svg.sign("paper", Shape::Diamond, [x.at(p), y + 10.0], 3.4);
        }
        svg.close();
    }

    fn hover(&self, lane: &Lane) -> String {
        let mut out = format!("{}: {}", lane.title, lane.value);
        if let Some(range) = interval(lane.summary, 2) {
            out += &format!("; 95 % interval {range}");
        }
        for (seed, value) in &lane.dots {
            out += &format!("; seed {seed}: {}", self.write(*value, self.digits[0]));
        }
        if let Some(p) = lane.paper {
            out += &format!("; in the paper {}", signed(p, self.digits[1]));
        }
        out
    }
}

/// An interval, with an arrow at an end that lies beyond the picture.
fn range(svg: &mut Svg, x: &Scale, y: f64, (low, high): (f64, f64)) {
    svg.line("range", [x.clamped(low), y], [x.clamped(high), y]);
    for (end, outward) in [(low, -1.0), (high, 1.0)] {
        let at = x.clamped(end);
        if (x.at(end) - at).abs() > 0.5 {
            let tip = [at + 7.0 * outward, y];
            let arrow = polyline(&[[at, y - 4.0], tip, [at, y + 4.0]]);
            svg.path("fill", "", &format!("{arrow}Z"));
        } else {
            svg.line("range", [at, y - 4.0], [at, y + 4.0]);
        }
    }
}
