//! The HTTP face of Tidings: parse, authorise, call the engine, map the answer.

pub mod extract;
mod failure;
mod middleware;
mod openapi;
pub mod page;
mod pages;
pub mod problem;
pub mod scope;
pub mod v1;
pub mod words;
