//! The dealership's tables, under the logical names: their columns, and their rows as values.

use super::Dealership;
use crate::settings::SourceKind;
use jiff::Timestamp;
use tidings_core::redact::Private;

/// A value on its way into a database.
#[derive(Clone)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Flag(bool),
    Text(String),
}

/// A column's type.
#[derive(Clone, Copy)]
pub(super) enum Type {
    Key,
    Reference,
    Word,
    Flag,
    Date,
    Instant,
    Number,
}

/// A table to be made.
pub(super) struct Table<'d> {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Type)],
    pub(super) indexes: &'static [&'static str],
    pub(super) rows: Box<dyn Iterator<Item = Vec<Value>> + Send + 'd>,
}

impl Type {
    pub(super) fn sql(self, kind: SourceKind) -> &'static str {
        match (self, kind) {
            (Self::Key, SourceKind::Sqlite) => "INTEGER PRIMARY KEY",
            (Self::Key, _) => "bigint PRIMARY KEY",
            (Self::Reference, SourceKind::Sqlite) => "INTEGER",
            (Self::Reference, _) => "bigint",
            (Self::Word, _) => "varchar(120)",
            (Self::Flag, _) => "boolean",
            (Self::Date, _) => "date",
            (Self::Instant, SourceKind::Postgresql) => "timestamptz",
            (Self::Instant, SourceKind::Mysql) => "timestamp NULL DEFAULT NULL",
            (Self::Instant, SourceKind::Sqlite) => "timestamp",
            (Self::Number, _) => "decimal(12, 2)",
        }
    }
}

fn text(text: &Private<String>) -> Value {
    Value::Text(text.expose().clone())
}

fn word(word: Option<&str>) -> Value {
    word.map_or(Value::Null, |word| Value::Text(word.to_owned()))
}

fn shown<T: ToString>(value: Option<T>) -> Value {
    value.map_or(Value::Null, |value| Value::Text(value.to_string()))
}

