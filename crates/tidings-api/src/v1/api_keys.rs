//! API keys of a tenant.

use crate::ApiState;
use crate::auth::Caller;
use crate::check::Checks;
use crate::extract::{Json, Path};
use crate::page::Page;
use crate::problem::{Answer, Problem};
use crate::scope::{Scope, ScopeWord};
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tidings_core::ApiKeyId;
use tidings_engine::store::api_keys::{self, ApiKey};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_keys, make_key))
        .routes(routes!(revoke_key))
}

/// List API keys
///
/// Without their secrets; revoked ones too.
#[utoipa::path(get, path = "/v1/api-keys", tag = "keys",
    responses((status = 200, description = "All of them", body = Page<ApiKeyView>)),
    security(("api_key" = ["keys:admin"])))]
async fn list_keys(caller: Caller, State(state): State<ApiState>) -> Answer<Json<Page<ApiKeyView>>> {
    let mut tx = state.tenant(&caller).tx().await?;
    let keys = api_keys::list(&mut tx).await?;
    Ok(Json(Page::of(keys, None::<Uuid>).map(ApiKeyView::from)))
}

/// Make an API key
///
/// Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/api-keys", tag = "keys", request_body = NewApiKey,
    responses((status = 201, description = "Made", body = ApiKeyMade)),
    security(("api_key" = ["keys:admin"])))]
async fn make_key(
    caller: Caller,
    State(state): State<ApiState>,
    Json(input): Json<NewApiKey>,
) -> Answer<(StatusCode, Json<ApiKeyMade>)> {
    let new = input.checked(&caller, state.now())?;
    let mut tx = state.tenant(&caller).tx().await?;
    let (key, secret) = api_keys::create(&mut tx, new, &mut state.dice(), state.now()).await?;
    state
        .audit(&mut tx, &caller, "api_key.made", key.id.to_string())
        .await?;
    tx.commit().await?;
    let made = ApiKeyMade {
        secret: secret.expose_secret().to_owned(),
        key: key.into(),
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Revoke an API key
///
/// At once and for good.
#[utoipa::path(delete, path = "/v1/api-keys/{key_id}", tag = "keys",
    params(("key_id" = Uuid, Path, description = "The key")),
    responses((status = 204, description = "Revoked")),
    security(("api_key" = ["keys:admin"])))]
async fn revoke_key(
    caller: Caller,
    State(state): State<ApiState>,
    Path(key): Path<Uuid>,
) -> Answer<StatusCode> {
    let mut tx = state.tenant(&caller).tx().await?;
    api_keys::revoke(&mut tx, ApiKeyId(key), state.now()).await?;
    state
        .audit(&mut tx, &caller, "api_key.revoked", key.to_string())
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A key to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "web shop", "scopes": ["messages:write", "contacts:*"]}))]
pub struct NewApiKey {
    /// What it is for.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// What it may do: never more than the key that makes it.
    #[schema(value_type = Vec<ScopeWord>, min_items = 1, max_items = 32)]
    pub scopes: Vec<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

impl NewApiKey {
    fn checked(self, caller: &Caller, now: Timestamp) -> Answer<api_keys::NewApiKey> {
        let mut checks = Checks::default();
        checks.text("/name", &self.name, 1, 100);
        checks.count("/scopes", self.scopes.len(), 1, 32);
        for (index, word) in self
            .scopes
            .iter()
            .enumerate()
            .filter(|(_, word)| !Scope::is_grantable(word))
        {
            let word: String = word.chars().take(64).collect();
            let detail = format!(
                "no scope \"{word}\"; use {}, or a group as in messages:*",
                Scope::words()
            );
            checks.add(format!("/scopes/{index}"), "scope.unknown", detail);
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            checks.add("/expires_at", "value.invalid", "it is not in the future");
        }
        checks.finish()?;
        if let Some(word) = self.scopes.iter().find(|word| !caller.identity.may_grant(word)) {
            let detail = format!("it lacks {word} itself, and a key cannot give more than it has");
            return Err(Problem::forbidden("auth.grant", detail));
        }
        Ok(api_keys::NewApiKey {
            name: self.name,
            scopes: self.scopes,
            expires_at: self.expires_at,
        })
    }
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id.0,
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
        }
    }
}

/// A key, without its secret.
#[derive(Serialize, ToSchema)]
pub struct ApiKeyView {
    /// Its id.
    pub id: Uuid,
    /// What it is for.
    pub name: String,
    /// The part of the key that may be shown.
    pub prefix: String,
    /// What it may do.
    #[schema(value_type = Vec<ScopeWord>)]
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// A key just made, with its secret: shown this once.
#[derive(Serialize, ToSchema)]
pub struct ApiKeyMade {
    /// The key to send as `Authorization: Bearer ...`. It is not kept and cannot be shown again.
    pub secret: String,
    /// The key.
    pub key: ApiKeyView,
}
