//! E-mail: by SMTP, or into a folder, or into the log.

use std::path::PathBuf;

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
};

use super::{JobError, chain};

/// How e-mail leaves.
#[derive(Clone)]
pub enum Mail {
    /// It does not: a line in the log says what would have been sent, without the address.
    Log,
    /// One file per message in this folder, named by the message's id.
    Folder(PathBuf),
    /// `smtp://` or `smtps://`.
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Log => "Log",
            Self::Folder(_) => "Folder",
            Self::Smtp(_) => "Smtp",
        })
    }
}

impl Mail {
    /// Through the server at `url`, which may hold a name and a password.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn smtp(url: &str) -> Result<Self, lettre::transport::smtp::Error> {
        let timeout = Some(std::time::Duration::from_secs(15));
        Ok(Self::Smtp(AsyncSmtpTransport::<Tokio1Executor>::from_url(url)?.timeout(timeout).build()))
    }

    /// Sends a message. `id` names it: the same message sent again is recognised by it, here and by mail servers.
    ///
    /// # Errors
    /// The address cannot be used, or the message does not leave.
    pub async fn send(&self, id: &str, from: &Mailbox, to: &str, subject: &str, text: &str) -> Result<(), JobError> {
        if matches!(self, Self::Log) {
            tracing::info!(message = id, subject, "an e-mail would be sent, were SMTP_URL or MAIL_DIR set");
            return Ok(());
        }
        let to: Mailbox = to.parse().map_err(|e| JobError::Never(format!("the customer's address: {e}")))?;
        let message = Message::builder()
            .from(from.clone())
            .to(to)
            .subject(subject)
            .message_id(Some(format!("<{id}@zapora>")))
            .header(ContentType::TEXT_PLAIN)
            .body(text.to_owned())
            .map_err(|e| JobError::Never(format!("the e-mail cannot be written: {}", chain(&e))))?;
        match self {
            Self::Log => Ok(()),
            Self::Folder(folder) => {
                let write = async {
                    tokio::fs::create_dir_all(folder).await?;
                    // Whole or not at all: whoever watches the folder never sees half a message.
                    let unfinished = folder.join(format!(".{id}"));
                    tokio::fs::write(&unfinished, message.formatted()).await?;
                    tokio::fs::rename(&unfinished, folder.join(format!("{id}.eml"))).await
                };
                write.await.map_err(|e| JobError::Later(format!("cannot write an e-mail to its folder: {e}")))
            }
            Self::Smtp(server) => match server.send(message).await {
                Ok(_) => Ok(()),
                Err(e) if e.is_permanent() => Err(JobError::Never(format!("the mail server refuses: {}", chain(&e)))),
                Err(e) => Err(JobError::Later(format!("the mail server: {}", chain(&e)))),
            },
        }
    }
}
