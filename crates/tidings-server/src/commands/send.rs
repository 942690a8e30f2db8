//! `tidings send`: one message, or a file of requests.

use crate::cli;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::node;
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::io::BufRead;
use tidings_core::TenantId;
use tidings_engine::{AcceptError, AcceptRequest, Accepted, Engine};

/// Requests handed to the engine at once.
const CHUNK: usize = 500;
/// The longest line of a file, in bytes: the engine's bound on attachments and a little more.
const MAX_LINE_BYTES: usize = 12 * 1024 * 1024;

/// Sends what the options say. Messages are stored and queued; a running `serve` sends them.
pub async fn run(installation: &Installation, options: &cli::Send, json: bool) -> Result<()> {
    let tenant = installation.tenant(options.tenant.tenant.as_deref()).await?.id;
    let engine = node::engine(installation)?;
    let done = match &options.file {
        Some(file) => from_file(&engine, tenant, file, json).await,
        None => one(&engine, tenant, options, json).await,
    };
    engine.close().await;
    done
}

async fn one(engine: &Engine, tenant: TenantId, options: &cli::Send, json: bool) -> Result<()> {
    let request = request(options)?;
    let answer = engine
        .accept(tenant, vec![request])
        .await
        .pop()
        .context("the engine gave no answer")?;
    let accepted = answer.map_err(|error| {
        if error.is_transient() {
            anyhow::Error::new(error)
        } else {
            Failure::refused(error).into()
        }
    })?;
    if json {
        println!("{}", serde_json::to_string(&accepted)?);
    } else {
        println!("{}", line(&accepted));
    }
    Ok(())
}

fn request(options: &cli::Send) -> Result<AcceptRequest> {
    let to = match (&options.to, &options.contact) {
        (Some(address), None) if address.contains('@') => json!({ "contact": { "email": address } }),
        (Some(number), None) => json!({ "contact": { "phone": number } }),
        (None, Some(contact)) => match contact.parse::<tidings_core::ContactId>() {
            Ok(id) => json!({ "contact_id": id }),
            Err(_) => json!({ "external_id": contact }),
        },
        _ => bail!(Failure::Usage(
            "say to whom: --to ADDRESS or --contact ID".to_owned()
        )),
    };
    let context: Value = serde_json::from_str(&options.context)
        .map_err(|error| Failure::Usage(format!("--context is not a JSON object: {error}")))?;
    let mut request = json!({ "to": to, "context": context });
    for (name, value) in [
        ("message_type", &options.message_type),
        ("urgency", &options.urgency),
        ("channel", &options.channel),
        ("source_reference", &options.source_reference),
    ] {
        if let Some(value) = value {
            request[name] = json!(value);
        }
    }
    serde_json::from_value(request).map_err(|error| Failure::refused(error).into())
}

#[derive(Default)]
struct Tally {
    accepted: u64,
    duplicates: u64,
    refused: u64,
}

async fn from_file(engine: &Engine, tenant: TenantId, file: &std::path::Path, json: bool) -> Result<()> {
    let (reader, bytes): (Box<dyn BufRead + Send>, u64) = if file.as_os_str() == "-" {
        (Box::new(std::io::BufReader::new(std::io::stdin())), 0)
    } else {
        let open = std::fs::File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let bytes = open.metadata()?.len();
        (Box::new(std::io::BufReader::new(open)), bytes)
    };
    let bar = progress_bar(bytes, json);
    let mut tally = Tally::default();
    let mut chunk = Vec::with_capacity(CHUNK);
    for (index, line) in reader.lines().enumerate() {
        let line = line.with_context(|| format!("{}: line {} cannot be read", file.display(), index + 1))?;
        bar.inc(line.len() as u64 + 1);
        if line.trim().is_empty() {
            continue;
        }
        match parse(&line) {
            Ok(request) => chunk.push((index + 1, request)),
            Err(problem) => refuse(&bar, &mut tally, index + 1, &problem, json),
        }
        if chunk.len() == CHUNK {
            send_chunk(engine, tenant, &mut chunk, &mut tally, &bar, json).await;
        }
    }
    send_chunk(engine, tenant, &mut chunk, &mut tally, &bar, json).await;
    bar.finish_and_clear();
    if json {
        println!(
            "{}",
            json!({ "accepted": tally.accepted, "duplicates": tally.duplicates, "refused": tally.refused })
        );
    } else {
        println!(
            "{} accepted, {} sent before, {} refused",
            tally.accepted, tally.duplicates, tally.refused
        );
    }
    if tally.refused > 0 {
        bail!(Failure::Refused(format!(
            "{} lines were refused; the others are queued",
            tally.refused
        )));
    }
    Ok(())
}

fn parse(line: &str) -> Result<AcceptRequest, String> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!(
            "the line has {} bytes, more than {MAX_LINE_BYTES}",
            line.len()
        ));
    }
    serde_json::from_str(line).map_err(|error| error.to_string())
}

async fn send_chunk(
    engine: &Engine,
    tenant: TenantId,
    chunk: &mut Vec<(usize, AcceptRequest)>,
    tally: &mut Tally,
    bar: &ProgressBar,
    json: bool,
) {
    let (numbers, requests): (Vec<usize>, Vec<AcceptRequest>) = chunk.drain(..).unzip();
    let answers: Vec<Result<Accepted, AcceptError>> = engine.accept(tenant, requests).await;
    for (number, answer) in numbers.into_iter().zip(answers) {
        match answer {
            Ok(accepted) if accepted.duplicate => tally.duplicates += 1,
            Ok(_) => tally.accepted += 1,
            Err(error) => refuse(bar, tally, number, &error.to_string(), json),
        }
    }
}

fn refuse(bar: &ProgressBar, tally: &mut Tally, number: usize, problem: &str, json: bool) {
    tally.refused += 1;
    let text = if json {
        json!({ "line": number, "problem": problem }).to_string()
    } else {
        format!("line {number}: {problem}")
    };
    bar.suspend(|| eprintln!("{text}"));
}

fn progress_bar(bytes: u64, json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent}%  {bytes}/{total_bytes}  {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

/// One accepted message, for people.
pub fn line(accepted: &Accepted) -> String {
    let because = accepted
        .because
        .as_deref()
        .map(|code| format!(" ({code})"))
        .unwrap_or_default();
    let again = if accepted.duplicate {
        ", sent before under the same reference"
    } else {
        ""
    };
    format!("{}  {}{because}{again}", accepted.message_id, accepted.status)
}
