//! The queue in Redis (7 or newer, or Valkey): a stream with a group of consumers.
//!
//! A delivery stays on its consumer's list until it is settled. What has been there for longer than the visibility time belongs to a
//! consumer that died or hangs, and whoever asks next gets it. A stream that Redis has forgotten is made again.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value, aio::ConnectionManager, cmd};
use service::{config::Secret, redis::connection};
use tokio::time::Instant;

use super::{Delivery, Queue, QueueError};

/// The group that all workers belong to.
const GROUP: &str = "workers";
/// How long one request for jobs waits for some.
const BLOCK: Duration = Duration::from_secs(2);
/// How long Redis may take to answer anything else.
const RESPONSE: Duration = Duration::from_secs(2);

/// Where and how.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// The stream's key.
    pub key: String,
    /// After how long an unsettled delivery is made again; longer than any job takes.
    pub visibility: Duration,
    /// The most jobs in the stream.
    pub bound: u64,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self { key: "zapora:jobs".to_owned(), visibility: Duration::from_secs(60), bound: 100_000 }
    }
}

/// A stream of job ids.
pub struct Redis {
    settings: RedisSettings,
    /// Unique, so that what this process holds is told from what another does.
    consumer: String,
    commands: ConnectionManager,
    /// Connections that wait for jobs, which nothing else can be asked over meanwhile.
    url: Secret,
    waiting: Mutex<Vec<ConnectionManager>>,
    reclaimed: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("consumer", &self.consumer).finish_non_exhaustive()
    }
}

/// Entries of a stream: id, and fields with their values.
type Entries = Vec<(String, Vec<String>)>;

impl Redis {
    /// The queue at `url`; connects when it is first used, and again whenever the connection is lost.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn new(url: &Secret, settings: RedisSettings) -> RedisResult<Self> {
        let (url, commands) = (url.clone(), connection(url, RESPONSE)?);
        let consumer = uuid::Uuid::now_v7().to_string();
        Ok(Self { settings, consumer, commands, url, waiting: Mutex::default(), reclaimed: Mutex::default() })
    }

    /// Takes this process off the list of consumers, if it holds nothing.
    ///
    /// # Errors
    /// Redis is away; the name stays on the list, which costs it a few bytes.
    pub async fn leave(&self) -> Result<(), QueueError> {
        let key = self.settings.key.as_str();
        let mut pending = cmd("XPENDING");
        pending.arg(key).arg(GROUP).arg("-").arg("+").arg(1).arg(self.consumer.as_str());
        let held: Vec<Value> = self.ask(&pending).await?;
        if held.is_empty() {
            let mut leave = cmd("XGROUP");
            leave.arg("DELCONSUMER").arg(key).arg(GROUP).arg(self.consumer.as_str());
            self.ask::<Value>(&leave).await?;
        }
        Ok(())
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, QueueError> {
        command.query_async(&mut self.commands.clone()).await.map_err(QueueError::Unavailable)
    }

    /// Makes the stream and its group, if they are not there.
    async fn make(&self) -> Result<(), QueueError> {
        let mut make = cmd("XGROUP");
        make.arg("CREATE").arg(self.settings.key.as_str()).arg(GROUP).arg("0").arg("MKSTREAM");
        match self.ask::<Value>(&make).await {
            Err(QueueError::Unavailable(error)) if error.code() == Some("BUSYGROUP") => Ok(()),
            made => made.map(|_| ()),
        }
    }

    /// Deliveries that somebody else did not settle in time, if it is time to look for them.
    async fn reclaim(&self, most: usize) -> Result<Vec<Delivery>, QueueError> {
        {
            let mut reclaimed = self.reclaimed.lock().unwrap_or_else(PoisonError::into_inner);
            if reclaimed.is_some_and(|at| at.elapsed() < self.settings.visibility / 4) {
                return Ok(Vec::new());
            }
            *reclaimed = Some(Instant::now());
        }
        let mut claim = cmd("XAUTOCLAIM");
        claim.arg(self.settings.key.as_str()).arg(GROUP).arg(self.consumer.as_str());
        claim.arg(self.settings.visibility.as_millis() as u64).arg("0-0").arg("COUNT").arg(most);
        let (_, entries, _): (String, Entries, Vec<String>) = self.ask(&claim).await?;
        if entries.len() == most {
            // There may be more.
            *self.reclaimed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(deliveries(entries))
    }

    async fn read(&self, most: usize) -> Result<Vec<Delivery>, QueueError> {
        let free = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match free {
            Some(connection) => connection,
            None => connection(&self.url, BLOCK + RESPONSE).map_err(QueueError::Unavailable)?,
        };
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(self.consumer.as_str()).arg("COUNT").arg(most);
        read.arg("BLOCK").arg(BLOCK.as_millis() as u64).arg("STREAMS").arg(self.settings.key.as_str()).arg(">");
        let answer: RedisResult<Option<Vec<(String, Entries)>>> = read.query_async(&mut connection).await;
        let answer = answer.map_err(QueueError::Unavailable)?;
        // Only a connection that answered is used again; one that a cancelled wait left behind is dropped with its wait.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(answer.into_iter().flatten().flat_map(|(_, entries)| deliveries(entries)).collect())
    }
}

fn deliveries(entries: Entries) -> Vec<Delivery> {
    let delivery =
        |(receipt, fields): (String, Vec<String>)| Some(Delivery { job: fields.into_iter().nth(1)?, receipt });
    entries.into_iter().filter_map(delivery).collect()
}

fn forgotten(error: &QueueError) -> bool {
    matches!(error, QueueError::Unavailable(error) if error.code() == Some("NOGROUP"))
}

impl Queue for Redis {
    async fn push(&self, jobs: &[String]) -> Result<(), QueueError> {
        let key = self.settings.key.as_str();
        let mut length = cmd("XLEN");
        if self.ask::<u64>(length.arg(key)).await? >= self.settings.bound {
            return Err(QueueError::Full);
        }
        let mut pipeline = Pipeline::with_capacity(jobs.len());
        for job in jobs {
            pipeline.cmd("XADD").arg(key).arg("*").arg("job").arg(job.as_str()).ignore();
        }
        pipeline.query_async::<()>(&mut self.commands.clone()).await.map_err(QueueError::Unavailable)
    }

    async fn take(&self, most: usize) -> Result<Vec<Delivery>, QueueError> {
        let reclaimed = match self.reclaim(most).await {
            Err(error) if forgotten(&error) => {
                self.make().await?;
                Vec::new()
            }
            reclaimed => reclaimed?,
        };
        if !reclaimed.is_empty() {
            return Ok(reclaimed);
        }
        match self.read(most).await {
            Err(error) if forgotten(&error) => {
                self.make().await?;
                self.read(most).await
            }
            read => read,
        }
    }

    async fn settle(&self, deliveries: &[Delivery]) -> Result<(), QueueError> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let (mut settled, mut gone) = (cmd("XACK"), cmd("XDEL"));
        settled.arg(self.settings.key.as_str()).arg(GROUP);
        gone.arg(self.settings.key.as_str());
        for delivery in deliveries {
            settled.arg(delivery.receipt.as_str());
            gone.arg(delivery.receipt.as_str());
        }
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(settled).ignore().add_command(gone).ignore();
        pipeline
            .query_async::<()>(&mut self.commands.clone())
            .await
            .map_err(|error: RedisError| QueueError::Unavailable(error))
    }
}
