//! Plots as SVG, in colours that can be seen on light and on dark.

use plotters::prelude::*;

use crate::Outcome;
use crate::candidates::{ALL, CLUSTER, OURS};
use crate::case::{Case, Figure};
use crate::suites::layers::WITHOUT;
use crate::suites::locks;
use crate::table;

/// Mid-tones that most eyes tell apart, in the order of the clients; the last two are for whatever else there is.
const COLOURS: [RGBColor; 10] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(180, 150, 0),
    RGBColor(128, 128, 128),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(120, 160, 60),
];
/// Small, since the page stretches it to the width there is; so letters stay readable on a phone.
const SIZE: (u32, u32) = (480, 300);

/// A point: where, the ratio, and its interval.
type Point = (f64, f64, f64, f64);

/// The colour of a candidate, the same in all plots, as CSS.
pub fn colour(candidate: &str) -> String {
    let RGBColor(red, green, blue) = paint(candidate);
    format!("rgb({red} {green} {blue})")
}

fn paint(candidate: &str) -> RGBColor {
    let known = ALL.iter().position(|(name, _)| *name == candidate);
    // Baselines of other suites have the colour of the baseline.
    let baseline = matches!(candidate, CLUSTER | WITHOUT | locks::BASELINE).then_some(1);
    let other = || COLOURS.len() - 1 - candidate.len() % 2;
    COLOURS[known.or(baseline).unwrap_or_else(other)]
}

/// Ratios over tasks, or over keys where tasks do not differ: a line for each candidate, with intervals.
///
/// # Errors
/// When it cannot be drawn.
pub fn lines(cases: &[&Case]) -> Outcome<String> {
    let by_tasks = cases.iter().any(|case| case.tasks != cases[0].tasks);
    let at = |case: &Case| if by_tasks { case.tasks } else { case.size } as f64;
    let candidates: Vec<&str> = cases[0].entries.iter().map(|entry| entry.candidate.as_str()).collect();
    let series: Vec<Vec<Point>> = candidates
        .iter()
        .map(|candidate| {
            let ratio = |case: &&Case| {
                let ratio = case.ratio(Figure::Value, candidate, case.baseline)?;
                Some((at(case), ratio.median, ratio.low, ratio.high))
            };
            cases.iter().filter_map(ratio).collect()
        })
        .collect();
    let named: Vec<_> = candidates.into_iter().zip(series).collect();
    draw(&named, if by_tasks { "tasks" } else { "keys" })
}

fn draw(series: &[(&str, Vec<Point>)], axis: &str) -> Outcome<String> {
    let points = || series.iter().flat_map(|(_, points)| points);
    let (left, right) = range(points().map(|point| point.0));
    let (low, high) = range(points().flat_map(|point| [point.1, 1.0]));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(6)
            .x_label_area_size(38)
            .y_label_area_size(48)
            .build_cartesian_2d((left..right).log_scale(), (low * 0.8..high * 1.2).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.15))
            .axis_style(BLACK.mix(0.5))
            .label_style(("sans-serif", 14))
            .x_desc(axis)
            .y_desc("ratio")
            .x_label_formatter(&|value| table::number(*value).trim_end_matches(".00").to_owned())
            .x_labels(5)
            .y_labels(5)
            .y_label_formatter(&|value| format!("{value:.2}"))
            .draw()?;
        chart.draw_series(LineSeries::new([(left, 1.0), (right, 1.0)], BLACK.mix(0.6)))?;
        // Ours is drawn last, above the others.
        for (candidate, points) in series.iter().rev() {
            let colour = paint(candidate);
            let width = if *candidate == OURS { 4 } else { 2 };
            chart.draw_series(LineSeries::new(
                points.iter().map(|point| (point.0, point.1)),
                colour.stroke_width(width),
            ))?;
            chart.draw_series(
                points.iter().map(|point| Circle::new((point.0, point.1), width, colour.filled())),
            )?;
            let bar = |point: &Point| {
                PathElement::new(vec![(point.0, point.2), (point.0, point.3)], colour.mix(0.6))
            };
            chart.draw_series(points.iter().map(bar))?;
        }
        area.present()?;
    }
    Ok(follow_the_page(&svg))
}

/// Ratios of a single case: a bar for each candidate.
pub fn bars(case: &Case) -> String {
    let ratio =
        |candidate: &str| case.ratio(Figure::Value, candidate, case.baseline).map(|ratio| ratio.median);
    let longest = case.entries.iter().filter_map(|entry| ratio(&entry.candidate)).fold(1.0, f64::max);
    let mut html = String::from("<div class=bars>");
    for entry in &case.entries {
        let Some(ratio) = ratio(&entry.candidate) else { continue };
        let (width, colour) = (ratio / longest * 100.0, colour(&entry.candidate));
        html += &format!(
            "<span>{}</span><i><b style=\"width:{width:.1}%;background:{colour}\"></b></i><em>{ratio:.2}</em>",
            entry.candidate
        );
    }
    html + "</div>"
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// Black becomes the colour of the page's letters, and the size that of its column.
fn follow_the_page(svg: &str) -> String {
    let (width, height) = SIZE;
    svg.replace("#000000", "currentColor").replacen(
        &format!("width=\"{width}\" height=\"{height}\""),
        "role=\"img\"",
        1,
    )
}
