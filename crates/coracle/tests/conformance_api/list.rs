//! `docs/conformance-api.md` and the tests here say the same.

use std::{collections::BTreeSet, fs, path::Path};

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance-api.md")).unwrap()
}

/// The rows of the document's tables: test, result, and our tests.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Test "));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// `module::function` of every test in a folder.
fn tests(folder: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let module = file.file_stem().unwrap().to_str().unwrap();
        for rest in text.split("#[test]\nfn ").skip(1).chain(text.split("#[tokio::test]\nasync fn ").skip(1)) {
            let name = rest.split('(').next().unwrap();
            all.insert(format!("{module}::{name}"));
        }
    }
    all
}

#[test]
fn every_pass_has_a_test_of_ours_and_every_test_here_has_a_row() {
    let document = document();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let here = tests(&folder.join("conformance_api"));
    let all: BTreeSet<String> = here.union(&tests(&folder)).cloned().collect();
    let (mut names, mut backing, mut passing) = (BTreeSet::new(), BTreeSet::new(), 0);
    for row in rows(&document) {
        let [test, result, ours] = row.as_slice() else { panic!("{row:?}") };
        assert!(names.insert(test.to_owned()), "{test} is there twice");
        let passes = result.starts_with("passes");
        let known = passes || ["not applicable: ", "no: ", "not yet: "].iter().any(|word| result.starts_with(word));
        assert!(known, "{row:?}");
        assert_eq!(passes, !ours.is_empty(), "{test}");
        passing += usize::from(passes);
        for name in ours.split(", ").map(|name| name.trim_matches('`')).filter(|name| !name.is_empty()) {
            assert!(all.contains(name), "{test}: there is no test {name}");
            backing.insert(name.to_owned());
        }
    }
    let idle: Vec<_> = here.iter().filter(|name| !name.starts_with("list::") && !backing.contains(*name)).collect();
    assert!(idle.is_empty(), "tests that back no row: {idle:?}");
    let said = format!("Passing: {passing} of {}.", names.len());
    assert!(document.contains(&said), "the document should say {said:?}");
}
