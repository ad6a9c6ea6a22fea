//! Everything that can go wrong, all at once and for long, against a running Coracle: well-behaved clients beside it must
//! always get right answers, every error must be counted with whose fault it was, and nothing may grow.

mod books;
mod changes;
mod clients;
mod endpoints;
mod faults;
mod frames;
mod site;
mod tally;
mod watch;
mod wire;

use std::{
    fmt::Write as _,
    path::Path,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

use self::{
    books::{Books, Counted},
    tally::Row,
    watch::Figures,
};
pub use self::{
    endpoints::Endpoints,
    site::{Site, World},
    wire::{Exchange, Framed, Link, ask, dial},
};

/// How long, and how much.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// For how long.
    #[arg(long, default_value_t = 60)]
    minutes: u32,
    /// After how many minutes what is used is noted; it must not grow from then on. Clients that stall stay for minutes, and the
    /// API remembers a thousand changes of each resource: some growth before twenty means nothing.
    #[arg(long, default_value_t = 20)]
    warm_up: u32,
    /// How many times as much as usual is done in a second.
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// By how many KiB memory (PSS) may be larger at the end than after the warm-up.
    #[arg(long, default_value_t = 8 * 1024)]
    growth: u64,
}

/// Between two looks at the process.
const LOOK: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);
/// For well-behaved clients to finish, and for the proxy to notice that everybody has gone: sessions of UDP and idle connections
/// to endpoints live for a minute.
const QUIET: Duration = Duration::from_secs(150);
/// File descriptors more than at the start, when everybody has gone: the API server's watches among them.
const FILES: u64 = 32;

/// Runs it all and prints.
///
/// # Errors
/// Something did not hold: what.
pub fn run(program: &Path, options: &Options) -> anyhow::Result<()> {
    ensure!((1..options.minutes).contains(&options.warm_up), "--warm-up must be less than --minutes, and at least 1");
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raise the limit of open files")?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let endpoints = runtime.block_on(Endpoints::start())?;
    let mut site = Site::open(program, &endpoints, &[])?;
    thread::sleep(LOOK);
    let mut soak = Soak {
        pid: site.process.pid(),
        books: Books::new(site.access_log.clone(), site.world.metrics),
        start: Figures::of(site.process.pid())?,
        samples: Vec::new(),
    };
    println!("{}", soak.heading());
    let mut failures = match soak.run(&runtime, &site, options) {
        Ok(failures) => failures,
        // What has been counted so far may say why.
        Err(error) => vec![format!("{error:#}")],
    };
    let rows = site.world.tally.rows();
    let wrong = [&rows.0, &rows.1].into_iter().flatten().filter(|(_, row)| row.wrong > 0);
    failures.extend(wrong.map(|(name, row)| format!("{name}: {} of {} wrong", row.wrong, row.wrong + row.right)));
    print!("\n{}{}", table("well-behaved", &rows.0), table("faults and changes", &rows.1));
    for complaint in site.world.tally.take_complaints().iter().chain(&soak.books.complaints) {
        println!("wrong: {complaint}");
    }
    // What is still under way is of no interest any more.
    runtime.shutdown_background();
    if site.process.0.try_wait()?.is_none() {
        site.process.stop("TERM")?;
    }
    let ended = site.process.0.wait()?;
    if !ended.success() {
        failures.push(format!("coracle ended with {ended}"));
    }
    if failures.is_empty() {
        println!("everything held");
        return Ok(());
    }
    bail!("{}", failures.join("\n"))
}

struct Soak {
    pid: u32,
    books: Books,
    start: Figures,
    samples: Vec<Figures>,
}

impl Soak {
    /// All of it; what did not hold, apart from wrong answers.
    fn run(&mut self, runtime: &Runtime, site: &Site, options: &Options) -> anyhow::Result<Vec<String>> {
        self.load(runtime, site, options)?;
        let counted = self.quiet()?;
        self.books.last_page()?;
        Ok(self.failures(options, &counted))
    }

    fn heading(&self) -> String {
        format!(
            "before: PSS {:.1} MiB, {} threads, {} files\n\
             min  right (wrong)      faults (wrong, left out)  PSS and RSS MiB  threads  files   CPU  logged: {FAULTS}",
            mib(self.start.pss),
            self.start.threads,
            self.start.files
        )
    }

    /// Everything at once, for as long as is asked for.
    fn load(&mut self, runtime: &Runtime, site: &Site, options: &Options) -> anyhow::Result<()> {
        let (world, rate) = (&site.world, options.rate);
        let _entered = runtime.enter();
        let changes = runtime.block_on(changes::start(world, &site.kubeconfig, rate))?;
        let mut clients = clients::start(world, rate);
        let mut faults = faults::start(world, rate);
        let start = Instant::now();
        for minute in 1..=options.minutes {
            while start.elapsed() < MINUTE * minute {
                thread::sleep(LOOK.min((MINUTE * minute).saturating_sub(start.elapsed())));
                self.samples.push(Figures::of(self.pid)?);
            }
            self.books.turn_page()?;
            let counted = self.books.count()?;
            println!("{}", self.minute(minute, world, &counted));
        }
        world.ending.store(true, Ordering::Relaxed);
        runtime.block_on(async {
            let finished = async {
                while clients.join_next().await.is_some() {}
                while faults.join_next().await.is_some() {}
            };
            tokio::time::timeout(MINUTE, finished).await.context("clients do not finish")
        })?;
        drop(changes);
        Ok(())
    }

