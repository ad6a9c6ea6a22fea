//! Plots of simulations: which panels there are, and what both the terminal and the SVG need of axes.

pub mod svg;
pub mod terminal;

use super::report::{Report, Row};
use crate::time::words;

/// One curve over time.
struct Curve {
    /// What it is, where a panel has more than one.
    label: &'static str,
    value: fn(&Row) -> Option<f64>,
}

/// Curves that share an axis.
struct Panel {
    title: &'static str,
    /// The first is drawn filled in the terminal.
    curves: &'static [Curve],
    /// Shown only if some value is not zero.
    optional: bool,
    /// Values are times.
    time: bool,
    /// Values are shares.
    share: bool,
}

const PLAIN: Panel = Panel { title: "", curves: &[], optional: false, time: false, share: false };

const PANELS: &[Panel] = &[
    Panel {
        title: "requests per second",
        curves: &[Curve { label: "", value: |row| Some(row.requests_per_second) }],
        ..PLAIN
    },
    Panel {
        title: "replicas",
        curves: &[
            Curve { label: "ready", value: |row| Some(row.ready) },
            Curve { label: "desired", value: |row| Some(row.desired) },
        ],
        ..PLAIN
    },
    Panel {
        title: "forecast, in replicas",
        curves: &[Curve { label: "", value: |row| row.forecast }],
        optional: true,
        ..PLAIN
    },
    Panel {
        title: "utilisation",
        curves: &[Curve { label: "", value: |row| row.utilisation }],
        optional: true,
        share: true,
        ..PLAIN
    },
    Panel {
        title: "CPU, of what pods request",
        curves: &[Curve { label: "", value: |row| row.cpu }],
        optional: true,
        share: true,
        ..PLAIN
    },
    Panel {
        title: "latency p99",
        curves: &[Curve { label: "", value: |row| row.p99 }],
        optional: true,
        time: true,
        ..PLAIN
    },
    Panel {
        title: "requests waiting",
        curves: &[Curve { label: "", value: |row| Some(row.waiting) }],
        optional: true,
        ..PLAIN
    },
    Panel { title: "late", curves: &[Curve { label: "", value: |row| Some(row.late) }], optional: true, ..PLAIN },
    Panel { title: "dropped", curves: &[Curve { label: "", value: |row| Some(row.dropped) }], optional: true, ..PLAIN },
];

impl Panel {
    /// The largest value in any of the reports.
    fn largest(&self, reports: &[Report]) -> f64 {
        let rows = reports.iter().flat_map(|report| &report.rows);
        rows.flat_map(|row| self.curves.iter().filter_map(|curve| (curve.value)(row))).fold(0.0, f64::max)
    }

    /// The top of the axis, if the panel is to be shown.
    fn top(&self, reports: &[Report]) -> Option<f64> {
        let largest = self.largest(reports);
        if self.optional && largest < 1e-6 {
            return None;
        }
        let top = round_up(largest);
        Some(if self.share { top.max(1.0) } else { top })
    }

    fn label(&self, value: f64) -> String {
        match (self.time, self.share) {
            (true, _) => words(value),
            (_, true) => format!("{:.0} %", value * 100.0),
            _ if value >= 10_000.0 => format!("{:.0}k", value / 1000.0),
            _ if value >= 10.0 || value.fract() == 0.0 => format!("{value:.0}"),
            _ => format!("{value:.1}"),
        }
    }
}

/// The next number that people like: 1, 1.5, 2, 3, 4, 5, 6 or 8 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let nice = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0].into_iter();
    nice.map(|step| step * power).find(|top| *top >= value * 0.999_999).unwrap_or(10.0 * power)
}

/// Moments for the labels of the time axis: a step that people like, at most `most` of them.
fn ticks(seconds: f64, most: usize) -> Vec<f64> {
    const STEPS: &[f64] = &[
        1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 21_600.0, 43_200.0, 86_400.0,
        172_800.0, 604_800.0,
    ];
    let most = most.max(1) as f64;
    let step = STEPS.iter().copied().find(|step| seconds / step <= most).unwrap_or(seconds / most);
    let count = (seconds / step + 1e-9).floor() as usize;
    (0..=count).map(|index| index as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, top) in [(0.0, 1.0), (7.0, 8.0), (10.0, 10.0), (11.0, 15.0), (199.0, 200.0), (0.042, 0.05)] {
            assert!((round_up(value) / top - 1.0).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn times_are_marked_at_round_moments() {
        assert_eq!(ticks(3600.0, 6), [0.0, 600.0, 1200.0, 1800.0, 2400.0, 3000.0, 3600.0]);
        assert_eq!(ticks(604_800.0, 7).len(), 8);
    }
}
