//! `docs/conformance-http2.md` and the tables here say the same.

use std::{collections::BTreeSet, fs, path::Path};

use super::{Expected, connection, frames, generic, hpack, messages};

/// The cases of h2spec 2.6.1, the one that is asked for with `--strict` included.
const UPSTREAM: usize = 147;

#[test]
fn the_list_has_every_case_and_every_pass_is_in_a_table() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance-http2.md");
    let document = fs::read_to_string(document).unwrap();
    let rows =
        document.lines().filter(|line| ["| generic/", "| http2/", "| hpack/"].iter().any(|s| line.starts_with(s)));
    let rows: Vec<Vec<_>> = rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect();
    assert!(rows.iter().all(|row| row.len() == 3), "{rows:?}");
    let listed: BTreeSet<_> = rows.iter().map(|row| row[0]).collect();
    assert_eq!((rows.len(), listed.len()), (UPSTREAM, UPSTREAM));
    let passing: BTreeSet<_> = rows.iter().filter(|row| row[2].starts_with("passes")).map(|row| row[0]).collect();
    let tables = [generic::cases(), connection::cases(), frames::cases(), messages::cases(), hpack::cases()];
    let ours: BTreeSet<_> = tables.iter().flatten().map(|case| case.name).collect();
    assert_eq!(tables.iter().flatten().count(), ours.len(), "a case is in the tables twice");
    assert_eq!(passing, ours);
    let instead: BTreeSet<_> = rows.iter().filter(|row| row[2].contains("in the place of")).map(|row| row[0]).collect();
    let cases = tables.iter().flatten().filter(|case| matches!(case.expected, Expected::Instead(_)));
    assert_eq!(instead, cases.map(|case| case.name).collect());
}
