//! Providers: one folder each, the contract they meet, and the one client through which HTTP leaves.
//!
//! [`config::build`] turns a stored connection into a [`Provider`]. The engine calls [`Provider::send`] and acts
//! on the [`SendOutcome`]; it hands webhooks to [`Provider::webhook`].

pub mod bounce;
pub mod classify;
#[cfg(any(test, feature = "test-support"))]
pub mod compliance;
pub mod config;
pub mod contract;
pub mod egress;
mod email_headers;
pub mod feedback;
pub mod mask;
mod multipart;
pub mod notify;
pub mod outcome;
pub mod resend;
#[cfg(any(test, feature = "test-support"))]
pub mod samples;
pub mod sandbox;
pub mod sendgrid;
pub mod ses;
pub mod signature;
pub mod smtp;
#[cfg(any(test, feature = "test-support"))]
pub mod stand_in;
mod tag;
#[cfg(test)]
mod tests;
pub mod twilio;
pub mod vectors;
pub mod whatsapp_cloud;
pub mod whatsapp_content;
pub mod whatsapp_reports;
pub mod whatsapp_web;

pub use config::{ConfigError, ConnectionConfig, Credentials, build};
pub use contract::*;
pub use egress::{Egress, EgressPolicy, EgressUrl};
pub use email_headers::ONE_CLICK;
