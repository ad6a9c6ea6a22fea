//! The two services, each with the same account and a menu of the same length.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::{Value, json};
use testkit::{
    databases::{Postgres, Redis},
    processes,
};

use super::asking::ask;
use crate::{
    http,
    machine::{self, Process},
};

/// Whose orders they are.
pub const EMAIL: &str = "ann@example.com";
/// With which password.
pub const PASSWORD: &str = "correct horse battery";
/// Things to order, as FastAPI's `/setup` makes them.
const DISHES: usize = 50;

/// A request that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The same page of the menu each time.
    Cached,
    /// Each time one that nobody has asked for.
    Fresh,
    /// An order of one thing.
    Order,
    /// A login.
    Login,
}

/// A service that runs.
pub struct Side {
    /// What it is called.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// From its start to its first ready answer, when it makes its tables and when it finds them.
    pub ready: [Duration; 2],
    /// An access token of the account.
    pub token: String,
    /// Something to order.
    pub item: String,
    process: Process,
}

impl Side {
    /// zapora as a program of its own.
    pub fn alone(zapora: &Path, postgres: &Postgres, redis: &Redis, cost: u32) -> anyhow::Result<Self> {
        let mut command = Command::new(zapora);
        command.env("DATABASE_URL", postgres.url()).env("REDIS_URL", redis.url());
        Self::ours("zapora", command, cost)
    }

    /// zapora as it is built into Coracle's binary, in a database of its own.
    pub fn built_in(coracle: &Path, postgres: &Postgres, redis: &Redis, cost: u32) -> anyhow::Result<Self> {
        postgres.query("CREATE DATABASE built_in")?;
        let mut command = Command::new(coracle);
        command.args(["app", "zapora"]).env("DATABASE_URL", postgres.url().replacen("/postgres?", "/built_in?", 1));
        command.env("REDIS_URL", format!("{}?db=1", redis.url()));
        Self::ours("zapora, built in", command, cost)
    }

    fn ours(name: &'static str, mut command: Command, cost: u32) -> anyhow::Result<Self> {
        command.env("JWT_KEYS", "bench:a-key-of-nobody-that-signs-nothing-else").env("BCRYPT_COST", cost.to_string());
        command.env("ADMIN_EMAIL", "admin@example.com").env("ADMIN_PASSWORD", PASSWORD);
        for limit in ["LOGIN_TRIES_PER_ACCOUNT", "LOGIN_TRIES_PER_ADDRESS", "REGISTRATIONS_PER_ADDRESS"] {
            command.env(limit, "4000000000");
        }
        let (address, process, ready) = start(command, |command, port| {
            command.env("HOST", "127.0.0.1").env("PORT", port.to_string());
        })?;
        let admin = login(address, "admin@example.com")?;
        let menu = ask(address, "POST", "/menus", Some(&admin), &json!({"name": "All day"}))?;
        for number in 0..DISHES {
            let dish = json!({
                "menu_id": menu["id"], "name": format!("Dish {number:02}"), "price_cents": 500 + number * 10,
                "description": "Something good, made this morning",
            });
            ask(address, "POST", "/menu-items", Some(&admin), &dish)?;
        }
        let account = json!({"email": EMAIL, "name": "Ann", "password": PASSWORD});
        ask(address, "POST", "/auth/register", None, &account)?;
        Self::complete(name, address, process, ready)
    }

    /// `bench/fastapi`.
    pub fn theirs(python: &Path, postgres: &Postgres, redis: &Redis, cost: u32) -> anyhow::Result<Self> {
        let mut command = Command::new(python);
        command.args(["-m", "uvicorn", "app:app", "--loop", "uvloop", "--http", "httptools", "--host", "127.0.0.1"]);
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fastapi")).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("DATABASE_URL", postgres.url().replacen("postgres:", "postgresql+asyncpg:", 1));
        command.env("REDIS_URL", redis.url()).env("JWT_SECRET", "a-key-of-nobody-that-signs-nothing-else");
        let (address, process, ready) = start(command, |command, port| {
            command.args(["--port", &port.to_string()]);
        })?;
        ask(address, "POST", &format!("/setup?cost={cost}"), None, &Value::Null)?;
        Self::complete("FastAPI", address, process, ready)
    }

    fn complete(
        name: &'static str,
        address: SocketAddr,
        process: Process,
        ready: [Duration; 2],
    ) -> anyhow::Result<Self> {
        let token = login(address, EMAIL)?;
        let menu = ask(address, "GET", "/menu-items?limit=50", None, &Value::Null)?;
        let item = menu["items"][0]["id"].as_str().context("the menu is empty")?.to_owned();
        Ok(Self { name, address, ready, token, item, process })
    }

    /// Its memory in MiB: the proportional set size, and what of it no other process and no file has (its heap and stacks, and what of
    /// the program's data was written to), which the kernel cannot take back when it needs room.
    ///
    /// # Errors
    /// A process is gone.
    pub fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let (mut all, mut own) = (0, 0);
        for process in self.processes() {
            all += machine::pss(process)?;
            own += machine::pss_anonymous(process)?;
        }
        Ok((all as f64 / 1024.0, own as f64 / 1024.0))
    }

    /// Its processes.
    pub fn processes(&self) -> Vec<u32> {
        processes::tree(self.process.pid())
    }
}

/// Starts a service on an empty database, and once more on what that start has made, and waits until it is ready. What it logs is
/// made, and goes nowhere.
fn start(
    mut command: Command,
    listen: impl Fn(&mut Command, u16),
) -> anyhow::Result<(SocketAddr, Process, [Duration; 2])> {
    let address = SocketAddr::from(([127, 0, 0, 1], machine::free_port()?));
    listen(&mut command, address.port());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut once = || {
        let began = Instant::now();
        let process = Process::spawn(&mut command)?;
        anyhow::Ok((process, http::wait_for_200(address, "/ready", began)?))
    };
    let (mut process, first) = once()?;
    process.stop("TERM")?;
    let (process, again) = once()?;
    Ok((address, process, [first, again]))
}

fn login(address: SocketAddr, email: &str) -> anyhow::Result<String> {
    let tokens = ask(address, "POST", "/auth/login", None, &json!({"email": email, "password": PASSWORD}))?;
    Ok(tokens["access_token"].as_str().context("a login gives no token")?.to_owned())
}
