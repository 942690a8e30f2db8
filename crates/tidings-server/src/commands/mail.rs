//! `tidings mail receive`: one mail from standard input, as a mail server's pipe hands it over.
//!
//! A pipe tells the mail server by its exit code (sysexits) what became of the mail, and the mail server tells the sender.
//! Whatever may be over later (a database that is away, a disk that is full) says "try again later": nothing is lost.

use crate::cli::ReceiveMail;
use crate::config::{Config, Environment};
use crate::installation::{Installation, Opening};
use crate::node;
use anyhow::{Context, Result};
use serde_json::json;
use std::io::Read;
use std::process::ExitCode;
use tidings_engine::{MOST_MAIL_BYTES, MailTaken};

/// Nothing that can be taken as mail (`EX_DATAERR`).
const NOT_TAKEN: u8 = 65;
/// No such recipient (`EX_NOUSER`).
const UNKNOWN_RECIPIENT: u8 = 67;
/// Try again later (`EX_TEMPFAIL`).
pub const TRY_LATER: u8 = 75;

/// Takes the mail; the exit code is for the mail server, the words are for its log.
pub async fn receive(
    config: Config,
    environment: Environment,
    options: &ReceiveMail,
    json: bool,
) -> ExitCode {
    match take(config, environment, options).await {
        Ok(Told::Taken(taken)) => {
            let word = match taken {
                MailTaken::Stored => "stored",
                MailTaken::Known => "known",
            };
            if json {
                println!("{}", json!({ "mail": word }));
            } else {
                println!("{word}");
            }
            ExitCode::SUCCESS
        }
        Ok(Told::UnknownRecipient) => {
            eprintln!("5.1.1 no connection takes mail for this recipient");
            ExitCode::from(UNKNOWN_RECIPIENT)
        }
        Ok(Told::Unfit(problem)) => {
            eprintln!("5.6.0 {problem}");
            ExitCode::from(NOT_TAKEN)
        }
        Err(error) => {
            eprintln!("4.3.0 the mail could not be stored; try again later: {error:#}");
            ExitCode::from(TRY_LATER)
        }
    }
}

enum Told {
    Taken(MailTaken),
    UnknownRecipient,
    Unfit(String),
}

async fn take(config: Config, environment: Environment, options: &ReceiveMail) -> Result<Told> {
    let raw = tokio::task::spawn_blocking(read_bounded)
        .await
        .context("reading standard input was cut short")?
        .context("standard input cannot be read")?;
    if raw.is_empty() {
        return Ok(Told::Unfit("there is no mail on standard input".to_owned()));
    }
    if raw.len() > MOST_MAIL_BYTES {
        return Ok(Told::Unfit(format!(
            "a mail of more than {} MiB is not taken",
            MOST_MAIL_BYTES / 1_048_576
        )));
    }
    let installation = Installation::open(config, environment, Opening::Guest).await?;
    let told = store(&installation, options, &raw).await;
    let closed = installation.close().await;
    let told = told?;
    // The mail is stored; that the connection closed badly must not make the sender repeat it.
    if let Err(error) = closed {
        tracing::warn!(%error, "the database was not closed cleanly");
    }
    Ok(told)
}

async fn store(installation: &Installation, options: &ReceiveMail, raw: &[u8]) -> Result<Told> {
    let engine = node::engine(installation)?;
    let Some(recipient) = engine.mail_recipient(&options.to).await? else {
        return Ok(Told::UnknownRecipient);
    };
    let from = options.from.trim_matches(['<', '>']);
    Ok(Told::Taken(engine.receive_mail(&recipient, from, raw).await?))
}

/// One byte more than may come, so that too much is seen.
fn read_bounded() -> std::io::Result<Vec<u8>> {
    let mut raw = Vec::new();
    let most = u64::try_from(MOST_MAIL_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    std::io::stdin().lock().take(most).read_to_end(&mut raw)?;
    Ok(raw)
}
