//! `docs/conformance-gateway.md` and the tests here say the same.

use std::{collections::BTreeSet, fs, path::Path};

use crate::world::World;

/// The tests of the suite in the release that the list is of.
const UPSTREAM: usize = 162;

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance-gateway.md")).unwrap()
}

/// The rows of the document's tables: test, level, features, result, and our test.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Test "));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The names in backquotes of the paragraph that begins like this.
fn named<'a>(document: &'a str, beginning: &str) -> BTreeSet<&'a str> {
    let paragraph = document.lines().find(|line| line.starts_with(beginning)).unwrap();
    paragraph.split_once(": ").unwrap().1.split('`').skip(1).step_by(2).collect()
}

/// `module::function` of every test beside this one.
fn ours() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut all = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let (text, module) =
            (fs::read_to_string(&file).unwrap(), file.file_stem().unwrap().to_str().unwrap().to_owned());
        let functions = text.split("#[test]\nfn ").skip(1).map(|rest| rest.split('(').next().unwrap());
        all.extend(functions.map(|function| format!("{module}::{function}")));
    }
    all.retain(|name| !name.starts_with("list::"));
    all
}

#[test]
fn the_list_has_every_upstream_test_and_every_pass_has_a_test_of_ours() {
    let document = document();
    let (rows, ours) = (rows(&document), ours());
    let names: BTreeSet<_> = rows.iter().map(|row| row[0]).collect();
    assert_eq!((rows.len(), names.len()), (UPSTREAM, UPSTREAM));
    let mut backing = BTreeSet::new();
    for row in &rows {
        let [test, level, _, result, backed_by] = row.as_slice() else { panic!("{row:?}") };
        assert!(level.starts_with("core") || level.starts_with("extended"), "{row:?}");
        let backed_by = backed_by.trim_matches('`');
        assert_eq!(result.starts_with("passes"), !backed_by.is_empty(), "{test}");
        assert!(backed_by.is_empty() || ours.contains(backed_by), "{test}: there is no {backed_by}");
        backing.insert(backed_by.to_owned());
    }
    let idle: Vec<_> = ours.difference(&backing).collect();
    assert!(idle.is_empty(), "tests that back no row: {idle:?}");
}

#[test]
fn a_feature_is_supported_if_all_its_tests_pass_and_the_class_says_so() {
    let document = document();
    let supported = named(&document, "The GatewayClass");
    let not = named(&document, "Not supported");
    for row in rows(&document).iter().filter(|row| !row[3].starts_with("passes") && !row[3].starts_with("not run")) {
        let blamed = row[2].split(", ").any(|feature| not.contains(feature));
        assert!(blamed, "{row:?} fails, but all of its features are supported");
    }
    let world = World::new("");
    let status = world.status("GatewayClass", "/coracle");
    let said: Vec<_> =
        status["supportedFeatures"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert!(said.is_sorted());
    assert_eq!(said.into_iter().collect::<BTreeSet<_>>(), supported);
}
