//! `coracle hpa`: HorizontalPodAutoscalers before they run. Their files are read as the API would read them.

use std::{
    fs,
    io::IsTerminal,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use autoscaling::{
    simulate::{
        LONGEST, Scenario,
        capacity::keys,
        demand::Demand,
        pattern::{self, Pattern},
        plot::{svg, terminal},
        recorded,
        report::{Report, table},
        service::Capacity,
    },
    time::seconds,
};
use clap::Args;
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::PodSpec};
use nix::libc;
use objects::kinds::Kinds;
use serde_json::{Value, json};

use crate::{
    cli::Output,
    scaling::{self, Keys, Scaling},
};

/// Columns of a plot that is not shown on a terminal.
const COLUMNS: usize = 100;

/// The flags of `coracle hpa simulate`.
#[derive(Debug, Args)]
#[command(after_help = help())]
pub struct Simulate {
    /// Take the HorizontalPodAutoscaler from the kustomization in DIR (repeatable).
    #[arg(short = 'k', long = "kustomize", value_name = "DIR", required_unless_present = "filename")]
    pub kustomize: Vec<PathBuf>,
    /// Take the HorizontalPodAutoscaler from FILE, a directory, or `-` for standard input (repeatable); if what it scales is there
    /// too, requests, limits and the time to drain are its pods'.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub filename: Vec<PathBuf>,
    /// The HorizontalPodAutoscaler, where the file has several.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Replay recorded demand: lines time,requests_per_second (CSV, or JSON objects with these fields), with times in RFC 3339 or
    /// seconds.
    #[arg(long, value_name = "FILE", required_unless_present = "pattern", conflicts_with = "pattern")]
    pub traffic: Option<PathBuf>,
    /// Show what was recorded beside it: the file of --traffic has the columns desired and ready too, and perhaps cpu (the share of
    /// their request that pods used).
    #[arg(long, requires = "traffic", conflicts_with = "compare")]
    pub recorded: bool,
    /// Make up demand, such as `step:from=10,to=200,at=5m` (all patterns are below).
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", value_parser = Pattern::parse)]
    pub pattern: Option<Pattern>,
    /// Vary the demand by this share of it (one standard deviation).
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub noise: f64,
    /// How requests arrive: `random` around the demand, or `even`.
    #[arg(long, value_name = "HOW", default_value = "random")]
    pub arrivals: Arrive,
    /// What chance depends on: the same seed brings the same.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// How long to simulate [default: as long as the recording, or an hour].
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    pub duration: Option<f64>,
    /// How long a pod takes from its creation until it is ready.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = seconds)]
    pub start_up: f64,
    /// What a pod can do, such as `requests=8,time=100ms,cpu=20ms` (all keys are below; repeatable).
    #[arg(long, value_name = "KEY=VALUE,…")]
    pub capacity: Vec<String>,
    /// Pods at the start [default: the least that the autoscaler allows].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub replicas: Option<u32>,
    /// Past which time a request is late.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = seconds)]
    pub late: f64,
    #[command(flatten)]
    pub scaling: Scaling,
    /// How old the figures of pods are when the autoscaler sees them.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = seconds)]
    pub lag: f64,
    /// Put another HorizontalPodAutoscaler beside it, in the same demand.
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Write the plot to FILE, too.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Columns of the plot [default: as wide as the terminal].
    #[arg(long, value_name = "NUMBER")]
    pub width: Option<usize>,
    /// How it is printed; `json` is one object with every row.
    #[arg(long, env = "CORACLE_OUTPUT", value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// How requests arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrive {
    /// At random, as those of many clients do.
    Random,
    /// At even distances.
    Even,
}

fn help() -> String {
    let mut text = "Patterns, with their parameters as they are if not given:\n".to_owned();
    pattern::described().for_each(|pattern| text.push_str(&format!("  {pattern}\n")));
    text.push_str("\nKeys of --capacity:\n");
    keys().for_each(|(key, meaning)| text.push_str(&format!("  {key:15} {meaning}\n")));
    text
}

/// Simulates and prints.
///
/// # Errors
/// When a file cannot be read or written, and when what it says cannot be simulated.
pub fn simulate(flags: &Simulate) -> anyhow::Result<()> {
    let scenario = scenario(flags)?;
    let mut reports = vec![one(flags, (&flags.kustomize, &flags.filename), scenario.clone())?];
    if let Some(other) = &flags.compare {
        reports.push(one(flags, (&[], std::slice::from_ref(other)), scenario)?);
    }
    tell_apart(&mut reports, flags);
    let simulated = reports.len();
    if let Some(file) = flags.traffic.as_ref().filter(|_| flags.recorded) {
        reports.push(recorded::recorded(&read(file)?, "recorded").with_context(|| file.display().to_string())?);
    }
    if let Some(file) = &flags.svg {
        fs::write(file, svg::plot(&reports)).with_context(|| format!("write {}", file.display()))?;
    }
    match flags.output {
        Output::Json => println!("{}", json!({"simulations": reports})),
        Output::Text => print!("{}", text(&reports, simulated, style(flags.width))),
    }
    Ok(())
}

fn demand(flags: &Simulate) -> anyhow::Result<Demand> {
    let demand = match (&flags.traffic, &flags.pattern) {
        (Some(file), _) => Demand::recorded(&read(file)?).with_context(|| file.display().to_string())?,
        (None, Some(pattern)) => Demand::pattern(pattern.clone()),
        (None, None) => bail!("name the demand with --traffic or --pattern"),
    };
    if !(flags.noise.is_finite() && flags.noise >= 0.0) {
        bail!("--noise must be a share, zero or more");
    }
    Ok(demand.with_noise(flags.noise))
}

