//! The service as a process, killed while customers order over HTTP.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use zapora::store::{Store, StoreSettings};

use crate::{
    kill::nothing_is_lost,
    support::{Redis, count, patient, postgres, redis, until},
};

/// A running process; killed when dropped.
struct Process(Child);

impl Process {
    /// Starts the service and says where it listens, once it does.
    fn start(settings: &[(&str, String)], address: &watch::Sender<Option<SocketAddr>>) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_zapora"));
        process.envs(settings.iter().map(|(name, value)| (name, value)));
        process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = process.spawn().unwrap();
        let (output, address) = (child.stdout.take().unwrap(), address.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["message"] == "listening" {
                    address.send_replace(Some(line["address"].as_str().unwrap().parse().unwrap()));
                }
            }
        });
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a request to wherever the service listens now, until it is answered with one of these statuses.
async fn ask(
    address: &watch::Receiver<Option<SocketAddr>>,
    request: impl Fn(&reqwest::Client, String) -> reqwest::RequestBuilder,
    wanted: &[u16],
) -> Value {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
    until("an answer", || async {
        let address = (*address.borrow())?;
        let answer = request(&client, format!("http://{address}")).send().await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.text().await.ok()?;
        // 503 and no answer at all mean the same: try again.
        assert!(status == 503 || wanted.contains(&status), "{status}: {body}");
        if status == 503 { None } else { serde_json::from_str(&body).ok() }
    })
    .await
}

async fn customer(number: usize, address: watch::Receiver<Option<SocketAddr>>, stop: CancellationToken) -> Vec<String> {
    let account =
        json!({"email": format!("customer{number}@example.org"), "name": "C", "password": "correct horse battery"});
    // Registered already, if the service died between doing it and saying so.
    ask(&address, |client, url| client.post(format!("{url}/auth/register")).json(&account), &[201, 409]).await;
    let login = json!({"email": account["email"], "password": account["password"]});
    let tokens = ask(&address, |client, url| client.post(format!("{url}/auth/login")).json(&login), &[200]).await;
    let token = tokens["access_token"].as_str().unwrap();
    let menu = ask(&address, |client, url| client.get(format!("{url}/menu-items?q=Margherita")), &[200]).await;
    let wish = json!({"items": [{"item_id": menu["items"][0]["id"], "quantity": 1}]});
    let mut accepted: Vec<String> = Vec::new();
    while !stop.is_cancelled() {
        let key = format!("{number}-{}", accepted.len());
        let order = |client: &reqwest::Client, url: String| {
            client.post(format!("{url}/orders")).bearer_auth(token).header("Idempotency-Key", &key).json(&wish)
        };
        let order = ask(&address, order, &[200, 201]).await;
        accepted.push(order["id"].as_str().unwrap().to_owned());
    }
    accepted
}

/// Customers who order until they are told to stop.
fn come(address: &watch::Receiver<Option<SocketAddr>>, stop: &CancellationToken) -> Vec<JoinHandle<Vec<String>>> {
    (0..3).map(|number| tokio::spawn(customer(number, address.clone(), stop.clone()))).collect()
}

/// Their accepted orders, once they have stopped.
async fn leave(customers: Vec<JoinHandle<Vec<String>>>) -> HashSet<String> {
    let mut accepted = HashSet::new();
    for customer in customers {
        for order in customer.await.unwrap() {
            assert!(accepted.insert(order), "two keys gave one order");
        }
    }
    accepted
}

fn settings(database: &str, redis: Option<&Redis>, data: &Path) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", "0".to_owned()),
        ("DATABASE_URL", database.to_owned()),
        ("DATA_DIR", data.display().to_string()),
        ("MAIL_DIR", data.join("mail").display().to_string()),
        ("JWT_KEYS", "k1:0123456789abcdef0123456789abcdef".to_owned()),
        ("BCRYPT_COST", "4".to_owned()),
        ("SEED_DEMO", "true".to_owned()),
        ("LOGIN_TRIES_PER_ADDRESS", "1000".to_owned()),
        ("REGISTRATIONS_PER_ADDRESS", "1000".to_owned()),
    ];
    settings.extend(redis.map(|redis| ("REDIS_URL", redis.url())));
    settings
}

async fn kill_it_under_load(database: &str, redis: Option<&Redis>) {
    let data = TempDir::new().unwrap();
    let settings = settings(database, redis, data.path());
    let (address, current) = watch::channel(None);
    let mut process = Process::start(&settings, &address);
    until("the service listens", || async { *current.borrow() }).await;
    let store = Store::open(&patient(StoreSettings::new(database))).await.unwrap();
    let stop = CancellationToken::new();
    let customers = come(&current, &stop);
    for _ in 0..3 {
        let orders = || async { count(&store, "SELECT COUNT(*) FROM orders").await };
        let before = orders().await;
        until("more orders", || async { (orders().await >= before + 5).then_some(()) }).await;
        process.kill();
        address.send_replace(None);
        process = Process::start(&settings, &address);
    }
    stop.cancel();
    let accepted = leave(customers).await;
    nothing_is_lost(&store, &accepted).await;
    process.kill();
}

#[tokio::test]
async fn the_service_is_killed_under_load_on_sqlite() {
    let folder = TempDir::new().unwrap();
    kill_it_under_load(&format!("sqlite://{}?mode=rwc", folder.path().join("zapora.db").display()), None).await;
}

#[tokio::test]
async fn the_service_is_killed_under_load_on_postgresql_and_redis() {
    let Some(postgres) = postgres() else { return };
    let redis = redis();
    kill_it_under_load(&postgres.url(), redis.as_ref()).await;
}

#[tokio::test]
async fn the_primary_is_killed_under_load_and_with_one_setting_the_replica_takes_its_place() {
    let Some(primary) = postgres() else { return };
    let replica = primary.replicate().unwrap();
    // The primary answers for a commit once the replica has it: then nothing that was accepted is lost with it.
    primary.configure("synchronous_standby_names = '*'").unwrap();
    primary.reload().unwrap();
    let data = TempDir::new().unwrap();
    let mut settings = settings(&primary.url(), None, data.path());
    settings.push(("DATABASE_REPLICA_URL", replica.url()));
    settings.push(("DATABASE_PROMOTE_AFTER_SECONDS", "1".to_owned()));
    let (address, current) = watch::channel(None);
    let mut process = Process::start(&settings, &address);
    until("the service listens", || async { *current.borrow() }).await;
    let stop = CancellationToken::new();
    let customers = come(&current, &stop);
    let more = async |store: &Store, most: i64| {
        until("more orders", || async { (count(store, "SELECT COUNT(*) FROM orders").await >= most).then_some(()) })
            .await;
    };
    let before = Store::open(&patient(StoreSettings::new(primary.url()))).await.unwrap();
    more(&before, 15).await;
    drop(before);
    primary.kill().unwrap();
    // Nobody but the service makes it a primary; until it is one, it has no place to write.
    let after = until("the replica is the primary", || async {
        Store::open(&patient(StoreSettings::new(replica.url()))).await.ok()
    })
    .await;
    let had = count(&after, "SELECT COUNT(*) FROM orders").await;
    more(&after, had + 10).await;
    stop.cancel();
    let accepted = leave(customers).await;
    assert!(accepted.len() as i64 >= had, "orders went on");
    nothing_is_lost(&after, &accepted).await;
    process.kill();
}
