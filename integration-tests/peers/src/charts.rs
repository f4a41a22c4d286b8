//! Plots as SVG, in colours that can be seen on light and on dark.

use plotters::prelude::*;

use crate::Outcome;
use crate::case::{Case, Figure};

/// Mid-tones that are told apart by most eyes; ours comes first.
const COLOURS: [RGBColor; 9] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(180, 150, 0),
    RGBColor(128, 128, 128),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
];
/// Small, since the page stretches it to the width there is; so letters stay readable on a phone.
const SIZE: (u32, u32) = (480, 300);

/// A point: where, the ratio, and its interval.
type Point = (f64, f64, f64, f64);

/// The colour of the nth candidate, as CSS.
pub fn colour(nth: usize) -> String {
    let RGBColor(red, green, blue) = COLOURS[nth % COLOURS.len()];
    format!("rgb({red} {green} {blue})")
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
    draw(&series, if by_tasks { "tasks" } else { "keys" })
}

fn draw(series: &[Vec<Point>], axis: &str) -> Outcome<String> {
    let points = || series.iter().flatten();
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
            .y_label_formatter(&|value| format!("{value:.2}"))
            .draw()?;
        chart.draw_series(LineSeries::new([(left, 1.0), (right, 1.0)], BLACK.mix(0.6)))?;
        for (nth, points) in series.iter().enumerate().rev() {
            let colour = COLOURS[nth % COLOURS.len()];
            let width = if nth == 0 { 4 } else { 2 };
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
    for (nth, entry) in case.entries.iter().enumerate() {
        let Some(ratio) = ratio(&entry.candidate) else { continue };
        let (width, colour) = (ratio / longest * 100.0, colour(nth));
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
