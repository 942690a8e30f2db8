//! The stand-in behind the transport, without a network.

use super::wire::{Wire, wire};
use super::{Received, Reply, Script};
use crate::transport::{ModelAnswer, ModelCall, Transport, TransportError};
use async_trait::async_trait;
use secrecy::ExposeSecret;
use std::sync::{Mutex, PoisonError};

/// A model without a network. Share it by reference; it remembers what it was asked.
#[derive(Debug)]
pub struct StandInModel {
    script: Script,
    received: Mutex<Vec<Received>>,
}

impl StandInModel {
    /// Answers with these replies in order; the last one is repeated.
    ///
    /// # Panics
    /// When there are none.
    pub fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self {
            script: Script::new(replies),
            received: Mutex::new(Vec::new()),
        }
    }

    /// The calls so far.
    pub fn received(&self) -> Vec<Received> {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl Transport for StandInModel {
    async fn post_json(&self, call: ModelCall) -> Result<ModelAnswer, TransportError> {
        let body = serde_json::from_slice(&call.body).unwrap_or_default();
        let answer = wire(&self.script.next(), &call.url, &body);
        let headers = call.headers.iter();
        let received = Received {
            url: call.url.clone(),
            headers: headers
                .map(|(name, value)| ((*name).to_owned(), value.expose_secret().to_owned()))
                .collect(),
            body,
        };
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(received);
        match answer {
            Wire::Answer {
                status,
                headers,
                body,
            } => Ok(ModelAnswer {
                status,
                headers: headers
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
                body: body.into_bytes(),
                cut: false,
            }),
            Wire::Huge => Ok(ModelAnswer {
                status: 200,
                headers: Vec::new(),
                body: vec![b' '; call.max_body_bytes],
                cut: true,
            }),
            Wire::Silence => std::future::pending().await,
            Wire::Close => Err(TransportError::Broken("the connection was closed".to_owned())),
        }
    }
}
