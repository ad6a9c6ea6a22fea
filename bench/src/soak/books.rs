//! Access log and metrics: every request is in both, with whose fault it was, and no well-behaved client's is anybody's.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

/// A line of the access log.
pub const FORMAT: &str =
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %FAULT% %DURATION% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %UPSTREAM_HOST% %REQ(:PATH)%";
/// Complaints that are kept for the end.
const COMPLAINTS: usize = 30;

/// What has been read so far.
pub struct Books {
    log: PathBuf,
    metrics: SocketAddr,
    /// Lines by fault.
    lines: BTreeMap<String, u64>,
    /// Lines whose fault is not what it should be.
    pub wrong: u64,
    /// Some of them.
    pub complaints: Vec<String>,
    series: HashMap<String, Series>,
}

/// A counter that is forgotten now and then, and begins again.
#[derive(Debug, Default, Clone, Copy)]
struct Series {
    last: u64,
    total: u64,
}

impl Series {
    fn see(&mut self, value: u64) {
        self.total += if value >= self.last { value - self.last } else { value };
        self.last = value;
    }
}

/// What the metrics say at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests and connections so far, by fault.
    pub by_fault: BTreeMap<String, u64>,
    /// Connections from clients now.
    pub connections: u64,
    /// Requests now.
    pub requests: u64,
    /// Lines of the access log that were dropped.
    pub dropped: u64,
}

impl Books {
    pub fn new(log: PathBuf, metrics: SocketAddr) -> Self {
        let (lines, series) = (BTreeMap::new(), HashMap::new());
        Self { log, metrics, lines, wrong: 0, complaints: Vec::new(), series }
    }

    /// Lines by fault so far.
    pub fn lines(&self) -> &BTreeMap<String, u64> {
        &self.lines
    }

    /// Takes the log away, as a rotation would, and reads it.
    ///
    /// # Errors
    /// It is not made again.
    pub fn turn_page(&mut self) -> anyhow::Result<()> {
        let old = self.log.with_extension("old");
        fs::rename(&self.log, &old).context("move the access log")?;
        let until = Instant::now() + Duration::from_secs(20);
        while !self.log.exists() {
            ensure!(Instant::now() < until, "the access log is not made again");
            thread::sleep(Duration::from_millis(50));
        }
        self.read(&old)?;
        fs::remove_file(&old).context("remove the old access log")
    }

    /// Reads what is left, when nothing more is written.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn last_page(&mut self) -> anyhow::Result<()> {
        let log = self.log.clone();
        self.read(&log)
    }

    fn read(&mut self, file: &Path) -> anyhow::Result<()> {
        for line in BufReader::new(File::open(file).context("open the access log")?).lines() {
            let line = line.context("read the access log")?;
            let mut words = line.splitn(7, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (code, flags, fault) = (word(), word(), word());
            // How long it took, and whom it was sent to, are for people who read complaints.
            let (_, _, _, path) = (word(), word(), word(), word());
            *self.lines.entry(fault.to_owned()).or_default() += 1;
            if !is_plausible(code, flags, fault, path) {
                self.wrong += 1;
                if self.complaints.len() < COMPLAINTS {
                    self.complaints.push(line);
                }
            }
        }
        Ok(())
    }

    /// Asks for the metrics.
    ///
    /// # Errors
    /// They are not served.
    pub fn count(&mut self) -> anyhow::Result<Counted> {
        let text = testkit::get(self.metrics, "/metrics").context("ask for metrics")?;
        let mut counted = Counted::default();
        let mut seen = HashMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("coracle_gateway_")) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<u64>() else { continue };
            match series.split('{').next().unwrap_or_default() {
                "requests_total" | "tcp_connections_total" => _ = seen.insert(series.to_owned(), value),
                "open_connections" => counted.connections += value,
                "open_requests" => counted.requests += value,
                "access_log_lines_total" if series.contains("\"dropped\"") => counted.dropped = value,
                _ => {}
            }
        }
        ensure!(!seen.is_empty(), "there are no metrics: {text}");
        // A series that is gone begins again at nothing.
        self.series.iter_mut().filter(|(name, _)| !seen.contains_key(*name)).for_each(|(_, series)| series.last = 0);
        for (name, value) in seen {
            self.series.entry(name).or_default().see(value);
        }
        for (name, series) in &self.series {
            let fault = name.split_once("fault=\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default();
            *counted.by_fault.entry(fault.to_owned()).or_default() += series.total;
        }
        Ok(counted)
    }
}

/// Whether a request to this path may have ended so: the path says what kind of client sent it, and where it went.
fn is_plausible(code: &str, flags: &str, fault: &str, path: &str) -> bool {
    let is_right = ["/right", "/h2/right", "/ws/right", "/soak.Right"].iter().any(|right| path.starts_with(right));
    if path.contains("wrong") {
        // A client that means ill may still go unnoticed, and its endpoint may be broken too.
        return matches!(fault, "client" | "none") || path.starts_with("/broken") && fault == "upstream";
    }
    if is_right {
        return fault == "none" && flags == "-" && matches!(code, "101" | "200" | "204");
    }
    if path.starts_with("/broken") {
        return matches!(fault, "upstream" | "none") || matches!(code, "403" | "413");
    }
    if path.starts_with("/passing") {
        return fault == "none" || fault == "client" && code == "404";
    }
    // Connections that are not HTTP, and what could not be read as a request.
    path == "-" && fault != "proxy"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_well_behaved_client_is_noticed_whoever_is_blamed() {
        assert!(is_plausible("200", "-", "none", "/right?seed=1"));
        assert!(!is_plausible("503", "UF", "upstream", "/right?seed=1"));
        assert!(!is_plausible("200", "DC", "client", "/soak.Right/Echo"));
    }

    #[test]
    fn a_broken_endpoint_is_nobody_elses_fault() {
        assert!(is_plausible("502", "UPE", "upstream", "/broken/not-http?seed=1"));
        assert!(!is_plausible("502", "DC", "client", "/broken/not-http?seed=1"));
        assert!(!is_plausible("0", "LR", "proxy", "/wrong"));
    }

    #[test]
    fn a_counter_that_begins_again_goes_on() {
        let mut series = Series::default();
        [5, 7, 7, 2].into_iter().for_each(|value| series.see(value));
        assert_eq!(series.total, 9);
    }
}
