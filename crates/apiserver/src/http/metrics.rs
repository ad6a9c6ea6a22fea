//! `/metrics`: figures about the API server itself, in Prometheus' text form, under upstream's names.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, header};

use super::{Answer, Handler, fairness::TURNS, full};
use crate::{
    registry::Registry,
    stall::Stalled,
    store::{COMMIT_BUCKETS, Figures},
};

/// Upper bounds of how long a request took, in seconds: upstream's, thinned out.
const BUCKETS: [f64; 14] = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 2.0, 5.0, 15.0, 60.0];
/// Sorts of request that are told apart; further ones are counted together.
const SORTS: usize = 4096;

/// Watches, and sessions with running programs.
const LASTING: [&str; 2] = ["WATCH", "CONNECT"];

/// What sort of request it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sort {
    /// `LIST`, `WATCH`, `PATCH`, …; `CONNECT` for sessions, whose code says whether they began.
    pub verb: &'static str,
    /// The kind's group, version and plural; empty where there is none.
    pub group: Cow<'static, str>,
    /// As above.
    pub version: Cow<'static, str>,
    /// As above.
    pub resource: Cow<'static, str>,
    /// `status`, `scale`, …
    pub subresource: Cow<'static, str>,
    /// `cluster`, `namespace` or `resource`.
    pub scope: &'static str,
    /// Whether it was not to change anything.
    pub dry_run: bool,
}

#[derive(Debug, Default)]
struct Served {
    codes: BTreeMap<u16, u64>,
    buckets: [u64; BUCKETS.len() + 1],
    seconds: f64,
}

/// What has been counted since the start.
#[derive(Debug, Default)]
pub struct Metrics {
    served: Mutex<BTreeMap<Sort, Served>>,
    /// Requests that are being served: reading ones, and changing ones.
    pub inflight: [AtomicI64; 2],
    /// Watches that are open.
    pub watches: AtomicI64,
    /// Events sent to watches.
    pub events: AtomicU64,
    /// Who was cut for not taking what it was sent.
    pub stalled: Arc<Stalled>,
}

impl Metrics {
    /// Counts a request that was answered.
    pub fn note(&self, mut sort: Sort, code: u16, took: Duration) {
        let mut all = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SORTS && !all.contains_key(&sort) {
            sort = Sort { verb: sort.verb, ..Sort::default() };
        }
        let lasts = LASTING.contains(&sort.verb);
        let served = all.entry(sort).or_default();
        *served.codes.entry(code).or_default() += 1;
        // How long something lasts that has no end of its own says nothing.
        if lasts {
            return;
        }
        let seconds = took.as_secs_f64();
        served.seconds += seconds;
        let at = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        if let Some(bucket) = served.buckets.get_mut(at) {
            *bucket += 1;
        }
    }

    fn write_requests(&self, text: &mut Text) {
        let all = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        text.head("apiserver_request_total", "counter", "Requests answered, by verb, resource and code.");
        for (sort, served) in all.iter() {
            let dry_run = if sort.dry_run { "All" } else { "" };
            for (code, count) in &served.codes {
                let labels = format!("code=\"{code}\",component=\"apiserver\",dry_run=\"{dry_run}\",{}", labels(sort));
                text.line("apiserver_request_total", &labels, count);
            }
        }
        let name = "apiserver_request_duration_seconds";
        text.head(name, "histogram", "How long requests took, but for watches and sessions.");
        for (sort, served) in all.iter().filter(|(sort, _)| !LASTING.contains(&sort.verb)) {
            text.histogram(name, &labels(sort), &BUCKETS, &served.buckets, served.seconds);
        }
    }
}

fn labels(sort: &Sort) -> String {
    let Sort { verb, group, version, resource, subresource, scope, .. } = sort;
    format!(
        "group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
    )
}

/// The text that is being written.
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, sort: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {sort}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            _ => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    fn single(&mut self, name: &str, sort: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, sort, help);
        self.line(name, "", value);
    }

    fn histogram(&mut self, name: &str, labels: &str, bounds: &[f64], buckets: &[u64], sum: f64) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        let bounds = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, bucket) in bounds.zip(buckets) {
            count += bucket;
            self.line(&format!("{name}_bucket"), &format!("{labels}{comma}le=\"{bound}\""), count);
        }
        self.line(&format!("{name}_sum"), labels, sum);
        self.line(&format!("{name}_count"), labels, count);
    }
}

