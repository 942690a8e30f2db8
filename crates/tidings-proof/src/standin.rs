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
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// What the stand-in accepted.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Acceptances by message id, each with the reference it came under.
    pub by_message: HashMap<String, Vec<String>>,
    /// Provider ids by reference.
    by_reference: HashMap<String, String>,
    accepted: u64,
    /// Calls under a reference that was taken before, where that is recognised.
    pub repeated: u64,
    /// When each was accepted.
    pub times: Vec<Instant>,
}

/// How a stand-in behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// It answers.
    #[default]
    Answers,
    /// It answers 503.
    Refuses,
    /// It takes every second message, and answers nobody.
    Hangs,
}

/// What a stand-in shares with its handlers.
#[derive(Debug, Default)]
struct Inside {
    ledger: Mutex<Ledger>,
    manner: Mutex<Manner>,
    /// A reference is taken once.
    recognises: bool,
}

/// A running stand-in.
#[derive(Debug, Clone)]
pub struct StandIn {
    /// Where it listens.
    pub address: SocketAddr,
    inside: Arc<Inside>,
}

#[derive(Debug, Deserialize)]
struct Accept {
    reference: String,
    message_id: String,
}

impl StandIn {
    /// The ledger, locked.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.inside.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stand-in that can be killed with every connection to it, and started again with its ledger. It takes a reference once.
#[derive(Debug)]
pub struct Killable {
    /// What it is.
    pub standin: StandIn,
    life: Option<Runtime>,
}

impl Killable {
    /// Starts on a free port of the loopback interface.
    pub fn start() -> Result<Self> {
        let free = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let inside = Arc::new(Inside {
            recognises: true,
            ..Inside::default()
        });
        let standin = StandIn {
            address: free,
            inside,
        };
        let mut killable = Self { standin, life: None };
        killable.revive()?;
        Ok(killable)
    }

    /// Ends it at once: connections break, new ones are refused.
    pub fn kill(&mut self) {
        if let Some(life) = self.life.take() {
            life.shutdown_background();
        }
    }

    /// Starts it again at the same address.
    pub fn revive(&mut self) -> Result<()> {
        // A runtime of its own: what ends it ends every connection.
        let life = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (address, app) = (self.standin.address, app(&self.standin.inside));
        life.spawn(async move {
            match listen(address).await {
                Ok(listener) => axum::serve(listener, app).await.unwrap_or_default(),
                Err(error) => eprintln!("the stand-in did not start again: {error:#}"),
            }
        });
        self.life = Some(life);
        Ok(())
    }

    /// Changes how it behaves.
    pub fn behave(&self, manner: Manner) {
        *self
            .standin
            .inside
            .manner
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = manner;
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("the stand-in provider could not bind {address}"))
}

fn app(inside: &Arc<Inside>) -> Router {
    Router::new()
        .route("/accept", post(accept))
        .route("/lookup/{reference}", get(lookup))
        .with_state(Arc::clone(inside))
}

impl Inside {
    fn manner(&self) -> Manner {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, accept: Accept) -> String {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if self.recognises
            && let Some(id) = ledger.by_reference.get(&accept.reference).cloned()
        {
            ledger.repeated += 1;
            return id;
        }
        ledger.accepted += 1;
        ledger.times.push(Instant::now());
        let id = format!("standin-{}", ledger.accepted);
        ledger
            .by_message
            .entry(accept.message_id)
            .or_default()
            .push(accept.reference.clone());
        ledger.by_reference.insert(accept.reference, id.clone());
        id
    }
}

async fn accept(
    State(inside): State<Arc<Inside>>,
    Json(accept): Json<Accept>,
) -> Result<Json<Value>, StatusCode> {
    match inside.manner() {
        Manner::Answers => Ok(Json(json!({ "id": inside.take(accept) }))),
        Manner::Refuses => Err(StatusCode::SERVICE_UNAVAILABLE),
        Manner::Hangs => {
            if accept.message_id.bytes().last().is_some_and(|last| last % 2 == 0) {
                inside.take(accept);
            }
            std::future::pending().await
        }
    }
}

async fn lookup(
    State(inside): State<Arc<Inside>>,
    Path(reference): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    match inside.manner() {
        Manner::Answers => {}
        Manner::Refuses => return Err(StatusCode::SERVICE_UNAVAILABLE),
        Manner::Hangs => return std::future::pending().await,
    }
    let ledger = inside.ledger.lock().unwrap_or_else(PoisonError::into_inner);
    ledger
        .by_reference
        .get(&reference)
        .map(|id| Json(json!({ "id": id })))
        .ok_or(StatusCode::NOT_FOUND)
}
