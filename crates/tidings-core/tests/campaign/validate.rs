//! What a definition may not say, and what it is told.

use super::campaign;
use tidings_core::campaign::Definition;

const AFTER: &str = r#"rule = "after", latest_of = ["date_sold"], days = 7"#;

fn problems(definition: &Definition) -> Vec<String> {
    let problems = definition.validate().err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn one(definition: &Definition, expect: &str) {
    let found = problems(definition);
    assert!(
        found.len() == 1 && found[0].contains(expect),
        "{found:#?}\nand not: {expect}"
    );
}

#[track_caller]
fn due(from: &str, due: &str, expect: &str) {
    one(&campaign(from, due, ""), expect);
}

#[track_caller]
fn condition(condition: &str, expect: &str) {
    one(
        &campaign("equipment", AFTER, &format!("conditions = [{{ {condition} }}]")),
        expect,
    );
}

#[test]
fn a_plain_one_is_good() {
    assert_eq!(campaign("equipment", AFTER, "").validate(), Ok(()));
}

#[test]
fn names_that_stand_for_nothing_are_told_with_the_nearest() {
    due(
        "equipment",
        r#"rule = "after", latest_of = ["date_solt"], days = 7"#,
        "due.latest_of[0]: \"date_solt\" is neither a column of equipment nor a related value (did you mean \"date_sold\"?)",
    );
    condition(
        r#"column = "nonsense", is = "present""#,
        "conditions[0].column: \"nonsense\" is neither",
    );
    condition(
        r#"column = "customer.contry", is = "present""#,
        "(did you mean \"customer.country\"?)",
    );
    one(
        &campaign("equipment", AFTER, "[context]\nname = \"custmer_name\""),
        "context.name: \"custmer_name\" is neither a column of equipment nor a related value (did you mean \"customer_name\"?)",
    );
    one(
        &campaign("equipment", AFTER, "[context]\nback = \"return_on\""),
        "this due rule does not know \"return_on\"; it knows due_on, latest_on, days_since, years",
    );
    one(
        &campaign(
            "equipment",
            AFTER,
            "required_context = [\"names\"]\n[context]\nname = \"customer_name\"",
        ),
        "required_context: \"names\" is no variable of context (did you mean \"name\"?)",
    );
}

#[test]
fn columns_hold_what_the_rule_needs() {
    due(
        "equipment",
        r#"rule = "after", latest_of = ["equipment_make"], days = 7"#,
        "\"equipment_make\" holds text; name a date or an instant",
    );
    due(
        "equipment",
        r#"rule = "before", date = "machine_hours", days = 7"#,
        "holds number",
    );
    due(
        "equipment",
        r#"rule = "hours_after", instant = "date_sold", from_hours = 1, to_hours = 2"#,
        "holds date; name an instant",
    );
    due(
        "equipment",
        r#"rule = "reached", number = "date_sold", at_least = 1"#,
        "holds date; name a number",
    );
    due(
        "equipment",
        r#"rule = "crossed", number = "machine_hours", since = "date_sold", step = 1"#,
        "due.since",
    );
}

#[test]
fn ranges() {
    due(
        "equipment",
        r#"rule = "after", latest_of = [], days = 7"#,
        "due.latest_of: name one date at least",
    );
    due(
        "equipment",
        r#"rule = "after", latest_of = ["date_sold"], years = 101"#,
        "due.years: 101 is out of range; use 0 to 100",
    );
    due(
        "equipment",
        r#"rule = "anniversary", date = "date_sold", days_before = 365"#,
        "use 0 to 364",
    );
    due(
        "appointments",
        r#"rule = "hours_before", instant = "starts_at", from_hours = 25, to_hours = 25"#,
        "due.from_hours: 25 is not less than to_hours (25)",
    );
    due(
        "appointments",
        r#"rule = "hours_before", instant = "starts_at", from_hours = 24, to_hours = 25, late_from_hours = 30"#,
        "rows in time would be dropped",
    );
    due(
        "customers",
        r#"rule = "season", word = "Early Spring""#,
        "due.word",
    );
    due(
        "equipment",
        r#"rule = "crossed", number = "machine_hours", step = 0.0"#,
        "due.step: 0 is out of range",
    );
    due(
        "equipment",
        r#"rule = "crossed", number = "machine_hours", step = nan"#,
        "due.step: NaN is out of range",
    );
    due(
        "equipment",
        r#"rule = "reached", number = "machine_hours", at_least = inf"#,
        "due.at_least",
    );
    due(
        "equipment",
        r#"rule = "series", date = "date_sold", every_days = 7, parts = 0"#,
        "due.parts",
    );
    due(
        "equipment",
        r#"rule = "series", date = "date_sold", every_days = 0, parts = 3"#,
        "due.every_days: 0 is out of range",
    );
    one(
        &campaign("equipment", AFTER, "expires_after_hours = 0"),
        "expires_after_hours",
    );
    one(&campaign("equipment", AFTER, "flag = \"enable it\""), "flag");
    one(&campaign("equipment", AFTER, "setting = \"Enable\""), "setting");
}

#[test]
fn schedules() {
    let schedule = |text: &str| {
        let mut definition = campaign("equipment", AFTER, "");
        definition.schedule = toml::from_str(text).unwrap();
        definition
    };
    one(
        &schedule("every = \"day\"\nhour_utc = 24"),
        "schedule.hour_utc: 24 is out of range; use 0 to 23",
    );
    one(
        &schedule("every = \"days\"\ndays = 0\nhour_utc = 1"),
        "schedule.days",
    );
    one(
        &schedule("every = \"interval\"\ninterval_ms = 59999"),
        "schedule.interval_ms",
    );
    one(
        &schedule("every = \"year\"\nmonth = 13\nday = 1\nhour_utc = 1"),
        "schedule.month",
    );
    one(
        &schedule("every = \"day\"\nhour_utc = 1\nhour_env = \"hour of day\""),
        "schedule.hour_env",
    );
    let mut seldom = schedule("every = \"days\"\ndays = 14\nhour_utc = 1");
    seldom.due =
        toml::from_str("rule = \"series\"\ndate = \"date_sold\"\nevery_days = 7\nparts = 6").unwrap();
    one(
        &seldom,
        "runs every 14 days, so parts every 7 days would be left out",
    );
}

#[test]
fn conditions_have_their_operand_and_no_other() {
    condition(
        r#"column = "machine_hours", is = "at_least""#,
        "conditions[0].value: at_least needs value",
    );
    condition(
        r#"column = "equipment_type", is = "one_of""#,
        "one_of needs values",
    );
    condition(r#"column = "date_sold", is = "within""#, "within needs days");
    condition(
        r#"column = "date_sold", is = "present", value = 1"#,
        "present takes no value; leave it out",
    );
    condition(
        r#"column = "date_sold", is = "within", days = 40000"#,
        "conditions[0].days: 40000 is out of range",
    );
}

#[test]
fn conditions_compare_like_with_like() {
    condition(
        r#"column = "machine_hours", is = "equal", value = "many""#,
        "\"machine_hours\" holds number; write a number",
    );
    condition(
        r#"column = "date_sold", is = "at_least", value = "soon""#,
        "write a date in quotes",
    );
    condition(
        r#"column = "date_sold", is = "at_least", value = 3"#,
        "write a date in quotes",
    );
    condition(
        r#"column = "equipment_type", is = "less_than", value = "z""#,
        "less_than needs a number, date or instant",
    );
    condition(
        r#"column = "equipment_type", is = "older_than", days = 3"#,
        "older_than needs a date or an instant",
    );
    condition(
        r#"column = "customer.marketing_consent", is = "equal", value = "yes""#,
        "write true or false",
    );
}

#[test]
fn related_values() {
    let related = |text: &str| campaign("equipment", AFTER, &format!("[[related]]\n{text}"));
    let base = "table = \"work_orders\"\nby = \"equipment_id\"\ntake = \"latest\"\n";
    assert_eq!(
        problems(&related(&format!(
            "name = \"last\"\n{base}column = \"picked_up_at\""
        ))),
        [""; 0]
    );
    for (text, expect) in [
        (
            format!("name = \"date_sold\"\n{base}column = \"picked_up_at\""),
            "related[0].name: \"date_sold\" already stands for something else",
        ),
        (
            format!("name = \"years\"\n{base}column = \"picked_up_at\""),
            "already stands for something else",
        ),
        (
            format!("name = \"Last\"\n{base}column = \"picked_up_at\""),
            "related[0].name: use 1 to 64",
        ),
        (
            format!("name = \"last\"\n{base}"),
            "related[0].column: take = \"latest\" needs a column",
        ),
        (
            format!("name = \"last\"\n{base}column = \"picked_up\""),
            "work_orders has no column \"picked_up\"",
        ),
        (
            format!("name = \"last\"\n{base}column = \"picked_up_at\"\nwithin_days = 3"),
            "within_days and since go together",
        ),
        (
            format!("name = \"last\"\n{base}column = \"picked_up_at\"\nsince = \"status\"\nwithin_days = 3"),
            "\"status\" holds text",
        ),
        (
            "name = \"n\"\ntable = \"invoices\"\nby = \"equipment_id\"\ntake = \"count\"".to_owned(),
            "invoices has no key \"equipment_id\"",
        ),
        (
            format!("name = \"last\"\n{base}column = \"picked_up_at\"\ninstead_of = \"other\""),
            "no other related value \"other\"",
        ),
    ] {
        one(&related(&text), expect);
    }
    let stand_in = |optional: bool, column: &str| {
        related(&format!(
            "name = \"a\"\n{base}column = \"picked_up_at\"\noptional = {optional}\n[[related]]\nname = \"b\"\n{base}column = \"{column}\"\noptional = true\ninstead_of = \"a\""
        ))
    };
    assert_eq!(problems(&stand_in(true, "completed_at")), [""; 0]);
    one(&stand_in(false, "completed_at"), "must be optional = true");
    one(&stand_in(true, "machine_hours"), "holds something else");
}

#[test]
fn lists_are_bounded() {
    let mut many = campaign(
        "equipment",
        AFTER,
        "conditions = [{ column = \"date_sold\", is = \"present\" }]\n[[related]]\nname = \"n\"\ntable = \"work_orders\"\nby = \"equipment_id\"\ntake = \"count\"\n[context]\na = \"date_sold\"",
    );
    let (condition, related, source) = (
        many.conditions[0].clone(),
        many.related[0].clone(),
        many.context["a"].clone(),
    );
    many.conditions = vec![condition; 21];
    many.related = (0..9)
        .map(|number| {
            let mut one = related.clone();
            one.name = format!("n{number}");
            one
        })
        .collect();
    many.context = (0..41)
        .map(|number| (format!("v{number}"), source.clone()))
        .collect();
    assert_eq!(
        problems(&many),
        [
            "related: 9 are too many; at most 8",
            "conditions: 21 are too many; at most 20",
            "context: 41 are too many; at most 40",
        ]
    );
}

#[test]
fn an_unknown_field_or_rule_is_refused_when_it_is_read() {
    for text in [
        "rule = \"after\"\nlatest_of = [\"a\"]\nweeks = 2",
        "rule = \"sometime\"",
        "rule = \"before\"\ndate = \"a\"\ndays = -1",
    ] {
        assert!(
            toml::from_str::<tidings_core::campaign::DueRule>(text).is_err(),
            "{text}"
        );
    }
}
