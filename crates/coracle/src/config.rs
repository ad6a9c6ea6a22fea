//! The settings of one run: flags and environment first, then `coracle.toml`, then the defaults. Everything that is wrong is
//! said before anything is bound or started.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use gateway::{
    observe::{AccessLog, Destination, Format},
    proxy::HoldLimits,
};
use serde::Deserialize;

use crate::{
    cli::{Alone, Limits, Observe, RuntimeKind, Up},
    eviction,
    scaling::{self, Keys},
};

/// Settings with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where all state is kept.
    pub data_dir: PathBuf,
    /// Where Gateways' listener ports are served.
    pub publish: Vec<Publish>,
    /// The address to listen on.
    pub bind: IpAddr,
    /// The API server's port.
    pub api_port: u16,
    /// How pods run.
    pub runtime: RuntimeKind,
    /// Image names, and the program or directory that each stands for.
    pub image: Vec<(String, PathBuf)>,
    /// A file of further images.
    pub images: Option<PathBuf>,
    /// Gateways show certificates made here where they have none.
    pub dev_certs: bool,
    /// Where the gateway's metrics are served.
    pub metrics: Metrics,
    /// The gateway's access log.
    pub access_log: Option<AccessLog>,
    /// Connections of clients at a time, if somebody has said how many.
    pub max_connections: Option<NonZeroUsize>,
    /// How HorizontalPodAutoscalers are followed.
    pub scaling: controllers::autoscaler::Options,
    /// When pods have to go because the machine runs short.
    pub eviction: node::eviction::Options,
    /// Requests that wait for the first pod of a Service.
    pub hold: HoldLimits,
}

/// The settings of the gateway.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Where Gateways' listener ports are served.
    pub publish: Vec<Publish>,
    /// The address to listen on.
    pub bind: IpAddr,
    /// Where metrics are served.
    pub metrics: Metrics,
    /// The access log.
    pub access_log: Option<AccessLog>,
    /// Connections of clients at a time, if somebody has said how many.
    pub max_connections: Option<NonZeroUsize>,
    /// Requests that wait for the first pod of a Service.
    pub hold: HoldLimits,
}

impl Edge {
    /// The settings of a gateway that runs alone: flags and environment, then the defaults.
    ///
    /// # Errors
    /// Names the flag, what is wrong with it, and what is accepted.
    pub fn alone(flags: &Alone) -> anyhow::Result<Self> {
        let bind = flags.bind.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Ok(Self {
            publish: published(Some(&flags.publish).filter(|asked| !asked.is_empty()), bind)?,
            bind,
            metrics: metrics(flags.observe.metrics_port, bind),
            access_log: access_log(&flags.observe, None, None)?,
            max_connections: flags.limits.max_connections,
            hold: hold(&flags.limits, None, None),
        })
    }
}

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// The address on this machine; port 0 is a free one.
    pub address: SocketAddr,
    /// Somebody asked for it: without it Coracle does not start.
    pub asked: bool,
}

/// A listener port and where it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The address on this machine; port 0 is a free one.
    pub address: SocketAddr,
    /// The port that Gateways name.
    pub listener_port: u16,
    /// Somebody asked for it: without it Coracle does not start.
    pub asked: bool,
}

/// The keys of `coracle.toml`: the flags' names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    data_dir: Option<PathBuf>,
    publish: Option<Vec<String>>,
    bind: Option<IpAddr>,
    api_port: Option<u16>,
    runtime: Option<RuntimeKind>,
    image: Option<Vec<String>>,
    images: Option<PathBuf>,
    dev_certs: Option<bool>,
    metrics_port: Option<u16>,
    access_log: Option<PathBuf>,
    access_log_format: Option<String>,
    max_connections: Option<NonZeroUsize>,
    hold_requests: Option<usize>,
    hold_seconds: Option<u64>,
    horizontal_pod_autoscaler_sync_period: Option<String>,
    horizontal_pod_autoscaler_early_look: Option<bool>,
    horizontal_pod_autoscaler_tolerance: Option<f64>,
    horizontal_pod_autoscaler_downscale_stabilization: Option<String>,
    horizontal_pod_autoscaler_cpu_initialization_period: Option<String>,
    horizontal_pod_autoscaler_initial_readiness_delay: Option<String>,
    recommender_interval: Option<String>,
    eviction_hard: Option<String>,
    eviction_soft: Option<String>,
    eviction_soft_grace_period: Option<String>,
    eviction_minimum_reclaim: Option<String>,
    eviction_pressure_transition_period: Option<String>,
    eviction_max_pod_grace_period: Option<u32>,
}

