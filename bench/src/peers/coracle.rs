//! Coracle: the whole of `coracle up`, with HTTPRoutes to Services without a selector whose one endpoint is outside.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::Context;
use base64::Engine;

use super::{Peer, Ports, Site, on_core};
use crate::machine::Process;

/// How many routes.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// HTTPRoutes.
    pub routes: usize,
    /// Matches of each: the path alone, and then with a header, a method, a query parameter, a longer path.
    pub matches: usize,
}

/// A running Coracle.
pub struct Coracle {
    /// As a proxy.
    pub peer: Peer,
    /// Its administrator's access.
    pub kubeconfig: PathBuf,
}

impl Coracle {
    /// Starts one, on one core or all.
    ///
    /// # Errors
    /// It does not serve within a minute.
    pub fn start(program: &Path, site: &Site, shape: Shape, core: Option<&str>) -> anyhow::Result<Self> {
        let dir = site.dir().join(format!("coracle-{}-{}", shape.routes, core.unwrap_or("all")));
        fs::create_dir(&dir)?;
        let (mut ports, manifests) = (Ports::free()?, dir.join("manifests.yaml"));
        ports.h2c = ports.plain;
        fs::write(&manifests, self::manifests(site, shape)?)?;
        let mut command = core.map_or_else(|| Command::new(program), |core| on_core(core, program));
        // There are no pods: nothing is to be isolated, and several may run beside each other.
        command
            .args(["up", "--api-port", "0", "--runtime", "loopback", "--output", "json", "--data-dir"])
            .arg(dir.join("data"))
            .arg("-f")
            .arg(&manifests);
        command.args(["--publish", &format!("{}:80,{}:443", ports.plain, ports.tls)]);
        if takes(program, "--access-log")? {
            command.arg("--access-log").arg(dir.join("access.log"));
            command.args(["--access-log-format", site.log_format]);
        } else {
            eprintln!("this Coracle has no access log: it is measured without one");
        }
        if takes(program, "--metrics-port")? {
            // Of two that run beside each other, one would do without the default port.
            command.args(["--metrics-port", "0"]);
        }
        let mut process = Process::spawn(command.stdout(Stdio::piped()))?;
        until_up(&mut process)?;
        Ok(Self { peer: Peer::started("coracle", process, ports)?, kubeconfig: dir.join("data/kubeconfig") })
    }
}

/// Waits until everything that was applied is ready; what it says later is read and dropped.
fn until_up(process: &mut Process) -> anyhow::Result<()> {
    let mut lines = BufReader::new(process.0.stdout.take().context("its standard output")?).lines();
    let mut said = lines.by_ref().map_while(Result::ok);
    said.find(|line| line.contains("\"event\":\"up\"")).context("coracle ended before everything was ready")?;
    thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Ok(())
}

/// Whether `coracle up` has this flag.
fn takes(program: &Path, flag: &str) -> anyhow::Result<bool> {
    let help = Command::new(program).args(["up", "--help"]).output();
    let help = help.with_context(|| format!("run {} (cargo build --release)", program.display()))?;
    Ok(String::from_utf8_lossy(&help.stdout).contains(flag))
}

fn manifests(site: &Site, shape: Shape) -> anyhow::Result<String> {
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let mut text = format!(
        "---
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {{name: localhost}}
data: {{tls.crt: {}, tls.key: {}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  gatewayClassName: coracle
  listeners:
    - {{name: http, protocol: HTTP, port: 80}}
    - {{name: https, protocol: HTTPS, port: 443, tls: {{certificateRefs: [{{name: localhost}}]}}}}
",
        base64(&site.certificate.chain),
        base64(&site.certificate.key),
    );
    let endpoints = &site.endpoints;
    for (name, port, protocol) in [
        ("small", endpoints.small, "http"),
        ("large", endpoints.large, "http"),
        ("grpc", endpoints.grpc, "kubernetes.io/h2c"),
    ] {
        write!(
            text,
            "---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{ports: [{{name: main, port: 80, appProtocol: {protocol}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: main, port: {port}, protocol: TCP, appProtocol: {protocol}}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
"
        )?;
    }
    text.push_str(&route("large", "/large", 1, "large"));
    text.push_str(&route("grpc", "/bench.Echo", 1, "grpc"));
    for number in 0..shape.routes {
        text.push_str(&route(&format!("r{number}"), &format!("/r{number}"), shape.matches, "small"));
    }
    Ok(text)
}

/// An HTTPRoute of one rule.
fn route(name: &str, path: &str, matches: usize, service: &str) -> String {
    let prefix = format!("path: {{type: PathPrefix, value: {path}}}");
    let kinds = [
        format!("{{{prefix}}}"),
        format!("{{{prefix}, headers: [{{name: x-version, value: two}}]}}"),
        format!("{{{prefix}, method: DELETE}}"),
        format!("{{{prefix}, queryParams: [{{name: preview, value: 'yes'}}]}}"),
        format!("{{path: {{type: Exact, value: {path}/exact}}}}"),
    ];
    let matches = kinds.iter().cycle().take(matches).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: edge}}]
  rules: [{{matches: [{matches}], backendRefs: [{{name: {service}, port: 80}}]}}]
"
    )
}

impl Coracle {
    /// The change of a route that [`crate::proxy`] watches for: its answers carry this version.
    pub fn versioned(path: &str, version: u32) -> serde_json::Value {
        let set = serde_json::json!([{"name": "x-version", "value": version.to_string()}]);
        serde_json::json!({"spec": {"rules": [{
            "matches": [{"path": {"type": "PathPrefix", "value": path}}],
            "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": set}}],
            "backendRefs": [{"name": "small", "port": 80}],
        }]}})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_as_many_matches_as_asked_for() {
        assert_eq!(route("a", "/a", 5, "small").matches("/a").count(), 5);
    }
}
