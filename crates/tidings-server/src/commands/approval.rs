//! `tidings approval list|show|approve|edit|reject`: a person's yes or no.

use crate::cli::Approval;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::node;
use anyhow::Result;
use serde_json::{Map, Value};
use tidings_core::redact::Private;
use tidings_engine::{ApprovalEdit, DirectContent};

/// Runs the command.
pub async fn run(installation: &Installation, command: &Approval, json: bool) -> Result<()> {
    let (Approval::List { tenant, .. }
    | Approval::Show { tenant, .. }
    | Approval::Approve { tenant, .. }
    | Approval::Edit { tenant, .. }
    | Approval::Reject { tenant, .. }) = command;
    let tenant = installation.tenant(tenant.tenant.as_deref()).await?.id;
    let engine = node::engine(installation)?;
    match command {
        Approval::List { limit, .. } => {
            let waiting = engine.approvals(tenant, None, *limit).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&waiting)?);
                return Ok(());
            }
            for one in &waiting.items {
                println!(
                    "{}  {:<26} to contact {}  since {}  until {}",
                    one.message_id,
                    one.message_type,
                    one.contact_id,
                    one.accepted_at,
                    one.expires_at.map_or_else(|| "-".to_owned(), |at| at.to_string())
                );
            }
            if waiting.next.is_some() {
                println!("there are more; raise --limit");
            }
        }
        Approval::Show { message, .. } => {
            let preview = engine.preview_waiting(tenant, *message).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&preview)?);
                return Ok(());
            }
            for content in &preview.contents {
                println!("-- {}", content.channel);
                if let Some(subject) = &content.subject {
                    println!("subject: {subject}");
                }
                println!("{}\n", content.text);
            }
        }
        Approval::Approve { messages, .. } => {
            for message in messages {
                let verdict = engine.approve(tenant, *message).await?;
                println!("{message}: {}", serde_json::to_string(&verdict)?);
            }
        }
        Approval::Edit {
            message,
            context,
            body,
            subject,
            ..
        } => {
            let edit = edit(context.as_deref(), body.as_deref(), subject.as_deref())?;
            let verdict = engine.approve_edited(tenant, *message, edit).await?;
            println!("{message}: {}", serde_json::to_string(&verdict)?);
        }
        Approval::Reject { messages, .. } => {
            for message in messages {
                engine.refuse(tenant, *message).await?;
                println!("{message}: cancelled");
            }
        }
    }
    Ok(())
}

fn edit(context: Option<&str>, body: Option<&str>, subject: Option<&str>) -> Result<ApprovalEdit> {
    match (context, body) {
        (Some(context), _) => {
            let values: Map<String, Value> = serde_json::from_str(context)
                .map_err(|error| Failure::Usage(format!("--context is not a JSON object: {error}")))?;
            Ok(ApprovalEdit::Context(Private::new(values)))
        }
        (None, Some(body)) => Ok(ApprovalEdit::Content(DirectContent {
            subject: subject.map(|text| Private::new(text.to_owned())),
            body: Private::new(body.to_owned()),
            media: None,
        })),
        (None, None) => Err(Failure::Usage("say what changes: --context, or --body".to_owned()).into()),
    }
}
