//! The whole product, driven through its binary as a user drives it: commands, a serving process, other programs.

#![expect(clippy::unwrap_used, reason = "tests")]

mod alerts;
mod analytics;
mod apply;
mod bad_input;
mod campaign_input;
mod commands;
mod companion;
mod configuration;
mod connections;
mod dealership;
mod demo;
mod figures;
mod foreign;
mod keys;
mod mailbox;
mod private;
mod queue;
mod reconciling;
mod returned;
mod sending;
mod serving;
mod stand_ins;
mod starttls;
mod whatsapp_web;
mod world;