impl File {
    /// Those about autoscalers.
    fn scaling(&self) -> Keys {
        Keys {
            sync_period: self.horizontal_pod_autoscaler_sync_period.clone(),
            early_look: self.horizontal_pod_autoscaler_early_look,
            tolerance: self.horizontal_pod_autoscaler_tolerance,
            downscale_stabilization: self.horizontal_pod_autoscaler_downscale_stabilization.clone(),
            cpu_initialization_period: self.horizontal_pod_autoscaler_cpu_initialization_period.clone(),
            initial_readiness_delay: self.horizontal_pod_autoscaler_initial_readiness_delay.clone(),
            recommender_interval: self.recommender_interval.clone(),
        }
    }

    /// Those about eviction.
    fn eviction(&self) -> eviction::Keys {
        eviction::Keys {
            hard: self.eviction_hard.clone(),
            soft: self.eviction_soft.clone(),
            soft_grace_period: self.eviction_soft_grace_period.clone(),
            minimum_reclaim: self.eviction_minimum_reclaim.clone(),
            pressure_transition_period: self.eviction_pressure_transition_period.clone(),
            max_pod_grace_period: self.eviction_max_pod_grace_period,
        }
    }
}

/// What the machine says about itself.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Whether this process is root.
    pub root: bool,
    /// `$XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
}

impl Machine {
    /// Asks the system.
    pub fn current() -> Self {
        let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|p: &PathBuf| p.is_absolute());
        Self {
            root: nix::unistd::Uid::effective().is_root(),
            state_home: directory("XDG_STATE_HOME"),
            home: directory("HOME"),
        }
    }

    fn data_dir(&self) -> anyhow::Result<PathBuf> {
        if self.root {
            return Ok(PathBuf::from("/var/lib/coracle"));
        }
        let state = self.state_home.clone().or_else(|| self.home.as_ref().map(|home| home.join(".local/state")));
        Ok(state
            .context("neither XDG_STATE_HOME nor HOME is set: say where state is kept with --data-dir")?
            .join("coracle"))
    }
}

impl Config {
    /// Reads `coracle.toml` where there is one and lays the flags over it.
    ///
    /// # Errors
    /// Names the file, flag or key, what is wrong with it, and what is accepted.
    pub fn load(flags: &Up, machine: &Machine) -> anyhow::Result<Self> {
        let file = match &flags.config {
            Some(path) => read(path)?,
            None if Path::new("coracle.toml").exists() => read(Path::new("coracle.toml"))?,
            None => File::default(),
        };
        Self::resolve(flags, file, machine)
    }

    /// Those of the gateway.
    pub fn edge(&self) -> Edge {
        Edge {
            publish: self.publish.clone(),
            bind: self.bind,
            metrics: self.metrics,
            access_log: self.access_log.clone(),
            max_connections: self.max_connections,
            hold: self.hold,
        }
    }

    fn resolve(flags: &Up, file: File, machine: &Machine) -> anyhow::Result<Self> {
        let bind = flags.bind.or(file.bind).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let scaling = scaling::resolve(&flags.scaling, &file.scaling())?;
        let eviction = eviction::resolve(&flags.eviction, file.eviction())?;
        let asked = if flags.publish.is_empty() { file.publish } else { Some(flags.publish.clone()) };
        let image = if flags.image.is_empty() { file.image.unwrap_or_default() } else { flags.image.clone() };
        Ok(Self {
            data_dir: match flags.data_dir.clone().or(file.data_dir) {
                Some(dir) => std::path::absolute(&dir).with_context(|| format!("data directory {}", dir.display()))?,
                None => machine.data_dir()?,
            },
            publish: published(asked.as_ref(), bind)?,
            bind,
            api_port: flags.api_port.or(file.api_port).unwrap_or(6443),
            runtime: flags.runtime.or(file.runtime).unwrap_or_default(),
            image: image.iter().map(|text| mapping(text)).collect::<anyhow::Result<_>>()?,
            images: flags.images.clone().or(file.images),
            dev_certs: flags.dev_certs || file.dev_certs.unwrap_or_default(),
            metrics: metrics(flags.observe.metrics_port.or(file.metrics_port), bind),
            access_log: access_log(&flags.observe, file.access_log, file.access_log_format)?,
            max_connections: flags.limits.max_connections.or(file.max_connections),
            scaling,
            eviction,
            hold: hold(&flags.limits, file.hold_requests, file.hold_seconds),
        })
    }
}

/// Beside the console's 7070.
const DEFAULT_METRICS_PORT: u16 = 7071;

