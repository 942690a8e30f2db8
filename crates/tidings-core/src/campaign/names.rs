//! What the names in a definition stand for.

use super::definition::{Definition, DueRule, Related, Take};
use super::schema::{ColumnInfo, ColumnKind, LogicalTable, table};

/// Values that are computed from the row and its customer.
pub(super) const COMPUTED: [&str; 2] = ["customer_name", "equipment_label"];

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// A column of the campaign's own table.
    Own(&'static ColumnInfo),
    /// A related value.
    Related(&'a Related),
    /// A column of the customer.
    Customer(&'static ColumnInfo),
}

impl Place<'_> {
    /// What it holds; none where the related value has no such column.
    pub(super) fn kind(self) -> Option<ColumnKind> {
        match self {
            Self::Own(column) | Self::Customer(column) => Some(column.kind),
            Self::Related(related) => match (related.take, &related.column) {
                (Take::Count, _) => Some(ColumnKind::Number),
                (_, Some(column)) => table(related.table).column(column).map(|info| info.kind),
                (_, None) => None,
            },
        }
    }
}

/// What a name stands for.
pub(super) fn place<'a>(definition: &'a Definition, name: &str) -> Option<Place<'a>> {
    if let Some(of_customer) = name.strip_prefix("customer.") {
        let column = table(LogicalTable::Customers).column(of_customer);
        return column.map(Place::Customer);
    }
    let related = definition.related.iter().find(|one| one.name == name);
    let own = || table(definition.from).column(name).map(Place::Own);
    related.map(Place::Related).or_else(own)
}

/// What the due rule computes.
pub(super) const fn known(rule: &DueRule) -> &'static [&'static str] {
    match rule {
        DueRule::After { .. } => &["due_on", "latest_on", "days_since", "years"],
        DueRule::Before { .. } => &["due_on", "days_left"],
        DueRule::Anniversary { .. } => &["due_on", "years", "return_on", "days_left"],
        DueRule::HoursAfter { .. } | DueRule::HoursBefore { .. } => &["due_on"],
        DueRule::Season { .. } => &["due_on", "season"],
        DueRule::Reached { .. } | DueRule::Crossed { .. } => &["due_on", "mark"],
        DueRule::Series { .. } => &["due_on", "part", "days_since"],
    }
}

/// Every name that any rule computes; related values are called otherwise.
pub(super) const RESERVED: [&str; 11] = [
    "customer_name",
    "equipment_label",
    "due_on",
    "latest_on",
    "days_since",
    "years",
    "days_left",
    "return_on",
    "season",
    "mark",
    "part",
];

/// Every name a rule or condition may use.
pub(super) fn all(definition: &Definition) -> Vec<String> {
    let own = table(definition.from)
        .columns
        .iter()
        .map(|column| column.name.to_owned());
    let related = definition.related.iter().map(|one| one.name.clone());
    let customer = table(LogicalTable::Customers).columns.iter();
    own.chain(related)
        .chain(customer.map(|column| format!("customer.{}", column.name)))
        .collect()
}

/// The name that was probably meant: the nearest, if it is near.
pub(super) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(64).collect();
    let near = (word.len() / 3).max(1);
    names
        .into_iter()
        .map(|name| (distance(&word, name), name))
        .filter(|(distance, _)| *distance <= near)
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be put in, taken out or changed.
fn distance(word: &[char], name: &str) -> usize {
    let mut row: Vec<usize> = (0..=word.len()).collect();
    for (done, letter) in name.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = done + 1;
        for (index, other) in word.iter().enumerate() {
            let change = diagonal + usize::from(*other != letter);
            diagonal = row[index + 1];
            row[index + 1] = change.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[word.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_when_it_is_near() {
        let names = ["date_sold", "machine_hours", "customer_id"];
        assert_eq!(nearest("date_solt", names), Some("date_sold"));
        assert_eq!(nearest("sold_date", names), None);
        assert_eq!(nearest("machinehours", names), Some("machine_hours"));
        assert_eq!(nearest("", names), None);
    }
}
