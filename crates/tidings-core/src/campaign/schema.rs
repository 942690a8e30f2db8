//! The logical tables: what campaigns can ask for, whatever a tenant calls it.

use crate::word::word_enum;

word_enum! {
    /// A table as campaigns know it; a tenant's mapping says which of its own it is.
    pub enum LogicalTable {
        /// Who can be written to.
        Customers = "customers",
        /// Their e-mail addresses, where not in `customers`.
        Emails = "emails",
        /// Their phone numbers, where not in `customers`.
        Phones = "phones",
        /// What they bought.
        Equipment = "equipment",
        /// Repairs and services.
        WorkOrders = "work_orders",
        /// Purchases.
        Sales = "sales",
        /// Agreed dates.
        Appointments = "appointments",
        /// What they owe.
        Invoices = "invoices",
    }
}

word_enum! {
    /// What a logical column holds; the source parses what it reads into it.
    pub enum ColumnKind {
        /// Identifies a row, or refers to one; may be several columns of the tenant's.
        Key = "key",
        /// Text.
        Text = "text",
        /// A number.
        Number = "number",
        /// A day, without time.
        Date = "date",
        /// A point in time.
        Instant = "instant",
        /// Yes or no.
        Flag = "flag",
    }
}

/// A column of a logical table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name in definitions and mappings.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
    /// A mapping of the table without it is refused. Others may be missing; campaigns that need them say so.
    pub required: bool,
    /// The table it refers to, for keys of other tables.
    pub refers_to: Option<LogicalTable>,
    /// What it means.
    pub meaning: &'static str,
}

/// A logical table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// Which.
    pub table: LogicalTable,
    /// Its columns; the first is its key.
    pub columns: &'static [ColumnInfo],
}

impl TableInfo {
    /// The column of a name.
    pub fn column(&self, name: &str) -> Option<&'static ColumnInfo> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The name of the key.
    pub fn key(&self) -> &'static str {
        self.columns[0].name
    }
}

const fn key(name: &'static str, meaning: &'static str) -> ColumnInfo {
    ColumnInfo {
        name,
        kind: ColumnKind::Key,
        required: true,
        refers_to: None,
        meaning,
    }
}

const fn owner(required: bool) -> ColumnInfo {
    ColumnInfo {
        name: "customer_id",
        kind: ColumnKind::Key,
        required,
        refers_to: Some(LogicalTable::Customers),
        meaning: "whose it is",
    }
}

const fn machine() -> ColumnInfo {
    ColumnInfo {
        name: "equipment_id",
        kind: ColumnKind::Key,
        required: false,
        refers_to: Some(LogicalTable::Equipment),
        meaning: "which machine it is about",
    }
}

const fn column(name: &'static str, kind: ColumnKind, meaning: &'static str) -> ColumnInfo {
    ColumnInfo {
        name,
        kind,
        required: false,
        refers_to: None,
        meaning,
    }
}

const fn must(name: &'static str, kind: ColumnKind, meaning: &'static str) -> ColumnInfo {
    ColumnInfo {
        name,
        kind,
        required: true,
        refers_to: None,
        meaning,
    }
}

use ColumnKind::{Date, Flag, Instant, Number, Text};

const CUSTOMERS: TableInfo = TableInfo {
    table: LogicalTable::Customers,
    columns: &[
        key("customer_id", "identifies the customer"),
        column("first_name", Text, "first name"),
        column("last_name", Text, "last name"),
        column("company", Text, "company, where it is one"),
        column("email", Text, "e-mail address, where there is no table of them"),
        column("phone", Text, "phone number, where there is no table of them"),
        column("zone", Text, "IANA time zone"),
        column("locale", Text, "language, such as en or de-AT"),
        column("country", Text, "ISO 3166 alpha-2 country"),
        column("preferred_channel", Text, "email, sms or whatsapp"),
        column("opt_out_email", Flag, "wants no e-mail"),
        column("opt_out_sms", Flag, "wants no text messages"),
        column("opt_out_whatsapp", Flag, "wants no WhatsApp messages"),
        column("marketing_consent", Flag, "has agreed to marketing"),
        column("created_at", Instant, "customer since"),
    ],
};

