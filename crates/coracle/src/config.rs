//! The settings of one run: flags and environment first, then `coracle.toml`, then the defaults. Everything that is wrong is
//! said before anything is bound or started.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::cli::{RuntimeKind, Up};

/// Settings with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where all state is kept.
    pub data_dir: PathBuf,
    /// Host port and Gateway listener port.
    pub publish: Vec<(u16, u16)>,
    /// The address to listen on.
    pub bind: IpAddr,
    /// The API server's port.
    pub api_port: u16,
    /// `Native` or `Loopback`, never `Auto`.
    pub runtime: RuntimeKind,
    /// Image name and program.
    pub image: Vec<(String, PathBuf)>,
    /// A file of images.
    pub images: Option<PathBuf>,
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
        Self { root: node::is_root(), state_home: directory("XDG_STATE_HOME"), home: directory("HOME") }
    }

    fn data_dir(&self) -> anyhow::Result<PathBuf> {
        if self.root {
            return Ok(PathBuf::from("/var/lib/coracle"));
        }
        let state = self.state_home.clone().or_else(|| self.home.as_ref().map(|home| home.join(".local/state")));
        Ok(state.context("neither XDG_STATE_HOME nor HOME is set: say where state is kept with --data-dir")?.join("coracle"))
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

    fn resolve(flags: &Up, file: File, machine: &Machine) -> anyhow::Result<Self> {
        let publish = chosen(&flags.publish, file.publish).unwrap_or_else(|| vec!["8080:80".into(), "8443:443".into()]);
        let image = chosen(&flags.image, file.image).unwrap_or_default();
        Ok(Self {
            data_dir: match flags.data_dir.clone().or(file.data_dir) {
                Some(dir) => std::path::absolute(&dir).with_context(|| format!("data directory {}", dir.display()))?,
                None => machine.data_dir()?,
            },
            publish: publish.iter().map(|p| parse_publish(p)).collect::<anyhow::Result<_>>()?,
            bind: flags.bind.or(file.bind).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            api_port: flags.api_port.or(file.api_port).unwrap_or(6443),
            runtime: runtime(flags.runtime.or(file.runtime).unwrap_or(RuntimeKind::Auto), machine)?,
            image: image.iter().map(|i| parse_image(i)).collect::<anyhow::Result<_>>()?,
            images: flags.images.clone().or(file.images),
        })
    }
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not a valid configuration", path.display()))
}

fn chosen(flags: &[String], file: Option<Vec<String>>) -> Option<Vec<String>> {
    if flags.is_empty() { file } else { Some(flags.to_vec()) }
}

fn runtime(kind: RuntimeKind, machine: &Machine) -> anyhow::Result<RuntimeKind> {
    match (kind, machine.root) {
        (RuntimeKind::Native, false) => {
            bail!("the native runtime makes namespaces and cgroups, which needs root: run as root, or use --runtime loopback")
        }
        (RuntimeKind::Auto, true) => Ok(RuntimeKind::Native),
        (RuntimeKind::Auto, false) => Ok(RuntimeKind::Loopback),
        (kind, _) => Ok(kind),
    }
}

fn parse_publish(text: &str) -> anyhow::Result<(u16, u16)> {
    let parsed = text.split_once(':').and_then(|(host, listener)| Some((host.parse().ok()?, listener.parse().ok()?)));
    match parsed {
        Some((host, listener)) if listener != 0 => Ok((host, listener)),
        _ => bail!("--publish {text:?} is not HOST:LISTENER, two port numbers such as 8080:80"),
    }
}

fn parse_image(text: &str) -> anyhow::Result<(String, PathBuf)> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && Path::new(path).is_absolute() => Ok((name.to_owned(), path.into())),
        _ => bail!("--image {text:?} is not NAME=PATH with an absolute path, such as web=/usr/local/bin/web"),
    }
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
    fn without_settings_an_ordinary_user_gets_loopback_pods_and_a_directory_at_home() {
        let config = resolve(&Up::default(), "").unwrap();
        assert_eq!(config.data_dir, Path::new("/home/ada/.local/state/coracle"));
        assert_eq!((config.runtime, config.api_port), (RuntimeKind::Loopback, 6443));
        assert_eq!(config.publish, [(8080, 80), (8443, 443)]);
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let flags = Up { api_port: Some(1), ..Up::default() };
        let config = resolve(&flags, "api-port = 2\nbind = '0.0.0.0'\npublish = ['80:80']").unwrap();
        assert_eq!((config.api_port, config.bind.to_string(), config.publish), (1, "0.0.0.0".to_owned(), vec![(80, 80)]));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (flags, expected) in [
            (Up { publish: vec!["80".into()], ..Up::default() }, "\"80\""),
            (Up { image: vec!["web=bin/web".into()], ..Up::default() }, "absolute path"),
            (Up { runtime: Some(RuntimeKind::Native), ..Up::default() }, "needs root"),
        ] {
            let error = resolve(&flags, "").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(resolve(&Up::default(), "api_port = 1").is_err(), "an unknown key is refused");
    }
}