fn metrics(asked: Option<u16>, bind: IpAddr) -> Metrics {
    Metrics { address: SocketAddr::new(bind, asked.unwrap_or(DEFAULT_METRICS_PORT)), asked: asked.is_some() }
}

/// How many requests wait for the first pod of a Service, and for how long.
fn hold(flags: &Limits, requests: Option<usize>, seconds: Option<u64>) -> HoldLimits {
    let default = HoldLimits::default();
    let per_service = flags.hold_requests.or(requests).unwrap_or(default.per_service);
    let time = flags.hold_seconds.or(seconds).map_or(default.time, Duration::from_secs);
    HoldLimits { time, per_service, all: default.all.max(per_service), ..default }
}

/// The access log that the flags, or the file's keys, ask for.
fn access_log(flags: &Observe, to: Option<PathBuf>, format: Option<String>) -> anyhow::Result<Option<AccessLog>> {
    let format = flags.access_log_format.as_ref().or(format.as_ref());
    let Some(to) = flags.access_log.as_ref().or(to.as_ref()) else {
        return match format {
            Some(_) => bail!("--access-log-format: there is no access log: say where it goes with --access-log"),
            None => Ok(None),
        };
    };
    let format = Format::parse(format.map_or("json", String::as_str)).context("--access-log-format")?;
    let to = match to.to_str() {
        Some("-") => Destination::Stdout,
        _ => Destination::File(std::path::absolute(to).with_context(|| format!("--access-log {}", to.display()))?),
    };
    Ok(Some(AccessLog { to, format }))
}

/// Above 1024, so that an ordinary user may bind them.
const DEFAULT_PUBLISH: &[(u16, u16)] = &[(8080, 80), (8443, 443)];

/// What was asked for, or else the defaults.
fn published(asked: Option<&Vec<String>>, bind: IpAddr) -> anyhow::Result<Vec<Publish>> {
    match asked {
        Some(asked) => asked.iter().map(|text| publish(text, bind)).collect(),
        None => Ok(DEFAULT_PUBLISH.iter().map(|(port, to)| Publish::new(bind, *port, *to, false)).collect()),
    }
}

impl Publish {
    fn new(ip: IpAddr, port: u16, listener_port: u16, asked: bool) -> Self {
        Self { address: SocketAddr::new(ip, port), listener_port, asked }
    }
}

fn publish(text: &str, bind: IpAddr) -> anyhow::Result<Publish> {
    let parse = || {
        let (rest, listener) = text.rsplit_once(':')?;
        let (ip, port) = match rest.rsplit_once(':') {
            Some((ip, port)) => (ip.trim_start_matches('[').trim_end_matches(']').parse().ok()?, port),
            None => (bind, rest),
        };
        Some(Publish::new(ip, port.parse().ok()?, listener.parse().ok().filter(|port| *port != 0)?, true))
    };
    match parse() {
        Some(publish) => Ok(publish),
        None => bail!("--publish {text:?} is not [ADDRESS:]PORT:LISTENER, such as 8080:80 or 0.0.0.0:80:80"),
    }
}

