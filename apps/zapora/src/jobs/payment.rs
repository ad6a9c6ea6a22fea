//! The payment provider: an external one over HTTP, or the built-in one, which approves everything and says so in its name.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{JobError, chain};

/// Longer than any provider should take, and well below the time that a job may.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most that is read of an answer.
const ANSWER: usize = 64 << 10;

/// Who authorises payments.
#[derive(Clone, Debug)]
pub enum Payments {
    /// Nobody: every payment is approved. For trials.
    BuiltIn,
    /// `POST <url>/authorisations` with `{"order", "amount_cents", "currency"}` answers `{"id", "approved"}`, or 402 for a refusal;
    /// `POST <url>/voids` with `{"order"}` gives an authorisation back, and answers 404 where there is none. Both carry an
    /// `Idempotency-Key`, so that a repetition is one payment: an authorisation the order's, a void its job's. For an order may be
    /// voided twice, once when there was nothing to void yet, and a provider answers the same key with what it answered before.
    ///
    /// A job that was given up and is tried again asks with the same key: whether one of its attempts has reserved something is what
    /// only the provider knows. So what it decided may be kept under a key, and that it failed (5xx) may not.
    Http {
        /// Without a slash at its end.
        url: String,
        /// Sent as a bearer token.
        token: Option<String>,
        /// Keeps connections.
        client: reqwest::Client,
    },
}

/// What the provider said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentOutcome {
    /// The provider's name.
    pub provider: String,
    /// The provider's own id of the payment.
    pub reference: String,
    /// Whether the money is reserved.
    pub approved: bool,
}

#[derive(Serialize)]
struct Authorise<'a> {
    order: &'a str,
    amount_cents: i64,
    currency: &'a str,
}

#[derive(Serialize)]
struct Void<'a> {
    order: &'a str,
}

#[derive(Deserialize)]
struct Authorised {
    id: String,
    approved: bool,
}

impl Payments {
    /// The provider at `url`.
    ///
    /// # Errors
    /// No client can be made on this machine.
    pub fn http(url: &str, token: Option<String>) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(3))
            // A redirected POST would become a GET, or reach somebody else.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self::Http { url: url.trim_end_matches('/').to_owned(), token, client })
    }

    /// Reserves an amount. Of nothing nothing is asked: providers refuse amounts of zero, and discounts may leave nothing to pay.
    ///
    /// # Errors
    /// The provider does not answer, or not so that it can be understood.
    pub async fn authorise(&self, order: &str, amount_cents: i64, currency: &str) -> Result<PaymentOutcome, JobError> {
        if amount_cents == 0 {
            let (provider, reference) = ("none (nothing to pay)".to_owned(), String::new());
            return Ok(PaymentOutcome { provider, reference, approved: true });
        }
        let (status, body) = match self {
            Self::BuiltIn => {
                let (provider, reference) = ("built-in (approves everything)".to_owned(), format!("built-in-{order}"));
                return Ok(PaymentOutcome { provider, reference, approved: true });
            }
            Self::Http { .. } => {
                self.post("authorisations", &format!("authorise-{order}"), &Authorise { order, amount_cents, currency })
                    .await?
            }
        };
        let answer: Option<Authorised> = serde_json::from_slice(&body).ok();
        let provider = "http".to_owned();
        match (status, answer) {
            (200 | 201, Some(answer)) => Ok(PaymentOutcome {
                provider,
                reference: answer.id.chars().take(200).collect(),
                approved: answer.approved,
            }),
            (402, _) => Ok(PaymentOutcome { provider, reference: String::new(), approved: false }),
            (200 | 201, None) => Err(JobError::Later("the payment provider's answer cannot be understood".to_owned())),
            (status, _) => Err(JobError::Later(format!("the payment provider answered {status}"))),
        }
    }

    /// Gives back what was reserved for an order, if anything was, as the job `job` asks for it.
    ///
    /// # Errors
    /// The provider does not answer as it should.
    pub async fn void(&self, order: &str, job: &str) -> Result<(), JobError> {
        match self {
            Self::BuiltIn => Ok(()),
            Self::Http { .. } => match self.post("voids", &format!("void-{order}-{job}"), &Void { order }).await? {
                (200..=299 | 404, _) => Ok(()),
                (status, _) => Err(JobError::Later(format!("the payment provider answered {status} to a void"))),
            },
        }
    }

    async fn post(&self, path: &str, key: &str, body: &impl Serialize) -> Result<(u16, Vec<u8>), JobError> {
        let Self::Http { url, token, client } = self else { return Ok((404, Vec::new())) };
        let mut request = client.post(format!("{url}/{path}")).header("Idempotency-Key", key).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let failed = |e: reqwest::Error| JobError::Later(format!("the payment provider: {}", chain(&e.without_url())));
        let mut response = request.send().await.map_err(failed)?;
        let (status, mut body) = (response.status().as_u16(), Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER {
                return Err(JobError::Later("the payment provider's answer is too long".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }
}
