//! A panel as a line chart in SVG, drawn from the results of its queries.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::time::Duration;

use crate::prometheus::{Prometheus, Samples};
use crate::queries::{self, Panel};

const SIZE: (f64, f64) = (640.0, 300.0);
/// Left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (64.0, 34.0, 150.0, 30.0);
const COLOURS: &[&str] =
    &["#3366cc", "#dc3912", "#ff9900", "#109618", "#990099", "#0099c6", "#dd4477", "#66aa00"];

/// Writes the chart to `docs/monitoring/images`.
pub(crate) fn write(panel: &Panel, prometheus: &Prometheus, window: Duration) {
    let mut lines: Vec<(String, Samples)> = Vec::new();
    for (expression, legend) in &panel.targets {
        for (labels, samples) in prometheus.range(expression, window) {
            lines.push((
                filled_in(legend, &labels),
                samples.into_iter().filter(|(_, value)| value.is_finite()).collect(),
            ));
        }
    }
    lines.retain(|(_, samples)| samples.len() > 1);
    assert!(!lines.is_empty(), "{}: nothing to draw", panel.title);
    let name = panel.title.to_lowercase().replace(' ', "-");
    fs::write(queries::directory().join(format!("images/{name}.svg")), drawn(panel, &lines)).unwrap();
}

fn filled_in(legend: &str, labels: &BTreeMap<String, String>) -> String {
    labels
        .iter()
        .fold(legend.to_owned(), |legend, (name, value)| legend.replace(&format!("{{{{{name}}}}}"), value))
}

fn drawn(panel: &Panel, lines: &[(String, Samples)]) -> String {
    let samples = || lines.iter().flat_map(|(_, samples)| samples);
    let first = samples().map(|(at, _)| *at).fold(f64::INFINITY, f64::min);
    let last = samples().map(|(at, _)| *at).fold(first + 1.0, f64::max);
    let top = rounded_up(samples().map(|(_, value)| *value).fold(0.0, f64::max));
    let (left, right) = (MARGIN.0, SIZE.0 - MARGIN.2);
    let (upper, lower) = (MARGIN.1, SIZE.1 - MARGIN.3);
    let x = |at: f64| left + (at - first) / (last - first) * (right - left);
    let y = |value: f64| lower - value / top * (lower - upper);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{left}\" y=\"20\" font-size=\"14\">{}</text>\n",
        SIZE.0, SIZE.1, panel.title
    );
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let (at, label) = (y(value), shown(value, &panel.unit));
        let _ = writeln!(svg, "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            left - 6.0,
            at + 4.0
        );
    }
    let seconds = last - first;
    let _ = writeln!(svg, "<text x=\"{left}\" y=\"{:.1}\">0 s</text>", lower + 18.0);
    let _ = writeln!(
        svg,
        "<text x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{seconds:.0} s</text>",
        lower + 18.0
    );
    for (index, (legend, samples)) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points: Vec<String> =
            samples.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
        let _ =
            writeln!(svg, "<polyline fill=\"none\" stroke=\"{colour}\" points=\"{}\"/>", points.join(" "));
        let line = upper + 14.0 * index as f64 + 8.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{line:.1}\" fill=\"{colour}\">{legend}</text>",
            right + 10.0
        );
    }
    svg + "</svg>\n"
}

/// The next of 1, 2, 5 times a power of ten.
fn rounded_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

fn shown(value: f64, unit: &str) -> String {
    match unit {
        "s" if value >= 1.0 => format!("{value:.1} s"),
        "s" if value >= 0.001 => format!("{:.1} ms", value * 1e3),
        "s" => format!("{:.0} us", value * 1e6),
        "ops" => format!("{value:.0}/s"),
        "percentunit" => format!("{:.1} %", value * 100.0),
        _ => format!("{value:.0}"),
    }
}
