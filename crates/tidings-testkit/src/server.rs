//! The PostgreSQL server that test databases live on.

use anyhow::Context as _;

/// Names the server: the URL of a superuser on a maintenance database.
const VARIABLE: &str = "TIDINGS_TEST_POSTGRES";

/// The URL of the test server, from `TIDINGS_TEST_POSTGRES`.
pub(crate) fn url() -> anyhow::Result<String> {
    std::env::var(VARIABLE).with_context(|| format!("{VARIABLE} is not set: run the tests with `cargo xtask test`, which starts a private PostgreSQL and sets it"))
}
