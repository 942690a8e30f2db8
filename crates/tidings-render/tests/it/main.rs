//! The rendering crate, from the outside: templates and values in, content out.
#![expect(clippy::unwrap_used, reason = "tests")]

mod golden;
mod hostile;
mod html;
mod lifecycle;
mod strict;
mod support;
mod tracking;
mod whatsapp;
