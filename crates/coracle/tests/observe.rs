//! What is seen of a running Coracle's gateway: its metrics and its access log.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use testkit::{
    Coracle, Settings, get,
    systems::{GATEWAY, HELLO, route},
};

/// Waits for something that takes a moment.
fn eventually<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not come about");
        std::thread::yield_now();
    }
}

fn lines(file: &Path, count: usize) -> Option<Vec<serde_json::Value>> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<_> = text.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
    (lines.len() >= count).then_some(lines)
}

#[test]
fn the_way_of_a_request_is_said_of_manifests_that_nothing_runs() {
    let manifests = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let rules = "{matches: [{path: {type: Exact, value: /a}}], backendRefs: [{name: hello, port: 80}]}";
    fs::write(manifests.path(), [GATEWAY, HELLO, &route(rules)].concat()).unwrap();
    let asked = |path: &str| {
        let url = format!("http://example.com{path}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
        let output =
            command.args(["route", "GET", &url, "--output", "json", "-f"]).arg(manifests.path()).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    let explanation = asked("/a");
    assert_eq!(explanation["outcome"]["backends"][0]["service"], "default/hello:80", "{explanation}");
    let explanation = asked("/b");
    assert_eq!(explanation["outcome"]["status"], 404, "{explanation}");
    assert_eq!(explanation["rules"][0]["because"], "the path is /b", "{explanation}");
}

#[test]
fn requests_are_counted_and_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let (manifests, log) = (directory.path().join("all.yaml"), directory.path().join("access.log"));
    fs::write(&manifests, [GATEWAY, HELLO, &route("{backendRefs: [{name: hello, port: 80}]}")].concat()).unwrap();
    let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
    let arguments = ["-f", manifests.to_str().unwrap(), "--access-log", log.to_str().unwrap()];
    settings.arguments = arguments.map(str::to_owned).to_vec();
    let coracle = Coracle::start(settings).unwrap();
    let gateway = coracle.gateway(80).unwrap();

    get(gateway, "/seen?by=all").unwrap();
    let line = eventually("the line", || lines(&log, 1)).remove(0);
    assert_eq!(line["x-envoy-origin-path"], "/seen?by=all", "{line}");
    assert_eq!(line["upstream_cluster"], "default/hello:80", "{line}");

    let metrics = coracle.metrics().unwrap();
    let text = get(metrics, "/metrics").unwrap();
    assert!(text.contains("content-type: text/plain; version=0.0.4"), "{text}");
    let counted = text.lines().find(|line| line.starts_with("coracle_gateway_requests_total{")).unwrap();
    assert!(counted.contains("service=\"default/hello:80\"") && counted.ends_with(" 1"), "{counted}");
    assert!(get(metrics, "/").unwrap().starts_with("HTTP/1.1 404 "));

    let asked = Command::new(env!("CARGO_BIN_EXE_coracle"))
        .args([
            "route",
            "GET",
            &format!("http://{gateway}/a"),
            "--publish",
            &format!("{}:80", gateway.port()),
            "--data-dir",
        ])
        .arg(coracle.data_dir())
        .output()
        .unwrap();
    let explained = String::from_utf8_lossy(&asked.stdout);
    assert!(explained.contains(" forwards to\n    default/hello:80 (100 %) at "), "{explained}{asked:?}");

    let old = directory.path().join("access.log.1");
    fs::rename(&log, &old).unwrap();
    assert!(Command::new("kill").args(["-s", "USR1", &coracle.pid().to_string()]).status().unwrap().success());
    eventually("the new file", || log.exists().then_some(()));
    get(gateway, "/again").unwrap();
    let line = eventually("the line", || lines(&log, 1)).remove(0);
    assert_eq!(line["x-envoy-origin-path"], "/again", "{line}");
    assert_eq!(lines(&old, 1).unwrap().len(), 1);
}
