//! tidings-testkit
