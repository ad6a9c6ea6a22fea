//! What really happened, in the shape of a simulation: a recording of demand that has the counts of pods beside it.

use super::{
    ROWS,
    demand::{RecordError, Recording, cells, lines},
    report::{Report, Row, Summary},
};

/// The columns beside time and requests_per_second; a recording needs the first two.
const COLUMNS: [&str; 3] = ["desired", "ready", "cpu"];

/// Reads CSV whose header names `desired` and `ready` (counts of pods) beside `time` and `requests_per_second`, and perhaps `cpu`: the
/// share of their request that pods used, 1 being all of it, empty where it was not known. Latencies and what became of requests are
/// not in it.
///
/// # Errors
/// With the line that is wrong.
pub fn recorded(text: &str, name: &str) -> Result<Report, RecordError> {
    let recording = Recording::parse(text)?;
    let wrong = |line, reason: String| RecordError::Line { line, reason };
    let mut lines = lines(text);
    let (number, header) = lines.next().unwrap_or((1, ""));
    let names = cells(header);
    let place = |column: &str| names.iter().position(|name| name.eq_ignore_ascii_case(column));
    let [Some(desired), Some(ready), cpu] = COLUMNS.map(place) else {
        return Err(wrong(
            number,
            "a header must name the columns time, requests_per_second, desired and ready".to_owned(),
        ));
    };
    let mut rows = Vec::with_capacity(recording.rows.len());
    let mut ends = recording.rows.iter().skip(1).map(|(time, _)| *time);
    for ((seconds, rate), (number, line)) in recording.rows.iter().zip(lines) {
        let cells = cells(line);
        let read = |index: usize| match cells.get(index).copied().unwrap_or_default() {
            "" => Ok(None),
            cell => match cell.parse::<f64>() {
                Ok(value) if value.is_finite() && value >= 0.0 => Ok(Some(value)),
                _ => Err(wrong(number, format!("{cell:?} is not a number, zero or more"))),
            },
        };
        let count = |index: usize| read(index)?.ok_or_else(|| wrong(number, "a count of pods is missing".to_owned()));
        let ready = count(ready)?;
        rows.push(Row {
            seconds: ends.next().unwrap_or_else(|| recording.length()).max(*seconds),
            requests_per_second: *rate,
            desired: count(desired)?,
            replicas: ready,
            ready,
            cpu: cpu.map_or(Ok(None), read)?,
            ..Row::default()
        });
    }
    let summary = summary(&rows, recording.length());
    Ok(Report { name: name.to_owned(), summary, rows: fewer(&rows), ..Report::default() })
}

fn summary(rows: &[Row], seconds: f64) -> Summary {
    let mut summary = Summary { seconds, replicas: [f64::INFINITY, 0.0, 0.0], ..Summary::default() };
    let (mut since, mut desired, mut pods) = (0.0, None, 0.0);
    for row in rows {
        let [fewest, most, _] = &mut summary.replicas;
        (*fewest, *most) = (fewest.min(row.replicas), most.max(row.replicas));
        pods += row.replicas * (row.seconds - since);
        let [up, down] = &mut summary.changes;
        *up += u32::from(desired.is_some_and(|before| row.desired > before));
        *down += u32::from(desired.is_some_and(|before| row.desired < before));
        (since, desired) = (row.seconds, Some(row.desired));
    }
    summary.replicas[2] = pods / seconds.max(1e-9);
    summary.pod_hours = pods / 3600.0;
    summary
}

/// As many rows as a simulation has: the mean rate of each stretch, and what was so at its end.
fn fewer(rows: &[Row]) -> Vec<Row> {
    let each = (rows.len() as f64 / ROWS).ceil().max(1.0) as usize;
    let one = |stretch: &[Row]| {
        let rate = stretch.iter().map(|row| row.requests_per_second).sum::<f64>() / stretch.len() as f64;
        stretch.last().map(|last| Row { requests_per_second: rate, ..last.clone() })
    };
    rows.chunks(each).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_with_counts_is_a_course() {
        let text = "time,requests_per_second,desired,ready,cpu\n10,5,3,3,\n11,50,7,3,3.05\n12,50,7,7,1.2\n";
        let report = recorded(text, "what happened").unwrap();
        let row = |index: usize| &report.rows[index];
        assert_eq!((report.name.as_str(), report.rows.len(), report.summary.seconds), ("what happened", 3, 3.0));
        assert_eq!((row(0).seconds, row(0).cpu, row(1).cpu), (1.0, None, Some(3.05)));
        assert_eq!((row(1).desired, row(1).ready, row(2).ready), (7.0, 3.0, 7.0));
        assert_eq!((report.summary.changes, report.summary.replicas[1]), ([1, 0], 7.0));
    }

    #[test]
    fn many_rows_become_as_many_as_a_plot_can_show() {
        let lines: String = (0..2000).map(|second| format!("{second},{},3,3\n", second % 4)).collect();
        let report = recorded(&format!("time,requests_per_second,desired,ready\n{lines}"), "").unwrap();
        assert_eq!((report.rows.len(), report.rows[0].requests_per_second), (500, 1.5));
    }

    #[test]
    fn what_is_missing_is_said_with_its_line() {
        let of = |text: &str| recorded(text, "").unwrap_err().to_string();
        assert!(of("0,1\n1,1\n").starts_with("line 1: a header must name the columns"));
        let head = "time,requests_per_second,desired,ready\n0,1,3,3\n";
        assert_eq!(of(&format!("{head}1,1,3\n")), "line 3: a count of pods is missing");
        assert_eq!(of(&format!("{head}1,1,3,-1\n")), "line 3: \"-1\" is not a number, zero or more");
    }
}
