//! docs/autoscaling.md, as a reader follows it: its manifests are applied, and its commands work as pasted, each beside the Coracle that
//! was started before it there. Left out are the commands that go on until somebody stops them, and the simulator's (`hpa.rs`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use testkit::{Coracle, Kubectl, Settings, apart, find};

const PAGE: &str = include_str!("../../../docs/autoscaling.md");

/// A `coracle up` of the page, and what is typed beside it.
#[derive(Debug, Default)]
struct Session {
    manifests: String,
    script: String,
}

/// The sessions of the page, in its order.
fn sessions() -> Vec<Session> {
    let (mut all, mut saved) = (Vec::<Session>::new(), String::new());
    let mut lines = PAGE.lines();
    let mut inside = false;
    while let Some(line) = lines.next() {
        let until = |end: &'static str, lines: &mut std::str::Lines<'_>| -> String {
            lines.by_ref().take_while(|line| *line != end).map(|line| format!("{line}\n")).collect()
        };
        if line == "```yaml" {
            let block = until("```", &mut lines);
            saved = if saved.is_empty() { block } else { saved };
            continue;
        }
        if line.starts_with("```") {
            inside = line == "```console";
            continue;
        }
        let Some(first) = line.strip_prefix("$ ").filter(|_| inside) else { continue };
        let mut command = first.to_owned();
        while command.ends_with('\\') {
            command = format!("{command}\n{}", lines.next().unwrap_or_default());
        }
        if command.starts_with("coracle up") {
            let manifests = if command.contains("<<'END'") { until("END", &mut lines) } else { saved.clone() };
            all.push(Session { manifests, script: String::new() });
        }
        let left_out = ["coracle ", "export KUBECONFIG=", "while "].iter().any(|start| command.starts_with(start));
        if let Some(session) = all.last_mut().filter(|_| !left_out && !command.contains("--watch")) {
            session.script += &format!("{command}\n");
        }
    }
    all
}

/// Figures are not known from the first moment on: who asks for them asks again.
const SHELL: &str = r#"set -euo pipefail
curl() { command curl --fail-with-body --silent --show-error "$@"; }
kubectl() {
    case "$*" in
        "get --raw "*|"top "*|*metrics.k8s.io*) until "$KUBECTL" "$@" 2> /dev/null; do sleep 0.2; done ;;
        *) "$KUBECTL" "$@" ;;
    esac
}
"#;

/// Pastes what is typed in a session; all that was printed.
fn paste(session: &Session, coracle: &Coracle, kubectl: &Kubectl) -> String {
    let port = coracle.gateway(80).map_or(0, |address| address.port());
    let script = SHELL.to_owned() + &session.script.replace(":8080", &format!(":{port}"));
    let mut command = Command::new("timeout");
    command.args(["180", "bash", "-c", &script]).stdin(Stdio::null()).env("no_proxy", "*").env("HOME", "/nonexistent");
    command.env("KUBECTL", kubectl.command("").get_program()).env("KUBECONFIG", coracle.kubeconfig());
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{script}\n{said}");
    said
}

#[test]
fn the_commands_of_the_page_work_as_pasted() {
    apart(|| {
        if find("curl").is_none() {
            return eprintln!("skipped: there is no curl on this machine");
        }
        // What each session must have brought about.
        let wanted = [
            ["horizontalpodautoscaler.autoscaling/web autoscaled", "http_requests_per_second", "CPU(cores)"],
            ["0/0", "Hello World", "A request waits for service web: Deployment web goes from 0 to 1"],
            ["\"cpu\":\"50m\"", "Pod resize completed for containers: shop", "pod/eater created"],
        ];
        let sessions = sessions();
        assert_eq!(sessions.len(), wanted.len(), "{sessions:?}");
        for (session, wanted) in sessions.iter().zip(wanted) {
            let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
            std::fs::write(file.path(), &session.manifests).unwrap();
            let mut settings = Settings::new(PathBuf::from(env!("CARGO_BIN_EXE_coracle")));
            let path = file.path().display().to_string();
            settings.arguments = ["--runtime", "native", "-f", &path].map(str::to_owned).into();
            let coracle = Coracle::start(settings).unwrap();
            let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()).filter(|kubectl| kubectl.minor() >= 32) else {
                return eprintln!("skipped: there is no kubectl on this machine that knows the subresource resize");
            };
            let said = paste(session, &coracle, &kubectl);
            for part in wanted {
                assert!(said.contains(part), "no {part:?} in\n{said}");
            }
            if said.contains("pod/eater") {
                let path = "-o jsonpath={.items[*].involvedObject.name}";
                kubectl.until(&format!("events --field-selector reason=OOMKilled {path}"), "eater").unwrap();
            }
            kubectl.run("delete deployments,pods --all --now").unwrap();
        }
    });
}
