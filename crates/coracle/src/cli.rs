//! The command line. Flags only: what they mean together is in `config`, what they do in the modules named after them.

use std::{net::IpAddr, num::NonZeroUsize, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{eviction::Eviction, scaling::Scaling};

/// Runs an API in production on one machine from the manifests of the cloud-native stack.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything in the foreground, apply the manifests, and serve until Ctrl-C.
    Up(Box<Up>),
    /// Say which listener, host, rule and backend a request would take, and why no other; nothing is sent.
    Route(Box<Route>),
    /// Serve the Gateways of a Kubernetes cluster, and nothing else.
    Gateway(Box<Alone>),
    /// Say what would be refused or have no effect here, and what a cluster needs to run the same; nothing is started.
    Check(Check),
    /// Look at HorizontalPodAutoscalers before they run.
    Hpa {
        #[command(subcommand)]
        action: HpaAction,
    },
    /// Save every object in one file, look at such a file, or make a data directory of it.
    Snapshot {
        #[command(subcommand)]
        action: SnapshotAction,
    },
    /// Print the objects of a kustomization, as `kubectl kustomize` does.
    Build {
        /// The folder with the kustomization.
        #[arg(short = 'k', long = "kustomize", value_name = "DIR")]
        folder: PathBuf,
    },
}

/// What `coracle hpa` does.
#[derive(Debug, Subcommand)]
pub enum HpaAction {
    /// Put HorizontalPodAutoscalers into simulated demand, and show what they would do; nothing is started.
    Simulate(Box<crate::hpa::Simulate>),
}

