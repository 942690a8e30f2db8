//! The filters a template may use; there are no others.
//!
//! | filter | prints |
//! |---|---|
//! | `money(currency?)` | `1234.5` as `$1,234.50`, by the template's locale |
//! | `number(decimals?)` | `1234567` as `1,234,567` |
//! | `percent` | `0.255` or a share as `26%` |
//! | `date(style?)` | a date or instant as `Saturday, June 12, 2027`; styles `long`, `medium`, `short` |
//! | `time`, `datetime` | an instant in the contact's zone |
//! | `plural(one, many)` | the word that goes with a number |
//! | `join(separator?, attribute?)` | a list as text |
//! | `listing(attribute?)` | a list as "a, b and c" |
//! | `truncate(length)` | at most so many characters, cut at a word |
//! | `upper`, `lower`, `title`, `capitalize`, `trim` | the text so changed |
//! | `length`, `first`, `last`, `paragraphs`, `shares` | parts and sizes of lists and texts |
//! | `default(value)` | the value where the variable is missing: the only, explicit way to fill a hole |
//! | `urlencode` | text as one component of a URL |

mod dates;
mod lists;
mod money;
mod text;
pub(crate) mod url;

use crate::engine::invalid;
use crate::locale::Locale;
use minijinja::functions::Function;
use minijinja::value::{FunctionArgs, FunctionResult, Rest};
use minijinja::{Environment, Error, State, Value};

/// The names of all filters, for the check when a template is compiled.
pub(crate) const NAMES: [&str; 26] = [
    "money",
    "number",
    "percent",
    "date",
    "time",
    "datetime",
    "plural",
    "join",
    "listing",
    "truncate",
    "upper",
    "lower",
    "title",
    "capitalize",
    "trim",
    "length",
    "first",
    "last",
    "paragraphs",
    "shares",
    "default",
    "urlencode",
    url::LINK_FILTER,
    url::PICTURE_FILTER,
    url::ADDRESS_FILTER,
    url::STYLE_FILTER,
];

/// Adds every filter, for rendering messages.
pub(crate) fn install(env: &mut Environment<'static>) {
    install_all(&mut Registry {
        env,
        holes: Holes::Fail,
    });
}

/// Replaces every filter by one that lets watched holes pass, for finding all of them.
pub(crate) fn install_watching(env: &mut Environment<'static>) {
    install_all(&mut Registry {
        env,
        holes: Holes::Pass,
    });
}

fn install_all(registry: &mut Registry<'_>) {
    money::install(registry);
    dates::install(registry);
    lists::install(registry);
    text::install(registry);
    url::install(registry);
}

/// What a filter does with a watched hole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holes {
    Fail,
    Pass,
}

/// Takes the filters of an environment.
struct Registry<'e> {
    env: &'e mut Environment<'static>,
    holes: Holes,
}

impl Registry<'_> {
    fn add<F, Rv, Args>(&mut self, name: &'static str, filter: F)
    where
        F: Function<Rv, Args>,
        Rv: FunctionResult,
        Args: for<'a> FunctionArgs<'a>,
    {
        if self.holes == Holes::Fail {
            self.env.add_filter(name, filter);
            return;
        }
        let filter = Value::from_function(filter);
        self.env
            .add_filter(name, move |state: &mut State, values: Rest<Value>| {
                if let Some(hole) = values.first().filter(|value| note_hole(value)) {
                    return Ok(hole.clone());
                }
                filter.call(state, &values)
            });
    }
}

/// Whether the value is a watched hole; it notes its name.
fn note_hole(value: &Value) -> bool {
    let hole = value.downcast_object_ref::<crate::values::Hole>();
    if let Some(hole) = hole {
        hole.note();
    }
    hole.is_some()
}

/// How the template's language writes; looked up once a render.
fn locale(state: &mut State) -> &'static Locale {
    if let Some(found) = state.get_extension::<&'static Locale>() {
        return found;
    }
    let found = Locale::of(&mail_field(state, "locale").unwrap_or_else(|| "en".to_owned()));
    state.get_or_insert_extension(found)
}

/// A text field of `mail`.
fn mail_field(state: &State, name: &str) -> Option<String> {
    let mail = state.lookup("mail")?;
    mail.get_attr(name).ok()?.as_str().map(str::to_owned)
}

/// The value, unless it is missing: filters must not turn a hole into text.
fn present(value: &Value) -> Result<&Value, Error> {
    if note_hole(value) || crate::values::is_missing(value) {
        return Err(Error::from(minijinja::ErrorKind::UndefinedError));
    }
    Ok(value)
}

/// The text of a string value.
fn text_of<'a>(value: &'a Value, filter: &str) -> Result<&'a str, Error> {
    present(value)?.as_str().ok_or_else(|| {
        invalid(format!(
            "{filter} takes a text, not a {}; change the value or the filter",
            value.kind()
        ))
    })
}
