//! tidings-render
