//! Dots, means and intervals on one axis, one line a method: the ladder, and what each ablation
//! costs.

use super::palette;
use super::svg::{Anchor, SHAPES, Scale, Shape, Svg, hull};
use super::tables::{changes, plain_interval};
use super::verdict::{self, measure};
use super::words::{first_upper, fixed, signed, spread};
use crate::stats::{Summary, paired};
use crate::study::Study;
use crate::study::paper::FULL_METHOD;

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

/// One line.
struct Line {
    method: String,
    title: String,
    value: String,
    dots: Vec<(u64, f64)>,
    summary: Option<Summary>,
    paper: Option<f64>,
}

/// A picture of such lines.
struct Plot {
    id: &'static str,
    title: String,
    axis: String,
    digits: [usize; 2],
    zero: bool,
    signed: bool,
    lines: Vec<Line>,
}

/// The first score by method, from the untuned backbone to full fine-tuning, in both widths.
pub fn ladder(study: &Study) -> String {
    let measure = measure(study);
    let mut rows: Vec<_> = study.rows.iter().collect();
    rows.sort_by_key(|r| r.method == "full");
    let lines = rows
        .into_iter()
        .map(|r| {
            let summary = measure.summary(r);
            Line {
                method: r.method.clone(),
                title: r.title.clone(),
                value: spread(summary.as_ref(), 2),
                dots: measure.by_seed(r),
                summary,
                paper: None,
            }
        })
        .collect();
    Plot {
        id: "ladder",
        title: format!("{} by method", first_upper(measure.words())),
        axis: first_upper(measure.words()),
        digits: [measure.digits(), measure.paper_digits()],
        zero: true,
        signed: false,
        lines,
    }
    .render()
}

/// The difference of each ablation and addition to the whole method, in both widths.
pub fn costs(study: &Study) -> String {
    let measure = measure(study);
    let whole = study.row(FULL_METHOD).map(|r| measure.by_seed(r));
    let lines = changes()
        .into_iter()
        .map(|(method, _)| {
            let row = study.row(method).map(|r| measure.by_seed(r));
            let (dots, summary) = match (&whole, &row) {
                (Some(w), Some(r)) => (differences(w, r), paired(w, r)),
                _ => (Vec::new(), None),
            };
            Line {
                method: method.into(),
                title: verdict::title(study, method),
                value: summary.map_or("not measured".into(), |s| signed(s.mean, 2)),
                dots,
                summary,
                paper: measure.paper_difference(FULL_METHOD, method),
            }
        })
        .collect();
    Plot {
        id: "costs",
        title: "Difference of each change to Inducer-tuning".into(),
        axis: format!(
            "{} minus that of Inducer-tuning, same seed",
            first_upper(measure.words())
        ),
        digits: [measure.digits(), measure.paper_digits()],
        zero: true,
        signed: true,
        lines,
    }
    .render()
}

fn differences(whole: &[(u64, f64)], row: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let of = |(seed, y): &(u64, f64)| {
        let x = whole.iter().find(|w| w.0 == *seed)?.1;
        Some((*seed, y - x))
    };
    row.iter().filter_map(of).collect()
}

impl Plot {
    fn render(&self) -> String {
        Width::BOTH.iter().map(|w| self.draw(*w)).collect()
    }

    /// Dots, the paper's figures and (when asked) zero; intervals up to as far as the dots span.
    fn domain(&self) -> [f64; 2] {
        let dots = || {
            let lines = self.lines.iter();
            lines.flat_map(|l| l.dots.iter().map(|d| d.1).chain(l.paper))
        };
        let zero = self.zero.then_some(0.0);
        let [a, b] = hull(dots().chain(zero)).unwrap_or([0.0, 1.0]);
        let room = (0.5 * (b - a)).max(1e-3);
        let ends = self.lines.iter().filter_map(|l| l.summary?.interval);
        let ends = ends.flat_map(|(l, h)| [l.max(a - room), h.min(b + room)]);
        let [low, high] = hull(ends.chain([a, b])).unwrap_or([a, b]);
        let low = if self.signed { low } else { low.max(0.0) };
        [low, high.max(low + 1e-3)]
    }

