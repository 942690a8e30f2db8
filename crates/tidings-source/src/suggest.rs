//! A first draft of a mapping, from names that resemble each other. A person looks it over; nothing uses it by itself.

use crate::catalogue::{Catalogue, CatalogueColumn, CatalogueTable, TypeClass};
use crate::mapping::{ColumnMapping, Mapping, TableMapping, TablePath};
use crate::similarity::likeness;
use std::collections::BTreeMap;
use tidings_core::campaign::{ColumnInfo, ColumnKind, LogicalTable, table as logical};

/// Less alike than this is not suggested.
const LEAST: u32 = 70;

/// Other words for the tables, in English and German.
fn words_of_table(table: LogicalTable) -> &'static [&'static str] {
    match table {
        LogicalTable::Customers => &[
            "customers",
            "clients",
            "kunden",
            "kundenstamm",
            "debitoren",
            "accounts",
            "contacts",
        ],
        LogicalTable::Emails => &[
            "emails",
            "email_addresses",
            "customer_emails",
            "mailadressen",
            "emailadressen",
        ],
        LogicalTable::Phones => &[
            "phones",
            "phone_numbers",
            "customer_phones",
            "telefone",
            "telefonnummern",
        ],
        LogicalTable::Equipment => &[
            "equipment",
            "machines",
            "units",
            "vehicles",
            "maschinen",
            "geraete",
            "fahrzeuge",
            "assets",
        ],
        LogicalTable::WorkOrders => &[
            "work_orders",
            "service_records",
            "service_orders",
            "repair_orders",
            "repairs",
            "werkstattauftraege",
            "auftraege",
            "reparaturen",
        ],
        LogicalTable::Sales => &[
            "sales",
            "orders",
            "purchases",
            "verkaeufe",
            "verkauf",
            "bestellungen",
        ],
        LogicalTable::Appointments => &["appointments", "bookings", "reservations", "termine"],
        LogicalTable::Invoices => &["invoices", "bills", "rechnungen"],
    }
}

/// Other words for the columns.
fn words_of_column(name: &str) -> &'static [&'static str] {
    match name {
        "customer_id" => &[
            "customer_id",
            "customer_no",
            "cust_id",
            "client_id",
            "kdnr",
            "kundennr",
            "kunden_id",
        ],
        "equipment_id" => &[
            "equipment_id",
            "machine_id",
            "unit_id",
            "vehicle_id",
            "serial_number",
            "maschinen_id",
            "masch_nr",
        ],
        "service_record_id" => &[
            "service_record_id",
            "work_order_id",
            "order_id",
            "auftrag_id",
            "auftragsnr",
        ],
        "sale_id" => &["sale_id", "order_id", "verkauf_id"],
        "appointment_id" => &["appointment_id", "booking_id", "termin_id"],
        "invoice_id" => &["invoice_id", "rechnung_id", "rechnungsnr"],
        "email_id" => &["email_id"],
        "phone_id" => &["phone_id"],
        "first_name" => &["first_name", "fname", "given_name", "vorname"],
        "last_name" => &["last_name", "lname", "surname", "family_name", "nachname"],
        "company" => &["company", "company_name", "business_name", "firma"],
        "email" => &["email", "email_address", "mail", "e_mail"],
        "phone" => &[
            "phone",
            "phone_number",
            "mobile",
            "cell",
            "telephone",
            "telefon",
            "mobil",
        ],
        "zone" => &["zone", "time_zone", "timezone", "zeitzone"],
        "locale" => &["locale", "language", "lang", "sprache"],
        "country" => &["country", "country_code", "land"],
        "preferred_channel" => &["preferred_channel", "contact_preference"],
        "opt_out_email" => &["opt_out_email", "email_opt_out", "no_email", "do_not_email"],
        "opt_out_sms" => &["opt_out_sms", "sms_opt_out", "no_sms", "do_not_text"],
        "opt_out_whatsapp" => &["opt_out_whatsapp", "whatsapp_opt_out"],
        "marketing_consent" => &["marketing_consent", "newsletter", "opt_in", "werbung"],
        "created_at" => &["created_at", "created_on", "created", "date_created", "angelegt"],
        "is_primary" => &["is_primary", "primary", "main", "preferred"],
        "is_mobile" => &["is_mobile", "mobile", "is_cell"],
        "equipment_type" => &["equipment_type", "type", "category", "kind", "art"],
        "equipment_make" => &[
            "equipment_make",
            "make",
            "manufacturer",
            "brand",
            "hersteller",
            "marke",
        ],
        "equipment_model" => &["equipment_model", "model", "modell", "typ"],
        "date_sold" => &[
            "date_sold",
            "sold_on",
            "sale_date",
            "purchase_date",
            "verkaufsdatum",
            "verkauft_am",
        ],
        "machine_hours" => &["machine_hours", "hours", "meter_hours", "betriebsstunden"],
        "warranty_end_date" => &[
            "warranty_end_date",
            "warranty_until",
            "warranty_expires",
            "garantie_bis",
        ],
        "work_order_number" => &["work_order_number", "order_number", "wo_number", "auftragsnummer"],
        "dropped_off_at" => &["dropped_off_at", "received_at", "checked_in_at", "eingang"],
        "completed_at" => &["completed_at", "finished_at", "closed_at", "fertig_am"],
        "picked_up_at" => &["picked_up_at", "pickup_date", "collected_at", "abgeholt_am"],
        "status" => &["status", "state", "zustand"],
        "starts_at" => &[
            "starts_at",
            "start_time",
            "appointment_time",
            "begin",
            "scheduled_at",
            "beginn",
        ],
        "service" => &["service", "service_type", "subject", "leistung"],
        "location" => &["location", "place", "branch", "standort"],
        "invoice_number" => &["invoice_number", "number", "rechnungsnummer"],
        "due_date" => &["due_date", "due_on", "payable_until", "faellig_am"],
        "amount_due" => &["amount_due", "balance", "open_amount", "offen", "betrag"],
        "currency" => &["currency", "waehrung"],
        "paid_at" => &["paid_at", "paid_on", "payment_date", "bezahlt_am"],
        _ => &[],
    }
}

