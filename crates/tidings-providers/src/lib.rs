//! tidings-providers
