//! The service on a free port, with an admin, and somebody to call it.

#![allow(dead_code, reason = "each test file uses its part of this")]

use reqwest::{Method, StatusCode};
use sample::Config;
use serde_json::{Value, json};
use service::{Limits, Service, config::Secret};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Two keys, the first of which signs.
pub const KEYS: &str = "new:an-utterly-secret-key-of-32-bytes!,old:the-one-before-it-also-32-bytes!!";

pub struct Sample {
    pub url: String,
    http: reqwest::Client,
    _stop: DropGuard,
}

/// What a caller sends to say who they are.
#[derive(Clone, Debug)]
pub enum Who {
    Nobody,
    Token(String),
    Key(String),
}

pub fn config() -> Config {
    Config {
        jwt_keys: Some(Secret::new(KEYS)),
        admin: Some(("admin".to_owned(), Secret::new("admin-password"))),
        cost: 4,
        logins: 1_000,
        ..Config::default()
    }
}

impl Sample {
    pub async fn start() -> Self {
        Self::with(&config()).await
    }

    pub async fn with(config: &Config) -> Self {
        Self::serve(sample::service(config).await.unwrap()).await
    }

    /// One that believes what one proxy says of its clients' addresses.
    pub async fn with_proxy(config: &Config) -> Self {
        let limits = Limits { trusted_proxies: 1, ..Limits::default() };
        Self::serve(sample::service(config).await.unwrap().limits(limits)).await
    }

    async fn serve(service: Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(service.serve(listener, stop.clone()));
        Self { url, http: reqwest::Client::new(), _stop: stop.drop_guard() }
    }

    pub fn request(&self, method: Method, path: &str, who: &Who) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match who {
            Who::Nobody => request,
            Who::Token(token) => request.bearer_auth(token),
            Who::Key(key) => request.header("x-api-key", key),
        }
    }

    pub async fn send(&self, method: Method, path: &str, who: &Who, body: Option<&Value>) -> (StatusCode, Value) {
        let request = self.request(method, path, who);
        let request = if let Some(body) = body { request.json(body) } else { request };
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap_or_default())
    }

    pub async fn get(&self, path: &str, who: &Who) -> (StatusCode, Value) {
        self.send(Method::GET, path, who, None).await
    }

    pub async fn post(&self, path: &str, who: &Who, body: &Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, who, Some(body)).await
    }

    pub async fn login(&self, username: &str, password: &str) -> Who {
        let (status, token) =
            self.post("/auth/login", &Who::Nobody, &json!({"username": username, "password": password})).await;
        assert_eq!(status, 200, "{token}");
        Who::Token(token["access_token"].as_str().unwrap().to_owned())
    }

    pub async fn admin(&self) -> Who {
        self.login("admin", "admin-password").await
    }

    /// A new user, logged in.
    pub async fn user(&self, name: &str) -> Who {
        let (status, user) =
            self.post("/auth/register", &Who::Nobody, &json!({"username": name, "password": "a good password"})).await;
        assert_eq!((status.as_u16(), &user["role"]), (201, &json!("user")), "{user}");
        self.login(name, "a good password").await
    }

    /// A new API key of this caller's, and its id.
    pub async fn key(&self, who: &Who) -> (Who, String) {
        let (status, key) = self.post("/auth/api-keys", who, &json!({"name": "laptop"})).await;
        assert_eq!(status, 201, "{key}");
        (Who::Key(key["key"].as_str().unwrap().to_owned()), key["id"].as_str().unwrap().to_owned())
    }
}
