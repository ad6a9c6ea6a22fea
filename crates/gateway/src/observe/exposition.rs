//! The figures as text that Prometheus reads.

use std::fmt::Write;

use super::{
    figures::{
        BOUNDS, CONNECTED, ClassFigures, HELD, ListenerFigures, ListenerKey, RouteFigures, TLS_FAULTS, WorkerFigures,
    },
    flags::{Fault, MEANINGS},
};

/// All figures of a proxy at one moment.
#[derive(Debug, Default)]
pub struct Metrics {
    figures: WorkerFigures,
}

/// The media type of [`Metrics::prometheus`].
pub const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The media type of [`Metrics::openmetrics`].
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Metrics {
    pub(crate) fn new(figures: WorkerFigures) -> Self {
        Self { figures: figures.by_name() }
    }

    /// The text format of Prometheus (version 0.0.4).
    pub fn prometheus(&self) -> String {
        Text::new(false).write(&self.figures)
    }

    /// The text format of OpenMetrics 1.0.
    pub fn openmetrics(&self) -> String {
        let mut text = Text::new(true).write(&self.figures);
        text.push_str("# EOF\n");
        text
    }
}

struct Text {
    out: String,
    openmetrics: bool,
}

/// What a metric is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Numbers that a listener has one of.
type OfListener = (&'static str, Kind, &'static str, fn(&ListenerFigures) -> u64);
/// Numbers that a way has one of.
type OfRoute = (&'static str, Kind, &'static str, fn(&RouteFigures) -> u64);

const OF_LISTENERS: [OfListener; 3] = [
    ("connections", Kind::Counter, "Connections that clients have opened.", |l| l.connections),
    ("open_connections", Kind::Gauge, "Connections of clients that are open now.", |l| l.open_connections),
    ("open_requests", Kind::Gauge, "Requests that have begun and not ended.", |l| l.open_requests),
];

const OF_ROUTES: [OfRoute; 3] = [
    ("request_bytes", Kind::Counter, "Bytes that clients sent, without what frames them.", |r| r.bytes_in),
    ("response_bytes", Kind::Counter, "Bytes that clients were sent, without what frames them.", |r| r.bytes_out),
    ("retries", Kind::Counter, "Tries of requests after their first.", |r| r.retries),
];

impl Text {
    fn new(openmetrics: bool) -> Self {
        Self { out: String::new(), openmetrics }
    }

    fn write(mut self, figures: &WorkerFigures) -> String {
        self.requests(figures);
        for (name, kind, help, number) in OF_ROUTES {
            self.family(name, kind, help);
            for (labels, route) in routes(figures) {
                self.sample(name, kind, &labels, number(route));
            }
        }
        self.durations(figures);
        self.tcp(figures);
        for (name, kind, help, number) in OF_LISTENERS {
            self.family(name, kind, help);
            for (labels, listener) in listeners(figures) {
                self.sample(name, kind, &labels, number(listener));
            }
        }
        self.errors(figures);
        self.tls(figures);
        self.upstream(figures);
        self.held(figures);
        self.log(figures);
        self.out
    }

    fn requests(&mut self, figures: &WorkerFigures) {
        let help =
            "Requests that have ended, by the class of the status that clients got and by whose fault an error was.";
        self.family("requests", Kind::Counter, help);
        for (labels, route) in routes(figures) {
            for (status, class) in route.classes() {
                for (fault, count) in Fault::ALL.iter().zip(class.requests).filter(|(_, count)| *count > 0) {
                    let labels = format!("{labels},status=\"{status}\",fault=\"{}\"", fault.name());
                    self.sample("requests", Kind::Counter, &labels, count);
                }
            }
        }
    }

    fn tcp(&mut self, figures: &WorkerFigures) {
        self.family(
            "tcp_connections",
            Kind::Counter,
            "Connections that were joined to endpoints as bytes and have ended.",
        );
        for (labels, route) in routes(figures) {
            for (fault, count) in Fault::ALL.iter().zip(route.connections).filter(|(_, count)| *count > 0) {
                let labels = format!("{labels},fault=\"{}\"", fault.name());
                self.sample("tcp_connections", Kind::Counter, &labels, count);
            }
        }
    }