impl Dealership {
    /// Every table, in an order in which what is referred to comes first.
    pub(super) fn tables(&self, kind: SourceKind) -> Vec<Table<'_>> {
        let mut tables = self.people(kind);
        tables.extend(self.machines(kind));
        tables.extend(self.dates(kind));
        tables
    }

    fn people(&self, kind: SourceKind) -> Vec<Table<'_>> {
        use Type::{Flag, Instant, Key, Reference, Word};
        let customers = self.customers.iter().map(move |one| {
            vec![
                Value::Integer(one.id),
                text(&one.first_name),
                text(&one.last_name),
                one.company.as_ref().map_or(Value::Null, text),
                word(Some(one.zone)),
                word(Some(one.locale)),
                word(Some("US")),
                word(one.preferred_channel),
                Value::Flag(one.opt_out_email),
                Value::Flag(one.opt_out_sms),
                one.marketing_consent.map_or(Value::Null, Value::Flag),
                instant(kind, Some(one.created_at)),
            ]
        });
        let address = |one: &super::DemoAddress| {
            vec![
                Value::Integer(one.id),
                Value::Integer(one.customer),
                text(&one.address),
                Value::Flag(one.primary),
            ]
        };
        vec![
            Table {
                name: "customers",
                columns: &[
                    ("customer_id", Key),
                    ("first_name", Word),
                    ("last_name", Word),
                    ("company", Word),
                    ("zone", Word),
                    ("locale", Word),
                    ("country", Word),
                    ("preferred_channel", Word),
                    ("opt_out_email", Flag),
                    ("opt_out_sms", Flag),
                    ("marketing_consent", Flag),
                    ("created_at", Instant),
                ],
                indexes: &[],
                rows: Box::new(customers),
            },
            Table {
                name: "emails",
                columns: &[
                    ("email_id", Key),
                    ("customer_id", Reference),
                    ("email", Word),
                    ("is_primary", Flag),
                ],
                indexes: &["customer_id"],
                rows: Box::new(self.emails.iter().map(address)),
            },
            Table {
                name: "phones",
                columns: &[
                    ("phone_id", Key),
                    ("customer_id", Reference),
                    ("phone", Word),
                    ("is_primary", Flag),
                ],
                indexes: &["customer_id"],
                rows: Box::new(self.phones.iter().map(address)),
            },
        ]
    }

    fn machines(&self, kind: SourceKind) -> Vec<Table<'_>> {
        use Type::{Date, Instant, Key, Number, Reference, Word};
        let equipment = self.equipment.iter().map(|one| {
            vec![
                Value::Integer(one.id),
                Value::Integer(one.customer),
                word(Some(one.kind)),
                word(Some(one.make)),
                word(Some(one.model)),
                shown(one.sold),
                shown(one.hours),
                word(one.warranty_end.as_deref()),
            ]
        });
        let orders = self.work_orders.iter().map(move |one| {
            vec![
                Value::Integer(one.id),
                Value::Integer(one.customer),
                Value::Integer(one.machine),
                Value::Text(format!("W-{:06}", one.id)),
                instant(kind, Some(one.dropped_off)),
                instant(kind, one.completed),
                instant(kind, one.picked_up),
                shown(one.hours),
                word(Some(one.status)),
            ]
        });
        let sales = self.sales.iter().map(|one| {
            vec![
                Value::Integer(one.id),
                Value::Integer(one.customer),
                Value::Integer(one.machine),
                shown(Some(one.sold)),
            ]
        });
        vec![
            Table {
                name: "equipment",
                columns: &[
                    ("equipment_id", Key),
                    ("customer_id", Reference),
                    ("equipment_type", Word),
                    ("equipment_make", Word),
                    ("equipment_model", Word),
                    ("date_sold", Date),
                    ("machine_hours", Number),
                    // Typed by hand, so not all of them are dates.
                    ("warranty_end_date", Word),
                ],
                indexes: &["customer_id", "date_sold"],
                rows: Box::new(equipment),
            },
            Table {
                name: "work_orders",
                columns: &[
                    ("service_record_id", Key),
                    ("customer_id", Reference),
                    ("equipment_id", Reference),
                    ("work_order_number", Word),
                    ("dropped_off_at", Instant),
                    ("completed_at", Instant),
                    ("picked_up_at", Instant),
                    ("machine_hours", Number),
                    ("status", Word),
                ],
                indexes: &["customer_id", "equipment_id", "picked_up_at"],
                rows: Box::new(orders),
            },
            Table {
                name: "sales",
                columns: &[
                    ("sale_id", Key),
                    ("customer_id", Reference),
                    ("equipment_id", Reference),
                    ("date_sold", Date),
                ],
                indexes: &["customer_id", "equipment_id", "date_sold"],
                rows: Box::new(sales),
            },
        ]
    }

    fn dates(&self, kind: SourceKind) -> Vec<Table<'_>> {
        use Type::{Date, Instant, Key, Number, Reference, Word};
        let appointments = self.appointments.iter().map(move |one| {
            vec![
                Value::Integer(one.id),
                Value::Integer(one.customer),
                one.machine.map_or(Value::Null, Value::Integer),
                instant(kind, Some(one.starts)),
                word(Some(one.service)),
                word(Some(one.location)),
                word(Some(one.status)),
            ]
        });
        let invoices = self.invoices.iter().map(move |one| {
            vec![
                Value::Integer(one.id),
                Value::Integer(one.customer),
                Value::Text(format!("R-{:06}", one.id)),
                shown(Some(one.due)),
                Value::Text(format!(
                    "{}.{:02}",
                    one.amount_cents / 100,
                    one.amount_cents % 100
                )),
                word(Some("USD")),
                instant(kind, one.paid),
                word(Some(one.status)),
            ]
        });
        vec![
            Table {
                name: "appointments",
                columns: &[
                    ("appointment_id", Key),
                    ("customer_id", Reference),
                    ("equipment_id", Reference),
                    ("starts_at", Instant),
                    ("service", Word),
                    ("location", Word),
                    ("status", Word),
                ],
                indexes: &["customer_id", "starts_at"],
                rows: Box::new(appointments),
            },
            Table {
                name: "invoices",
                columns: &[
                    ("invoice_id", Key),
                    ("customer_id", Reference),
                    ("invoice_number", Word),
                    ("due_date", Date),
                    ("amount_due", Number),
                    ("currency", Word),
                    ("paid_at", Instant),
                    ("status", Word),
                ],
                indexes: &["customer_id", "due_date"],
                rows: Box::new(invoices),
            },
        ]
    }
}

/// In UTC; MySQL reads no `Z`, and does not need it where the session is in UTC.
fn instant(kind: SourceKind, instant: Option<Timestamp>) -> Value {
    let Some(instant) = instant else {
        return Value::Null;
    };
    Value::Text(match kind {
        SourceKind::Mysql => instant.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        SourceKind::Postgresql | SourceKind::Sqlite => instant.to_string(),
    })
}
