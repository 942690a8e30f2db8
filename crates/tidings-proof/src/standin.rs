//! A stand-in provider in a process of its own life: it keeps the ledger of what it accepted, so that a killed
//! engine can be held against it afterwards. Speaks the sandbox provider's remote form.

use anyhow::{Context, Result};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the stand-in accepted.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Acceptances by message id, each with the reference it came under.
    pub by_message: HashMap<String, Vec<String>>,
    /// Provider ids by reference.
    by_reference: HashMap<String, String>,
    accepted: u64,
}

/// A running stand-in.
#[derive(Debug, Clone)]
pub struct StandIn {
    /// Where it listens.
    pub address: SocketAddr,
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Debug, Deserialize)]
struct Accept {
    reference: String,
    message_id: String,
}

impl StandIn {
    /// Starts on a free port of the loopback interface.
    pub async fn start() -> Result<Self> {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("the stand-in provider could not bind a loopback port")?;
        let address = listener.local_addr()?;
        let app = Router::new()
            .route("/accept", post(accept))
            .route("/lookup/{reference}", get(lookup))
            .with_state(Arc::clone(&ledger));
        #[expect(clippy::disallowed_methods, reason = "lives as long as the proof's process")]
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, ledger })
    }

    /// The ledger, locked.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(State(ledger): State<Arc<Mutex<Ledger>>>, Json(accept): Json<Accept>) -> Json<Value> {
    let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    ledger.accepted += 1;
    let id = format!("standin-{}", ledger.accepted);
    ledger
        .by_message
        .entry(accept.message_id)
        .or_default()
        .push(accept.reference.clone());
    ledger.by_reference.insert(accept.reference, id.clone());
    Json(json!({ "id": id }))
}

async fn lookup(
    State(ledger): State<Arc<Mutex<Ledger>>>,
    Path(reference): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    ledger
        .by_reference
        .get(&reference)
        .map(|id| Json(json!({ "id": id })))
        .ok_or(StatusCode::NOT_FOUND)
}
