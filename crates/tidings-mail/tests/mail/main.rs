//! The protocol as a table and by chance, and the server on real sockets.
#![expect(clippy::unwrap_used, reason = "tests")]

mod protocol;
mod sockets;
mod starttls;
mod tls;
