//! CPU per request: the gateway and nginx, one core each in turn, the same routes, the same endpoint.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, bail};
use tempfile::TempDir;

use testkit::{processes, systems::GATEWAY};

use crate::{
    http,
    machine::{self, Process},
};

/// What is measured how often.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Runs of each.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of each run.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Routes in each configuration.
    #[arg(long, default_value_t = 100)]
    routes: usize,
    /// Client connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

/// The proxy's core and everybody else's.
const CORES: (&str, &str) = ("0", "1");

/// Measures and prints a table.
pub fn run(coracle: &Path, options: &Options) -> anyhow::Result<()> {
    for program in ["nginx", "wrk", "taskset"] {
        testkit::find(program)
            .with_context(|| format!("{program} is not installed (apt-get install nginx-light wrk)"))?;
    }
    let dir = TempDir::new()?;
    let upstream_port = machine::free_port()?;
    let _upstream = nginx(dir.path(), "upstream", CORES.1, &upstream(upstream_port))?;
    let peers = [
        start_nginx(dir.path(), options.routes, upstream_port)?,
        start_coracle(dir.path(), coracle, options.routes, upstream_port)?,
    ];
    let mut results = [const { Vec::new() }; 2];
    for _ in 0..options.runs {
        for (peer, results) in peers.iter().zip(&mut results) {
            results.push(measure(peer, options)?);
        }
    }
    println!(
        "GET 1 KiB, keep-alive, {} connections, {} routes, {} runs",
        options.connections, options.routes, options.runs
    );
    println!("{:<10} {:>20} {:>14}", "", "CPU µs per request", "requests/s");
    for (peer, results) in peers.iter().zip(results) {
        let (cpu, rate): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        println!("{:<10} {:>20.2} {:>14.0}", peer.name, machine::median(cpu), machine::median(rate));
    }
    Ok(())
}

/// A proxy that runs.
struct Peer {
    name: &'static str,
    process: Process,
    address: SocketAddr,
}

fn measure(peer: &Peer, options: &Options) -> anyhow::Result<(f64, f64)> {
    let tree = processes::tree(peer.process.pid());
    let before = machine::cpu(&tree)?;
    let path = format!("http://{}/r{}/x", peer.address, options.routes / 2);
    let output = Command::new("taskset")
        .args(["-c", CORES.1, "wrk", "-t1", "-c", &options.connections.to_string()])
        .args(["-d", &options.seconds.to_string(), &path])
        .output()?;
    let used = machine::cpu(&tree)? - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<f64>().ok());
    let requests = requests.with_context(|| format!("wrk said: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("{}: requests failed: {text}", peer.name);
    }
    Ok((used.as_secs_f64() * 1e6 / requests, requests / f64::from(options.seconds)))
}

/// An nginx of its own with this configuration, on one core.
fn nginx(dir: &Path, name: &str, core: &str, http: &str) -> anyhow::Result<Process> {
    let (conf, pid) = (dir.join(format!("{name}.conf")), dir.join(format!("{name}.pid")));
    let text = format!(
        "daemon off; worker_processes 1; pid {}; error_log stderr crit;\nevents {{ worker_connections 4096; }}\nhttp {{\n\
         access_log off; keepalive_requests 1000000000; keepalive_timeout 75s;\n{http}\n}}\n",
        machine::text(&pid)?
    );
    fs::write(&conf, text)?;
    Process::spawn(Command::new("taskset").args([
        "-c",
        core,
        "nginx",
        "-p",
        machine::text(dir)?,
        "-c",
        machine::text(&conf)?,
    ]))
}

fn upstream(port: u16) -> String {
    let body = "x".repeat(1024);
    format!("server {{ listen 127.0.0.1:{port}; location / {{ return 200 \"{body}\"; }} }}")
}

/// With the fields that the gateway adds.
fn start_nginx(dir: &Path, routes: usize, upstream: u16) -> anyhow::Result<Peer> {
    let port = machine::free_port()?;
    let mut http = format!(
        "upstream up {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}\n\
         server {{ listen 127.0.0.1:{port};\n"
    );
    for route in 0..routes {
        writeln!(
            http,
            "location /r{route}/ {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
             proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
             proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id; }}"
        )?;
    }
    http.push('}');
    let process = nginx(dir, "proxy", CORES.0, &http)?;
    peer("nginx", process, port)
}

fn start_coracle(dir: &Path, coracle: &Path, routes: usize, upstream: u16) -> anyhow::Result<Peer> {
    let (port, manifests) = (machine::free_port()?, dir.join("routes.yaml"));
    fs::write(&manifests, manifest(routes, upstream)?)?;
    let mut command = Command::new("taskset");
    command.args(["-c", CORES.0]).arg(coracle).args(["up", "--api-port", "0", "-f"]).arg(&manifests);
    command.arg("--data-dir").arg(dir.join("data")).args(["--publish", &format!("{port}:80")]);
    let process = Process::spawn(command.stdout(Stdio::null()))?;
    peer("coracle", process, port)
}

fn peer(name: &'static str, process: Process, port: u16) -> anyhow::Result<Peer> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    http::wait_for_200(address, "/r0/", Instant::now()).context(name)?;
    Ok(Peer { name, process, address })
}

/// A Service without a selector whose one endpoint is outside, and as many HTTPRoutes as asked for.
fn manifest(routes: usize, upstream: u16) -> anyhow::Result<String> {
    let mut text = format!(
        "{GATEWAY}---
apiVersion: v1
kind: Service
metadata: {{name: up}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: up-1, labels: {{kubernetes.io/service-name: up}}}}
addressType: IPv4
ports: [{{name: http, port: {upstream}, protocol: TCP}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
"
    );
    for route in 0..routes {
        write!(
            text,
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r{route}}}
spec:
  parentRefs: [{{name: edge}}]
  rules: [{{matches: [{{path: {{type: PathPrefix, value: /r{route}}}}}], backendRefs: [{{name: up, port: 80}}]}}]
"
        )?;
    }
    Ok(text)
}
