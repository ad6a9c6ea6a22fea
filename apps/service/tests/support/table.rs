//! Tables of settings, as the documentation has them. Taken in by the tests of the services.

use std::collections::BTreeSet;

/// The variables in the first column of the tables between this heading of a document and the next.
pub fn variables(document: &str, heading: &str) -> BTreeSet<String> {
    let lines = document.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with('#'));
    let cells = lines.filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    // What stands between backticks.
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}