/// What `coracle snapshot` does.
#[derive(Debug, Subcommand)]
pub enum SnapshotAction {
    /// Save the state of the Coracle that runs, or last ran, with a data directory. Writes go on meanwhile.
    Save {
        /// The file to make; it is whole or not there.
        file: PathBuf,
        /// Ask the API that this file leads to [default: the data directory's].
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
        /// As for `coracle up`.
        #[arg(long, env = "CORACLE_DATA_DIR", value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// How it is printed; `json` is one object.
        #[arg(long, env = "CORACLE_OUTPUT", value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// Check a file whole, and say what is in it.
    Status {
        /// The snapshot.
        file: PathBuf,
        /// How it is printed; `json` is one object.
        #[arg(long, env = "CORACLE_OUTPUT", value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// Make the state of a data directory from a file, while no Coracle runs there.
    Restore {
        /// The snapshot.
        file: PathBuf,
        /// As for `coracle up`.
        #[arg(long, env = "CORACLE_DATA_DIR", value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// Replace a state that is there; it is kept beside the new one.
        #[arg(long)]
        force: bool,
    },
}

/// The flags of `coracle up`. `None` means: not given here; `coracle.toml` or the default decides.
#[derive(Debug, Default, Args)]
pub struct Up {
    /// Apply the kustomization in DIR (repeatable).
    #[arg(short = 'k', long = "kustomize", value_name = "DIR")]
    pub kustomize: Vec<PathBuf>,
    /// Apply the manifests in FILE, a directory of them, or `-` for standard input (repeatable).
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub filename: Vec<PathBuf>,
    /// Where all state is kept [default: $XDG_STATE_HOME/coracle, as root /var/lib/coracle].
    #[arg(long, env = "CORACLE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Serve a Gateway's listener port at a port of this machine, as PORT:LISTENER or ADDRESS:PORT:LISTENER; port 0
    /// takes a free one (repeatable) [default: 8080:80 and 8443:443].
    #[arg(long, env = "CORACLE_PUBLISH", value_name = "PORT:LISTENER", value_delimiter = ',')]
    pub publish: Vec<String>,
    /// The address that the API server and published ports listen on [default: 127.0.0.1].
    #[arg(long, env = "CORACLE_BIND", value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// The API server's port; 0 takes a free one [default: 6443].
    #[arg(long, env = "CORACLE_API_PORT", value_name = "PORT")]
    pub api_port: Option<u16>,
    /// How pods run: `native` isolates them and needs root, `loopback` does not [default: auto].
    #[arg(long, env = "CORACLE_RUNTIME", value_name = "RUNTIME")]
    pub runtime: Option<RuntimeKind>,
    /// Run pods with image NAME as the program PATH on a view of this machine's root, or with the directory PATH as their root
    /// (repeatable).
    #[arg(long, env = "CORACLE_IMAGE", value_name = "NAME=PATH", value_delimiter = ',')]
    pub image: Vec<String>,
    /// A YAML file of such images: NAME: {rootfs, command, args, env, workdir}.
    #[arg(long, env = "CORACLE_IMAGES", value_name = "FILE")]
    pub images: Option<PathBuf>,
    /// Read settings from this file [default: ./coracle.toml, if there is one].
    #[arg(long, env = "CORACLE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Show certificates made here where a Gateway's Secret with one is missing: for development, by an authority whose
    /// certificate is in the data directory (dev-certs/ca.crt).
    #[arg(long, env = "CORACLE_DEV_CERTS", value_parser = clap::builder::FalseyValueParser::new())]
    pub dev_certs: bool,
    #[command(flatten)]
    pub observe: Observe,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub scaling: Scaling,
    #[command(flatten)]
    pub eviction: Eviction,
    /// Take over from the Coracle that runs with the same data directory, without refusing a connection; it ends when this one
    /// serves. Where none runs this is an ordinary start.
    #[arg(long)]
    pub replace: bool,
    /// How progress is printed; `json` is one object a line.
    #[arg(long, env = "CORACLE_OUTPUT", value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// The flags of `coracle route`.
#[derive(Debug, Args)]
pub struct Route {
    /// The request's method.
    pub method: String,
    /// The request's URL: http:// or https://, with the port that a Gateway names or the one it is published at.
    pub url: String,
    /// A header of the request, such as 'Name: value' (repeatable).
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub header: Vec<String>,
    /// The namespace of the pod that asks: routes of Services may be for callers of one alone.
    #[arg(long, value_name = "NAMESPACE")]
    pub from: Option<String>,
    /// Look at the kustomization in DIR instead of a running Coracle (repeatable).
    #[arg(short = 'k', long = "kustomize", value_name = "DIR")]
    pub kustomize: Vec<PathBuf>,
    /// Look at the manifests in FILE, a directory of them, or `-` for standard input (repeatable).
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub filename: Vec<PathBuf>,
    /// Ask the API that this file leads to [default: the kubeconfig in the data directory].
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kustomize", "filename"])]
    pub kubeconfig: Option<PathBuf>,
    /// As for `coracle up`.
    #[arg(long, env = "CORACLE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// As for `coracle up`.
    #[arg(long, env = "CORACLE_PUBLISH", value_name = "PORT:LISTENER", value_delimiter = ',')]
    pub publish: Vec<String>,
    /// As for `coracle up`.
    #[arg(long, env = "CORACLE_BIND", value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// As for `coracle up`.
    #[arg(long, env = "CORACLE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How it is printed; `json` is one object.
    #[arg(long, env = "CORACLE_OUTPUT", value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// The flags of `coracle check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Check the kustomization in DIR (repeatable).
    #[arg(short = 'k', long = "kustomize", value_name = "DIR", required_unless_present = "filename")]
    pub kustomize: Vec<PathBuf>,
    /// Check the manifests in FILE, a directory of them, or `-` for standard input (repeatable).
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub filename: Vec<PathBuf>,
    /// How it is printed; `json` is one object.
    #[arg(long, env = "CORACLE_OUTPUT", value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// The flags of `coracle gateway`.
#[derive(Debug, Default, Args)]
pub struct Alone {
    /// The cluster's kubeconfig [default: $KUBECONFIG or ~/.kube/config; in a pod its service account].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context to use of the kubeconfig [default: its current one].
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub context: Option<String>,
    /// Serve a Gateway's listener port at a port of this machine, as PORT:LISTENER or ADDRESS:PORT:LISTENER; port 0
    /// takes a free one (repeatable) [default: 8080:80 and 8443:443].
    #[arg(long, env = "CORACLE_PUBLISH", value_name = "PORT:LISTENER", value_delimiter = ',')]
    pub publish: Vec<String>,
    /// The address that published ports, metrics and probes listen on [default: 127.0.0.1].
    #[arg(long, env = "CORACLE_BIND", value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// An address or host name that clients reach Gateways at, for their statuses (repeatable) [default: --bind].
    #[arg(long, env = "CORACLE_ADDRESS", value_name = "ADDRESS", value_delimiter = ',')]
    pub address: Vec<String>,
    /// The Service in front, whose load balancer's addresses are the Gateways'.
    #[arg(long, env = "CORACLE_SERVICE", value_name = "NAMESPACE/NAME", conflicts_with = "address")]
    pub service: Option<String>,
    /// The Lease that says which of several gateways writes statuses.
    #[arg(
        long,
        env = "CORACLE_LEASE",
        value_name = "NAMESPACE/NAME",
        default_value = "coracle-system/coracle-gateway"
    )]
    pub lease: String,
    /// Serve GatewayClasses of this controllerName [default: coracle.dev/gateway-controller].
    #[arg(long, env = "CORACLE_CONTROLLER", value_name = "DOMAIN/NAME")]
    pub controller: Option<String>,
    /// How long to serve on at SIGTERM, not ready, until everybody has heard of it.
    #[arg(long, env = "CORACLE_DRAIN_DELAY", value_name = "SECONDS", default_value_t = 5)]
    pub drain_delay: u64,
    #[command(flatten)]
    pub observe: Observe,
    #[command(flatten)]
    pub limits: Limits,
    /// How progress is printed; `json` is one object a line.
    #[arg(long, env = "CORACLE_OUTPUT", value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// What is said of the gateway's requests.
#[derive(Debug, Default, Args)]
pub struct Observe {
    /// The port that serves the gateway's metrics at /metrics; 0 takes a free one [default: 7071].
    #[arg(long, env = "CORACLE_METRICS_PORT", value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Write a line for every request of the gateway to the end of FILE, or to standard output with `-`. A file that is
    /// moved away is made again, at once on SIGUSR1.
    #[arg(long, env = "CORACLE_ACCESS_LOG", value_name = "FILE")]
    pub access_log: Option<PathBuf>,
    /// What these lines are: `json` (Envoy Gateway's fields), `text` (Envoy's line), a format with Envoy's operators such as
    /// '%REQ(:PATH)% %RESPONSE_CODE%', or a JSON object of such formats [default: json].
    #[arg(long, env = "CORACLE_ACCESS_LOG_FORMAT", value_name = "FORMAT")]
    pub access_log_format: Option<String>,
}

/// What the gateway takes on.
#[derive(Debug, Default, Args)]
pub struct Limits {
    /// Connections of clients at a time, shared evenly by the gateway's threads; further ones wait [default: 50,000, or half of
    /// what the limit of open files allows].
    #[arg(long, env = "CORACLE_MAX_CONNECTIONS", value_name = "NUMBER")]
    pub max_connections: Option<NonZeroUsize>,
    /// Requests that may wait for the first pod of one Service that was scaled to zero; further ones are answered 503, as all are
    /// with 0 [default: 1,000].
    #[arg(long, env = "CORACLE_HOLD_REQUESTS", value_name = "NUMBER")]
    pub hold_requests: Option<usize>,
    /// How long each of them may wait before it is answered 503 [default: 60].
    #[arg(long, env = "CORACLE_HOLD_SECONDS", value_name = "SECONDS")]
    pub hold_seconds: Option<u64>,
}

/// How pods run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeKind {
    /// `native` where this process is root and the kernel allows it, else `loopback`.
    #[default]
    Auto,
    /// Namespaces, cgroups and a root file system of their own for each pod.
    Native,
    /// Plain processes, each pod with a loopback address of its own.
    Loopback,
}

/// How progress is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Cli {
    /// Does what was asked; returns the exit code.
    ///
    /// # Errors
    /// What failed, on which object, why, and what to do next.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Up(flags) => crate::up::run(*flags),
            Command::Route(flags) => crate::route::run(&flags),
            Command::Gateway(flags) => crate::alone::run(&flags),
            Command::Check(flags) => return crate::check::run(&flags),
            Command::Hpa { action: HpaAction::Simulate(flags) } => crate::hpa::simulate(&flags),
            Command::Snapshot { action } => crate::snapshot::run(&action),
            Command::Build { folder } => crate::build::run(&folder),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
