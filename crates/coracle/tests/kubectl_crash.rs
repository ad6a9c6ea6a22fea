//! SIGKILL at any moment under a stream of writes: whatever was acknowledged is there afterwards, whole.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Child, Stdio},
};

use testkit::{Coracle, Kubectl, Settings};

/// After which acknowledgement of a round Coracle is killed: the first, in the middle of a stream, and in between.
const ROUNDS: [usize; 5] = [1, 90, 7, 201, 34];
/// Objects that a round would write if it were not interrupted.
const STREAM: usize = 250;

/// The manifests of a round: ConfigMaps that say which they are, large enough that a half-written one would show.
fn manifests(round: usize) -> String {
    let filling = "x".repeat(3000);
    let one = |number: usize| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{round}-{number}}}\ndata: {{me: c{round}-{number}, filling: {filling}}}\n"
        )
    };
    (0..STREAM).map(one).collect::<Vec<_>>().join("---\n")
}

fn create(kubectl: &Kubectl, file: &std::path::Path) -> Child {
    let arguments = format!("create -f {}", file.display());
    kubectl.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// What each of the ConfigMaps says that it is.
fn stored(kubectl: &Kubectl) -> BTreeMap<String, String> {
    let template = "{range.items[*]}{.metadata.name}={.data.me}/{.data.filling}{\"\\n\"}{end}";
    let rows = kubectl.run(&format!("get cm -o jsonpath={template}")).unwrap();
    rows.lines().filter_map(|row| row.split_once('=')).map(|(name, data)| (name.to_owned(), data.to_owned())).collect()
}

#[test]
fn what_was_acknowledged_before_a_crash_is_there_after_it() {
    let mut coracle = Coracle::start(Settings::new(env!("CARGO_BIN_EXE_coracle"))).unwrap();
    let Some(kubectl) = Kubectl::version("1.33", &coracle.kubeconfig()) else {
        return eprintln!("skipped: there is no kubectl 1.33 on this machine");
    };
    let mut acknowledged = Vec::new();
    for (round, after) in ROUNDS.into_iter().enumerate() {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        file.write_all(manifests(round).as_bytes()).unwrap();
        let mut writer = create(&kubectl, file.path());
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
        acknowledged.extend(lines.by_ref().take(after));
        coracle.kill().unwrap();
        // What it had printed meanwhile counts as well.
        acknowledged.extend(lines);
        writer.wait().unwrap();
        coracle.start_again().unwrap();
    }
    let there = stored(&kubectl);
    let filling = "x".repeat(3000);
    for line in &acknowledged {
        let name = line.strip_prefix("configmap/").and_then(|line| line.strip_suffix(" created")).unwrap();
        assert_eq!(there.get(name), Some(&format!("{name}/{filling}")), "{name} was acknowledged");
    }
    for (name, data) in there.iter().filter(|(name, _)| name.starts_with('c')) {
        assert_eq!(data, &format!("{name}/{filling}"), "what was not acknowledged is whole or not there");
    }
    let least: usize = ROUNDS.into_iter().sum();
    assert!(acknowledged.len() >= least, "{} of at least {least}", acknowledged.len());
}
