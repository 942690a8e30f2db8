//! The shell around the rules: each file loads, decides, performs.

pub mod links;

pub use tidings_providers as providers;
pub use tidings_queue as queue;
pub use tidings_render as render;
pub use tidings_store as store;
