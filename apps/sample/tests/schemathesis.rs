//! The service does what its OpenAPI document says.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

#[path = "../../service/tests/support/schemathesis.rs"]
mod schemathesis;
mod support;

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_one_that_the_document_has() {
    let config = sample::Config { logins: 1_000_000, requests: 1_000_000, ..support::config() };
    let sample = support::Sample::with(&config).await;
    let support::Who::Token(token) = sample.admin().await else { unreachable!() };
    schemathesis::holds(&sample.url, &["--header", &format!("Authorization: Bearer {token}")]).await;
}
