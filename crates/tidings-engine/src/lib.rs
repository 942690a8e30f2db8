//! The shell around the rules: each file loads, decides, performs.

pub mod links;
