//! `coracle hpa simulate` as a user runs it: every such command of docs/autoscaling.md makes what the page shows. With `BLESS=1`
//! the page and its plots are written anew.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const PROMPT: &str = "$ coracle hpa simulate ";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn coracle<'a>(args: impl IntoIterator<Item = &'a str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    command.current_dir(root()).env_remove("CORACLE_OUTPUT").args(["hpa", "simulate"]).args(args).output().unwrap()
}

fn stdout(args: &str) -> String {
    let output = coracle(args.split_whitespace());
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn stderr(args: &str) -> String {
    let output = coracle(args.split_whitespace());
    assert!(!output.status.success(), "{args}");
    String::from_utf8(output.stderr).unwrap()
}

/// A command of the page, with the lines that follow it there.
struct Shown {
    /// The lines of the command itself.
    command: Vec<String>,
    output: Vec<String>,
}

impl Shown {
    fn args(&self) -> String {
        let lines = self.command.iter().map(|line| line.trim_end_matches('\\').trim());
        let joined = lines.collect::<Vec<_>>().join(" ");
        joined.strip_prefix(PROMPT).unwrap().to_owned()
    }
}

/// The page in parts: text as it is, and commands.
fn parts(page: &str) -> Vec<Result<Shown, String>> {
    let mut parts = Vec::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.starts_with(PROMPT) {
            parts.push(Err(line.to_owned()));
            continue;
        }
        let mut command = vec![line.to_owned()];
        while command.last().is_some_and(|line| line.ends_with('\\')) {
            command.push(lines.next().unwrap().to_owned());
        }
        let mut output = Vec::new();
        while let Some(line) = lines.next_if(|line| *line != "```" && !line.starts_with("$ ")) {
            output.push(line.to_owned());
        }
        parts.push(Ok(Shown { command, output }));
    }
    parts
}

#[test]
fn the_commands_of_the_page_print_and_plot_what_it_shows() {
    let bless = std::env::var_os("BLESS").is_some();
    let file = root().join("docs/autoscaling.md");
    let page = fs::read_to_string(&file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (mut now, mut commands) = (String::new(), 0);
    for part in parts(&page) {
        let shown = match part {
            Ok(shown) => shown,
            Err(line) => {
                now.push_str(&format!("{line}\n"));
                continue;
            }
        };
        commands += 1;
        let mut args: Vec<String> = shown.args().split_whitespace().map(str::to_owned).collect();
        let plot = args.iter().position(|arg| arg == "--svg").map(|flag| {
            let committed = root().join(&args[flag + 1]);
            let made = folder.path().join("plot.svg");
            made.to_str().unwrap().clone_into(&mut args[flag + 1]);
            (committed, made)
        });
        let output = coracle(args.iter().map(String::as_str));
        assert!(output.status.success(), "{}: {}", shown.args(), String::from_utf8_lossy(&output.stderr));
        now.push_str(&format!("{}\n", shown.command.join("\n")));
        // A page shows the output of a command whole, or not at all.
        if !shown.output.is_empty() {
            now.push_str(&String::from_utf8(output.stdout).unwrap());
        }
        if let Some((committed, made)) = plot {
            let made = fs::read_to_string(made).unwrap();
            if bless {
                fs::write(&committed, &made).unwrap();
            }
            let same = fs::read_to_string(&committed).is_ok_and(|text| text == made);
            assert!(same, "{} differs; BLESS=1 rewrites it", committed.display());
        }
    }
    assert!(commands >= 4, "the page shows how to simulate");
    if bless {
        fs::write(&file, &now).unwrap();
    } else {
        assert_eq!(page, now, "BLESS=1 rewrites the page");
    }
}

#[test]
fn programs_get_every_row() {
    let text = stdout("-f docs/autoscaling/cpu.yaml --pattern constant:rate=20 --for 5m --output json");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let simulation = &json["simulations"][0];
    assert_eq!(simulation["name"], "default/web");
    assert_eq!(simulation["rows"].as_array().unwrap().len(), 300);
    assert!(simulation["summary"]["arrived"].as_f64().unwrap() > 5000.0);
    assert!(simulation["summary"]["podHours"].as_f64().unwrap() > 0.1);
}

#[test]
fn a_plot_is_as_wide_as_was_asked_for_and_has_no_colours_in_a_file() {
    let text = stdout("-f docs/autoscaling/cpu.yaml --pattern step --for 20m --width 60");
    assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    assert!(!text.contains('\x1b'));
}

#[test]
fn what_is_wrong_is_said_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let traffic = write("traffic.csv", "0,1\n60,2\nsoon,3\n");
    let error = stderr(&format!("-f docs/autoscaling/cpu.yaml --traffic {traffic}"));
    assert!(error.contains("traffic.csv: line 3: the time \"soon\" is neither RFC 3339 nor seconds"), "{error}");
    let error = stderr("-f docs/autoscaling/cpu.yaml --pattern wave");
    assert!(error.contains("there is no pattern \"wave\""), "{error}");
    let error = stderr("-f docs/autoscaling/cpu.yaml --pattern step --capacity speed=1");
    assert!(error.contains("\"speed=1\" is none of requests="), "{error}");
    let refused = write(
        "refused.yaml",
        &fs::read_to_string(root().join("docs/autoscaling/cpu.yaml")).unwrap().replace("20", "-1"),
    );
    let error = stderr(&format!("-f {refused} --pattern step"));
    assert!(error.contains("refused.yaml: the API would refuse it: spec.maxReplicas"), "{error}");
    let error = stderr("-f systems/hello/base/service.yaml --pattern step");
    assert!(error.contains("service.yaml: it has no HorizontalPodAutoscaler"), "{error}");
    // What flags say wrongly is no file's fault.
    let error = stderr("-f docs/autoscaling/cpu.yaml --pattern step --for 0s");
    assert!(error.contains("coracle: --for must be from 1s to 366d"), "{error}");
}
