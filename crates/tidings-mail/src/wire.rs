//! The bytes of one connection: in plain text first, over TLS once that was negotiated.

use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A connection's socket.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// What it is called on `/metrics`.
    pub(crate) fn transport(&self) -> &'static str {
        match self {
            Self::Plain(_) => "plain",
            Self::Tls(_) => "tls",
        }
    }

    /// So many bytes; none: the client has closed. Nothing is lost where this is given up before it is done.
    pub(crate) async fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(chunk).await,
            Self::Tls(stream) => match stream.read(chunk).await {
                // Closed without the farewell of TLS. Nothing can be cut off unseen: a mail ends with its dot.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                read => read,
            },
        }
    }

    pub(crate) async fn write(&mut self, text: &str) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(text.as_bytes()).await,
            Self::Tls(stream) => {
                stream.write_all(text.as_bytes()).await?;
                stream.flush().await
            }
        }
    }

    pub(crate) async fn close(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
        }
    }

    /// Takes the part of the server in a handshake; where that fails the connection is closed.
    pub(crate) async fn secure(self, config: Arc<ServerConfig>) -> io::Result<Self> {
        let Self::Plain(stream) = self else {
            return Err(io::Error::other("TLS is active already"));
        };
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        Ok(Self::Tls(Box::new(stream)))
    }
}
