//! Mail in: a small SMTP server for return paths and reply addresses, and for nothing else.
//!
//! It relays nothing, authenticates nobody and answers no mail. [`session`] is the protocol: bytes in, steps out, no I/O.
//! [`server`] is the thin part with sockets, [`tls`] the certificate of STARTTLS. Whose mail an address takes, and where mail is kept, is
//! handed in as a [`Post`], so this crate knows no engine and no database.

pub mod address;
pub mod data;
mod peers;
pub mod server;
pub mod session;
pub mod step;
pub mod tls;
mod wire;

pub use server::{Bounds, Later, Post, describe_figures, serve};
pub use session::{Limits, Session, Tls};
pub use step::{Mail, Reply, Step, Verdict};
pub use tls::{Certificate, TlsError, TlsFiles};