/// Proposes a mapping: for each logical table the tenant's most alike one that has the required columns.
pub fn suggest_mapping(catalogue: &Catalogue) -> Mapping {
    let mut tables = BTreeMap::new();
    let mut taken: Vec<&str> = Vec::new();
    // One company's tables stand in one schema: the default one, or the first that has any.
    let default = catalogue
        .tables
        .iter()
        .find(|one| one.schema == catalogue.default_schema);
    let Some(schema) = default
        .or(catalogue.tables.first())
        .map(|one| one.schema.as_str())
    else {
        return Mapping::identity();
    };
    for table in LogicalTable::ALL {
        let mut candidates: Vec<(u32, &CatalogueTable)> = catalogue
            .tables
            .iter()
            .filter(|one| one.schema == schema && one.readable && !taken.contains(&one.name.as_str()))
            .map(|one| (best(words_of_table(*table), bare(&one.name)), one))
            .filter(|(score, _)| *score >= LEAST)
            .collect();
        candidates.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.name.cmp(&b.1.name)));
        let drafted = candidates
            .into_iter()
            .find_map(|(_, one)| Some((one, draft(catalogue, *table, one)?)));
        if let Some((one, mapped)) = drafted {
            taken.push(&one.name);
            tables.insert(*table, mapped);
        }
    }
    agreeing(tables)
}

/// Keys whose parts do not agree with the key they refer to are left out, and with them what requires them.
fn agreeing(mut tables: BTreeMap<LogicalTable, TableMapping>) -> Mapping {
    loop {
        match Mapping::new(tables.clone()) {
            Ok(mapping) => return mapping,
            Err(_) => {
                if tables.pop_last().is_none() {
                    return Mapping::identity();
                }
            }
        }
    }
}

fn draft(catalogue: &Catalogue, table: LogicalTable, found: &CatalogueTable) -> Option<TableMapping> {
    let info = logical(table);
    let mut columns: BTreeMap<String, ColumnMapping> = BTreeMap::new();
    let mut taken: Vec<&str> = Vec::new();
    for column in info.columns {
        let own_key = column.name == info.key();
        if own_key && !found.primary_key.is_empty() {
            let key = found.primary_key.iter().cloned();
            taken.extend(found.primary_key.first().map(String::as_str));
            columns.insert(column.name.into(), ColumnMapping::key(key));
            continue;
        }
        let mut candidates: Vec<(u32, &CatalogueColumn)> = found
            .columns
            .iter()
            .filter(|one| !taken.contains(&one.name.as_str()) && fits(column, one, catalogue))
            .map(|one| (best(words_of_column(column.name), &one.name), one))
            .filter(|(score, _)| *score >= LEAST)
            .collect();
        candidates.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.name.cmp(&b.1.name)));
        if let Some((_, one)) = candidates.first() {
            taken.push(&one.name);
            columns.insert(column.name.into(), ColumnMapping::column(one.name.clone()));
        }
    }
    let complete = info
        .columns
        .iter()
        .all(|column| !column.required || columns.contains_key(column.name));
    let schema = (found.schema != catalogue.default_schema).then(|| found.schema.clone());
    complete.then(|| TableMapping {
        table: TablePath {
            schema,
            name: found.name.clone(),
        },
        columns,
        filter: Vec::new(),
    })
}

/// Whether a type can hold what the column means, where the type says something.
fn fits(column: &ColumnInfo, found: &CatalogueColumn, catalogue: &Catalogue) -> bool {
    use TypeClass::{Boolean, Date, Decimal, Float, Instant, Integer, LocalTime};
    if catalogue.kind == crate::settings::SourceKind::Sqlite {
        return true;
    }
    match column.kind {
        ColumnKind::Date | ColumnKind::Instant => !matches!(found.class, Boolean | Decimal | Float),
        ColumnKind::Number => !matches!(found.class, Boolean | Date | LocalTime | Instant),
        ColumnKind::Flag => !matches!(found.class, Date | LocalTime | Instant),
        ColumnKind::Text => !matches!(found.class, Date | LocalTime | Instant | Boolean | Integer),
        ColumnKind::Key => !matches!(found.class, Boolean | Float),
    }
}

fn best(words: &[&str], name: &str) -> u32 {
    // Earlier words are better ones.
    words
        .iter()
        .zip(0..)
        .map(|(word, place)| likeness(word, name).saturating_sub(place))
        .max()
        .unwrap_or(0)
}

/// Without the beginnings that people give all their tables.
fn bare(name: &str) -> &str {
    let lower = name.to_ascii_lowercase();
    ["tbl_", "tab_", "t_", "dms_", "crm_", "app_"]
        .iter()
        .find(|start| lower.starts_with(**start))
        .map_or(name, |start| &name[start.len()..])
}
