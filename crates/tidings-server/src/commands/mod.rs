//! One file a command: parse, call, print.

pub mod alert;
pub mod analytics;
pub mod apply;
pub mod approval;
pub mod campaign;
pub mod connection;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod key;
pub mod keys;
pub mod mail;
pub mod migrate;
pub mod queue;
pub mod sandbox;
pub mod send;
pub mod serve;
pub mod simulate;
pub mod source;
