//! D5, faults of Redis: not run as long as nothing asks it.

/// Why the row is skipped.
pub const WHY: &str =
    "nothing in this version asks Redis: rate limits are kept in PostgreSQL, so its faults reach no message";
