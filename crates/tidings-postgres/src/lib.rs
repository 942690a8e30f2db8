//! tidings-postgres
