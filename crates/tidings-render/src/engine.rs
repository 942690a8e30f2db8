//! The template engine as templates get it: strict, bounded, without reach.

use crate::filters;
use crate::values::{Hole, is_missing};
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use std::fmt::Write;
use std::sync::LazyLock;

/// Instructions one render of one part may execute.
const FUEL: u64 = 300_000;
/// How deep statements may nest while running.
const MAX_RECURSION: usize = 60;
/// Bytes one render of one part may produce. Gmail clips mail at 102 kB.
pub(crate) const MAX_OUTPUT: usize = 512 * 1024;
/// Bytes of text that filters may work through in one render of one part.
const MAX_FILTER_WORK: usize = 8 * 1024 * 1024;

/// The name of an HTML part ends so; everything else is text.
pub(crate) const HTML_SUFFIX: &str = ".html";

/// The tests a template may use.
pub(crate) const TESTS: [&str; 6] = ["defined", "undefined", "mapping", "sequence", "string", "number"];

static BASE: LazyLock<Environment<'static>> = LazyLock::new(base);

/// A fresh environment: no loader, no globals, only the listed filters and tests.
pub(crate) fn environment() -> Environment<'static> {
    BASE.clone()
}

fn base() -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|name| {
        if name.ends_with(HTML_SUFFIX) {
            AutoEscape::Html
        } else {
            AutoEscape::None
        }
    });
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(MAX_RECURSION);
    env.set_debug(false);
    env.set_formatter(print);
    env.add_test("defined", |value: &Value| !is_missing(value));
    env.add_test("undefined", is_missing);
    env.add_test("mapping", |value: &Value| value.kind() == ValueKind::Map);
    env.add_test("sequence", |value: &Value| value.kind() == ValueKind::Seq);
    env.add_test("string", |value: &Value| value.kind() == ValueKind::String);
    env.add_test("number", |value: &Value| value.is_number());
    filters::install(&mut env);
    env
}

/// Prints one value: escaped for HTML where the part is HTML; never a list, an object or a hole.
fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if let Some(hole) = value.downcast_object_ref::<Hole>() {
        hole.note();
        return Ok(());
    }
    let html = matches!(state.auto_escape(), AutoEscape::Html);
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            if html && !value.is_safe() {
                escape_html(out, text)?;
            } else {
                out.write_str(text)?;
            }
            Ok(())
        }
        ValueKind::Number => Ok(write!(out, "{value}")?),
        ValueKind::Bool => Err(invalid(
            "true and false cannot be printed; choose the words with if",
        )),
        ValueKind::Undefined | ValueKind::None => Err(Error::from(ErrorKind::UndefinedError)),
        kind => Err(invalid(format!(
            "a {kind} cannot be printed; use a for loop or the join filter"
        ))),
    }
}

/// Writes text so that it means itself in HTML content and in quoted attributes.
pub(crate) fn escape_html(out: &mut impl Write, text: &str) -> std::fmt::Result {
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            _ => continue,
        };
        out.write_str(&text[from..at])?;
        out.write_str(escaped)?;
        from = at + 1;
    }
    out.write_str(&text[from..])
}

/// An error of a value, in words for the author of the template. Never contains the value.
pub(crate) fn invalid(problem: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

/// Charges a filter's work on `bytes` of text.
pub(crate) fn charge(state: &mut State, bytes: usize) -> Result<(), Error> {
    #[derive(Default, Debug, Clone)]
    struct Work(usize);
    let work = state.get_or_insert_extension_with(Work::default);
    work.0 = work.0.saturating_add(bytes);
    if work.0 > MAX_FILTER_WORK {
        Err(Error::from(ErrorKind::OutOfFuel))
    } else {
        Ok(())
    }
}

/// Renders into a bounded string.
pub(crate) fn render_part(env: &Environment<'static>, part: &str, root: Value) -> Result<String, Error> {
    let mut sink = Bounded(Vec::with_capacity(8 * 1024));
    env.get_template(part)?.render_captured_to(root, &mut sink)?;
    String::from_utf8(sink.0).map_err(|_| Error::from(ErrorKind::WriteFailure))
}

struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