    /// A line, and what went wrong since the last.
    fn minute(&self, minute: u32, world: &World, counted: &Counted) -> String {
        let (right, faults) = (world.tally.requests(), world.tally.faults());
        let last = self.samples.last().copied().unwrap_or_default();
        let past = self.samples.len().checked_sub(1 + per_minute()).and_then(|at| self.samples.get(at));
        let busy = (last.cpu - past.map_or(self.start.cpu, |past| past.cpu)).as_secs_f64() / MINUTE.as_secs_f64();
        let lines = |fault: &&str| self.books.lines().get(*fault).copied().unwrap_or(0).to_string();
        let mut text = format!(
            "{minute:>3}  {:>8} ({:>3})  {:>10} ({:>3}, {:>5})  {:>10.1} {:>6.1}  {:>7}  {:>5}  {:>3.0}%  {} ({} wrong), {} counted, {} open",
            right.right,
            right.wrong,
            faults.right,
            faults.wrong,
            faults.left_out,
            mib(last.pss),
            mib(last.rss),
            last.threads,
            last.files,
            busy * 100.0,
            FAULTS.split(", ").map(|fault| lines(&fault)).collect::<Vec<_>>().join(", "),
            self.books.wrong,
            counted.by_fault.values().sum::<u64>(),
            counted.connections,
        );
        for complaint in world.tally.take_complaints() {
            // Writing to a String does not fail.
            _ = write!(text, "\n     wrong: {complaint}");
        }
        text
    }

    /// Waits until nobody is there any more, and all of it is counted.
    fn quiet(&mut self) -> anyhow::Result<Counted> {
        let until = Instant::now() + QUIET;
        loop {
            thread::sleep(Duration::from_secs(1));
            let (counted, figures) = (self.books.count()?, Figures::of(self.pid)?);
            let is_quiet = counted.connections == 0 && counted.requests == 0;
            if is_quiet && figures.files <= self.start.files + FILES || Instant::now() > until {
                println!(
                    "quiet: PSS {:.1} MiB, {} threads, {} files, {} connections and {} requests open",
                    mib(figures.pss),
                    figures.threads,
                    figures.files,
                    counted.connections,
                    counted.requests
                );
                // For the last lines of the log.
                thread::sleep(Duration::from_secs(1));
                return self.books.count();
            }
        }
    }

    /// What did not hold, apart from wrong answers.
    fn failures(&self, options: &Options, counted: &Counted) -> Vec<String> {
        let mut failures = Vec::new();
        let mut check = |held: bool, what: String| {
            if !held {
                failures.push(what);
            }
        };
        let end = options.warm_up as usize * per_minute();
        let warm = self.samples.get(end.saturating_sub(per_minute())..end).unwrap_or_default();
        let late = self.samples.get(self.samples.len().saturating_sub(per_minute())..).unwrap_or_default();
        let (warm, late) = (Figures::median(warm), Figures::median(late));
        println!(
            "after the warm-up: PSS {:.1} MiB, {} threads, {} files; at the end: {:.1} MiB, {} threads, {} files",
            mib(warm.pss),
            warm.threads,
            warm.files,
            mib(late.pss),
            late.threads,
            late.files
        );
        check(late.pss <= warm.pss + options.growth, format!("memory has grown from {} to {} KiB", warm.pss, late.pss));
        let most = warm.files + warm.files / 5 + 64;
        check(late.files <= most, format!("open files have grown from {} to {}", warm.files, late.files));
        check(
            late.threads <= warm.threads + 4,
            format!("threads have grown from {} to {}", warm.threads, late.threads),
        );
        let open = (counted.connections, counted.requests);
        check(open == (0, 0), format!("{} connections and {} requests are open without anybody", open.0, open.1));
        let files = Figures::of(self.pid).map_or(0, |figures| figures.files);
        check(
            files <= self.start.files + FILES,
            format!("{files} files are open without anybody, {} before", self.start.files),
        );
        check(counted.dropped == 0, format!("{} lines of the access log were dropped", counted.dropped));
        let lines = self.books.lines();
        check(*lines == counted.by_fault, format!("the access log has {lines:?}, the metrics {:?}", counted.by_fault));
        check(self.books.wrong == 0, format!("{} lines of the access log blame the wrong party", self.books.wrong));
        failures
    }
}

/// As the access log calls them.
const FAULTS: &str = "none, client, proxy, upstream";

fn per_minute() -> usize {
    (MINUTE.as_secs() / LOOK.as_secs()) as usize
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn table(title: &str, rows: &[(&'static str, Row)]) -> String {
    let mut text = format!("{title:<48} {:>10} {:>8} {:>9}\n", "right", "wrong", "left out");
    for (name, Row { right, wrong, left_out }) in rows {
        // Writing to a String does not fail.
        _ = writeln!(text, "{name:<48} {right:>10} {wrong:>8} {left_out:>9}");
    }
    text
}