    fn durations(&mut self, figures: &WorkerFigures) {
        let name = "request_duration_seconds";
        self.family(name, Kind::Histogram, "From a request's whole head to the last byte of its response.");
        for (labels, route) in routes(figures) {
            for (status, class) in route.classes() {
                self.histogram(name, &format!("{labels},status=\"{status}\""), class);
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: &str, class: &ClassFigures) {
        let mut count = 0;
        for (bound, here) in BOUNDS.iter().zip(class.buckets) {
            count += here;
            let bound = seconds(*bound);
            _ = writeln!(self.out, "coracle_gateway_{name}_bucket{{{labels},le=\"{bound:?}\"}} {count}");
        }
        count += class.buckets.last().copied().unwrap_or_default();
        _ = writeln!(self.out, "coracle_gateway_{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
        _ = writeln!(self.out, "coracle_gateway_{name}_sum{{{labels}}} {}", seconds(class.nanoseconds));
        _ = writeln!(self.out, "coracle_gateway_{name}_count{{{labels}}} {count}");
    }

    fn errors(&mut self, figures: &WorkerFigures) {
        let help = "What went wrong with requests, by Envoy's response flags (DC: the client went away, UF: no connection, ...).";
        self.family("errors", Kind::Counter, help);
        for (labels, listener) in listeners(figures) {
            for (meaning, count) in MEANINGS.iter().zip(listener.flags).filter(|(_, count)| *count > 0) {
                let labels = format!("{labels},flag=\"{}\",fault=\"{}\"", meaning.short, meaning.fault.name());
                self.sample("errors", Kind::Counter, &labels, count);
            }
        }
    }

    fn tls(&mut self, figures: &WorkerFigures) {
        self.family("tls_handshakes", Kind::Counter, "TLS connections that came about.");
        for (labels, listener) in listeners(figures) {
            for (version, count) in ["1.2", "1.3"].iter().zip(listener.handshakes).filter(|(_, count)| *count > 0) {
                self.sample("tls_handshakes", Kind::Counter, &format!("{labels},version=\"{version}\""), count);
            }
        }
        self.family("tls_errors", Kind::Counter, "TLS connections that did not come about, and why.");
        for (labels, listener) in listeners(figures) {
            for (kind, count) in TLS_FAULTS.iter().zip(listener.tls_faults).filter(|(_, count)| *count > 0) {
                self.sample("tls_errors", Kind::Counter, &format!("{labels},kind=\"{kind}\""), count);
            }
        }
    }

    fn upstream(&mut self, figures: &WorkerFigures) {
        let name = "upstream_connections";
        self.family(name, Kind::Counter, "Connections to endpoints that were asked for, and what came of it.");
        for (cluster, counts) in &figures.connected {
            for (result, count) in CONNECTED.iter().zip(counts).filter(|(_, count)| **count > 0) {
                let labels = format!("service=\"{}\",result=\"{result}\"", escaped(cluster));
                self.sample(name, Kind::Counter, &labels, *count);
            }
        }
    }

    fn held(&mut self, figures: &WorkerFigures) {
        let name = "held_requests";
        self.family(name, Kind::Gauge, "Requests and connections that wait for a Service's first endpoint now.");
        let of = |service: &str| format!("service=\"{}\"", escaped(service));
        for (service, held) in &figures.held {
            self.sample(name, Kind::Gauge, &of(service), held.now);
        }
        let name = "held";
        self.family(
            name,
            Kind::Counter,
            "Requests and connections that had to wait for a first endpoint, and what came of it.",
        );
        for (service, held) in &figures.held {
            for (result, count) in HELD.iter().zip(held.ended).filter(|(_, count)| *count > 0) {
                self.sample(name, Kind::Counter, &format!("{},result=\"{result}\"", of(service)), count);
            }
        }
        let name = "held_seconds";
        self.family(name, Kind::Counter, "How long they have waited, together.");
        for (service, held) in &figures.held {
            let labels = of(service);
            _ = writeln!(self.out, "coracle_gateway_{name}_total{{{labels}}} {}", seconds(held.nanoseconds));
        }
    }

    fn log(&mut self, figures: &WorkerFigures) {
        let [written, dropped] = figures.log_lines;
        self.family("access_log_lines", Kind::Counter, "Lines of the access log.");
        self.sample("access_log_lines", Kind::Counter, "result=\"written\"", written);
        self.sample("access_log_lines", Kind::Counter, "result=\"dropped\"", dropped);
    }

    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        // OpenMetrics names a family of counters without the suffix of its samples.
        let total = if kind == Kind::Counter && !self.openmetrics { "_total" } else { "" };
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        _ = writeln!(self.out, "# HELP coracle_gateway_{name}{total} {help}");
        _ = writeln!(self.out, "# TYPE coracle_gateway_{name}{total} {kind}");
    }

    fn sample(&mut self, name: &str, kind: Kind, labels: &str, value: u64) {
        let total = if kind == Kind::Counter { "_total" } else { "" };
        _ = writeln!(self.out, "coracle_gateway_{name}{total}{{{labels}}} {value}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "a sum of more than a hundred days need not be exact to the nanosecond")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn listeners(figures: &WorkerFigures) -> impl Iterator<Item = (String, &ListenerFigures)> {
    figures.listeners.iter().map(|(key, listened)| (of_listener(key), &listened.figures))
}

fn routes(figures: &WorkerFigures) -> impl Iterator<Item = (String, &RouteFigures)> {
    figures.listeners.iter().flat_map(|(key, listened)| {
        let listener = of_listener(key);
        let routes = listened.routes.iter().filter(|(_, figures)| figures.is_used());
        routes.map(move |((route, service), figures)| {
            let labels = format!("{listener},route=\"{}\",service=\"{}\"", escaped(route), escaped(service));
            (labels, figures)
        })
    })
}

fn of_listener(key: &ListenerKey) -> String {
    format!("listener=\"{}\",port=\"{}\"", escaped(&key.name), key.port)
}

/// As a label's value is written.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
