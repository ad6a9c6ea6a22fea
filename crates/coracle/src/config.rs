//! The settings of one run: flags and environment first, then `coracle.toml`, then the defaults. Everything that is wrong is
//! said before anything is bound or started.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Deserialize;

use crate::cli::Up;

/// Settings with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where all state is kept.
    pub data_dir: PathBuf,
    /// The address to listen on.
    pub bind: IpAddr,
    /// The API server's port.
    pub api_port: u16,
}

/// The keys of `coracle.toml`: the flags' names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    data_dir: Option<PathBuf>,
    bind: Option<IpAddr>,
    api_port: Option<u16>,
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

    fn resolve(flags: &Up, file: File, machine: &Machine) -> anyhow::Result<Self> {
        Ok(Self {
            data_dir: match flags.data_dir.clone().or(file.data_dir) {
                Some(dir) => std::path::absolute(&dir).with_context(|| format!("data directory {}", dir.display()))?,
                None => machine.data_dir()?,
            },
            bind: flags.bind.or(file.bind).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            api_port: flags.api_port.or(file.api_port).unwrap_or(6443),
        })
    }
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
    fn what_cannot_be_used_is_refused() {
        for wrong in ["api_port = 1", "api-port = 70000", "bind = 'here'"] {
            assert!(toml::from_str::<File>(wrong).is_err(), "{wrong}");
        }
        let homeless = Machine { root: false, state_home: None, home: None };
        let error = Config::resolve(&Up::default(), File::default(), &homeless).unwrap_err().to_string();
        assert!(error.contains("--data-dir"), "{error}");
    }
}
