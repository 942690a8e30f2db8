//! From a template's variables to the facts a model may use: what each is follows from its form and its name.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use tidings_ai::{Fact, Facts, Figure};

/// The variable that says how the reader is addressed.
pub(super) const ADDRESSEE: &str = "customer_name";
/// What stands in it where no name is known.
const NOBODY: &str = "customer";
/// Other variables that hold a person.
const PEOPLE: [&str; 1] = ["advisor_name"];
/// Endings of variables that hold money, where `currency` says which.
const MONEY: [&str; 4] = ["amount", "amount_due", "price", "total"];

/// The facts of one message. A value that is no fact (a flag, a list, a text too long) is left out: the checks are only the
/// stricter for it.
pub(super) fn facts(variables: &Map<String, Value>, zone: &TimeZone) -> Facts {
    let currency = variables
        .get("currency")
        .and_then(Value::as_str)
        .map(str::to_ascii_uppercase);
    let mut facts = Facts::new();
    for (name, value) in variables {
        if let Some(fact) = fact(name, value, currency.as_deref(), zone) {
            // Refused are names and values that no draft could use.
            let _ = facts.set(name, fact);
        }
    }
    facts
}

fn fact(name: &str, value: &Value, currency: Option<&str>, zone: &TimeZone) -> Option<Fact> {
    let text = match value {
        Value::Number(number) => return figure(name, &number.to_string(), currency),
        Value::String(text) => text.trim(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    if name == ADDRESSEE {
        return (text != NOBODY).then(|| Fact::Name(text.to_owned()));
    }
    if PEOPLE.contains(&name) {
        return Some(Fact::Name(text.to_owned()));
    }
    if let Some(day) = day(text, zone) {
        return Some(Fact::Date(day));
    }
    if is_link(name) && text.starts_with("http") {
        return Some(Fact::Link(text.to_owned()));
    }
    if is_money(name) && Figure::parse(text).is_some() {
        return figure(name, text, currency);
    }
    Some(Fact::Text(text.to_owned()))
}

fn figure(name: &str, digits: &str, currency: Option<&str>) -> Option<Fact> {
    let figure = Figure::parse(digits)?;
    Some(match currency {
        Some(currency) if is_money(name) => Fact::Money {
            amount: figure,
            currency: currency.to_owned(),
        },
        _ if name.ends_with("percent") => Fact::Percent(figure),
        _ => Fact::Number(figure),
    })
}

/// A day, or the day of an instant where the reader lives.
fn day(text: &str, zone: &TimeZone) -> Option<Date> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.to_zoned(zone.clone()).date());
    }
    let plain = text.len() == "2027-06-12".len();
    text.parse::<Date>().ok().filter(|_| plain)
}

fn is_link(name: &str) -> bool {
    name == "link" || name.ends_with("_link") || name.ends_with("_url")
}

fn is_money(name: &str) -> bool {
    MONEY.iter().any(|ending| {
        name.strip_suffix(ending)
            .is_some_and(|before| before.is_empty() || before.ends_with('_'))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use jiff::civil::date;
    use serde_json::json;

    #[test]
    fn each_variable_is_what_its_form_and_name_say() {
        let variables = json!({
            "customer_name": "Dana Whitfield",
            "advisor_name": "Marcus Bell",
            "equipment": "Ridgeline R200",
            "anniversary_on": "2027-04-16",
            "picked_up_on": "2027-05-07T02:40:00Z",
            "booking_url": "https://book.example.com/r/7",
            "notes": "https://evil.example.com",
            "years": 3,
            "rebate_percent": 10,
            "amount_due": "129.50",
            "deposit_amount": 20,
            "currency": "usd",
            "fresh": true,
            "Odd Name": "x",
        });
        let zone = jiff::tz::db().get("America/Chicago").unwrap();
        let facts = facts(variables.as_object().unwrap(), &zone);
        let money = |amount: &str| Fact::Money {
            amount: Figure::parse(amount).unwrap(),
            currency: "USD".to_owned(),
        };
        for (name, wanted) in [
            ("customer_name", Fact::Name("Dana Whitfield".to_owned())),
            ("advisor_name", Fact::Name("Marcus Bell".to_owned())),
            ("equipment", Fact::Text("Ridgeline R200".to_owned())),
            ("anniversary_on", Fact::Date(date(2027, 4, 16))),
            ("picked_up_on", Fact::Date(date(2027, 5, 6))),
            (
                "booking_url",
                Fact::Link("https://book.example.com/r/7".to_owned()),
            ),
            ("notes", Fact::Text("https://evil.example.com".to_owned())),
            ("years", Fact::Number(Figure::from(3))),
            ("rebate_percent", Fact::Percent(Figure::from(10))),
            ("amount_due", money("129.50")),
            ("deposit_amount", money("20")),
        ] {
            assert_eq!(facts.get(name), Some(&wanted), "{name}");
        }
        assert!(facts.get("fresh").is_none() && facts.get("Odd Name").is_none());
    }

    #[test]
    fn nobody_is_not_a_name_and_money_without_currency_is_a_number() {
        let variables = json!({ "customer_name": "customer", "amount_due": 5 });
        let facts = facts(variables.as_object().unwrap(), &TimeZone::UTC);
        assert!(facts.get("customer_name").is_none());
        assert_eq!(facts.get("amount_due"), Some(&Fact::Number(Figure::from(5))));
    }
}
