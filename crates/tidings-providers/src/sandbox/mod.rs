//! The sandbox: takes every message of every channel, sends nothing, and misbehaves on request.
//!
//! Without `base_url` it keeps messages through [`Capture`], which the engine backs with a table. With `base_url`
//! it speaks to a stand-in over HTTP (see [`remote`]), which is how the tests that kill processes count what
//! really arrived.

mod capture;
pub mod faults;
pub mod remote;
mod send;
mod settings;
mod webhook;

pub use capture::{AcceptedId, Capture, CaptureError, Captured, FollowUp, MemoryCapture};
pub use faults::Fault;
pub use send::SandboxProvider;
pub use settings::{SandboxCredentials, SandboxSettings};
