//! The rules of the house (ARCHITECTURE.md, "What holds"), checked on the source itself. Function length is clippy's part
//! (`too_many_lines`, with the threshold in clippy.toml).

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

const LEAVES: &[&str] = &["autoscaling", "cel", "objects", "manifests"];
const BOXES: &[&str] = &["apiserver", "controllers", "node", "network", "gateway"];
/// Lines, past which a file asks to be split. A ratchet: files in `LONG` may shrink, never grow.
const FILE_LINES: usize = 500;
/// Files over the limit, with the most lines each may have.
const LONG: &[(&str, usize)] = &[];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every Rust file of the workspace: path from the root, and text.
fn sources() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut directories: Vec<PathBuf> = ["crates", "apps"].map(|d| root().join(d)).into();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    files
}

/// The workspace crates that a crate's `[dependencies]` names.
fn dependencies(name: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let table = manifest.get("dependencies").and_then(|d| d.as_table()).cloned().unwrap_or_default();
    table.keys().filter(|k| root().join("crates").join(k).is_dir()).cloned().collect()
}

fn is_test(file: &str, line_number: usize, text: &str) -> bool {
    let test_module = text.lines().position(|l| l.trim() == "#[cfg(test)]").unwrap_or(usize::MAX);
    file.contains("/tests/") || file.ends_with("tests.rs") || line_number > test_module
}

/// Lines that match, as `file:line`, where `wanted` holds for the file, line number and text.
fn lines_with(pattern: &str, wanted: impl Fn(&str, usize, &str) -> bool) -> Vec<String> {
    let pattern = Regex::new(pattern).unwrap();
    let mut found = Vec::new();
    for (file, text) in sources() {
        if file.ends_with("tests/house.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            if pattern.is_match(code) && wanted(&file, number, &text) {
                found.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

#[track_caller]
fn none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}\n{}", found.join("\n"));
}

#[test]
fn boxes_depend_on_leaves_and_never_on_each_other() {
    for leaf in LEAVES {
        let others: Vec<_> = dependencies(leaf).into_iter().filter(|d| !LEAVES.contains(&d.as_str())).collect();
        none(&others, &format!("the leaf {leaf} may depend on leaves only"));
    }
    for name in BOXES {
        let others: Vec<_> = dependencies(name).into_iter().filter(|d| !LEAVES.contains(&d.as_str())).collect();
        none(&others, &format!("the box {name} may depend on leaves only"));
    }
}

#[test]
fn leaves_do_no_io() {
    let objects = lines_with(r"std::(fs|net::Tcp|process)|tokio|File::open", |file, n, text| {
        ["objects", "cel", "autoscaling"].iter().any(|leaf| file.starts_with(&format!("crates/{leaf}/src")))
            && !is_test(file, n, text)
    });
    none(&objects, "objects, cel and autoscaling do no I/O");
    let manifests = lines_with(r"std::(net|process)|tokio|hyper|reqwest", |file, n, text| {
        file.starts_with("crates/manifests/src") && !is_test(file, n, text)
    });
    none(&manifests, "manifests reads files and nothing else");
}

#[test]
fn files_stay_short_enough_to_find_ones_way_in() {
    let mut long = Vec::new();
    for (file, text) in sources() {
        let lines = text.lines().count();
        let limit = LONG.iter().find(|(name, _)| *name == file).map_or(FILE_LINES, |(_, most)| *most);
        if lines > limit {
            long.push(format!("{file}: {lines} lines, the limit is {limit}"));
        }
    }
    none(&long, "split these files by idea");
    for (file, _) in LONG {
        assert!(sources().contains_key(*file), "{file} is gone: take it off the list");
    }
}

#[test]
fn tests_take_free_ports_and_wait_for_conditions() {
    // A fixed port in a bound address makes two runs on one machine collide; port 0 never does.
    let ports = lines_with(r#"bind\(\s*\(?"[^"]*[:\]]\s*[1-9][0-9]*"|bind\(.*, [1-9][0-9]+\)\)"#, is_test);
    none(&ports, "tests bind port 0");
    let sleeps = lines_with(r"\bthread::sleep\(|time::sleep\(", is_test);
    none(&sleeps, "tests wait for the condition itself");
    none(&lines_with(r"#\[ignore", |_, _, _| true), "a test that is switched off proves nothing");
}

#[test]
fn nothing_is_left_unfinished() {
    none(&lines_with(r"\b(todo|unimplemented|dbg)!\(", |_, _, _| true), "finish it, or open an issue");
    let mut notes = Vec::new();
    let note = Regex::new(r"\b(TODO|FIXME|XXX)\b").unwrap();
    for (file, text) in sources() {
        if !file.ends_with("tests/house.rs") {
            notes.extend(text.lines().filter(|l| note.is_match(l)).map(|l| format!("{file}: {}", l.trim())));
        }
    }
    none(&notes, "open an issue instead");
}

#[test]
fn allowed_lints_give_their_reason() {
    let bare = lines_with(r"#!?\[(allow|expect)\(", |_, _, _| true);
    let bare: Vec<_> = bare.into_iter().filter(|l| l.contains(']') && !l.contains("reason")).collect();
    none(&bare, "say why the lint does not apply");
}