/// `NAME=PATH`.
fn mapping(text: &str) -> anyhow::Result<(String, PathBuf)> {
    let parts = text.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty());
    let (name, path) = parts.with_context(|| format!("--image {text:?}: it is not NAME=PATH"))?;
    let found = std::path::absolute(path).and_then(|path| path.metadata().map(|_| path));
    Ok((name.to_owned(), found.with_context(|| format!("--image {name}: {path}"))?))
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not a valid configuration", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> Machine {
        Machine { root: false, state_home: None, home: Some("/home/ada".into()) }
    }

    fn resolve(flags: &Up, file: &str) -> anyhow::Result<Config> {
        Config::resolve(flags, toml::from_str(file)?, &user())
    }

    #[test]
    fn without_settings_an_ordinary_users_state_is_at_home() {
        let config = resolve(&Up::default(), "").unwrap();
        assert_eq!(config.data_dir, Path::new("/home/ada/.local/state/coracle"));
        assert_eq!((config.api_port, config.bind.to_string()), (6443, "127.0.0.1".to_owned()));
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let flags = Up { api_port: Some(1), ..Up::default() };
        let config = resolve(&flags, "api-port = 2\nbind = '0.0.0.0'").unwrap();
        assert_eq!((config.api_port, config.bind.to_string()), (1, "0.0.0.0".to_owned()));
    }

    #[test]
    fn published_ports_are_bound_where_they_say_or_where_everything_is() {
        let config = resolve(&Up::default(), "publish = ['80:80', '0.0.0.0:81:8000', '[::1]:0:80']").unwrap();
        let shown: Vec<_> =
            config.publish.iter().map(|p| format!("{} {} {}", p.address, p.listener_port, p.asked)).collect();
        assert_eq!(shown, ["127.0.0.1:80 80 true", "0.0.0.0:81 8000 true", "[::1]:0 80 true"]);
        let defaults = resolve(&Up::default(), "").unwrap().publish;
        assert!(defaults.iter().all(|publish| !publish.asked), "{defaults:?}");
        for wrong in ["80", "80:0", "x:80", "1.2.3:80:80", "70000:80"] {
            let flags = Up { publish: vec![wrong.into()], ..Up::default() };
            assert!(resolve(&flags, "").unwrap_err().to_string().contains(wrong));
        }
    }

    #[test]
    fn certificates_for_development_are_made_only_when_they_are_asked_for() {
        assert!(!resolve(&Up::default(), "").unwrap().dev_certs);
        assert!(resolve(&Up { dev_certs: true, ..Up::default() }, "").unwrap().dev_certs);
        assert!(resolve(&Up::default(), "dev-certs = true").unwrap().dev_certs);
    }

    #[test]
    fn images_are_programs_that_exist() {
        let flags = Up { image: vec!["shell:1=/bin/sh".to_owned()], ..Up::default() };
        let config = resolve(&flags, "image = ['other=/']\nruntime = 'loopback'").unwrap();
        assert_eq!(config.image, [("shell:1".to_owned(), PathBuf::from("/bin/sh"))]);
        assert_eq!(config.runtime, RuntimeKind::Loopback);
        for wrong in ["shell", "=/bin/sh", "shell=", "shell=/nonexistent/program"] {
            let error = resolve(&Up::default(), &format!("image = ['{wrong}']")).unwrap_err();
            assert!(format!("{error:#}").contains("--image"), "{error:#}");
        }
    }

    #[test]
    fn an_access_log_is_written_where_it_is_asked_for_in_a_format_that_is_understood() {
        assert_eq!(resolve(&Up::default(), "").unwrap().access_log, None);
        let log = resolve(&Up::default(), "access-log = '/tmp/log'\naccess-log-format = 'text'").unwrap().access_log;
        let observe = Observe { access_log: Some("-".into()), ..Observe::default() };
        let flags = Up { observe, ..Up::default() };
        let to = |log: Option<AccessLog>| log.map(|log| log.to);
        assert_eq!(to(log), Some(Destination::File("/tmp/log".into())));
        assert_eq!(to(resolve(&flags, "access-log = 'other'").unwrap().access_log), Some(Destination::Stdout));
        for wrong in ["access-log-format = 'json'", "access-log = '-'\naccess-log-format = '%NOTHING%'"] {
            let error = format!("{:#}", resolve(&Up::default(), wrong).unwrap_err());
            assert!(error.contains("--access-log"), "{error}");
        }
    }

    #[test]
    fn metrics_have_a_port_that_nobody_asked_for() {
        let metrics = |file| resolve(&Up::default(), file).unwrap().metrics;
        assert_eq!((metrics("").address.port(), metrics("").asked), (DEFAULT_METRICS_PORT, false));
        assert_eq!((metrics("metrics-port = 0").address.port(), metrics("metrics-port = 0").asked), (0, true));
    }

    #[test]
    fn connections_may_be_limited_but_not_to_none() {
        assert_eq!(resolve(&Up::default(), "").unwrap().max_connections, None);
        let limited = resolve(&Up::default(), "max-connections = 7").unwrap().max_connections;
        assert_eq!(limited.map(NonZeroUsize::get), Some(7));
    }

    #[test]
    fn how_many_wait_for_a_first_pod_and_how_long_may_be_said() {
        assert_eq!(resolve(&Up::default(), "").unwrap().hold, HoldLimits::default());
        let hold = resolve(&Up::default(), "hold-requests = 20000\nhold-seconds = 5").unwrap().hold;
        assert_eq!((hold.per_service, hold.all, hold.time), (20_000, 20_000, Duration::from_secs(5)));
        let limits = Limits { hold_requests: Some(0), ..Limits::default() };
        let flags = Up { limits, ..Up::default() };
        assert_eq!(resolve(&flags, "hold-requests = 7").unwrap().hold.per_service, 0);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for wrong in ["max-connections = 0", "api_port = 1", "api-port = 70000", "bind = 'here'", "runtime = 'docker'"]
        {
            assert!(toml::from_str::<File>(wrong).is_err(), "{wrong}");
        }
        let homeless = Machine { root: false, state_home: None, home: None };
        let error = Config::resolve(&Up::default(), File::default(), &homeless).unwrap_err().to_string();
        assert!(error.contains("--data-dir"), "{error}");
    }
}
