//! `tidings key`: API keys.

use crate::cli::{CreateKey, Key};
use crate::failure::Failure;
use crate::installation::Installation;
use anyhow::{Result, bail};
use secrecy::ExposeSecret;
use serde_json::json;
use tidings_api::scope::Scope;
use tidings_core::Clock;
use tidings_store::api_keys::{self, ApiKey, NewApiKey};

/// Runs one of the key commands.
pub async fn run(installation: &Installation, command: &Key, json: bool) -> Result<()> {
    match command {
        Key::Create(options) => create(installation, options, json).await,
        Key::List(tenant) => {
            let tenant = installation.tenant(tenant.tenant.as_deref()).await?;
            let mut tx = installation.store.worker_tenant(tenant.id).tx().await?;
            let keys = api_keys::list(&mut tx).await?;
            print_keys(&keys, json)
        }
        Key::Revoke { id, tenant } => {
            let tenant = installation.tenant(tenant.tenant.as_deref()).await?;
            let mut tx = installation.store.worker_tenant(tenant.id).tx().await?;
            api_keys::revoke(&mut tx, *id, installation.clock.now()).await?;
            tx.commit().await?;
            if json {
                println!("{}", json!({ "id": id, "revoked": true }));
            } else {
                println!("{id} is revoked");
            }
            Ok(())
        }
    }
}

async fn create(installation: &Installation, options: &CreateKey, json: bool) -> Result<()> {
    let now = installation.clock.now();
    let mut dice = installation.dice()?;
    let scopes = scopes(options)?;
    let new = NewApiKey {
        name: options.name.clone(),
        scopes,
        expires_at: None,
    };
    let (key, secret) = if options.operator {
        let mut conn = installation.store.worker().acquire().await?;
        api_keys::create_for_operator(&mut conn, new, &mut dice, now).await?
    } else {
        let tenant = installation.tenant(options.tenant.tenant.as_deref()).await?;
        let mut tx = installation.store.worker_tenant(tenant.id).tx().await?;
        let made = api_keys::create(&mut tx, new, &mut dice, now).await?;
        tx.commit().await?;
        made
    };
    if json {
        println!(
            "{}",
            json!({ "id": key.id, "name": key.name, "tenant_id": key.tenant, "scopes": key.scopes, "secret": secret.expose_secret() })
        );
    } else {
        println!("{}", secret.expose_secret());
        eprintln!(
            "key {} ({}); it is shown this once. Scopes: {}",
            key.id,
            key.name,
            key.scopes.join(", ")
        );
    }
    Ok(())
}

/// The scopes asked for; without any, all that a key of its kind may have.
fn scopes(options: &CreateKey) -> Result<Vec<String>> {
    if options.scopes.is_empty() {
        let all = Scope::ALL
            .iter()
            .filter(|scope| options.operator || **scope != Scope::TenantsAdmin);
        return Ok(all.map(|scope| scope.as_str().to_owned()).collect());
    }
    for word in &options.scopes {
        if !Scope::is_grantable(word) {
            bail!(Failure::Refused(format!(
                "there is no scope \"{word}\"; use {}",
                Scope::words()
            )));
        }
    }
    Ok(options.scopes.clone())
}

fn print_keys(keys: &[ApiKey], json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(keys)?);
        return Ok(());
    }
    for key in keys {
        let state = if key.revoked_at.is_some() {
            "revoked"
        } else {
            "in force"
        };
        let used = key
            .last_used_at
            .map_or("never used".to_owned(), |at| format!("last used {at}"));
        println!(
            "{}  {}  {state}, {used}  [{}]",
            key.id,
            key.name,
            key.scopes.join(", ")
        );
    }
    Ok(())
}
