//! tidings-engine
