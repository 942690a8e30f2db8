//! A contact's own data: handing it out, and erasing it.

use crate::ApiState;
use crate::auth::Caller;
use crate::extract::{Json, Path};
use crate::problem::Answer;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tidings_core::ContactId;
use tidings_engine::store::erasure::{self, ErasureCertificate};
use tidings_engine::store::export;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(export_contact))
        .routes(routes!(erase_contact))
}

/// Proof that a contact was erased.
#[derive(Serialize, ToSchema)]
pub struct ErasureView {
    /// The contact.
    pub contact_id: Uuid,
    /// When.
    pub erased_at: Timestamp,
    /// What was done where.
    pub stores: Vec<ErasedStoreView>,
    /// Number of the entry in the audit log.
    pub audit_seq: i64,
    /// Its hash, by which the log can be checked later.
    pub audit_hash: String,
}

/// What was done in one store.
#[derive(Serialize, ToSchema)]
pub struct ErasedStoreView {
    /// The store.
    pub store: String,
    /// What was done.
    pub action: String,
    /// To how many rows.
    pub rows: u64,
}

impl From<ErasureCertificate> for ErasureView {
    fn from(certificate: ErasureCertificate) -> Self {
        let store = |erased: erasure::ErasedStore| ErasedStoreView {
            store: erased.store.to_owned(),
            action: erased.action.to_owned(),
            rows: erased.rows,
        };
        Self {
            contact_id: certificate.contact.0,
            erased_at: certificate.erased_at,
            stores: certificate.stores.into_iter().map(store).collect(),
            audit_seq: certificate.audit.seq,
            audit_hash: certificate.audit.hash,
        }
    }
}

/// Hand out everything kept about a contact
#[utoipa::path(get, path = "/v1/contacts/{contact_id}/export", tag = "contacts",
    params(("contact_id" = Uuid, Path, description = "The contact")),
    responses((status = 200, description = "Everything kept", body = Object)),
    security(("api_key" = ["contacts:read"])))]
async fn export_contact(
    caller: Caller,
    State(state): State<ApiState>,
    Path(contact): Path<Uuid>,
) -> Answer<Json<Value>> {
    let mut tx = state.tenant(&caller).tx().await?;
    let all = export::contact(&mut tx, ContactId(contact), state.now()).await?;
    Ok(Json(serde_json::to_value(all).unwrap_or_default()))
}

/// Erase a contact
///
/// Destroys the key its data is sealed with, here and in every backup, and keeps its addresses suppressed by their
/// keyed hash. It cannot be undone. Doing it twice answers 409.
#[utoipa::path(post, path = "/v1/contacts/{contact_id}/erase", tag = "contacts",
    params(("contact_id" = Uuid, Path, description = "The contact")),
    responses((status = 200, description = "The certificate", body = ErasureView)),
    security(("api_key" = ["contacts:write"])))]
async fn erase_contact(
    caller: Caller,
    State(state): State<ApiState>,
    Path(contact): Path<Uuid>,
) -> Answer<Json<ErasureView>> {
    let mut tx = state.tenant(&caller).tx().await?;
    let (id, actor) = (ContactId(contact), caller.actor());
    let certificate = erasure::erase(&mut tx, id, &actor, &mut state.dice(), state.now()).await?;
    tx.commit().await?;
    erasure::forget(state.store().keyring(), &certificate).await;
    Ok(Json(certificate.into()))
}
