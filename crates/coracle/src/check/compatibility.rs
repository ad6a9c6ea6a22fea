//! `docs/compatibility.md` is made from the tables that the API and `coracle check` use: this compares it with them, and with
//! `BLESS=1` writes it.

use std::{fmt::Write, fs, path::Path};

use objects::{kinds::KINDS, support};

use super::needs::{NEEDS, When};

fn document() -> String {
    let mut text = String::from(
        "# Compatibility\n\n\
         Which kinds the API serves, what of them has no effect here, and what a cluster must have installed to run the same\n\
         manifests. `coracle check -k DIR` says it for a directory: it exits with 0 if nothing would be refused, 1 if something\n\
         would, 2 if it cannot read what it is given. What no row below names takes effect as in Kubernetes 1.33.\n\n\
         This page is made from the tables in the code (`BLESS=1 cargo test -p coracle compatibility`); a test compares them.\n\n\
         ## Kinds\n\n| Group | Kinds | Version |\n|---|---|---|\n",
    );
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for kind in KINDS {
        if !rows.contains(&(kind.group, kind.version)) {
            rows.push((kind.group, kind.version));
        }
    }
    for (group, version) in rows {
        let here = KINDS.iter().filter(|kind| (kind.group, kind.version) == (group, version));
        let mut names: Vec<&str> = here.map(|kind| kind.kind).collect();
        names.sort_unstable();
        let group = if group.is_empty() { "core" } else { group };
        writeln!(text, "| {group} | {} | {version} |", names.join(", ")).unwrap();
    }
    text.push_str("\n## What has no effect\n\nIt is stored and shown, and whoever writes it is warned.\n\n");
    text.push_str("| Kind | What | Why |\n|---|---|---|\n");
    for row in support::rows() {
        let what = if row.path.is_empty() { "the whole of it".to_owned() } else { format!("`{}`", row.path) };
        let value = row.value.map(|value| format!(" `{value}`")).unwrap_or_default();
        writeln!(text, "| {} | {what}{value} | {} |", row.kind, row.because).unwrap();
    }
    text.push_str("\n## What a cluster needs\n\n| For | Install | It |\n|---|---|---|\n");
    for need in NEEDS {
        let when: Vec<String> = need.when.iter().map(told).collect();
        writeln!(text, "| {} | {} | {} |", when.join(", "), need.what, need.role).unwrap();
    }
    text
}

fn told(when: &When) -> String {
    match when {
        When::Group(groups) => groups.iter().map(|group| format!("`{group}`")).collect::<Vec<_>>().join(", "),
        When::Kinds(_, kinds) => kinds.join(", "),
        When::Field(_, kind, path, when) => {
            let value = when.value().map(|value| format!(": {value}")).unwrap_or_default();
            format!("{kind} with `{}{value}`", path.join(".").replace(".*", "[]"))
        }
    }
}

#[test]
fn the_page_says_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let text = document();
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == text,
        "docs/compatibility.md differs from the tables: run this test with BLESS=1 and look at the change"
    );
}