const EMAILS: TableInfo = TableInfo {
    table: LogicalTable::Emails,
    columns: &[
        key("email_id", "identifies the address"),
        owner(true),
        must("email", Text, "the address"),
        column("is_primary", Flag, "the one to use first"),
    ],
};

const PHONES: TableInfo = TableInfo {
    table: LogicalTable::Phones,
    columns: &[
        key("phone_id", "identifies the number"),
        owner(true),
        must("phone", Text, "the number"),
        column("is_primary", Flag, "the one to use first"),
        column(
            "is_mobile",
            Flag,
            "can receive text messages; one that says no is not used",
        ),
    ],
};

const EQUIPMENT: TableInfo = TableInfo {
    table: LogicalTable::Equipment,
    columns: &[
        key("equipment_id", "identifies the machine"),
        owner(true),
        column(
            "equipment_type",
            Text,
            "kind of machine: mower, tractor, motorcycle",
        ),
        column("equipment_make", Text, "make"),
        column("equipment_model", Text, "model"),
        column("date_sold", Date, "day of purchase"),
        column("machine_hours", Number, "hours on the meter"),
        column("warranty_end_date", Date, "last day of the warranty"),
    ],
};

const WORK_ORDERS: TableInfo = TableInfo {
    table: LogicalTable::WorkOrders,
    columns: &[
        key("service_record_id", "identifies the work order"),
        owner(true),
        machine(),
        column("work_order_number", Text, "number as the customer knows it"),
        column("dropped_off_at", Instant, "when the machine came in"),
        column("completed_at", Instant, "when the work was done"),
        column("picked_up_at", Instant, "when the customer fetched it"),
        column("machine_hours", Number, "hours on the meter at the time"),
        column("status", Text, "where it stands"),
    ],
};

const SALES: TableInfo = TableInfo {
    table: LogicalTable::Sales,
    columns: &[
        key("sale_id", "identifies the sale"),
        owner(true),
        machine(),
        must("date_sold", Date, "day of the sale"),
    ],
};

const APPOINTMENTS: TableInfo = TableInfo {
    table: LogicalTable::Appointments,
    columns: &[
        key("appointment_id", "identifies the appointment"),
        owner(true),
        machine(),
        must("starts_at", Instant, "when it begins"),
        column("service", Text, "what it is for"),
        column("location", Text, "where"),
        column("status", Text, "where it stands; \"cancelled\" is not confirmed"),
    ],
};

const INVOICES: TableInfo = TableInfo {
    table: LogicalTable::Invoices,
    columns: &[
        key("invoice_id", "identifies the invoice"),
        owner(true),
        column("invoice_number", Text, "number as the customer knows it"),
        must("due_date", Date, "last day to pay"),
        column("amount_due", Number, "what is still owed"),
        column("currency", Text, "ISO 4217 code"),
        column("paid_at", Instant, "when it was paid"),
        column(
            "status",
            Text,
            "where it stands; \"paid\", \"void\" and \"cancelled\" are not reminded of",
        ),
    ],
};

/// What a logical table can hold.
pub const fn table(table: LogicalTable) -> &'static TableInfo {
    match table {
        LogicalTable::Customers => &CUSTOMERS,
        LogicalTable::Emails => &EMAILS,
        LogicalTable::Phones => &PHONES,
        LogicalTable::Equipment => &EQUIPMENT,
        LogicalTable::WorkOrders => &WORK_ORDERS,
        LogicalTable::Sales => &SALES,
        LogicalTable::Appointments => &APPOINTMENTS,
        LogicalTable::Invoices => &INVOICES,
    }
}
