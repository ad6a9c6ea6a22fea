//! Plots of characters: each has eight dots (Braille), so that a hundred columns show two hundred moments.

use super::{PANELS, Panel, Report, ticks};
use crate::{simulate::report::Row, time::words};

/// Rows of characters of a panel.
const HEIGHT: usize = 6;
/// Columns for the labels of an axis.
const MARGIN: usize = 8;
/// The narrowest plot.
const NARROWEST: usize = 40;

/// How it is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Columns of the terminal.
    pub width: usize,
    /// Whether there are colours.
    pub colour: bool,
}

/// The colours of the first and the second curve.
const COLOURS: [&str; 2] = ["\x1b[36m", "\x1b[33m"];
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// A field of dots, two by four in each character.
struct Canvas {
    columns: usize,
    rows: usize,
    /// The dots of each character.
    cells: Vec<u8>,
    /// The curve that drew last into each character.
    curves: Vec<usize>,
}

impl Canvas {
    fn new(columns: usize, rows: usize) -> Self {
        Self { columns, rows, cells: vec![0; columns * rows], curves: vec![0; columns * rows] }
    }

    /// Sets the dot at `x` from the left and `y` from below.
    fn set(&mut self, x: usize, y: usize, curve: usize) {
        let (column, row) = (x / 2, y / 4);
        if column >= self.columns || row >= self.rows {
            return;
        }
        let cell = (self.rows - 1 - row) * self.columns + column;
        let dot = match (x % 2, y % 4) {
            (0, 3) => 0x01,
            (0, 2) => 0x02,
            (0, 1) => 0x04,
            (0, _) => 0x40,
            (_, 3) => 0x08,
            (_, 2) => 0x10,
            (_, 1) => 0x20,
            _ => 0x80,
        };
        if let (Some(cell), Some(last)) = (self.cells.get_mut(cell), self.curves.get_mut(cell)) {
            *cell |= dot;
            *last = curve;
        }
    }

    fn line(&self, row: usize, colour: bool) -> String {
        let range = row * self.columns..(row + 1) * self.columns;
        let cells = self.cells.get(range.clone()).unwrap_or_default();
        let curves = self.curves.get(range).unwrap_or_default();
        let last = cells.iter().rposition(|cell| *cell != 0).map_or(0, |last| last + 1);
        let mut text = String::new();
        let mut before = None;
        for (cell, curve) in cells.iter().zip(curves).take(last) {
            if colour && before != Some(*curve) {
                text.push_str(COLOURS.get(*curve).copied().unwrap_or(PLAIN));
                before = Some(*curve);
            }
            text.push(if *cell == 0 { ' ' } else { char::from_u32(0x2800 + u32::from(*cell)).unwrap_or(' ') });
        }
        if before.is_some() {
            text.push_str(PLAIN);
        }
        text
    }
}

/// The largest value of the rows that a column of dots stands for.
fn resample(rows: &[Row], value: fn(&Row) -> Option<f64>, column: usize, columns: usize) -> Option<f64> {
    let first = column * rows.len() / columns;
    let end = ((column + 1) * rows.len()).div_ceil(columns).max(first + 1);
    rows.get(first..end.min(rows.len()))?.iter().filter_map(value).reduce(f64::max)
}

/// Draws a report under its name; all of `beside` have the same axes.
pub fn plot(report: &Report, beside: &[Report], style: Style) -> String {
    let width = style.width.max(NARROWEST);
    let columns = width - MARGIN - 1;
    let mut text = String::new();
    let (bold, plain) = if style.colour { (BOLD, PLAIN) } else { ("", "") };
    text.push_str(&format!("{bold}{}{plain}\n", report.name));
    for panel in PANELS {
        if let Some(top) = panel.top(beside) {
            text.push('\n');
            draw(&mut text, panel, report, top, columns, style.colour);
        }
    }
    text.push_str(&axis(report.summary.seconds, columns));
    text
}

fn draw(text: &mut String, panel: &Panel, report: &Report, top: f64, columns: usize, colour: bool) {
    let mut canvas = Canvas::new(columns, HEIGHT);
    let dots = HEIGHT * 4;
    let height = |value: f64| ((value / top * (dots - 1) as f64).round().max(0.0) as usize).min(dots - 1);
    for (index, curve) in panel.curves.iter().enumerate() {
        let mut before: Option<usize> = None;
        for x in 0..columns * 2 {
            let Some(value) = resample(&report.rows, curve.value, x, columns * 2) else {
                before = None;
                continue;
            };
            let y = height(value);
            // The first is an area, the others are lines without gaps.
            let from = if index == 0 { 0 } else { before.map_or(y, |before| before.min(y)) };
            let to = if index == 0 { y } else { before.map_or(y, |before| before.max(y)) };
            if index > 0 || value > 0.0 {
                (from..=to).for_each(|y| canvas.set(x, y, index));
            }
            before = Some(y);
        }
    }
    let labels: Vec<String> = panel
        .curves
        .iter()
        .enumerate()
        .filter(|(_, curve)| !curve.label.is_empty())
        .map(|(index, curve)| match colour.then(|| COLOURS.get(index)).flatten() {
            Some(code) => format!("{code}{}{PLAIN}", curve.label),
            None => format!("{} {}", curve.label, if index == 0 { "(area)" } else { "(line)" }),
        })
        .collect();
    let legend = if labels.is_empty() { String::new() } else { format!(": {}", labels.join(", ")) };
    text.push_str(&format!("{:MARGIN$} {}{legend}\n", "", panel.title));
    for row in 0..HEIGHT {
        let label = match row {
            0 => panel.label(top),
            _ if row == HEIGHT - 1 => panel.label(0.0),
            _ => String::new(),
        };
        text.push_str(&format!("{label:>width$} ┤{}\n", canvas.line(row, colour), width = MARGIN - 1));
    }
}

fn axis(seconds: f64, columns: usize) -> String {
    let mut line: Vec<char> = vec![' '; MARGIN + 1 + columns];
    for tick in ticks(seconds, columns / 12) {
        let label = if tick == 0.0 { "0".to_owned() } else { words(tick) };
        let place = MARGIN + 1 + (tick / seconds.max(1e-9) * (columns - 1) as f64).round() as usize;
        let length = label.chars().count();
        let begin = place.saturating_sub(length / 2).min(line.len().saturating_sub(length));
        for (slot, letter) in line.iter_mut().skip(begin).zip(label.chars()) {
            *slot = letter;
        }
    }
    let text: String = line.into_iter().collect();
    format!("{}\n", text.trim_end())
}
