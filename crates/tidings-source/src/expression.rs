//! Small expressions over the columns of a row, evaluated here after reading. They never become SQL.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Expression, UndefinedBehavior, Value};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Steps one evaluation may take.
const FUEL: u64 = 5_000;
/// Longer expressions are refused.
const LONGEST: usize = 1000;
/// Parts `split` makes at most.
const MOST_PARTS: usize = 1000;
/// What an expression gives is text of at most this size.
const LARGEST: usize = 64 * 1024;

/// An engine with the filters listed here and nothing else: no templates, no loaders, no functions.
static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::empty();
    engine.set_fuel(Some(FUEL));
    engine.set_recursion_limit(50);
    engine.set_undefined_behavior(UndefinedBehavior::Lenient);
    on_text(&mut engine, "lower", str::to_lowercase);
    on_text(&mut engine, "upper", str::to_uppercase);
    on_text(&mut engine, "proper", proper);
    on_text(&mut engine, "trim", |text| text.trim().to_owned());
    on_text(&mut engine, "digits", |text| {
        text.chars().filter(char::is_ascii_digit).collect()
    });
    engine.add_filter("replace", replace);
    engine.add_filter("split", |text: &Value, by: &str| -> Value {
        text.as_str().map_or(Value::UNDEFINED, |text| {
            text.split(by).take(MOST_PARTS).map(str::to_owned).collect()
        })
    });
    engine.add_filter("first", |list: &Value| end(list, minijinja::filters::first));
    engine.add_filter("last", |list: &Value| {
        end(list, |list| minijinja::filters::last(list.clone()))
    });
    engine.add_filter("default", minijinja::filters::default);
    engine.add_filter("length", |text: &Value| {
        text.as_str().map_or(0, |text| text.chars().count())
    });
    engine.add_test("defined", |value: &Value| !value.is_undefined());
    engine
});

/// A filter on text; of nothing it makes nothing.
fn on_text(engine: &mut Environment<'static>, name: &'static str, filter: fn(&str) -> String) {
    engine.add_filter(name, move |text: &Value| -> Value {
        if text.is_undefined() || text.is_none() {
            return Value::UNDEFINED;
        }
        match text.as_str() {
            Some(text) => filter(text).into(),
            None => filter(&text.to_string()).into(),
        }
    });
}

fn end(list: &Value, which: fn(&Value) -> Result<Value, Error>) -> Result<Value, Error> {
    if list.is_undefined() {
        return Ok(Value::UNDEFINED);
    }
    which(list)
}

/// The filters, for messages.
const FILTERS: &str = "default, digits, first, last, length, lower, proper, replace, split, trim, upper";

/// A compiled expression.
pub(crate) struct Compiled(Expression<'static, 'static>);

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compiled")
    }
}

/// Compiles an expression.
pub(crate) fn compile(text: &str) -> Result<Compiled, String> {
    if text.len() > LONGEST {
        return Err(format!("the expression is longer than {LONGEST} bytes"));
    }
    ENGINE
        .compile_expression_owned(text.to_owned())
        .map(Compiled)
        .map_err(|error| format!("the expression is not understood ({error}); its filters are {FILTERS}"))
}

/// Whether it can be compiled and knows its filters: a row of texts shows it.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let compiled = compile(text)?;
    let columns: Vec<String> = compiled.columns().into_iter().collect();
    let context = Value::from_pairs(columns.iter().map(|name| (name.clone(), Value::from("1"))));
    match compiled.0.eval(context) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction
            ) =>
        {
            Err(format!(
                "the expression is not understood ({error}); its filters are {FILTERS}"
            ))
        }
        _ => Ok(()),
    }
}

impl Compiled {
    /// The columns it names.
    pub(crate) fn columns(&self) -> BTreeSet<String> {
        self.0.undeclared_variables(false).into_iter().collect()
    }

