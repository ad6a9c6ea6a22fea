//! A running zapora on an SQLite of its own, and people who use it.

use std::{collections::HashMap, net::SocketAddr};

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use service::{Env, config::Secret};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The keys that tokens are signed with, so that tests can sign their own.
pub const KEYS: &str = "new:0123456789abcdef0123456789abcdef,old:fedcba9876543210fedcba9876543210";
/// The first admin.
pub const ADMIN: (&str, &str) = ("admin@example.com", "the first password");

/// A running service.
pub struct Zapora {
    address: SocketAddr,
    client: reqwest::Client,
    stop: CancellationToken,
    running: JoinHandle<std::io::Result<()>>,
    /// Its data.
    pub folder: TempDir,
}

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub struct Person {
    /// Goes into `Authorization`.
    pub access: String,
    /// Gets the next.
    pub refresh: String,
    /// The account's id.
    pub id: String,
}

impl Zapora {
    /// Starts one with a demonstration menu, cheap passwords, and these settings besides.
    pub async fn start(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap().to_owned();
        let mut settings: HashMap<&str, &str> = HashMap::from([
            ("DATA_DIR", data.as_str()),
            ("BCRYPT_COST", "4"),
            ("SEED_DEMO", "true"),
            ("JWT_KEYS", KEYS),
            ("ADMIN_EMAIL", ADMIN.0),
            ("ADMIN_PASSWORD", ADMIN.1),
            ("LOGIN_TRIES_PER_ADDRESS", "1000"),
            ("REGISTRATIONS_PER_ADDRESS", "1000"),
            // A busy machine is not a dead database.
            ("DATABASE_TIMEOUT_SECONDS", "60"),
        ]);
        settings.extend(more.iter().copied());
        let mut env = Env::new(|name| settings.get(name).map(|value| (*value).to_owned()));
        let service = zapora::serve::service(&mut env).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(service.serve(listener, stop.clone()));
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        Self { address, client, stop, running, folder }
    }

    /// Ends it, which must not fail.
    pub async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request by nobody.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// A request by somebody.
    pub fn by(&self, person: &Person, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(&person.access)
    }

    /// What a GET by nobody answers, which must be 200.
    pub async fn get(&self, path: &str) -> Value {
        body(self.request(Method::GET, path), StatusCode::OK).await
    }

    /// Signs in.
    pub async fn login(&self, email: &str, password: &str) -> Person {
        let pair = self.request(Method::POST, "/auth/login").json(&json!({"email": email, "password": password}));
        let pair = body(pair, StatusCode::OK).await;
        let text = |name: &str| pair[name].as_str().unwrap().to_owned();
        let mut person = Person { access: text("access_token"), refresh: text("refresh_token"), id: String::new() };
        let me = body(self.by(&person, Method::GET, "/me"), StatusCode::OK).await;
        person.id = me["id"].as_str().unwrap().to_owned();
        person
    }

    /// The first admin.
    pub async fn admin(&self) -> Person {
        self.login(ADMIN.0, ADMIN.1).await
    }

    /// Makes an account, and signs in.
    pub async fn customer(&self, name: &str) -> Person {
        let (email, password) = (format!("{name}@example.com"), "password of mine");
        let new = json!({"email": email, "name": name, "password": password});
        body(self.request(Method::POST, "/auth/register").json(&new), StatusCode::CREATED).await;
        self.login(&email, password).await
    }

    /// Makes an account of staff, and signs in.
    pub async fn staff(&self, name: &str) -> Person {
        let person = self.customer(name).await;
        let path = format!("/admin/users/{}", person.id);
        let change = self.by(&self.admin().await, Method::PATCH, &path).json(&json!({"role": "staff"}));
        body(change, StatusCode::OK).await;
        self.login(&format!("{name}@example.com"), "password of mine").await
    }

    /// The item of the demonstration menu with this name.
    pub async fn item(&self, name: &str) -> Value {
        let items = self.get("/menu-items?limit=100").await;
        items["items"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap().clone()
    }

    /// An order of one item, with a key.
    pub fn order(&self, person: &Person, key: &str, item: &Value, quantity: i64) -> RequestBuilder {
        let wish = json!({"items": [{"item_id": item["id"], "quantity": quantity}]});
        self.by(person, Method::POST, "/orders").header("idempotency-key", key).json(&wish)
    }
}

/// The JSON that a request is answered with, whose status must be this.
pub async fn body(request: RequestBuilder, expected: StatusCode) -> Value {
    let response = request.send().await.unwrap();
    json_of(response, expected).await
}

/// The JSON of an answer, whose status must be this.
pub async fn json_of(response: Response, expected: StatusCode) -> Value {
    let (status, url) = (response.status(), response.url().path().to_owned());
    let text = response.text().await.unwrap();
    assert_eq!(status, expected, "{url}: {text}");
    if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
}

/// Checks that a request is refused with a problem of this status, and gives it.
pub async fn problem(request: RequestBuilder, expected: u16) -> Value {
    let response = request.send().await.unwrap();
    let kind = response.headers().get("content-type").cloned();
    let problem = json_of(response, StatusCode::from_u16(expected).unwrap()).await;
    assert_eq!(kind.unwrap(), "application/problem+json", "{problem}");
    assert_eq!(problem["status"], expected, "{problem}");
    assert!(problem["request_id"].is_string(), "{problem}");
    problem
}

/// A key of the service as a secret.
pub fn keys(text: &str) -> Secret {
    Secret::new(text.to_owned())
}
