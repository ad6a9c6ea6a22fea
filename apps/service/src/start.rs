//! A service as a program: settings, logs and traces, signals.

use std::{any::Any, error::Error, fmt, io, net::SocketAddr, panic::PanicHookInfo, time::Instant};

use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    config::Env,
    export::Exporter,
    log::{self, LogLayer, Sink},
    problem::Chain,
    service::Service,
    settings::Settings,
};

/// What a service is told when it is built.
#[derive(Clone, Debug)]
pub struct Start {
    /// The settings that every service has, already read.
    pub settings: Settings,
    /// Cancelled at SIGTERM or SIGINT, when draining begins.
    pub stop: CancellationToken,
}

/// Why a service cannot start: any error will do.
pub struct StartError(Box<dyn Error + Send + Sync>);

impl StartError {
    /// What was being done, and why it failed.
    pub fn new(doing: impl fmt::Display, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Box::new(Doing { doing: doing.to_string(), error: error.into() }))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
struct Doing {
    doing: String,
    #[source]
    error: Box<dyn Error + Send + Sync>,
}

impl<E: Error + Send + Sync + 'static> From<E> for StartError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chain(&*self.0).fmt(f)
    }
}

/// The whole program on port 8000 (or `PORT`): see [`Program`].
///
/// # Errors
/// Everything that is wrong with the environment, or why it cannot listen or be built.
pub fn run<B>(name: &'static str, build: B) -> io::Result<()>
where
    B: AsyncFnOnce(&mut Env<'_>, &Start) -> Result<Service, StartError>,
{
    Program::new(name).run(build)
}

/// A service as a program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    name: &'static str,
    port: u16,
}

impl Program {
    /// A program of this name, on port 8000 if `PORT` does not say otherwise.
    pub fn new(name: &'static str) -> Self {
        Self { name, port: 8000 }
    }

    /// Another port for when `PORT` does not say.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Runs it: reads the settings, sets up logs and traces, lets `build` put the service together (reading its own settings from the
    /// same environment, so that all mistakes are told at once), serves until SIGTERM or SIGINT, drains.
    ///
    /// # Errors
    /// Everything that is wrong with the environment, or why it cannot listen or be built.
    pub fn run<B>(self, build: B) -> io::Result<()>
    where
        B: AsyncFnOnce(&mut Env<'_>, &Start) -> Result<Service, StartError>,
    {
        let begun = Instant::now();
        let mut env = Env::of_process();
        let (settings, body_limit_is_set) = Settings::read(&mut env, self.port);
        let sink = Sink::new(io::stdout())?;
        let exporter = telemetry(self.name, &settings, &sink).map_err(io::Error::other)?;
        let runtime = match settings.workers {
            1 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            workers => tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?,
        };
        let ended = runtime.block_on(async {
            let stop = CancellationToken::new();
            watch_signals(stop.clone())?;
            let start = Start { settings, stop };
            let service = match build(&mut env, &start).await {
                Ok(service) => env.done(|| Some(service)).map_err(io::Error::other)?,
                // Whatever else is wrong with the environment is told along with it.
                Err(error) => {
                    return Err(io::Error::other(
                        env.done(|| Some(())).map_or_else(|e| e.to_string(), |()| error.to_string()),
                    ));
                }
            };
            let service = service.configure(start.settings.limits.clone(), body_limit_is_set);
            service.launch(&start, &sink, exporter, begun).await
        });
        if let Err(error) = &ended {
            tracing::error!(%error, "the service ends");
        }
        // Whatever still blocks a thread (a query to a host that is gone) does not keep the process.
        runtime.shutdown_background();
        sink.flush();
        ended
    }
}

impl Service {
    /// Listens, serves, and has the spans sent that are left.
    async fn launch(self, start: &Start, sink: &Sink, exporter: Option<Exporter>, begun: Instant) -> io::Result<()> {
        let registry = self.registry();
        let lost = |counter| registry.register(Box::new(counter)).map_err(io::Error::other);
        lost(sink.lost())?;
        let listener = listen(start.settings.listen).await?;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        tracing::info!(
            address = %listener.local_addr()?,
            version = self.version,
            start_ms = (took * 10.0).round() / 10.0,
            "listening"
        );
        let Some(exporter) = exporter else { return self.serve(listener, start.stop.clone()).await };
        lost(exporter.lost())?;
        let name = start.settings.otel_name.clone().unwrap_or_else(|| self.name.to_owned());
        let flush = CancellationToken::new();
        let exporting = tokio::spawn(exporter.run(name, self.version, flush.clone()));
        let ended = self.traced().serve(listener, start.stop.clone()).await;
        flush.cancel();
        let _ = exporting.await;
        ended
    }
}

async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}")))
}

/// Sets up logs, traces if there is a collector, and what panics leave behind.
fn telemetry(name: &str, settings: &Settings, sink: &Sink) -> Result<Option<Exporter>, Box<dyn Error + Send + Sync>> {
    let filter = log::filter(settings.log_level.clone(), settings.access_log);
    let logs = LogLayer::new(name, settings.log_format, sink.clone()).with_filter(filter);
    let exporter = match &settings.otlp_endpoint {
        None => {
            tracing_subscriber::registry().with(logs).try_init()?;
            None
        }
        Some(endpoint) => {
            let (exporter, tracer) = Exporter::new(endpoint)?;
            let off = tracing_subscriber::filter::LevelFilter::OFF;
            let spans = Targets::new()
                .with_default(tracing::Level::INFO)
                .with_target(log::ACCESS, off)
                .with_target(log::AUDIT, off);
            let traces = tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_filter(spans);
            tracing_subscriber::registry().with(logs).with(traces).try_init()?;
            Some(exporter)
        }
    };
    std::panic::set_hook(Box::new(log_panic));
    Ok(exporter)
}

/// A panic is a line in the log like any other error, with the request's id if it was a request's.
fn log_panic(info: &PanicHookInfo<'_>) {
    let said = |payload: &dyn Any| {
        let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
    };
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(location, panic = said(info.payload()), "panicked");
}

/// Cancels `stop` at SIGTERM or SIGINT.
fn watch_signals(stop: CancellationToken) -> io::Result<()> {
    let mut signals: Vec<Signal> = Vec::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        signals.push(signal(kind)?);
    }
    tokio::spawn(async move {
        let waiting = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
        futures::future::select_all(waiting).await;
        stop.cancel();
    });
    Ok(())
}
