//! One file a command: parse, call, print.

pub mod apply;
pub mod doctor;
pub mod key;
pub mod keys;
pub mod migrate;
pub mod serve;