/// All figures.
pub(super) fn answer(handler: &Handler) -> Answer {
    let Handler { registry, metrics, gate, sessions, .. } = handler;
    let mut text = Text(String::new());
    metrics.write_requests(&mut text);
    text.head(
        "apiserver_current_inflight_requests",
        "gauge",
        "Requests that are being served, but for watches and sessions.",
    );
    for (sort, count) in ["readOnly", "mutating"].into_iter().zip(&metrics.inflight) {
        let labels = format!("request_kind=\"{sort}\"");
        text.line("apiserver_current_inflight_requests", &labels, count.load(Ordering::Relaxed));
    }
    let refused = gate.refused.load(Ordering::Relaxed);
    text.single("apiserver_flowcontrol_rejected_requests_total", "counter", "Requests refused with 429.", refused);
    let (name, turns) = ("coracle_apiserver_list_turns", gate.turns());
    text.head(name, "histogram", "How many large lists of others were begun while one waited for its turn.");
    text.histogram(name, "", &TURNS, &turns.buckets, turns.waited as f64);
    let name = "apiserver_longrunning_requests";
    text.head(name, "gauge", "Watches and sessions that are open.");
    text.line(name, "subresource=\"\",verb=\"WATCH\"", metrics.watches.load(Ordering::Relaxed));
    for (subresource, open) in sessions.open() {
        text.line(name, &format!("subresource=\"{subresource}\",verb=\"CONNECT\""), open);
    }
    let name = "coracle_apiserver_stalled_total";
    text.head(
        name,
        "counter",
        "Connections, and streams of HTTP/2, that were cut because nothing was taken of what they were sent.",
    );
    for (what, count) in [("connection", &metrics.stalled.connections), ("stream", &metrics.stalled.streams)] {
        text.line(name, &format!("cut=\"{what}\""), count.load(Ordering::Relaxed));
    }
    let events = metrics.events.load(Ordering::Relaxed);
    text.single("apiserver_watch_events_total", "counter", "Events sent to watches.", events);
    write_store(registry, &mut text);
    write_process(&mut text);
    let mut answer = Answer::new(full(text.0));
    let media = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, media);
    answer
}

fn write_store(registry: &Registry, text: &mut Text) {
    let counts = registry.store().counts();
    // `apps/deployments` is `deployments.apps` where people read it.
    let name = |resource: &str| match resource.split_once('/') {
        Some(("", plural)) => plural.to_owned(),
        Some((group, plural)) => format!("{plural}.{group}"),
        None => resource.to_owned(),
    };
    text.head("apiserver_storage_objects", "gauge", "Stored objects, by resource.");
    for (resource, objects, _) in &counts {
        text.line("apiserver_storage_objects", &format!("resource=\"{}\"", name(resource)), objects);
    }
    text.head("apiserver_registered_watchers", "gauge", "Who waits for changes, by resource.");
    for (resource, _, watchers) in &counts {
        text.line("apiserver_registered_watchers", &format!("resource=\"{}\"", name(resource)), watchers);
    }
    let Figures { commits, failed, writes, buckets, spent, file, .. } = registry.store().figures();
    text.single("apiserver_storage_size_bytes", "gauge", "Bytes of the store's file.", file);
    text.single("coracle_store_writes_total", "counter", "Writes that were made durable.", writes);
    text.single("coracle_store_commits_total", "counter", "Commits of the store that are durable.", commits);
    text.single("coracle_store_commits_failed_total", "counter", "Commits that the disk refused.", failed);
    let name = "coracle_store_commit_duration_seconds";
    text.head(name, "histogram", "How long commits took, the disk's part included.");
    text.histogram(name, "", &COMMIT_BUCKETS, &buckets, spent.as_secs_f64());
}

/// The process's own, as Prometheus' client libraries name them.
fn write_process(text: &mut Text) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may hold anything.
    let fields: Vec<f64> = stat
        .rsplit_once(") ")
        .map_or(Vec::new(), |(_, rest)| rest.split(' ').map(|field| field.parse().unwrap_or(0.0)).collect());
    let field = |at: usize| fields.get(at).copied().unwrap_or(0.0);
    // The kernel's unit for user space, USER_HZ, is 100 on every architecture there is; pages are asked for below.
    let cpu = (field(11) + field(12)) / 100.0;
    text.single("process_cpu_seconds_total", "counter", "User and system time of the process.", cpu);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_ascii_whitespace().next()?.parse::<u64>().ok());
    let resident = resident.unwrap_or(0) * 1024;
    text.single("process_resident_memory_bytes", "gauge", "Resident memory of the process.", resident);
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    text.single("process_open_fds", "gauge", "Open file descriptors.", open);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_what_they_were() {
        let metrics = Metrics::default();
        let sort =
            Sort { verb: "LIST", version: "v1".into(), resource: "pods".into(), scope: "cluster", ..Sort::default() };
        metrics.note(sort.clone(), 200, Duration::from_millis(1));
        metrics.note(sort.clone(), 200, Duration::from_millis(30));
        metrics.note(sort, 429, Duration::from_secs(100));
        let mut text = Text(String::new());
        metrics.write_requests(&mut text);
        let own = "group=\"\",resource=\"pods\",scope=\"cluster\",subresource=\"\",verb=\"LIST\",version=\"v1\"";
        for line in [
            format!("apiserver_request_total{{code=\"200\",component=\"apiserver\",dry_run=\"\",{own}}} 2"),
            format!("apiserver_request_total{{code=\"429\",component=\"apiserver\",dry_run=\"\",{own}}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{own},le=\"0.005\"}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{own},le=\"0.05\"}} 2"),
            format!("apiserver_request_duration_seconds_bucket{{{own},le=\"+Inf\"}} 3"),
            format!("apiserver_request_duration_seconds_count{{{own}}} 3"),
        ] {
            assert!(text.0.lines().any(|found| found == line), "{line}\n{}", text.0);
        }
    }
}
