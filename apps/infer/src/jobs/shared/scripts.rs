//! What is done in Redis as a whole: scripts, and what they answer.

use std::sync::LazyLock;

use redis::{FromRedisValue, ParsingError, Script, Value};

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("common.lua"), include_str!($file))))
    };
}

pub(super) static ACCEPT: LazyLock<Script> = script!("accept.lua");
pub(super) static TAKE: LazyLock<Script> = script!("take.lua");
pub(super) static CHANGE: LazyLock<Script> = script!("change.lua");
pub(super) static LIST: LazyLock<Script> = script!("list.lua");
pub(super) static KEEP: LazyLock<Script> = script!("keep.lua");

/// What every script answers that changes something.
#[derive(Debug)]
pub(super) struct Said {
    /// What became of what was asked.
    pub verdict: String,
    /// More about it.
    pub detail: Vec<u8>,
    /// Jobs that wait.
    pub waiting: usize,
    /// Jobs that a worker is at.
    pub running: usize,
}

impl FromRedisValue for Said {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (verdict, detail, waiting, running) = FromRedisValue::from_redis_value(value)?;
        Ok(Self { verdict, detail, waiting, running })
    }
}
