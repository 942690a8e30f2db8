//! Mail in by SMTP: the listening part, handing over to the engine.

use crate::config::MAIL_TLS;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use tidings_engine::{Engine, EngineError};
use tidings_mail::{Bounds, Certificate, Later, Mail, Post, TlsFiles, serve};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

struct EnginePost(Engine);

impl Post for EnginePost {
    async fn knows(&self, recipient: &str) -> Result<bool, Later> {
        let found = self
            .0
            .mail_recipient(recipient)
            .await
            .map_err(|error| later(&error))?;
        Ok(found.is_some())
    }

    /// One recipient after the other, each in a commit of its own: a mail that comes again because the last could not be stored
    /// is known to the first.
    async fn keep(&self, mail: &Mail) -> Result<(), Later> {
        for to in &mail.to {
            let found = self.0.mail_recipient(to).await.map_err(|error| later(&error))?;
            // Its connection was changed or removed since it was taken: the sender asks again, and is answered as things are then.
            let recipient = found.ok_or_else(|| Later("a recipient is not known any more".to_owned()))?;
            self.0
                .receive_mail(&recipient, &mail.from, &mail.raw)
                .await
                .map_err(|error| later(&error))?;
        }
        Ok(())
    }
}

fn later(error: &EngineError) -> Later {
    Later(error.to_string())
}

/// The certificate with which STARTTLS is offered; an error names the variables and the file.
pub async fn certificate(files: &TlsFiles) -> Result<Certificate> {
    Certificate::open(files.clone())
        .await
        .with_context(|| MAIL_TLS.join(", "))
}

/// Listens; the address is bound before this returns.
pub async fn listen(
    engine: &Engine,
    address: SocketAddr,
    tls: Option<&TlsFiles>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<SocketAddr> {
    let certificate = match tls {
        Some(files) => Some(certificate(files).await?),
        None => None,
    };
    let starttls = certificate.is_some();
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen for mail on {address}; is another process there, or is the port below 1024? Set TIDINGS_MAIL_LISTEN")
    })?;
    let bound = listener.local_addr()?;
    let host = engine
        .public_base_url()
        .host_str()
        .unwrap_or("localhost")
        .to_owned();
    let (post, stop) = (EnginePost(engine.clone()), stop.clone());
    tasks.spawn(async move {
        let _ended = stop.clone().drop_guard();
        serve(listener, host, certificate, post, Bounds::default(), stop).await;
    });
    tracing::info!(address = %bound, starttls, "taking mail that came back");
    Ok(bound)
}
