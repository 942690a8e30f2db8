//! A mail server.

mod mail;
mod session;
mod wire;

pub(crate) use session::connection;
