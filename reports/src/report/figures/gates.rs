//! λ and μ by layer: for each method a small picture, for each layer a histogram and the quantiles
//! below it.

use super::svg::{Anchor, Scale, Svg};
use crate::document::format::fixed;
use crate::document::html::escape;
use crate::document::palette;
use crate::study::{LayerGates, Row};

/// What the signs are.
pub const SIGNS: &str = "One panel a method, one strip a layer (the first on top), from 0 to 1. \
 Bars: share of queries and heads. Below them: 5 to 95 % thin, 25 to 75 % thick, the median as a \
 gap (a stroke where the box is narrow).";

const WIDTH: f64 = 230.0;
const LEFT: f64 = 30.0;
const PITCH: f64 = 34.0;

/// Gates of a row, averaged over its runs.
pub fn over_seeds(row: &Row) -> Vec<LayerGates> {
    let mut out: Vec<LayerGates> = Vec::new();
    let mut counts: Vec<f64> = Vec::new();
    for gates in row.runs.iter().flat_map(|r| &r.result.mechanism.gates) {
        match out.iter().position(|g| g.layer == gates.layer) {
            Some(i) => {
                add(&mut out[i], gates);
                counts[i] += 1.0;
            }
            None => {
                out.push(gates.clone());
                counts.push(1.0);
            }
        }
    }
    for (g, n) in out.iter_mut().zip(counts) {
        numbers(g).for_each(|x| *x /= n);
    }
    out.sort_by_key(|g| g.layer);
    out
}

fn add(sum: &mut LayerGates, more: &LayerGates) {
    let mut more = more.clone();
    // a mean over all seeds or none
    if more.untrained.is_none() {
        sum.untrained = None;
    }
    numbers(sum)
        .zip(numbers(&mut more))
        .for_each(|(a, b)| *a += *b);
}

/// What is averaged; distances have a table of their own.
fn numbers(g: &mut LayerGates) -> impl Iterator<Item = &mut f64> {
    std::iter::once(&mut g.mean)
        .chain(&mut g.quantiles)
        .chain(&mut g.histogram)
        .chain(&mut g.heads)
        .chain(&mut g.untrained)
}

/// A panel for each method that has gates; empty when none has.
pub fn draw(rows: &[Row]) -> String {
    let panels: String = rows.iter().enumerate().filter_map(panel).collect();
    if panels.is_empty() {
        return String::new();
    }
    format!("<div class=\"panels\">\n{panels}</div>\n")
}

fn panel((index, row): (usize, &Row)) -> Option<String> {
    let gates = over_seeds(row);
    if gates.is_empty() {
        return None;
    }
    let x = Scale {
        domain: [0.0, 1.0],
        range: [LEFT, WIDTH - 12.0],
    };
    let bottom = 4.0 + PITCH * gates.len() as f64;
    let mut svg = Svg::new(WIDTH, bottom + 22.0);
    for t in [0.0, 0.25, 0.5, 0.75, 1.0] {
        svg.line("grid", [x.at(t), 4.0], [x.at(t), bottom]);
        if t != 0.25 && t != 0.75 {
            let label = [x.at(t), bottom + 16.0];
            svg.text("tick", label, Anchor::Middle, &t.to_string());
        }
    }
    let series = palette::series(&row.method);
    for (i, g) in gates.iter().enumerate() {
        strip(&mut svg, &x, 4.0 + PITCH * i as f64, g, series);
    }
    // a MAM adapter has a prefix too
    let symbol = match row.adapter["attention"]["kind"].as_str() {
        Some("prefix") => "μ",
        _ => "λ",
    };
    let title = format!("{symbol} by layer: {}", row.title);
    let layers: Vec<String> = gates.iter().map(hover).collect();
    let id = format!("gates-{index}");
    let picture = svg.finish(&id, "panel", &title, &layers.join(". "));
    let heading = escape(&row.title);
    Some(format!(
        "<div><p class=\"panel-title\">{heading} <i>{symbol}</i></p>\n{picture}</div>\n"
    ))
}

fn strip(svg: &mut Svg, x: &Scale, top: f64, g: &LayerGates, series: usize) {
    svg.open(&format!("s{series}"), &hover(g));
    svg.rect("clear", [0.0, top], [WIDTH, PITCH]);
    let layer = (g.layer + 1).to_string();
    svg.text("tick", [LEFT - 8.0, top + 24.0], Anchor::End, &layer);
    let tallest = g.histogram.iter().copied().fold(0.0, f64::max);
    let bins = g.histogram.len().max(1) as f64;
    for (i, share) in g.histogram.iter().enumerate() {
        let height = 18.0 * share / tallest;
        if height > 0.05 {
            let (a, b) = (x.at(i as f64 / bins), x.at((i + 1) as f64 / bins));
            svg.rect("bar", [a + 0.4, top + 21.0 - height], [b - a - 0.8, height]);
        }
    }
    let y = top + 26.0;
    let [q05, q25, q50, q75, q95] = g.quantiles.map(|q| x.clamped(q));
    svg.line("range", [q05, y], [q95, y]);
    svg.line("box", [q25, y], [q75, y]);
    // In a narrow box a gap would leave nothing to see.
    let class = if q75 - q25 > 6.0 { "median" } else { "range" };
    svg.line(class, [q50, y - 4.0], [q50, y + 4.0]);
    svg.close();
}

fn hover(g: &LayerGates) -> String {
    let [q05, q25, q50, q75, q95] = g.quantiles.map(|q| fixed(q, 2));
    let heads: Vec<String> = g.heads.iter().map(|h| fixed(*h, 2)).collect();
    format!(
        "Layer {}: mean {}, median {q50}, 50 % in {q25} to {q75}, 90 % in {q05} to {q95}; heads {}",
        g.layer + 1,
        fixed(g.mean, 2),
        heads.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use approx::assert_abs_diff_eq;

    #[test]
    fn gates_are_averaged_over_runs_layer_by_layer() {
        let study = testing::study();
        let row = study.row("inducer").unwrap();
        let mean = over_seeds(row);
        assert_eq!(mean.len(), 4);
        let by_hand = row
            .runs
            .iter()
            .map(|r| r.result.mechanism.gates[2].quantiles[3])
            .sum::<f64>()
            / 3.0;
        assert_abs_diff_eq!(mean[2].quantiles[3], by_hand, epsilon = 1e-15);
        let shares = mean[1].histogram.iter().sum::<f64>();
        assert_abs_diff_eq!(shares, 1.0, epsilon = 1e-12);
    }

    #[test]
    fn a_prefix_has_the_gate_mu_whatever_its_method_is_called() {
        let mut study = testing::study();
        let row = study
            .rows
            .iter_mut()
            .find(|r| r.method == "prefix")
            .unwrap();
        (row.method, row.title) = ("mam-adapter".into(), "MAM adapter".into());
        let panels = draw(&study.rows);
        assert!(panels.contains("μ by layer: MAM adapter"));
        assert!(panels.contains("λ by layer: Gating"));
    }

    #[test]
    fn only_methods_with_gates_have_a_panel() {
        let study = testing::study();
        let panels = draw(&study.rows);
        assert_eq!(panels.matches("<svg").count(), 6);
        assert!(panels.contains("μ by layer: Prefix-tuning"));
        assert!(!panels.contains("Fine-tuning"));
    }
}