fn read(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("read {}", file.display()))
}

/// What the flags say, which is the same for every autoscaler.
fn scenario(flags: &Simulate) -> anyhow::Result<Scenario> {
    let mut scenario = Scenario::new(demand(flags)?);
    scenario.replicas = flags.replicas;
    scenario.pipeline.lag = flags.lag;
    scenario.objective = flags.late;
    scenario.random = flags.arrivals == Arrive::Random;
    scenario.seed = flags.seed;
    let options = scaling::resolve(&flags.scaling, &Keys::default())?;
    (scenario.sync, scenario.early) = (options.sync_period.as_secs_f64(), options.early_look);
    scenario.settings = options.settings;
    if let Some(duration) = flags.duration {
        if !(1.0..=LONGEST).contains(&duration) {
            bail!("--for must be from 1s to 366d");
        }
        if let Some(length) = scenario.demand.length().filter(|length| duration > *length) {
            bail!("--for is longer than the recording, which covers {length} s");
        }
        scenario.duration = duration;
    }
    Ok(scenario)
}

/// Kustomizations, and files.
type From<'a> = (&'a [PathBuf], &'a [PathBuf]);

fn one(flags: &Simulate, from: From<'_>, scenario: Scenario) -> anyhow::Result<Report> {
    of(flags, from, scenario).with_context(|| names(from))
}

fn of(flags: &Simulate, from: From<'_>, mut scenario: Scenario) -> anyhow::Result<Report> {
    let found = Found::read(from, flags.name.as_deref())?;
    scenario.capacity = capacity(flags, &found)?;
    Ok(autoscaling::simulate::simulate(&found.autoscaler, &scenario)?)
}

/// The folders and files, for people.
fn names((folders, files): From<'_>) -> String {
    folders.iter().chain(files).map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn capacity(flags: &Simulate, found: &Found) -> anyhow::Result<Capacity> {
    let mut capacity = Capacity::default();
    if let Some(template) = &found.template {
        capacity.of_pods(template);
    }
    capacity.start_up = flags.start_up;
    for text in &flags.capacity {
        capacity.change(text).context("--capacity")?;
    }
    Ok(capacity)
}

/// An autoscaler and the pods of what it scales, as far as its file has them.
struct Found {
    autoscaler: HorizontalPodAutoscaler,
    template: Option<PodSpec>,
}

impl Found {
    fn read((folders, files): From<'_>, name: Option<&str>) -> anyhow::Result<Self> {
        let objects = crate::up::read(folders, files)?;
        let is_autoscaler = |object: &&Value| object["kind"] == "HorizontalPodAutoscaler";
        let named = |object: &&Value| name.is_none_or(|name| object["metadata"]["name"] == name);
        let mut all = objects.iter().filter(is_autoscaler).filter(named);
        let object = match (all.next(), all.next()) {
            (Some(object), None) => object,
            (None, _) => match name {
                Some(name) => bail!("it has no HorizontalPodAutoscaler {name}"),
                None => bail!("it has no HorizontalPodAutoscaler"),
            },
            (Some(_), Some(_)) => bail!("there is more than one HorizontalPodAutoscaler: choose one with --name"),
        };
        let verdict = apiserver::http::check(object.clone(), &Kinds::new(Vec::new()));
        if !verdict.refused.is_empty() {
            let refusals = verdict.refused.iter().map(|refusal| format!("{}: {}", refusal.field, refusal.message));
            bail!("the API would refuse it: {}", refusals.collect::<Vec<_>>().join("; "));
        }
        let stored = verdict.stored.unwrap_or_default();
        let target = &stored["spec"]["scaleTargetRef"];
        let scaled = objects
            .iter()
            .find(|object| object["kind"] == target["kind"] && object["metadata"]["name"] == target["name"]);
        let template = scaled.and_then(|scaled| scaled.pointer("/spec/template/spec")).cloned();
        let template =
            template.map(serde_json::from_value).transpose().context("read the template of what it scales")?;
        Ok(Self { autoscaler: serde_json::from_value(stored)?, template })
    }
}

/// Two of the same name are told apart by their files.
fn tell_apart(reports: &mut [Report], flags: &Simulate) {
    if let ([first, second], Some(other)) = (reports, &flags.compare)
        && first.name == second.name
    {
        let name = |file: &Path| file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        let mine = match (flags.kustomize.as_slice(), flags.filename.as_slice()) {
            ([], [file]) => name(file),
            (folders, files) => names((folders, files)),
        };
        (first.name, second.name) = (mine, name(other));
        if first.name == second.name {
            (first.name, second.name) = (names((&flags.kustomize, &flags.filename)), other.display().to_string());
        }
    }
}

/// All courses, and the summaries of the first so many, which are simulated.
fn text(reports: &[Report], simulated: usize, style: terminal::Style) -> String {
    let mut text = String::new();
    for report in reports {
        text.push_str(&terminal::plot(report, reports, style));
        text.push('\n');
    }
    text.push_str(&table(reports.get(..simulated).unwrap_or(reports)));
    text
}

/// As wide as the terminal, and coloured on one (unless `NO_COLOR` says otherwise).
fn style(width: Option<usize>) -> terminal::Style {
    let is_terminal = std::io::stdout().is_terminal();
    let colour = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let width = width.or_else(|| is_terminal.then(columns).flatten()).unwrap_or(COLUMNS);
    terminal::Style { width: width.min(1000), colour }
}

/// The columns of the terminal that standard output is.
fn columns() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call writes one `winsize`, which is what it is given, and keeps nothing.
    let outcome = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (outcome == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}