    fn draw(&self, width: Width) -> String {
        let units = width.units();
        let (left, right, pitch, top) = match width {
            Width::Wide => (150.0, units - 120.0, 34.0, 10.0),
            Width::Narrow => (10.0, units - 12.0, 48.0, 6.0),
        };
        let bottom = top + pitch * self.lines.len() as f64;
        let x = Scale {
            domain: self.domain(),
            range: [left + 8.0, right - 8.0],
        };
        let mut svg = Svg::new(units, bottom + 46.0);
        self.axis(&mut svg, &x, [top, bottom], width);
        for (i, line) in self.lines.iter().enumerate() {
            let y = top + pitch * i as f64;
            let (text, dots) = match width {
                Width::Wide => (y + 0.5 * pitch + 4.5, y + 0.5 * pitch),
                Width::Narrow => (y + 18.0, y + 34.0),
            };
            let (name, value) = match width {
                Width::Wide => ([left - 8.0, text], [right + 8.0, text]),
                Width::Narrow => ([left, text], [right, text]),
            };
            let wide = width == Width::Wide;
            let (at_name, at_value) = if wide {
                (Anchor::End, Anchor::Start)
            } else {
                (Anchor::Start, Anchor::End)
            };
            svg.text("name", name, at_name, &line.title);
            svg.text("value", value, at_value, &line.value);
            self.line(&mut svg, &x, dots, line);
        }
        let id = format!("{}-{}", self.id, width.class());
        svg.finish(&id, width.class(), &self.title, &self.description())
    }

    fn axis(&self, svg: &mut Svg, x: &Scale, [top, bottom]: [f64; 2], width: Width) {
        let (ticks, digits) = x.ticks(if width == Width::Wide { 7 } else { 4 });
        for t in ticks {
            let at = x.at(t);
            let class = if t.abs() < 1e-12 { "zero" } else { "grid" };
            svg.line(class, [at, top], [at, bottom + 4.0]);
            let label = if self.signed {
                signed(t, digits)
            } else {
                fixed(t, digits)
            };
            svg.text("tick", [at, bottom + 18.0], Anchor::Middle, &label);
        }
        let middle = 0.5 * (x.range[0] + x.range[1]);
        svg.text("axis", [middle, bottom + 38.0], Anchor::Middle, &self.axis);
    }

    fn line(&self, svg: &mut Svg, x: &Scale, y: f64, line: &Line) {
        let series = palette::series(&line.method);
        svg.open(&format!("s{series}"), &self.hover(line));
        if let Some(s) = line.summary {
            if let Some((low, high)) = s.interval {
                svg.line("range", [x.held(low), y], [x.held(high), y]);
                for (end, outward) in [(low, -1.0), (high, 1.0)] {
                    let at = x.held(end);
                    if (x.at(end) - at).abs() > 0.5 {
                        // An arrow: the interval goes on.
                        let tip = [at + 7.0 * outward, y];
                        let d = super::svg::polyline(&[[at, y - 4.0], tip, [at, y + 4.0]]);
                        svg.path("fill", "", &format!("{d}Z"));
                    } else {
                        svg.line("range", [at, y - 4.0], [at, y + 4.0]);
                    }
                }
            }
            svg.sign(
                "fill mean",
                SHAPES[series % SHAPES.len()],
                [x.held(s.mean), y],
                5.0,
            );
        }
        for (_, value) in &line.dots {
            svg.sign("dot", Shape::Circle, [x.at(*value), y - 9.0], 2.6);
        }
        if let Some(p) = line.paper {
            svg.sign("paper", Shape::Diamond, [x.at(p), y + 10.0], 3.4);
        }
        svg.close();
    }

    fn hover(&self, line: &Line) -> String {
        let write = |v: f64| {
            if self.signed {
                signed(v, self.digits[0])
            } else {
                fixed(v, self.digits[0])
            }
        };
        let mut out = format!("{}: {}", line.title, line.value);
        if let Some(s) = line.summary.filter(|s| s.interval.is_some()) {
            out += &format!("; 95 % interval {}", plain_interval(&s));
        }
        for (seed, value) in &line.dots {
            out += &format!("; seed {seed}: {}", write(*value));
        }
        if let Some(p) = line.paper {
            out += &format!("; in the paper {}", signed(p, self.digits[1]));
        }
        out
    }

    fn description(&self) -> String {
        let lines: Vec<String> = self.lines.iter().map(|l| self.hover(l)).collect();
        format!("{}. {}.", self.axis, lines.join(". "))
    }
}

/// What the signs of [`ladder`] mean.
pub const LADDER_KEY: &str = "Small dots: one run each. Large sign: their mean. Line: 95 % \
 interval of the mean (Student's t); an arrow where it goes on beyond the picture.";

/// What the signs of [`costs`] mean.
pub const COSTS_KEY: &str = "Left of zero the change is worse than Inducer-tuning. Small dots: one \
 seed each. Large sign: their mean. Line: 95 % interval. Open diamond below: the paper's \
 difference, on GPT-2 small and WebNLG.";
