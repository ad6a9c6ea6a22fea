//! Plots as SVG: one file that needs no other, in light and in dark as the reader has it.

use super::{PANELS, Panel, Report, ticks};
use crate::{simulate::report::Row, time::words};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 40.0;
const PANEL: f64 = 96.0;
const GAP: f64 = 34.0;
const BOTTOM: f64 = 34.0;

const CSS: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}\
.title{font-weight:600}.small{font-size:11px;fill:#59636e}\
.grid{stroke:#d1d9e0;stroke-width:1}.box{fill:#ffffff}\
path{fill:none;stroke-width:1.6;stroke-linejoin:round}\
.c0{stroke:#0969da}.c1{stroke:#bc4c00}.k0{fill:#0969da}.k1{fill:#bc4c00}\
.second{stroke-dasharray:4 3;stroke-width:1.2}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.grid{stroke:#3d444d}.box{fill:#0d1117}\
.c0{stroke:#58a6ff}.c1{stroke:#f0883e}.k0{fill:#58a6ff}.k1{fill:#f0883e}}";

/// Draws the reports over each other: at most two, each in a colour of its own.
pub fn plot(reports: &[Report]) -> String {
    let panels: Vec<(&Panel, f64)> = PANELS.iter().filter_map(|panel| Some((panel, panel.top(reports)?))).collect();
    let height = TOP + panels.len() as f64 * (PANEL + GAP) + BOTTOM - GAP / 2.0;
    let seconds = reports.iter().map(|report| report.summary.seconds).fold(1e-9, f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <style>{CSS}</style>\n<rect class=\"box\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    let mut x = LEFT;
    for (index, report) in reports.iter().enumerate() {
        svg.push_str(&format!("<rect class=\"k{index}\" x=\"{x}\" y=\"13\" width=\"10\" height=\"10\"/>\n"));
        svg.push_str(&format!("<text class=\"title\" x=\"{}\" y=\"22\">{}</text>\n", x + 16.0, escape(&report.name)));
        x += 40.0 + 7.5 * report.name.chars().count() as f64;
    }
    for (index, (panel, top)) in panels.iter().enumerate() {
        let y = TOP + 14.0 + index as f64 * (PANEL + GAP);
        draw(&mut svg, panel, *top, reports, seconds, y);
    }
    let y = TOP + 14.0 + panels.len() as f64 * (PANEL + GAP) - GAP + 14.0;
    for tick in ticks(seconds, 8) {
        let x = LEFT + tick / seconds * (WIDTH - LEFT - RIGHT);
        let label = if tick == 0.0 { "0".to_owned() } else { words(tick) };
        // The last one would leave the picture.
        let anchor = if tick > 0.97 * seconds { "end" } else { "middle" };
        svg.push_str(&format!(
            "<text class=\"small\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{label}</text>\n"
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, panel: &Panel, top: f64, reports: &[Report], seconds: f64, y: f64) {
    let lines: Vec<&str> = panel.curves.iter().map(|curve| curve.label).filter(|label| !label.is_empty()).collect();
    let legend = match lines.as_slice() {
        [first, rest @ ..] if !rest.is_empty() => format!(" ({first}; dashed: {})", rest.join(", ")),
        _ => String::new(),
    };
    svg.push_str(&format!("<text class=\"small\" x=\"{LEFT}\" y=\"{:.1}\">{}{legend}</text>\n", y - 4.0, panel.title));
    for (share, value) in [(0.0, top), (0.5, top / 2.0), (1.0, 0.0)] {
        let line = y + share * PANEL;
        svg.push_str(&format!(
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{line:.1}\" x2=\"{}\" y2=\"{line:.1}\"/>\n",
            WIDTH - RIGHT
        ));
        svg.push_str(&format!(
            "<text class=\"small\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 6.0,
            line + 4.0,
            panel.label(value)
        ));
    }
    for (index, report) in reports.iter().enumerate() {
        for (second, curve) in panel.curves.iter().enumerate() {
            let path = path(&report.rows, curve.value, top, seconds, y);
            let class = if second > 0 { " second" } else { "" };
            svg.push_str(&format!("<path class=\"c{index}{class}\" d=\"{path}\"/>\n"));
        }
    }
}

/// A line through the rows, broken where there is no value; points that change nothing are left out.
fn path(rows: &[Row], value: fn(&Row) -> Option<f64>, top: f64, seconds: f64, y: f64) -> String {
    let place = |row: &Row, value: f64| {
        let x = LEFT + row.seconds / seconds * (WIDTH - LEFT - RIGHT);
        (format!("{x:.1}"), format!("{:.1}", y + PANEL * (1.0 - (value / top).clamp(0.0, 1.0))))
    };
    let mut path = String::new();
    let mut pen = false;
    let mut last = (String::new(), String::new());
    let mut skipped = None;
    for row in rows {
        let Some(value) = value(row) else {
            pen = false;
            continue;
        };
        let (x, height) = place(row, value);
        if pen && height == last.1 {
            skipped = Some(x.clone());
        } else {
            if let (true, Some(until)) = (pen, skipped.take()) {
                path.push_str(&format!("L{until} {}", last.1));
            }
            path.push_str(&format!("{}{x} {height}", if pen { 'L' } else { 'M' }));
            skipped = None;
        }
        last = (x, height);
        pen = true;
    }
    if let (true, Some(until)) = (pen, skipped) {
        path.push_str(&format!("L{until} {}", last.1));
    }
    path
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
