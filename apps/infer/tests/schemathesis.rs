//! The service does what its OpenAPI document says.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

#[path = "../../service/tests/support/schemathesis.rs"]
mod schemathesis;
mod support;

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_one_that_the_document_has() {
    let infer = support::Infer::start().await;
    schemathesis::holds(&infer.url, &[]).await;
}
