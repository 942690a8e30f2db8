//! What a campaign needs of a tenant's database, for `source check`.

use super::definition::{ContextSource, Definition, DueRule, Related};
use super::names::{Place, place};
use super::schema::{LogicalTable, table};
use crate::word::word_enum;

word_enum! {
    /// How much a campaign needs a column.
    #[derive(Default)]
    pub enum Need {
        /// It works as well without.
        #[default]
        Optional = "optional",
        /// One at least of those with the same `for_what`.
        OneOf = "one_of",
        /// It does nothing without.
        Required = "required",
    }
}

/// A column a campaign uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnNeed {
    /// The logical table.
    pub table: LogicalTable,
    /// The logical column.
    pub column: String,
    /// How much it is needed.
    pub need: Need,
    /// For what: `due`, `condition 1`, `context: equipment`. Columns that can replace each other share it.
    pub for_what: String,
}

/// Every column the campaign uses, the customer's and an address included; each once for each purpose.
pub fn needs(definition: &Definition) -> Vec<ColumnNeed> {
    let mut list = List {
        definition,
        found: Vec::new(),
    };
    list.whose();
    list.due();
    for (index, condition) in definition.conditions.iter().enumerate() {
        let optional = condition.optional || list.is_optional(&condition.column);
        let need = if optional { Need::Optional } else { Need::Required };
        list.name(&condition.column, need, &format!("condition {}", index + 1));
    }
    for (variable, source) in &definition.context {
        if let ContextSource::Name(name) = source {
            let required = definition.required_context.contains(variable);
            list.context(name, required, &format!("context: {variable}"));
        }
    }
    list.found
}

struct List<'a> {
    definition: &'a Definition,
    found: Vec<ColumnNeed>,
}

impl List<'_> {
    fn add(&mut self, table: LogicalTable, column: &str, need: Need, for_what: &str) {
        let known = self
            .found
            .iter_mut()
            .find(|one| one.table == table && one.column == column && one.for_what == for_what);
        if let Some(known) = known {
            known.need = known.need.max(need);
            return;
        }
        self.found.push(ColumnNeed {
            table,
            column: column.to_owned(),
            need,
            for_what: for_what.to_owned(),
        });
    }

    /// Whether the campaign works without the related value of that name.
    fn is_optional(&self, name: &str) -> bool {
        let related = &self.definition.related;
        related.iter().any(|one| one.name == name && one.optional)
    }

    /// The row, its customer, and a way to reach them.
    fn whose(&mut self) {
        let own = table(self.definition.from);
        self.add(own.table, own.key(), Need::Required, "the row");
        self.add(own.table, "customer_id", Need::Required, "the customer");
        self.add(
            LogicalTable::Customers,
            "customer_id",
            Need::Required,
            "the customer",
        );
        let addresses = [
            (LogicalTable::Customers, "email"),
            (LogicalTable::Emails, "email"),
            (LogicalTable::Customers, "phone"),
            (LogicalTable::Phones, "phone"),
        ];
        for (table, column) in addresses {
            self.add(table, column, Need::OneOf, "an address");
        }
    }

    fn due(&mut self) {
        match &self.definition.due {
            DueRule::After { latest_of, .. } => {
                let need = if latest_of.len() == 1 {
                    Need::Required
                } else {
                    Need::OneOf
                };
                for name in latest_of {
                    self.name(name, need, "due");
                }
            }
            DueRule::Before { date, .. }
            | DueRule::Anniversary { date, .. }
            | DueRule::Series { date, .. } => self.name(date, Need::Required, "due"),
            DueRule::HoursAfter { instant, .. } | DueRule::HoursBefore { instant, .. } => {
                self.name(instant, Need::Required, "due");
            }
            DueRule::Season { .. } => {}
            DueRule::Reached { number, .. } => self.name(number, Need::Required, "due"),
            DueRule::Crossed { number, since, .. } => {
                self.name(number, Need::Required, "due");
                if let Some(since) = since {
                    let own = matches!(place(self.definition, since), Some(Place::Own(_)));
                    let optional = own || self.is_optional(since);
                    let need = if optional { Need::Optional } else { Need::Required };
                    self.name(since, need, "due: since");
                }
            }
        }
    }

    fn context(&mut self, name: &str, required: bool, for_what: &str) {
        match name {
            "customer_name" => {
                for column in ["first_name", "company", "last_name"] {
                    self.add(LogicalTable::Customers, column, Need::Optional, for_what);
                }
            }
            "equipment_label" => {
                let need = if required { Need::OneOf } else { Need::Optional };
                for part in ["equipment_make", "equipment_model", "equipment_type"] {
                    self.name(part, need, for_what);
                }
            }
            _ => {
                let need = if required { Need::Required } else { Need::Optional };
                self.name(name, need, for_what);
            }
        }
    }

    fn name(&mut self, name: &str, need: Need, for_what: &str) {
        match place(self.definition, name) {
            Some(Place::Own(column)) => self.add(self.definition.from, column.name, need, for_what),
            Some(Place::Customer(column)) => self.add(LogicalTable::Customers, column.name, need, for_what),
            Some(Place::Related(related)) => self.related(related, need, for_what),
            // What the due rule computes needs nothing of its own; unknown names are told by `validate`.
            None => {}
        }
    }

    /// A related value is there with all its columns or not at all. One that is needed is so much needed as its user
    /// says; where others stand in for it, each of them will do.
    fn related(&mut self, related: &Related, need: Need, for_what: &str) {
        let definition = self.definition;
        let stand_ins: Vec<&Related> = definition
            .related
            .iter()
            .filter(|one| one.instead_of.as_deref() == Some(related.name.as_str()))
            .collect();
        let need = match need {
            Need::Required if !stand_ins.is_empty() => Need::OneOf,
            Need::OneOf if !related.optional => Need::Required,
            other => other,
        };
        for one in std::iter::once(related).chain(stand_ins) {
            let main = one.column.as_deref().unwrap_or_else(|| table(one.table).key());
            self.add(one.table, main, need, for_what);
            // The keys and the age are needed along with it; a stand-in has others, so none of them can be demanded.
            let along = if need == Need::Required {
                Need::Required
            } else {
                Need::Optional
            };
            self.add(definition.from, &one.by, along, for_what);
            self.add(one.table, &one.by, along, for_what);
            if let Some(since) = &one.since {
                self.add(one.table, since, along, for_what);
            }
        }
    }
}
