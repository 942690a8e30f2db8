//! Providers: one folder each, the contract they meet, and the one client through which HTTP leaves.

pub mod contract;

pub use contract::*;