    /// What it gives for the columns of a row; null columns are undefined, and write as nothing.
    pub(crate) fn evaluate<'a>(
        &self,
        columns: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Option<String>, &'static str> {
        let context =
            Value::from_pairs(columns.filter_map(|(name, text)| Some((name.to_owned(), Value::from(text?)))));
        let value = self
            .0
            .eval(context)
            .map_err(|_| "the expression of the mapping fails on this row")?;
        if value.kind() == ValueKind::Bool {
            return Ok(Some(value.is_true().to_string()));
        }
        if value.is_undefined() || value.is_none() {
            return Ok(None);
        }
        let text = value.to_string();
        if text.len() > LARGEST {
            return Err("the expression of the mapping gives more than 64 KiB");
        }
        Ok(Some(text))
    }
}

/// Bounded, because replacing can multiply.
fn replace(text: &Value, from: &str, to: &str) -> Result<Value, Error> {
    let Some(text) = text.as_str() else {
        return Ok(Value::UNDEFINED);
    };
    let found = if from.is_empty() {
        text.chars().count() + 1
    } else {
        text.matches(from).count()
    };
    if text.len().saturating_add(found.saturating_mul(to.len())) > LARGEST {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "the text becomes too long",
        ));
    }
    Ok(text.replace(from, to).into())
}

/// Names in capitals as people write them: `ANNA-MARIA O'NEILL` becomes `Anna-Maria O'Neill`.
fn proper(text: &str) -> String {
    let mut starts = true;
    text.chars()
        .flat_map(|letter| {
            let written: Vec<char> = if starts {
                letter.to_uppercase().collect()
            } else {
                letter.to_lowercase().collect()
            };
            starts = !letter.is_alphanumeric();
            written
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn evaluate(text: &str, columns: &[(&str, Option<&str>)]) -> Result<Option<String>, &'static str> {
        compile(text).unwrap().evaluate(columns.iter().copied())
    }

    #[test]
    fn columns_are_joined_split_and_trimmed() {
        let row = [
            ("FNAME", Some("KIM")),
            ("LNAME", Some("LEE")),
            ("NAME", Some("Lee, Kim")),
            ("GONE", None),
        ];
        let cases = [
            ("FNAME ~ ' ' ~ LNAME", Some("KIM LEE")),
            ("NAME|split(',')|last|trim", Some("Kim")),
            ("(FNAME ~ ' ' ~ LNAME)|proper", Some("Kim Lee")),
            ("FNAME ~ GONE", Some("KIM")),
            ("GONE", None),
            ("GONE|split(',')|last|trim|proper", None),
            ("GONE or LNAME", Some("LEE")),
            ("'EUR'", Some("EUR")),
            ("LNAME == 'LEE'", Some("true")),
        ];
        for (text, expected) in cases {
            assert_eq!(evaluate(text, &row), Ok(expected.map(str::to_owned)), "{text}");
        }
        assert_eq!(
            evaluate("A|digits", &[("A", Some("+1 (555) 01"))]),
            Ok(Some("155501".into()))
        );
    }

    #[test]
    fn an_expression_cannot_run_long_or_grow_large() {
        assert!(evaluate("range(100000000)", &[]).is_err());
        assert!(evaluate("'x' * 10000000000", &[]).is_err());
        let doubling = format!("A{}", "|replace('a','aaaaaaaaaaaaaaaa')".repeat(5));
        assert!(evaluate(&doubling, &[("A", Some("a"))]).is_err());
        assert!(compile(&"a~".repeat(1000)).is_err());
        assert!(compile("a ~").is_err());
        assert!(check("A|nonsense").is_err());
        assert!(check("A|int").is_err());
        assert!(check("A|trim|upper").is_ok());
    }

    #[test]
    fn the_columns_of_an_expression_are_known() {
        let columns = compile("FNAME ~ LNAME|default('x') if A else B[0]")
            .unwrap()
            .columns();
        assert_eq!(
            columns.into_iter().collect::<Vec<_>>(),
            ["A", "B", "FNAME", "LNAME"]
        );
    }
}
