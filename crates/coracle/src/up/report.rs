//! What `coracle up` prints: lines for people, or one JSON object a line with stable keys.

use std::{
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    apply::{Applied, Target},
    cli::Output,
    platform::{Platform, Serving},
};

/// Prints to standard output.
#[derive(Debug)]
pub struct Report {
    output: Output,
    start: Instant,
}

impl Report {
    /// A report whose times count from now.
    pub fn new(output: Output) -> Self {
        Self { output, start: Instant::now() }
    }

    /// The API server answers.
    pub fn started(&self, platform: &Platform) {
        let (api, kubeconfig) = (platform.api_url(), platform.kubeconfig());
        let mut text = format!("API server  {api}\nkubectl     export KUBECONFIG={}", kubeconfig.display());
        let metrics = platform.metrics_url();
        if let Some(metrics) = &metrics {
            text.push_str(&format!("\nMetrics     {metrics}"));
        }
        let event = json!({"event": "started", "api": api, "kubeconfig": kubeconfig, "metrics": metrics});
        self.say(&text, event);
    }

    /// One object was applied.
    pub fn applied(&self, applied: &Applied) {
        let (target, outcome) = (&applied.target, applied.outcome.word());
        self.say(
            &format!("{target} {outcome}"),
            json!({"event": "applied", "object": target.to_string(), "outcome": outcome}),
        );
        for warning in &applied.warnings {
            let text = format!("Warning: {target}: {warning}");
            self.say(&text, json!({"event": "warning", "object": target.to_string(), "message": warning}));
        }
    }

    /// One of the applied objects became ready, or what it waits for changed.
    pub fn progress(&self, target: &Target, ready: bool, message: &str) {
        let mark = if ready { "ready" } else { "waiting" };
        let text = format!("{target} {mark}: {message}");
        self.say(&text, json!({"event": mark, "object": target.to_string(), "message": message}));
    }

    /// Everything applied is ready.
    pub fn ready(&self, platform: &Platform) {
        let took = self.start.elapsed();
        let (served, gateways) = list(&platform.gateways());
        let mut text = format!("Ready after {}.{served}", seconds(took));
        let authority = platform.development_authority();
        if let Some(authority) = authority {
            text.push_str(&format!("\nDev certs   curl --cacert {}", authority.display()));
        }
        let event = json!({"event": "up", "seconds": took.as_secs_f64(), "api": platform.api_url(), "gateways": gateways,
            "kubeconfig": platform.kubeconfig(), "devCerts": authority});
        self.say(&text, event);
    }

    /// A gateway that runs alone serves.
    pub fn serving(&self, gateways: &[Serving], metrics: Option<&str>) {
        let took = self.start.elapsed();
        let (served, gateways) = list(gateways);
        let mut text = format!("Serving after {}.{served}", seconds(took));
        if let Some(metrics) = metrics {
            text.push_str(&format!("\nMetrics     {metrics}"));
        }
        let event = json!({"event": "up", "seconds": took.as_secs_f64(), "gateways": gateways, "metrics": metrics});
        self.say(&text, event);
    }

    /// Whether this process writes statuses, of several gateways.
    pub fn leading(&self, leading: bool) {
        let text = if leading { "This gateway writes statuses." } else { "Another gateway writes statuses." };
        self.say(text, json!({"event": "leading", "leading": leading}));
    }

    /// Something worth knowing happened.
    pub fn event(&self, kind: &str, object: &str, reason: &str, message: &str) {
        let text = if kind == "Normal" {
            format!("{object}: {message}")
        } else {
            format!("{kind}: {object}: {reason}: {message}")
        };
        self.say(
            &text,
            json!({"event": "event", "type": kind, "object": object, "reason": reason, "message": message}),
        );
    }

    /// The end began.
    pub fn stopping(&self) {
        self.say("Stopping: requests are finished.", json!({"event": "stopping"}));
    }

    /// Another process asked to take over.
    pub fn handing_over(&self, pid: u32) {
        self.say(&format!("Handing over to process {pid}."), json!({"event": "handingOver", "pid": pid}));
    }

    /// It has taken over, and nothing is left to do here.
    pub fn handed_over(&self, pid: u32) {
        self.say(&format!("Handed over to process {pid}."), json!({"event": "handedOver", "pid": pid}));
    }

    /// It has not, and this process goes on.
    pub fn taken_back(&self, pid: u32, error: &anyhow::Error) {
        let text = format!("Process {pid} did not take over: {error:#}. This one goes on.");
        self.say(&text, json!({"event": "takenBack", "pid": pid, "message": format!("{error:#}")}));
    }

    /// The end of a gateway that runs alone.
    pub fn ended(&self) {
        self.say("Stopped.", json!({"event": "stopped"}));
    }

    /// The end.
    pub fn stopped(&self, data_dir: &Path) {
        let text = format!("Stopped. State is kept in {}.", data_dir.display());
        self.say(&text, json!({"event": "stopped", "dataDir": data_dir}));
    }

    fn say(&self, text: &str, event: Value) {
        let mut out = std::io::stdout().lock();
        // Standard output that is gone (a closed pipe) does not stop a server.
        let _ = match self.output {
            Output::Text => writeln!(out, "{text}"),
            Output::Json => writeln!(out, "{event}"),
        };
    }
}

/// Where Gateways answer, for people and for programs.
fn list(gateways: &[Serving]) -> (String, Vec<Value>) {
    let (mut text, mut list) = (String::new(), Vec::new());
    for Serving { scheme, address, listener_port } in gateways {
        text.push_str(&format!("\nGateway     {scheme}://{address} (listener port {listener_port})"));
        list.push(json!({"scheme": scheme, "address": address, "listenerPort": listener_port}));
    }
    (text, list)
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
